"""Keeps one worker's engine supplied with a policy and models, and follows what changes.

A bad file never replaces what is in force, and a good one goes live on every worker between two
decisions. If the store is unavailable at the start, the server runs without a snapshot until the
store answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from decision.core.clock import HOUR
from decision.core.definition import PolicyDefinition
from decision.core.errors import NotReady, StoreUnavailable
from decision.engine import Engine, Snapshot, build_snapshot
from decision.engine.snapshot import PolicyRefused
from decision.engine.worker import run_in_worker
from decision.observability import get_logger
from decision.releases.publishing import (
    Publication,
    files_of,
    history,
    published,
    versions_standing,
)
from decision.rulebook.checking import RulesRefused, check_files, check_folder, read_checked
from decision.rulebook.diagnostics import Diagnostic, render_all
from decision.server.aside import Aside, Unanswered
from decision.server.file_rewriting import LOOK_SECONDS, FileRewriting
from decision.server.health.loss_watch import memory_beside
from decision.server.health.state import StoreHealth
from decision.server.health.store_watch import StoreWatch
from decision.server.keys.file import KeysFile
from decision.server.metrics import Metrics
from decision.server.models import ModelSupply
from decision.server.settings import ServerSettings
from decision.server.shared_folder import (
    SHARED_FOLDER,
    SharedFolder,
    Trigger,
    as_field_error,
    check_first,
)
from decision.server.watching import Watch, folder_fingerprint, on_hangup

CHECK_SECONDS: Final = 1.0
"""Seconds between two looks at the store, the keys file, the models, and other servers."""

FOLLOW_SECONDS: Final = 0.25
"""Seconds between two looks at what this server's workers share, the rules, and the published."""

DRAIN_SECONDS: Final = 5.0
"""Seconds at the end in which decisions without an answer are followed, at most."""

RELOAD_BLOB: Final = "reload"
"""The store's named value that changes when some server has reloaded; the others follow."""

NOTHING_PUBLISHED: Final = "nothing is published yet: run nextbest publish RULES"

_ERRORS_SHOWN: Final = 5
_TRIED_AT_START: Final = 5
_LOOKED_WITHIN: Final = 5.0

_log = get_logger()


