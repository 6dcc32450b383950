"""Keeps one worker's engine in force: brings it up, follows what changes, reloads.

A bad file never replaces what is in force, and a good one goes live on every worker between two
decisions. Where the store is away at the start, the server runs without a snapshot until it is
back.
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

from decision.api.auth import Gate
from decision.api.keys import KeysFile
from decision.api.metrics import Metrics
from decision.api.models import Models, load_models, models_print, read_model
from decision.api.settings import ServerSettings
from decision.api.shelf import SHELF, Shelf, Trigger, as_field_error, put_first
from decision.api.watching import Watch, folder_print, on_hangup
from decision.core.definition import PolicyDefinition
from decision.core.errors import NotReady, StoreUnavailable
from decision.engine import Engine, Snapshot, build_snapshot
from decision.engine.aside import aside
from decision.engine.snapshot import PolicyRefused
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

__all__ = ["Keeper", "RulesRefused", "read_model"]

PERIOD: Final = 1.0
"""Seconds between two looks at the store, the keys file, the models, and other servers."""

FOLLOWS: Final = 0.25
"""Seconds between two looks at what this server's workers share, the rules, and the published."""

RELOAD_BLOB: Final = "reload"
"""The store's named value that changes when some server has reloaded; the others follow."""

NOTHING_PUBLISHED: Final = "nothing is published yet: run nextbest publish RULES"

_ERRORS_SHOWN: Final = 5
_TRIED_AT_START: Final = 5

_log = get_logger()


