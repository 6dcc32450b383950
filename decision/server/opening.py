"""Opens the store and the engine that settings name, and closes them again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

from decision.core.clock import HOUR
from decision.core.definition import PolicyDefinition
from decision.core.ports import Store
from decision.engine import PATIENCE, Engine, EngineSettings, build_snapshot
from decision.scoring.model import Model
from decision.scoring.scope import Scope
from decision.server.settings import ServerSettings, replicas_of
from decision.store.embedded.server import EmbeddedRedis
from decision.store.embedded.watch import WatchedRedis
from decision.store.memory_store import MemoryStore
from decision.store.redis_store import RedisStore

HOME: Final = Path(".nextbest")
"""Where the embedded store is, below the folder in which a command is run."""


@asynccontextmanager
async def open_store(settings: ServerSettings, *, start: bool = True) -> AsyncIterator[Store]:
    """The store that the settings name, or the embedded one; `start`: connected.

    Raises:
        StoreUnavailable: it cannot be reached, or started.
    """
    embedded = None
    url = settings.redis_url
    if url is None:
        embedded = WatchedRedis(EmbeddedRedis(HOME / "redis"))
        url = await asyncio.to_thread(embedded.start)
    try:
        store = RedisStore(
            url,
            prefix=settings.key_prefix,
            timeout=PATIENCE,
            replicas=replicas_of(settings.durability),
            budget_lease=settings.budget_lease_seconds,
        )
        try:
            if start:
                await store.start()
            yield store
        finally:
            await store.close()
    finally:
        if embedded is not None:
            embedded.stop()


@asynccontextmanager
async def open_engine(
    settings: ServerSettings,
    definition: PolicyDefinition,
    model: Model | None = None,
    *,
    scoped: Mapping[Scope, Model] = MappingProxyType({}),
    in_memory: bool = False,
) -> AsyncIterator[Engine]:
    """An engine on that store (or a temporary one) for loading and upkeep, not for decisions.

    Raises:
        StoreUnavailable: the store cannot be reached, or started.
    """

    async def with_policy(store: Store) -> Engine:
        own = EngineSettings(
            lowercase_emails=settings.lowercase_emails,
            event_ids_last=settings.event_ids_hours * HOUR,
        )
        engine = Engine(store, own)
        now = datetime.now(UTC)
        # No decision is made here: the rule engine can stay out of it.
        engine.use(
            await build_snapshot(definition, model, store, now, durable=False, scoped=scoped)
        )
        return engine

    if in_memory:
        yield await with_policy(MemoryStore())
        return
    async with open_store(settings) as store:
        yield await with_policy(store)


def serving_engine(settings: ServerSettings) -> Engine:
    """An engine for a server's worker; its store is started by the application.

    Raises:
        StoreUnavailable: the Redis URL is not one, or the embedded Redis cannot be started.
    """
    url = settings.redis_url
    if url is None:
        url = WatchedRedis(EmbeddedRedis()).start()  # ended with the process
    store = RedisStore(
        url,
        prefix=settings.key_prefix,
        replicas=replicas_of(settings.durability),
        budget_lease=settings.budget_lease_seconds,
    )
    own = EngineSettings(
        seed=settings.seed,
        timeout=settings.timeout_ms / 1000,
        lowercase_emails=settings.lowercase_emails,
        event_ids_last=settings.event_ids_hours * HOUR,
    )
    return Engine(store, own)
