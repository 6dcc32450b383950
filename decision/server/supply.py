"""Keeps one worker's engine supplied with a policy and models, and follows what changes.

A bad file never replaces what is in force, and a good one goes live on every worker between two
decisions.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from datetime import UTC, datetime
from functools import partial
from typing import Final

from decision.core.definition import PolicyDefinition
from decision.core.errors import NotReady
from decision.engine import Engine, Snapshot, build_snapshot
from decision.engine.snapshot import PolicyRefused
from decision.engine.worker import give_way_soon, run_in_worker
from decision.observability import get_logger
from decision.rulebook.checking import check_folder, read_checked
from decision.rulebook.diagnostics import Diagnostic
from decision.server.aside import Aside
from decision.server.gateways_file import delivery_cautions
from decision.server.metrics import Metrics
from decision.server.models import ModelSupply
from decision.server.published import PublishedPolicies
from decision.server.settings import ServerSettings
from decision.server.shared_folder import SharedFolder, Trigger, as_field_error, check_first
from decision.server.watching import Watch, folder_fingerprint

RELOAD_BLOB: Final = "reload"
"""The store's named value that changes when some server has reloaded; the others follow."""

_ERRORS_SHOWN: Final = 5
_LOOKED_WITHIN: Final = 5.0

_YOUNG: Final = 5_000
"""New objects after which Python looks for garbage in cycles. By its own 700 it does so every few
decisions, where those under way are all that it finds."""

_log = get_logger()