class Keeper:
    """Keeps one engine in force."""

    def __init__(
        self, engine: Engine, settings: ServerSettings, gate: Gate, metrics: Metrics
    ) -> None:
        self.engine = engine
        self.settings = settings
        self.metrics = metrics
        self.store_problem: str | None = None
        self.waits_for: str | None = None
        self.models = Models()
        self._shelf: Shelf | None = None
        self._definition: PolicyDefinition | None = None
        self._serial = 0
        self._started = False
        self._lock = asyncio.Lock()
        self._token: bytes | None = None
        self._followed: Publication | None = None
        self._rules_watch = Watch()
        self._models_watch = Watch()
        self._models_seen = ""
        self._models_used = self.models
        self._keys = KeysFile(settings.api_keys_file, gate)

    @property
    def ready(self) -> bool:
        """Whether decisions can be answered."""
        return self.engine.context.ready

    @property
    def model_problem(self) -> str | None:
        """Why a model that is named does not serve."""
        return self.models.problem

    @property
    def shelf(self) -> Shelf:
        """What this server's workers share.

        Raises:
            NotReady: the application has not been started.
        """
        if self._shelf is None:
            raise NotReady("the server is still starting")
        return self._shelf

    @contextlib.asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """From the server's start to its end.

        Raises:
            RulesRefused: the rules folder has errors; the server does not start.
            PolicyRefused: the rule engine does not hold these rules; nor then.
        """
        with contextlib.ExitStack() as stack:
            folder = os.environ.get(SHELF) or stack.enter_context(
                tempfile.TemporaryDirectory(prefix="nextbest-")
            )
            self._shelf = Shelf(Path(folder))
            stack.callback(self._shelf.close)
            stack.enter_context(on_hangup(partial(self._shelf.ask, "SIGHUP")))
            if not self.ready:
                await self._prepare()
            await self._bring_up()
            work = (
                partial(self._repeat, PERIOD, self._look),
                partial(self._repeat, FOLLOWS, self._follow),
            )
            tasks = [asyncio.create_task(each()) for each in work]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await self.engine.context.store.close()
                self.metrics.close()

    # The start.

    async def _prepare(self) -> None:
        """Has a checked policy on the shelf, and the models read, before the store is asked."""
        gc.collect()
        gc.freeze()  # what was imported stays: no collection need look at it again
        if self.settings.follow == "folder" and self.shelf.in_force() is None:
            try:
                await asyncio.to_thread(put_first, self.settings.rules, self.shelf)
            except RulesRefused as error:
                _log.error("rules_refused", problem=render_all(error.diagnostics))
                raise
        await self._read_models()

    async def _bring_up(self) -> None:
        """Reaches the store and puts in force what is there; leaves word where it cannot."""
        store = self.engine.context.store
        try:
            if not self._started:
                await store.start()
                self._token = await store.get_blob(RELOAD_BLOB)
                self._started = True
            await store.ping()
            if not self.ready:
                await self._follow_shelf()
            if not self.ready and self.settings.follow == "published" and self.shelf.lead():
                await self._start_with_published()
        except StoreUnavailable as error:
            self._store_is(str(error))
        else:
            self._store_is(None)

    async def _start_with_published(self) -> None:
        """What is published, or where it is refused, what was before it."""
        entries = await history(self.engine.context.store)
        if self.waits_for is None and not entries:
            self.waits_for = NOTHING_PUBLISHED
            _log.warning("waits", problem=NOTHING_PUBLISHED)
        if not entries or entries[-1] == self._followed:
            return
        refused = None
        for version in versions_standing(entries)[: -_TRIED_AT_START - 1 : -1]:
            try:
                await self._reload("start", version)
            except (RulesRefused, PolicyRefused) as error:
                refused = self.shelf.refusal()
                self.waits_for = f"what is published cannot be used: {error}"
                continue
            if version != entries[-1].version and refused is not None:
                self.shelf.refuse("start", refused.detail, refused.errors, refused.count)
            break
        self._followed = entries[-1]

    # Reloading.

    async def reload(self, trigger: Trigger = "api") -> Snapshot:
        """Reads the policy and the models again and puts them in force, for all workers.

        Raises:
            RulesRefused, PolicyRefused: the policy cannot be; what is in force stays.
            StoreUnavailable: the store is away; what is in force stays.
            NotReady: the server follows what is published, and nothing is.
        """
        snapshot = await self._reload(trigger)
        if trigger in ("api", "SIGHUP", "watch") and self.settings.follow == "folder":
            self._token = self.shelf.own + os.urandom(12)
            await self.engine.context.store.put_blob(RELOAD_BLOB, self._token)
        return snapshot

    async def _reload(self, trigger: Trigger, version: str | None = None) -> Snapshot:
        async with self._lock, self.shelf.turn():
            seen = await self._rules_now()
            try:
                checked = await self._check(version)
                await self._read_models()
                await self._build(checked, datetime.now(UTC))
            except (RulesRefused, PolicyRefused) as error:
                self.shelf.note_rules(seen)
                self._refuse(trigger, error)
                raise
            self.shelf.note_rules(seen)
            self._serial = self.shelf.put_in_force(checked, trigger).serial
            self.metrics.reloaded(True)
            self.metrics.refused_since(None)
            return self.engine.snapshot

    async def _rules_now(self) -> str:
        return await asyncio.to_thread(folder_print, self.settings.rules)

    async def _check(self, version: str | None) -> str:
        """Checks and tries, in a child process, what this server is to run; its version."""
        if self.settings.follow == "folder":
            return await check_folder(self.settings.rules, self.shelf.folder)
        store = self.engine.context.store
        if version is None:
            entry = await published(store)
            if entry is None:
                raise NotReady(NOTHING_PUBLISHED)
            version = entry.version
        files = await files_of(store, version)
        if files is None:
            raise PolicyRefused(f"the files of policy {version} are not in the store")
        return await check_files(files, self.shelf.folder, f"published policy {version}")

    def _refuse(self, trigger: Trigger, error: RulesRefused | PolicyRefused) -> None:
        """Says everywhere that something was refused: log, metrics, `/v1/policy`."""
        diagnostics: list[Diagnostic] = getattr(error, "diagnostics", [])
        shown = [as_field_error(one) for one in diagnostics[:_ERRORS_SHOWN]]
        refusal = self.shelf.refuse(trigger, str(error), shown, len(diagnostics))
        self.metrics.reloaded(False)
        self.metrics.refused_since(refusal.since)
        places = [f"{one.path}: {one.detail}" for one in shown]
        _log.error("reload_refused", trigger=trigger, problem=str(error), places=places)

    async def _build(self, version: str, at: datetime) -> None:
        """Puts a policy from the shelf in force on this worker, between two decisions."""
        if self._definition is None or self._definition.version != version:
            definition = await aside(partial(read_checked, self.shelf.folder, version))
        else:
            definition = self._definition
        context, models = self.engine.context, self.models
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

    async def _read_models(self) -> None:
        """Reads what has changed in the models folder."""
        before, folder = self.models, self.settings.models
        self._models_seen = await asyncio.to_thread(models_print, folder)
        self.models = await asyncio.to_thread(load_models, folder, before)
        if self.models.problem is not None:
            # Better an older model, or none, than no answer: the prior stands in.
            _log.error("model_refused", problem=self.models.problem)
        if self.models.model is not before.model or self.models.shadow is not before.shadow:
            self.metrics.model_reloaded(True)
        if self.models.problem not in (None, before.problem):
            self.metrics.model_reloaded(False)

    # Following.

    async def _follow(self) -> None:
        """Takes what another worker has put in force; who leads looks at what may have changed."""
        if self.store_problem is not None or not self._started:
            return
        await self._follow_shelf()
        refusal = self.shelf.refusal()
        self.metrics.refused_since(None if refusal is None else refusal.since)
        if not self.ready or not self.shelf.lead():
            return
        if (asked := self.shelf.asked()) is not None:
            await self._attempt(asked.trigger)
            self.shelf.done(asked)
        if self.settings.follow == "published":
            await self._follow_published()
        elif self.settings.watch and self._rules_watch.settled(
            await self._rules_now(), self.shelf.rules_seen()
        ):
            await self._attempt("watch")

    async def _follow_shelf(self) -> None:
        entry = self.shelf.in_force()
        if entry is None or entry.serial == self._serial:
            return
        async with self._lock:
            entry = self.shelf.in_force() or entry
            if entry.serial == self._serial:
                return
            try:
                await self._build(entry.version, entry.at)
            except PolicyRefused as error:
                # Another worker runs it: this one keeps what it has, and says so.
                self._refuse(entry.trigger, error)
            self._serial = entry.serial

    async def _follow_published(self) -> None:
        entry = await published(self.engine.context.store)
        if entry is None or entry == self._followed:
            return
        in_force = self.shelf.in_force()
        if in_force is None or in_force.version != entry.version or self._followed is not None:
            await self._attempt(entry.kind)
        self._followed = entry

    async def _attempt(self, trigger: Trigger) -> None:
        """A reload that nobody waits for: a refusal has been noted.

        Raises:
            StoreUnavailable: the store is away; it is to be attempted again.
        """
        with contextlib.suppress(RulesRefused, PolicyRefused, NotReady):
            await self.reload(trigger)

    async def _look(self) -> None:
        await self._bring_up()
        self._keys.look()
        if not self.ready or self.store_problem is not None:
            return
        self.metrics.look_at(self.engine.snapshot.matcher)
        if self._definition is not None:
            await self._follow_models()
        token = await self.engine.context.store.get_blob(RELOAD_BLOB)
        if token != self._token:
            if token is not None and await self._concerns_us(token):
                await self._attempt("replica")
            self._token = token

    async def _concerns_us(self, token: bytes) -> bool:
        """Whether another server's reload may mean that our folder has changed, too."""
        if self.settings.follow != "folder" or not self.shelf.lead():
            return False
        if token.startswith(self.shelf.own):
            return False
        refused = self.shelf.refusal() is not None
        return refused or await self._rules_now() != self.shelf.rules_seen()

    async def _follow_models(self) -> None:
        """Puts changed models in force on this worker, beside the policy that it has."""
        now = await asyncio.to_thread(models_print, self.settings.models)
        if self._models_watch.settled(now, self._models_seen):
            async with self._lock, self.shelf.turn():  # one worker after another tries them
                await self._read_models()
        if self.models is not self._models_used:
            async with self._lock:
                await self._build(
                    self.engine.snapshot.policy_version, self.engine.snapshot.loaded_at
                )

    def _store_is(self, problem: str | None) -> None:
        if problem is not None and self.store_problem is None:
            _log.error("store_away", problem=problem)
        elif problem is None and self.store_problem is not None:
            _log.info("store_back")
        self.store_problem = problem
        self.metrics.store_answers(problem is None)

    async def _repeat(self, period: float, work: Callable[[], Awaitable[object]]) -> None:
        while True:
            await asyncio.sleep(period)
            try:
                await work()
            except StoreUnavailable as error:
                self._store_is(str(error))
            except Exception:  # noqa: BLE001 - the next round must come
                _log.exception("keeper_failed")
