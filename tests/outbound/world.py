"""Journeys that a runner runs, on any store, and what the log has of everybody."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from decision.core import records
from decision.core.clock import from_micros
from decision.core.identifiers import PARTITIONS
from decision.core.journeys.runs import runs_of
from decision.core.records import JourneyRecord
from decision.engine import Engine, EngineSettings, build_snapshot
from tests.engine.journeys.world import definition, is_asked


def present() -> int:
    """The time, in microseconds."""
    return int(time.time() * 1_000_000)


async def engine_on(store: Any, clock: Callable[[], int] = present, policy: Any = None) -> Engine:
    """An engine on a store that is started."""
    made = Engine(store, EngineSettings(), clock)
    await use(made, definition() if policy is None else policy)
    return made


async def use(engine: Engine, policy: Any) -> None:
    """Puts a policy in force."""
    store, at = engine.runtime.store, from_micros(engine.runtime.clock())
    engine.use(await build_snapshot(policy, None, store, at, try_first=False, durable=False))


async def logged(store: Any, kind: str) -> list[Any]:
    """Everything that the log has of a kind."""
    read = {"decision": records.decode_decision, "journey": records.decode_journey}[kind]
    return [
        read(row.body)
        for partition in range(PARTITIONS)
        for row in await store.log_records(partition)
        if row.kind == kind
    ]


async def asked(store: Any) -> Counter[str | None]:
    """How often each stay in a step has asked, by the request id of its decision."""
    return Counter(one.request_id for one in await logged(store, "decision") if is_asked(one))


async def steps(store: Any) -> list[JourneyRecord]:
    """What was done to runs."""
    return await logged(store, "journey")


async def runs(store: Any) -> list[tuple[str, Any]]:
    """(journey, run) of everybody."""
    found = []
    async for part in store.customer_ids():
        for name in part:
            found += runs_of((await store.read(name)).document)
    return found