class PolicySupply:
    """Supplies one engine. `waits_for` says what the first policy waits for.

    `delivery_cautions` are warnings about what the gateways file cannot send of the policy.
    """

    def __init__(self, engine: Engine, settings: ServerSettings, metrics: Metrics) -> None:
        self.engine = engine
        self.models = ModelSupply(settings.models, metrics)
        self.waits_for: str | None = None
        self.delivery_cautions: list[str] = []
        self._rules = settings.rules
        self._gateways = settings.gateways
        self._watches = settings.watch
        self._published = PublishedPolicies(self) if settings.follow == "published" else None
        self._metrics = metrics
        self._store = engine.runtime.store
        self._shared: SharedFolder | None = None
        self._definition: PolicyDefinition | None = None
        self._serial = 0
        self._lock = asyncio.Lock()
        self._token: bytes | None = None
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

    # The start.

    def use_folder(self, shared: SharedFolder) -> None:
        """Shares policies with the server's other workers in this folder."""
        self._shared = shared

    async def prepare(self) -> None:
        """Checks the policy and reads the models before the store is asked.

        Raises:
            RulesRefused: the rules folder has errors.
            PolicyRefused: the rule engine cannot hold these rules.
        """
        gc.collect()
        gc.freeze()  # what was imported stays: no collection need look at it again
        gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
        give_way_soon()
        if self._published is None and self.shared.in_force() is None:
            await asyncio.to_thread(check_first, self._rules, self.shared)
        await self.models.refresh()

    async def start(self) -> None:
        """Puts the first policy in force, where there is none yet."""
        if not self.ready:
            await self._follow_workers()
        if not self.ready and self._published is not None:
            await self._published.start()

    # Reloading.

    async def reload(self, trigger: Trigger = "api", version: str | None = None) -> Snapshot:
        """Reads the policy and the models again and puts them in force, for all workers.

        `version` is that of a published policy; None: the last one, or what the folder has.

        Raises:
            PolicyRefused: the policy cannot be; what is in force stays.
            StoreUnavailable: the store does not answer; what is in force stays.
            NotReady: the server follows what is published, and nothing is.
        """
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
            self._metrics.reloaded(True)
            self._metrics.refused_since(None)
            snapshot = self.engine.snapshot
        if trigger in ("api", "SIGHUP", "watch") and self._published is None:
            self._token = self.shared.own + os.urandom(12)
            await self._store.put_blob(RELOAD_BLOB, self._token)
        return snapshot

    async def try_reload(self, trigger: Trigger) -> None:
        """A reload without a caller: a refusal has been noted.

        Raises:
            StoreUnavailable: the store does not answer; try again.
        """
        with contextlib.suppress(PolicyRefused, NotReady):
            await self.reload(trigger)

    async def _rules_fingerprint(self) -> str:
        look = partial(folder_fingerprint, self._rules)
        return await self._rules_aside.run(look, _LOOKED_WITHIN)

    async def _check(self, version: str | None) -> str:
        """Checks and tries, in a child process, what this server is to run; its version."""
        if self._published is not None:
            return await self._published.check(version)
        return await check_folder(self._rules, self.shared.folder)

    def _note_refusal(self, trigger: Trigger, error: PolicyRefused) -> None:
        """Says everywhere that something was refused: log, metrics, `/v1/policy`."""
        diagnostics: list[Diagnostic] = getattr(error, "diagnostics", [])
        shown = [as_field_error(one) for one in diagnostics[:_ERRORS_SHOWN]]
        refusal = self.shared.refuse(trigger, str(error), shown, len(diagnostics))
        self._metrics.reloaded(False)
        self._metrics.refused_since(refusal.since)
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
            scoped=models.scoped,
            challengers=models.challengers,
            missing=models.missing,
            features=models.features,
            in_thread=True,
        )
        if self._definition is not definition:
            look = partial(delivery_cautions, self._gateways, definition)
            self.delivery_cautions = await asyncio.to_thread(look)
        self._definition, self._models_used = definition, models
        self.engine.use(snapshot)
        self.waits_for = None
        self._metrics.in_force(snapshot)
        _log.info(
            "policy_in_force",
            policy_version=snapshot.policy_version,
            model_version=snapshot.model_version,
            models={str(scope): one.version for scope, one in models.scoped.items()},
            challengers={str(scope): one.version for scope, one in models.challengers.items()},
            candidates=len(snapshot.policy.candidates),
        )
        for caution in (*snapshot.cautions, *self.delivery_cautions):
            _log.warning("policy_caution", caution=caution)

    # Following.

    async def follow(self) -> None:
        """Takes what another worker has put in force; the leader looks at what may have changed."""
        await self._follow_workers()
        refusal = self.shared.refusal()
        self._metrics.refused_since(None if refusal is None else refusal.since)
        if not self.ready or not self.shared.lead():
            return
        if (asked := self.shared.asked()) is not None:
            await self.try_reload(asked.trigger)
            self.shared.done(asked)
        if self._published is not None:
            await self._published.follow()
        elif self._watches and self._rules_watch.settled(
            await self._rules_fingerprint(), self.shared.rules_seen()
        ):
            await self.try_reload("watch")

    async def _follow_workers(self) -> None:
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

    async def follow_models(self) -> None:
        """Puts changed models in force on this worker, beside the policy that it has."""
        if self._definition is None:
            return
        if await self.models.changed():
            async with self._lock, self.shared.exclusive():  # one worker after another tries them
                await self.models.refresh()
        if self.models.current is not self._models_used:
            async with self._lock:
                snapshot = self.engine.snapshot
                await self._put_in_force(snapshot.policy_version, snapshot.loaded_at)

    async def note_other_servers(self) -> None:
        """Reloads of other servers count from now on."""
        self._token = await self._store.get_blob(RELOAD_BLOB)

    async def follow_other_servers(self) -> None:
        """Reads the folder again where another server's reload may mean that it has changed."""
        token = await self._store.get_blob(RELOAD_BLOB)
        if token != self._token:
            if token is not None and await self._may_have_our_change(token):
                await self.try_reload("replica")
            self._token = token

    async def _may_have_our_change(self, token: bytes) -> bool:
        if self._published is not None or not self.shared.lead():
            return False
        if token.startswith(self.shared.own):
            return False
        refused = self.shared.refusal() is not None
        return refused or await self._rules_fingerprint() != self.shared.rules_seen()