class PolicySupply:
    """Supplies one engine. `waits_for` says what the first policy waits for."""

    def __init__(
        self, engine: Engine, settings: ServerSettings, keys: KeysFile, metrics: Metrics
    ) -> None:
        self.engine = engine
        self.settings = settings
        self.metrics = metrics
        self.store_health = StoreHealth(metrics)
        memory = memory_beside(settings.redis_url)
        self._embedded = memory is not None
        self._watch = StoreWatch(
            engine.runtime.store,
            self.store_health,
            metrics,
            clock=engine.runtime.clock,
            answers=engine.runtime.answers,
            log_limit=settings.log_limit_mb << 20,
            memory=memory,
        )
        self.models = ModelSupply(settings.models, metrics)
        self.waits_for: str | None = None
        self.keys = keys
        self._store = engine.runtime.store
        self._file_rewriting = FileRewriting(self._store, settings.erasure_rewrite_hours * HOUR)
        self._shared: SharedFolder | None = None
        self._definition: PolicyDefinition | None = None
        self._serial = 0
        self._started = False
        self._lock = asyncio.Lock()
        self._token: bytes | None = None
        self._followed: Publication | None = None
        self._rules_watch = Watch()
        self._rules_aside = Aside(f"the rules folder {settings.rules}")
        self._models_used = self.models.current

    @property
    def ready(self) -> bool:
        """Whether decisions can be answered."""
        return self.engine.runtime.ready

    @property
    def shared(self) -> SharedFolder:
        """What this server's workers share.

        Raises:
            NotReady: the application has not been started.
        """
        if self._shared is None:
            raise NotReady("the server is still starting")
        return self._shared

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
            self._shared = SharedFolder(Path(folder))
            stack.callback(self._shared.close)
            stack.enter_context(on_hangup(partial(self._shared.ask, "SIGHUP")))
            if not self.ready:
                await self._prepare()
            await self._look_at_store()
            work = (
                partial(self._repeat, CHECK_SECONDS, self._check_surroundings),
                partial(self._repeat, FOLLOW_SECONDS, self._follow_changes),
                partial(self._repeat, CHECK_SECONDS, self._count_connections),
                partial(self._repeat, LOOK_SECONDS, self._rewrite_file),
                partial(self._repeat, CHECK_SECONDS, self.keys.look),
            )
            tasks = [asyncio.create_task(each()) for each in work]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                patience = min(DRAIN_SECONDS, self.settings.shutdown_timeout_ms / 1000)
                await self.engine.drain(patience)
                await self._store.close()
                self.metrics.close()

    # The start.

    async def _prepare(self) -> None:
        """Checks the policy and reads the models before the store is asked."""
        gc.collect()
        gc.freeze()  # what was imported stays: no collection need look at it again
        if self.settings.follow == "folder" and self.shared.in_force() is None:
            try:
                await asyncio.to_thread(check_first, self.settings.rules, self.shared)
            except RulesRefused as error:
                _log.error("rules_refused", problem=render_all(error.diagnostics))
                raise
        await self.models.refresh()

    async def _connect(self) -> bool:
        """Reaches the store and puts the first policy in force; notes where it cannot.

        Returns whether there is a connection, be it one on which the store refuses something.
        """
        try:
            if not self._started:
                await self._store.start()
                self._token = await self._store.get_blob(RELOAD_BLOB)
                self._started = True
            await self._store.ping()
            if not self.ready:
                await self._follow_shared()
            if not self.ready and self.settings.follow == "published":
                await self._start_with_published()
        except StoreUnavailable as error:
            self._store_failed(error)
            return self._started and self.store_health.reachable
        self.store_health.reachable = True
        return True

    async def _look_at_store(self) -> None:
        """Reaches the store, and looks whether it can be written and has what it had."""
        if await self._connect():
            try:
                await self._watch.look(self.shared)
            except StoreUnavailable as error:
                self._store_failed(error)

    def _store_failed(self, error: StoreUnavailable) -> None:
        where = getattr(self._store, "where", "")
        self.store_health.failed(error, where, embedded=self._embedded)

    async def _start_with_published(self) -> None:
        """Puts in force what is published, or, where that is refused, what was before it.

        One worker does so; the others say what it waits for.
        """
        entries, leads = await history(self._store), self.shared.lead()
        if not entries:
            if self.waits_for is None and leads:
                _log.warning("waits", problem=NOTHING_PUBLISHED)
            self.waits_for = NOTHING_PUBLISHED
            return
        if not leads:
            refusal = self.shared.refusal()
            self.waits_for = None if refusal is None else _unusable(refusal.detail)
            return
        if entries[-1] == self._followed:
            return
        refused = None
        for version in versions_standing(entries)[: -_TRIED_AT_START - 1 : -1]:
            try:
                await self._reload("start", version)
            except PolicyRefused as error:
                refused = self.shared.refusal()
                self.waits_for = _unusable(str(error))
                continue
            if version != entries[-1].version and refused is not None:
                self.shared.refuse("start", refused.detail, refused.errors, refused.count)
            break
        self._followed = entries[-1]

    # Reloading.

    async def reload(self, trigger: Trigger = "api") -> Snapshot:
        """Reads the policy and the models again and puts them in force, for all workers.

        Raises:
            PolicyRefused: the policy cannot be; what is in force stays.
            StoreUnavailable: the store does not answer; what is in force stays.
            NotReady: the server follows what is published, and nothing is.
        """
        snapshot = await self._reload(trigger)
        if trigger in ("api", "SIGHUP", "watch") and self.settings.follow == "folder":
            self._token = self.shared.own + os.urandom(12)
            await self._store.put_blob(RELOAD_BLOB, self._token)
        return snapshot

    async def _reload(self, trigger: Trigger, version: str | None = None) -> Snapshot:
        async with self._lock, self.shared.exclusive():
            seen = await self._rules_fingerprint()
            try:
                checked = await self._check(version)
                await self.models.refresh()
                await self._put_in_force(checked, datetime.now(UTC))
            except PolicyRefused as error:
                self.shared.note_rules(seen)
                self._note_refusal(trigger, error)
                raise
            self.shared.note_rules(seen)
            self._serial = self.shared.put_in_force(checked, trigger).serial
            self.metrics.reloaded(True)
            self.metrics.refused_since(None)
            return self.engine.snapshot

    async def _rules_fingerprint(self) -> str:
        look = partial(folder_fingerprint, self.settings.rules)
        return await self._rules_aside.run(look, _LOOKED_WITHIN)

    async def _check(self, version: str | None) -> str:
        """Checks and tries, in a child process, what this server is to run; its version."""
        if self.settings.follow == "folder":
            return await check_folder(self.settings.rules, self.shared.folder)
        if version is None:
            entry = await published(self._store)
            if entry is None:
                raise NotReady(NOTHING_PUBLISHED)
            version = entry.version
        files = await files_of(self._store, version)
        if files is None:
            raise PolicyRefused(f"the files of policy {version} are not in the store")
        return await check_files(files, self.shared.folder, f"published policy {version}")

    def _note_refusal(self, trigger: Trigger, error: PolicyRefused) -> None:
        """Says everywhere that something was refused: log, metrics, `/v1/policy`."""
        diagnostics: list[Diagnostic] = getattr(error, "diagnostics", [])
        shown = [as_field_error(one) for one in diagnostics[:_ERRORS_SHOWN]]
        refusal = self.shared.refuse(trigger, str(error), shown, len(diagnostics))
        self.metrics.reloaded(False)
        self.metrics.refused_since(refusal.since)
        places = [f"{one.path}: {one.detail}" for one in shown]
        _log.error("reload_refused", trigger=trigger, problem=str(error), places=places)

    async def _put_in_force(self, version: str, at: datetime) -> None:
        """Puts a shared policy in force on this worker, between two decisions."""
        if self._definition is None or self._definition.version != version:
            definition = await run_in_worker(partial(read_checked, self.shared.folder, version))
        else:
            definition = self._definition
        context, models = self.engine.runtime, self.models.current
        snapshot = await build_snapshot(
            definition,
            models.model,
            context.store,
            at,
            try_first=False,
            contacts_kept=context.settings.contacts_kept,
            shadow=models.shadow,
            features=models.features,
            in_thread=True,
        )
        self._definition, self._models_used = definition, models
        self.engine.use(snapshot)
        self.waits_for = None
        self.metrics.in_force(snapshot)
        _log.info(
            "policy_in_force",
            policy_version=snapshot.policy_version,
            model_version=snapshot.model_version,
            shadow_version=None if snapshot.shadow is None else snapshot.shadow.version,
            candidates=len(snapshot.policy.candidates),
        )
        for caution in snapshot.cautions:
            _log.warning("policy_caution", caution=caution)

    # Following.

    async def _follow_changes(self) -> None:
        """Takes what another worker has put in force; the leader looks at what may have changed."""
        if not self.store_health.reachable or not self._started:
            return
        await self._follow_shared()
        refusal = self.shared.refusal()
        self.metrics.refused_since(None if refusal is None else refusal.since)
        if not self.ready or not self.shared.lead():
            return
        if (asked := self.shared.asked()) is not None:
            await self._try_reload(asked.trigger)
            self.shared.done(asked)
        if self.settings.follow == "published":
            await self._follow_published()
        elif self.settings.watch and self._rules_watch.settled(
            await self._rules_fingerprint(), self.shared.rules_seen()
        ):
            await self._try_reload("watch")

    async def _follow_shared(self) -> None:
        """Puts in force on this worker what another worker has checked."""
        entry = self.shared.in_force()
        if entry is None or entry.serial == self._serial:
            return
        async with self._lock:
            entry = self.shared.in_force() or entry
            if entry.serial == self._serial:
                return
            try:
                await self._put_in_force(entry.version, entry.at)
            except PolicyRefused as error:
                # Another worker runs it: this one keeps what it has, and says so.
                self._note_refusal(entry.trigger, error)
            self._serial = entry.serial

    async def _follow_published(self) -> None:
        entry = await published(self._store)
        if entry is None or entry == self._followed:
            return
        in_force = self.shared.in_force()
        if in_force is None or in_force.version != entry.version or self._followed is not None:
            await self._try_reload(entry.kind)
        self._followed = entry

    async def _try_reload(self, trigger: Trigger) -> None:
        """A reload without a caller: a refusal has been noted.

        Raises:
            StoreUnavailable: the store does not answer; try again.
        """
        with contextlib.suppress(PolicyRefused, NotReady):
            await self.reload(trigger)

    async def _check_surroundings(self) -> None:
        """Looks at the store, the models, and other servers' reloads."""
        await self._look_at_store()
        if not self.ready or not self.store_health.reachable:
            return
        self.metrics.count_rule_engine_failures(self.engine.snapshot.matcher)
        if self._definition is not None:
            await self._follow_models()
        token = await self._store.get_blob(RELOAD_BLOB)
        if token != self._token:
            if token is not None and await self._may_have_our_change(token):
                await self._try_reload("replica")
            self._token = token

    async def _count_connections(self) -> None:
        connection = getattr(self._store, "connection", None)
        self.metrics.connection.show(getattr(connection, "counts", None))

    async def _rewrite_file(self) -> None:
        """Removes erased customers from Redis' append-only file; one worker of a server looks."""
        if self.store_health.problem is None and self._started and self.shared.lead():
            await self._file_rewriting.check()

    async def _may_have_our_change(self, token: bytes) -> bool:
        """Whether another server's reload may mean that our folder has changed as well."""
        if self.settings.follow != "folder" or not self.shared.lead():
            return False
        if token.startswith(self.shared.own):
            return False
        refused = self.shared.refusal() is not None
        return refused or await self._rules_fingerprint() != self.shared.rules_seen()

    async def _follow_models(self) -> None:
        """Puts changed models in force on this worker, beside the policy that it has."""
        if await self.models.changed():
            async with self._lock, self.shared.exclusive():  # one worker after another tries them
                await self.models.refresh()
        if self.models.current is not self._models_used:
            async with self._lock:
                snapshot = self.engine.snapshot
                await self._put_in_force(snapshot.policy_version, snapshot.loaded_at)

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


def _unusable(why: str) -> str:
    return f"what is published cannot be used: {why}"
