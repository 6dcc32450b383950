"""What a worker does beside its requests, from its start to its end.

It looks at the store, puts the first policy in force, follows what changes, and cleans up after
erasures. If the store is unavailable at the start, the server runs without a policy until then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

from decision.core.clock import HOUR
from decision.core.errors import StoreUnavailable
from decision.engine.budget_views import budget_views
from decision.observability import get_logger
from decision.server.aside import Unanswered
from decision.server.file_rewriting import LOOK_SECONDS, FileRewriting
from decision.server.hangup import on_hangup
from decision.server.health.loss_watch import memory_beside
from decision.server.health.state import StoreHealth
from decision.server.health.store_watch import StoreWatch
from decision.server.keys.file import KeysFile
from decision.server.looks import Looking
from decision.server.metrics import Metrics
from decision.server.servers import Announcing
from decision.server.settings import ServerSettings
from decision.server.shared_folder import SHARED_FOLDER, SharedFolder
from decision.server.supply import PolicySupply

CHECK_SECONDS: Final = 1.0
"""Seconds between two looks at the store, the keys file, the models, and other servers."""

BUDGET_SECONDS: Final = 10.0
"""Seconds between two looks at budgets, at coupon codes that are left, and at the outbox."""

ACTIVITY_SECONDS: Final = 5.0
"""Seconds between two times at which counts of what was said are added to the store."""

LOOKING_SECONDS: Final = 60.0
"""Seconds between two times at which it is asked whether to look for mismatch and drift."""

TELL_SECONDS: Final = 5.0
"""Seconds between two times at which other servers are told what this one runs."""

FOLLOW_SECONDS: Final = 0.25
"""Seconds between two looks at what this server's workers share, the rules, and the published."""

DRAIN_SECONDS: Final = 5.0
"""Seconds at the end in which decisions without an answer are followed, at most."""

_log = get_logger()


