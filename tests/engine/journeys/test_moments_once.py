"""Moments in the engine: each happens once, and never holds up what else is due."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core.clock import DAY, HOUR, MINUTE, from_micros
from decision.core.errors import InputError, NotFound
from decision.core.journeys.definition import Ask, Element, Journey, Moment, Trigger
from decision.core.schema import DecisionRequest, Event, TriggerEvent
from decision.engine import Engine
from decision.engine.events import PastEvent
from decision.engine.loading import CustomerRow, Loading
from decision.store import MemoryStore
from tests.core.small import NOON
from tests.engine.conftest import Clock
from tests.engine.journeys.world import (
    NAMES,
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


async def unpaid(store: Any) -> int:
    """How often the moment happened."""
    return [one.type for one in await logged(store, "event")].count("moment.unpaid")


def store_of(clock: Clock) -> MemoryStore:
    return MemoryStore(lambda: clock.now / 1_000_000)


@pytest.mark.parametrize("waits", [False, True])
async def test_a_moment_that_comes_after_a_merge_holds_up_nothing(
    clock: Clock, waits: bool
) -> None:
    """It is one of its own, though an event of the same id began one of the other customer: ids are
    unique for each customer only. `waits`: a run asks at the same time."""
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
    assert len(await asked(store)) == before + 1 + waits
    assert await unpaid(store) == 2
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


PAID = Moment(
    name="paid", pattern=(Element(event="cart_add"), Element(event="pay")), within=90 * DAY
)


async def test_a_moment_that_a_customer_has_had_does_not_happen_again(clock: Clock) -> None:
    """The ids of its events are forgotten before its own is."""
    moments = (PAID,)
    engine = await engine_on(
        store_of(clock), clock, definition(DAILY, moments=moments), event_ids_last=DAY
    )
    store = engine.runtime.store
    for number, hours in enumerate((23, 1)):
        await tell(engine, "cart_add", id="e-1")
        clock.now += hours * HOUR
        await tell(engine, "pay", id=f"e-2-{number}")
        clock.now += 2 * HOUR
    events = [one.type for one in await logged(store, "event")]
    assert (events.count("cart_add"), events.count("moment.paid")) == (2, 1)
    await check(engine)


@pytest.mark.parametrize("name", ["moment.paid", "Moment.paid", "moment.none", "moment."])
async def test_nobody_can_send_a_moment(clock: Clock, name: str) -> None:
    """Not as an event, not with a decision, and not with a history that is loaded."""
    engine = await engine_on(store_of(clock), clock, definition(DAILY, moments=(PAID,)))
    answer = await engine.events.record([Event(type=name, customer_id="mei", id="e-1")])
    assert "kept for the moments" in answer.rejected[0].detail
    event = TriggerEvent(type=name, id="e-2")
    with pytest.raises(InputError, match="kept for the moments"):
        await engine.decide(DecisionRequest(placement="home", customer_id="mei", event=event))
    past = PastEvent(type=name, at=from_micros(clock.now))
    with pytest.raises(InputError, match="kept for the moments"):
        await Loading(engine.runtime).put(CustomerRow(customer_id="mei", events=[past]))


class Group:
    """Customers who are one: the ids of events that they had, and when their moments come."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.due: list[int] = []


class Merges:
    """A life of three customers, and what must come of it, as simply as it can be said."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self.engine, self.clock = engine, clock
        self.groups = {name: Group() for name in NAMES}
        self.happened = 0
        self.count = 0

    async def add(self, name: str, own_id: str) -> None:
        await tell(self.engine, "cart_add", name, id=own_id)
        group = self.groups[name]
        if own_id not in group.known:
            group.known.add(own_id)
            group.due.append(self.clock.now + HOUR)

    async def buy(self, name: str) -> None:
        self.count += 1
        await tell(self.engine, "purchase", name, id=f"p-{self.count}")
        self.groups[name].due = []

    async def merge(self, name: str, other: str, *, claims: bool) -> None:
        """`claims`: somebody has claimed what is due within the next time."""
        store = self.engine.runtime.store
        self.clock.now += 20 * MINUTE if claims else 0
        claimed = await store.claim_wakes(range(256), 100, 30_000) if claims else []
        try:
            await self.engine.customers.merge(name, other)
        except (InputError, NotFound):
            pass
        else:
            own, theirs = self.groups[name], self.groups[other]
            if own is not theirs:
                own.known |= theirs.known
                own.due += theirs.due
                for each, group in self.groups.items():
                    self.groups[each] = own if group is theirs else group
        for one in claimed:
            await self.engine.stepping.look(one)
        await self.settle()

    async def pass_(self, minutes: int) -> None:
        self.clock.now += minutes * MINUTE
        await self.settle()

    async def settle(self) -> None:
        await self.engine.stepping.run_due(lease_ms=0)
        for group in {id(one): one for one in self.groups.values()}.values():
            left = [at for at in group.due if at > self.clock.now]
            self.happened += len(group.due) - len(left)
            group.due = left


names = st.sampled_from(NAMES)
stories = st.lists(
    st.one_of(
        st.tuples(st.just("add"), names, st.sampled_from(["e-1", "e-2", "e-3"])),
        st.tuples(st.just("add"), names, st.sampled_from(["e-1", "e-2", "e-3"])),
        st.tuples(st.just("buy"), names),
        st.tuples(st.just("merge"), names, names, st.booleans()),
        st.tuples(st.just("pass"), st.sampled_from([0, 10, 30, 61])),
    ),
    max_size=12,
)


@settings(max_examples=100, deadline=None)
@given(stories)
def test_whoever_is_merged_when_each_of_their_moments_happens_once(story: list[Any]) -> None:
    """Also for events of one id, and of one microsecond, of several customers."""

    async def live() -> None:
        clock = Clock()
        clock.now = NOON
        policy = definition(REMIND, moments=(UNPAID,))
        life = Merges(await engine_on(store_of(clock), clock, policy), clock)
        for name in NAMES:
            await tell(life.engine, "visit", name)
        for kind, *about in story:
            match kind:
                case "add":
                    await life.add(*about)
                case "buy":
                    await life.buy(*about)
                case "merge":
                    await life.merge(about[0], about[1], claims=about[2])
                case _:
                    await life.pass_(*about)
        await life.pass_(61)
        assert await unpaid(life.engine.runtime.store) == life.happened
        await check(life.engine)

    asyncio.run(live())
