"""Moments in the engine: each happens once, and never holds up what else is due."""

from __future__ import annotations

import msgspec
import pytest

from decision.core.clock import DAY, HOUR, MINUTE
from decision.core.journeys.definition import Ask, Element, Journey, Moment, Trigger
from decision.store import MemoryStore
from tests.engine.conftest import Clock
from tests.engine.journeys.world import (
    asked,
    check,
    definition,
    engine_on,
    logged,
    of,
    tell,
)

pytestmark = pytest.mark.anyio

UNPAID = Moment(
    name="unpaid",
    pattern=(Element(event="cart_add"), Element(event="purchase", absent=True)),
    within=HOUR,
)
REMIND = Journey(
    name="remind",
    start=Trigger(name="", event="moment.unpaid"),
    again=0,
    steps=(Ask(name="ask", placement="outbound", of=of("hello")),),
)
DAILY = Journey(
    name="daily",
    start=Trigger(name="", event="follow"),
    again=0,
    steps=(Ask(name="ask", placement="outbound", of=of("nudge"), hold=2 * DAY),),
)


def store_of(clock: Clock) -> MemoryStore:
    return MemoryStore(lambda: clock.now / 1_000_000)


@pytest.mark.parametrize("waits", [False, True])
async def test_a_moment_that_a_customer_has_had_before_a_merge_holds_up_nothing(
    clock: Clock, waits: bool
) -> None:
    """`waits`: a run asks at the same time."""
    engine = await engine_on(store_of(clock), clock, definition(REMIND, DAILY, moments=(UNPAID,)))
    store = engine.runtime.store
    await tell(engine, "cart_add", "mei", id="e-1")
    clock.now += 10 * MINUTE
    await tell(engine, "cart_add", "bo", id="e-1")
    clock.now += 51 * MINUTE
    await engine.stepping.run_due(lease_ms=0)
    await engine.customers.merge("mei", "bo")
    clock.now += 10 * MINUTE
    if waits:
        await tell(engine, "follow", "mei", id="f-1")
    before = len(await asked(store))
    await engine.stepping.run_due(lease_ms=0)
    document = (await store.read("mei")).document
    assert document.journeys is None or not document.journeys.partials
    assert len(await asked(store)) == before + waits
    assert [one.type for one in await logged(store, "event")].count("moment.unpaid") == 1
    await check(engine)


async def test_each_entry_of_a_list_begins_a_moment_of_its_own(clock: Clock) -> None:
    """Also where orders of the same id came from two customers who are one since."""
    unpaid = (Element(event="line"), Element(event="purchase", absent=True))
    moment = Moment(name="unpaid", pattern=unpaid, within=HOUR)
    keyed = msgspec.structs.replace(REMIND, key="event.sku")
    engine = await engine_on(store_of(clock), clock, definition(keyed, moments=(moment,)))
    store = engine.runtime.store
    await tell(engine, "order", "mei", id="o-1", items=[{"sku": "a"}, {"sku": "b"}])
    clock.now += MINUTE
    await tell(engine, "order", "bo", id="o-1", items=[{"sku": "c"}])
    await engine.customers.merge("mei", "bo")
    clock.now += 2 * HOUR
    await engine.stepping.run_due(lease_ms=0)
    events = [one for one in await logged(store, "event") if one.type == "moment.unpaid"]
    assert sorted(one.properties["sku"] for one in events) == ["a", "b", "c"]
    assert len(await asked(store)) == 3
    await check(engine)