class Upkeep:
    """Looks after one worker: its store, its policy and models, its keys."""

    def __init__(
        self, supply: PolicySupply, settings: ServerSettings, keys: KeysFile, metrics: Metrics
    ) -> None:
        runtime, memory = supply.engine.runtime, memory_beside(settings.redis_url)
        self.supply = supply
        self.keys = keys
        self.health = StoreHealth(metrics)
        self._metrics = metrics
        self._shutdown = settings.shutdown_timeout_ms / 1000
        self._store = runtime.store
        self._embedded = memory is not None
        self._started = self._delivered = self._stepped = False
        self._file_rewriting = FileRewriting(self._store, settings.erasure_rewrite_hours * HOUR)
        self._announcing = Announcing(self._store, runtime.clock, settings.port)
        self._looking: Looking | None = None
        if settings.console:  # whose notices are for people
            self._looking = Looking(
                self._store, runtime.clock, archive=settings.archive, models=settings.models
            )
        self._watch = StoreWatch(
            self._store,
            self.health,
            metrics,
            clock=runtime.clock,
            answers=runtime.answers,
            log_limit=settings.log_limit_mb << 20,
            log_lag=settings.log_lag_minutes * 60.0,
            memory=memory,
        )

    @contextlib.asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """From the server's start to its end.

        Raises:
            RulesRefused: the rules folder has errors; the server does not start.
            PolicyRefused: the rule engine cannot hold these rules; the server does not start.
        """
        with contextlib.ExitStack() as stack:
            folder = os.environ.get(SHARED_FOLDER) or stack.enter_context(
                tempfile.TemporaryDirectory(prefix="nextbest-")
            )
            shared = SharedFolder(Path(folder))
            self.supply.use_folder(shared)
            stack.callback(shared.close)
            stack.enter_context(on_hangup(partial(shared.ask, "SIGHUP")))
            if not self.supply.ready:
                await self.supply.prepare()
            await self._look_at_store()
            work = (
                (CHECK_SECONDS, self._check_surroundings),
                (FOLLOW_SECONDS, self._follow_changes),
                (CHECK_SECONDS, self._show_counts),
                (BUDGET_SECONDS, self._show_budgets),
                (ACTIVITY_SECONDS, self._add_activity),
                (TELL_SECONDS, self._tell_others),
                (LOOK_SECONDS, self._rewrite_file),
                (LOOKING_SECONDS, self._look_further),
                (CHECK_SECONDS, self.keys.look),
            )
            tasks = [asyncio.create_task(self._repeat(period, each)) for period, each in work]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await self.supply.engine.drain(min(DRAIN_SECONDS, self._shutdown))
                with contextlib.suppress(StoreUnavailable):
                    await self._add_activity()
                await self._store.close()
                self._metrics.close()

    async def _look_at_store(self) -> None:
        """Reaches the store, and looks whether it can be written and has what it had."""
        if await self._connect():
            try:
                await self._watch.look(self.supply.shared)
            except StoreUnavailable as error:
                self._store_failed(error)

    async def _connect(self) -> bool:
        """Reaches the store and puts the first policy in force; notes where it cannot.

        Returns whether there is a connection, be it one on which the store refuses something.
        """
        try:
            if not self._started:
                await self._store.start()
                await self.supply.note_other_servers()
                self._started = True
            await self._store.ping()
            await self.supply.start()
        except StoreUnavailable as error:
            self._store_failed(error)
            return self._started and self.health.reachable
        self.health.reachable = True
        return True

    def _store_failed(self, error: StoreUnavailable) -> None:
        self.health.failed(error, getattr(self._store, "where", ""), embedded=self._embedded)

    async def _check_surroundings(self) -> None:
        await self._look_at_store()
        if self.supply.ready and self.health.reachable:
            self._metrics.count_rule_engine_failures(self.supply.engine.snapshot.matcher)
            await self.supply.follow_models()
            await self.supply.follow_other_servers()

    async def _follow_changes(self) -> None:
        if self.health.reachable and self._started:
            await self.supply.follow()

    async def _show_counts(self) -> None:
        self._metrics.show()
        connection = getattr(self._store, "connection", None)
        self._metrics.connection.show(getattr(connection, "counts", None))

    async def _show_budgets(self) -> None:
        """Shows what is left of budgets and pools, what waits to be sent, how journeys stand."""
        supply = self.supply
        if self.health.reachable and supply.ready and supply.shared.lead():
            runtime = supply.engine.runtime
            if runtime.snapshot.policy.budgets.shared:
                self._metrics.budgets.show(await budget_views(runtime) or [])
            pools = tuple(runtime.snapshot.policy.coupons)
            await self._metrics.coupons.look(self._store, pools, runtime.clock())
            if self._delivered or runtime.snapshot.policy.delivered_channels():
                self._delivered = True
                self._metrics.outbox.show(await self._store.count_deliveries())
            if self._delivered or self._stepped or runtime.snapshot.policy.journeys is not None:
                self._stepped = True
                await self._metrics.journeys.look(self._store)

    async def _tell_others(self) -> None:
        """Tells other servers what this one runs; one worker of a server tells."""
        supply = self.supply
        if self.health.problem is None and supply.ready and supply.shared.lead():
            own = supply.shared.own.decode().rstrip(":")
            await self._announcing.tell(own, supply.engine.snapshot)

    async def _add_activity(self) -> None:
        if self.health.problem is None and self._started:
            await self._metrics.activity.flush(self._store)

    async def _rewrite_file(self) -> None:
        """Removes erased customers from Redis' append-only file; one worker of a server looks."""
        if self.health.problem is None and self._started and self.supply.shared.lead():
            await self._file_rewriting.check()

    async def _look_further(self) -> None:
        """Looks for sample-ratio mismatch and drift; one worker of a server asks whether to."""
        supply = self.supply
        if self._looking is None or self.health.problem is not None or not supply.ready:
            return
        if supply.shared.lead():
            await self._looking.check(supply.engine.snapshot, supply.shared.folder)

    async def _repeat(self, period: float, work: Callable[[], Awaitable[object]]) -> None:
        unanswered = ""
        while True:
            await asyncio.sleep(period)
            try:
                await work()
                unanswered = ""
            except StoreUnavailable as error:
                self._store_failed(error)
            except Unanswered as error:
                if str(error) != unanswered:  # once, and not with every look
                    _log.error("files_unanswered", problem=str(error))
                unanswered = str(error)
            except Exception:  # noqa: BLE001 - the next round must come
                _log.exception("supply_failed")
