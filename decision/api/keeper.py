"""Puts policy and model in force, and keeps the server so: retries, reloads, watches the store.

A folder with an error never replaces what is in force. Where the store is away at the start, the
server runs without a snapshot until it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from decision.api.auth import Gate, load_keys
from decision.api.metrics import Metrics
from decision.api.settings import ServerSettings, SettingsError
from decision.core.definition import PolicyDefinition
from decision.core.ports import StoreUnavailable
from decision.engine import Engine, Snapshot, build_snapshot
from decision.engine.snapshot import PolicyRefused
from decision.observability import get_logger
from decision.rulebook.diagnostics import Diagnostic, render_all
from decision.rulebook.reader import load_folder
from decision.rulebook.rule_trial import try_rules
from decision.scoring.loading import load_model
from decision.scoring.manifest import ModelError
from decision.scoring.model import Model
from decision.scoring.versions import current_version

PERIOD: Final = 1.0
"""Seconds between two looks at the store, the keys file and what other workers ask for."""

RELOAD_BLOB: Final = "reload"
"""The store's named value that changes when some worker has reloaded; the others follow."""

TRIED: Final = "_NEXTBEST_TRIED"
"""A variable by which the process that starts the workers names the policy that it has tried."""

_log = get_logger()


class RulesRefused(ValueError):
    """The rules folder has errors; `diagnostics` are all of them."""

    def __init__(self, folder: str, diagnostics: list[Diagnostic]) -> None:
        errors = [found for found in diagnostics if found.severity == "error"]
        super().__init__(f"{folder} has {len(errors)} error{'s' if len(errors) != 1 else ''}")
        self.diagnostics = errors


def read_rules(folder: str) -> PolicyDefinition:
    """The checked definition of a rules folder. Blocks while it reads.

    Raises:
        RulesRefused: it has errors.
    """
    result = load_folder(folder)
    if result.definition is None:
        raise RulesRefused(folder, result.diagnostics)
    return result.definition


def read_model(folder: str | None) -> Model | None:
    """The model in force of a models folder, or None where none is. Blocks while it is tried.

    Raises:
        ModelError: it must not serve.
    """
    place = current_version(Path(folder)) if folder is not None else None
    return None if place is None else load_model(place)


