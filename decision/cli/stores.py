"""The store and the engine as commands need them: opened, and closed again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from decision.api.settings import ServerSettings
from decision.cli.output import Fail
from decision.cli.policies import read_rules
from decision.core.ports import Store
from decision.engine import Engine, build_snapshot
from decision.scoring.model import Model
from decision.store.embedded import EmbeddedRedis
from decision.store.memory_store import MemoryStore
from decision.store.redis_store import RedisStore

HOME: Final = Path(".nextbest")
"""Where the embedded store is, below the folder in which a command is run."""


@asynccontextmanager
async def open_store(settings: ServerSettings) -> AsyncIterator[Store]:
    """The store that the settings name, or the embedded one.

    Raises:
        StoreUnavailable: it cannot be reached, or started.
    """
    embedded = None
    url = settings.redis_url
    if url is None:
        embedded = EmbeddedRedis(HOME / "redis")
        url = await asyncio.to_thread(embedded.start)
    try:
        store = RedisStore(url, prefix=settings.key_prefix)
        try:
            await store.start()
            yield store
        finally:
            await store.close()
    finally:
        if embedded is not None:
            embedded.stop()


@asynccontextmanager
async def open_engine(
    settings: ServerSettings, *, in_memory: bool = False
) -> AsyncIterator[Engine]:
    """An engine on that store (or a passing one) with the policy and model of the settings.

    Raises:
        Fail: the rules or the model cannot be used.
        StoreUnavailable: the store cannot be reached, or started.
    """
    definition = read_rules(settings.rules)
    model = current_model(settings.models)

    async def with_policy(store: Store) -> Engine:
        engine = Engine(store)
        now = datetime.now(UTC)
        # Nothing is decided here: the rule engine can stay out of it.
        engine.use(await build_snapshot(definition, model, store, now, durable=False))
        return engine

    if in_memory:
        yield await with_policy(MemoryStore())
        return
    async with open_store(settings) as store:
        yield await with_policy(store)


def current_model(folder: str | None) -> Model | None:
    """The model in force of a models folder, or None.

    Raises:
        Fail: it must not serve.
    """
    from decision.api.keeper import read_model
    from decision.scoring.manifest import ModelError

    try:
        return read_model(folder)
    except ModelError as error:
        raise Fail(str(error)) from None
