"""Events that lead to a pause: of clocks that are ahead, at the same time, and after a merge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from decision.core.clock import DAY, MINUTE, SECOND, from_micros
from decision.core.schema import CustomerUpdate, Event
from decision.engine import Engine
from tests.engine.conftest import Clock
from tests.engine.test_engine import ask

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]
RULES = """
purposes: {service: {consent: not_required}}
channels: {push: {}}
placements: {outbound: {channels: [push]}}
messages: {hello: {purpose: service, channels: [push], value: 1}}
suppressions: {tired: {event: not-now, times: 2, within: 30d, pause: 3d}}
"""


async def not_now(engine: Engine, who: str, *ats: int) -> None:
    events = [
        Event(type="not-now", customer_id=who, id=f"n-{at}", at=from_micros(at)) for at in ats
    ]
    assert (await engine.events.record(events)).accepted == len(ats)


async def outcome(engine: Engine, who: str) -> str:
    return str((await ask(engine, who)).outcome)


@pytest.mark.parametrize("ahead", [0, 1, SECOND, 5 * MINUTE])
async def test_a_pause_counts_from_when_its_events_arrived_however_far_a_clock_is_ahead(
    make_engine: Make, store: Any, clock: Clock, ahead: int
) -> None:
    engine = await make_engine(RULES, store)
    await not_now(engine, "ann", clock.now + ahead, clock.now - MINUTE)
    assert await outcome(engine, "ann") == "none"
    clock.now += 3 * DAY - 1
    assert await outcome(engine, "ann") == "none"
    clock.now += 1
    assert await outcome(engine, "ann") == "selected"


async def test_two_events_that_count_at_the_same_time_are_two_also_after_a_merge(
    make_engine: Make, store: Any, clock: Clock
) -> None:
    engine = await make_engine(RULES, store)
    await engine.customers.update("kept", CustomerUpdate(attributes={"a": 1}))
    await not_now(engine, "ann", clock.now + SECOND, clock.now + MINUTE)
    assert await outcome(engine, "ann") == "none"
    await engine.customers.merge("kept", "ann")
    assert await outcome(engine, "kept") == "none"


async def test_what_one_clock_says_ahead_and_another_says_now_is_within_the_same_time(
    make_engine: Make, store: Any, clock: Clock
) -> None:
    engine = await make_engine(RULES, store)
    await not_now(engine, "ann", clock.now + 4 * MINUTE)
    clock.now += 30 * DAY - 1
    await not_now(engine, "ann", clock.now)
    assert await outcome(engine, "ann") == "none"
    await not_now(engine, "ben", clock.now + 4 * MINUTE)
    clock.now += 30 * DAY
    await not_now(engine, "ben", clock.now)
    assert await outcome(engine, "ben") == "selected"