class Keeper:
    """Keeps one engine in force."""

    def __init__(
        self, engine: Engine, settings: ServerSettings, gate: Gate, metrics: Metrics
    ) -> None:
        self.engine = engine
        self.settings = settings
        self.gate = gate
        self.metrics = metrics
        self.store_problem: str | None = None
        self.model_problem: str | None = None
        self._started = False
        self._read: tuple[PolicyDefinition, Model | None] | None = None
        self._lock = asyncio.Lock()
        self._token: bytes | None = None
        self._keys_changed = self._keys_time()

    @property
    def ready(self) -> bool:
        """Whether decisions can be answered."""
        return self.engine.context.ready

    @contextlib.asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """From the server's start to its end.

        Raises:
            RulesRefused: the rules folder has errors; the server does not start.
            PolicyRefused: the rule engine does not hold these rules; nor then.
        """
        if not self.ready:
            try:
                definition = await asyncio.to_thread(read_rules, self.settings.rules)
            except RulesRefused as error:
                _log.error("rules_refused", problem=render_all(error.diagnostics))
                raise
            if os.environ.get(TRIED) != definition.version:
                await _try(definition)
            self._read = (definition, await self._model_or_none())
        await self._bring_up()
        tasks = [asyncio.create_task(self._repeat(self._look))]
        if self.settings.watch:
            tasks.append(asyncio.create_task(self._watch()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.engine.context.store.close()
            self.metrics.close()

    async def reload(self, *, announce: bool = True) -> Snapshot:
        """Reads policy and model again and puts them in force, for all workers.

        Raises:
            RulesRefused, PolicyRefused, ModelError: they cannot be; what is in force stays.
            StoreUnavailable: the store is away; what is in force stays.
        """
        async with self._lock:
            try:
                definition = await asyncio.to_thread(read_rules, self.settings.rules)
                model = await asyncio.to_thread(read_model, self.settings.models)
                await _try(definition)
                snapshot = await self._build(definition, model)
            except (RulesRefused, PolicyRefused, ModelError):
                self.metrics.reloaded(False)
                _log.warning("reload_refused")
                raise
            self.model_problem = None
            self._put_in_force(snapshot)
            self.metrics.reloaded(True)
            if announce:
                self._token = os.urandom(12)
                await self.engine.context.store.put_blob(RELOAD_BLOB, self._token)
            return snapshot

    async def _build(self, definition: PolicyDefinition, model: Model | None) -> Snapshot:
        context = self.engine.context
        return await build_snapshot(
            definition,
            model,
            context.store,
            datetime.now(UTC),
            try_first=False,
            contacts_kept=context.settings.contacts_kept,
        )

    def _put_in_force(self, snapshot: Snapshot) -> None:
        self.engine.use(snapshot)
        self.metrics.in_force(snapshot)
        _log.info(
            "policy_in_force",
            policy_version=snapshot.policy_version,
            model_version=snapshot.model_version,
            candidates=len(snapshot.policy.candidates),
        )
        for caution in snapshot.cautions:
            _log.warning("policy_caution", caution=caution)

    async def _model_or_none(self) -> Model | None:
        try:
            return await asyncio.to_thread(read_model, self.settings.models)
        except ModelError as error:
            # Better without a model than without an answer: the prior stands in.
            self.model_problem = str(error)
            _log.error("model_refused", problem=str(error))
            return None

    async def _bring_up(self) -> None:
        """Reaches the store and puts what was read in force; leaves word where it cannot."""
        store = self.engine.context.store
        try:
            if not self._started:
                await store.start()
                self._started = True
            await store.ping()
            if self._read is not None:
                self._token = await store.get_blob(RELOAD_BLOB)
                snapshot = await self._build(*self._read)
                self._put_in_force(snapshot)
                self._read = None
        except StoreUnavailable as error:
            self._store_is(str(error))
        else:
            self._store_is(None)

    def _store_is(self, problem: str | None) -> None:
        if problem is not None and self.store_problem is None:
            _log.error("store_away", problem=problem)
        elif problem is None and self.store_problem is not None:
            _log.info("store_back")
        self.store_problem = problem
        self.metrics.store_answers(problem is None)

    async def _look(self) -> None:
        await self._bring_up()
        self._look_at_keys()
        if self.ready:
            self.metrics.look_at(self.engine.snapshot.matcher)
        if self.store_problem is None and self.ready:
            async with self._lock:
                token = await self.engine.context.store.get_blob(RELOAD_BLOB)
                changed = token != self._token
                self._token = token
            if changed:
                await self.reload(announce=False)

    def _keys_time(self) -> float | None:
        path = self.settings.api_keys_file
        if path is None:
            return None
        try:
            return Path(path).stat().st_mtime
        except OSError:
            return None

    def _look_at_keys(self) -> None:
        """Takes new keys from the file; keys in force stay where it cannot be read."""
        changed = self._keys_time()
        if changed is None or changed == self._keys_changed:
            return
        self._keys_changed = changed
        assert self.settings.api_keys_file is not None
        try:
            keys = load_keys(self.settings.api_keys_file)
        except SettingsError as error:
            _log.error("keys_refused", problem=str(error))
            return
        self.gate.use(keys)
        _log.info("keys_in_force", keys=len(keys))

    async def _watch(self) -> None:
        """Reloads when a rule file changes."""
        from watchfiles import awatch

        async for _ in awatch(self.settings.rules, step=200, recursive=True):
            await self._quietly(self.reload)

    async def _repeat(self, work: Callable[[], Awaitable[object]]) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            await self._quietly(work)

    async def _quietly(self, work: Callable[[], Awaitable[object]]) -> None:
        """Runs what nobody waits for: refusals were logged, anything else is."""
        try:
            await work()
        except (RulesRefused, PolicyRefused, ModelError) as error:
            _log.error("reload_refused", problem=str(error))
        except StoreUnavailable as error:
            self._store_is(str(error))
        except Exception:  # noqa: BLE001 - the next round must come
            _log.exception("keeper_failed")


async def _try(definition: PolicyDefinition) -> None:
    """Asks the rule engine about new rules in a child process, off this event loop.

    Raises:
        PolicyRefused: it does not hold them.
    """
    problem = await asyncio.to_thread(try_rules, definition.rules)
    if problem is not None:
        raise PolicyRefused(problem)
