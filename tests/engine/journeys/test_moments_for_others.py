"""A moment counts for the customers that it names, whoever it happens to and however it comes."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from decision.core.clock import HOUR, from_micros
from decision.core.errors import StoreUnavailable
from decision.core.schema import DecisionRequest, TriggerEvent
from decision.engine import Engine
from decision.engine.events import PastEvent
from decision.engine.loading import CustomerRow, Loading
from decision.rulebook.reader import load_files
from decision.store import MemoryStore
from tests.engine.conftest import Clock
from tests.engine.journeys.world import RULES, change, check, engine_on, logged, tell
from tests.engine.outbox_world import Dying

pytestmark = pytest.mark.anyio

EVENTS = """\
events:
  credited: {of: order, for: event.friend}
  thanked: {of: moment.praised, for: event.other}
  late: {of: moment.waiting, for: event.other}
  again: {of: moment.famous, for: event.friend}
moments:
  praised: {pattern: [{event: credited}], within: 1d}
  waiting: {pattern: [{event: credited}, {not: purchase}], within: 1h}
  famous: {pattern: [{event: thanked}], within: 1d}
scores:
  fame: {adds: {thanked: 2}, half_life: 30d}
journeys:
  glad:
    start: {event: thanked}
    again: always
    steps: {hello: {ask: outbound, of: {tags: [hello]}}}
"""
COUNTED = (
    "{events.thanked.count: {gte: 1}, events.late.count: {gte: 1}, events.again.count: {gte: 1}}"
)
SAID = {"friend": "", "other": "bo"}


def policy() -> Any:
    first, _, rest = RULES.partition("events: {line")
    rules = first + EVENTS + rest.partition("\n")[2]
    rules = rules.replace("  nudge:\n", f"  nudge:\n    when: {COUNTED}\n", 1)
    found = load_files({"rules.yaml": rules})
    assert found.definition is not None, found.diagnostics
    return found.definition


async def told(engine: Engine, **properties: Any) -> None:
    await tell(engine, "order", "mei", id="o-1", **properties)


async def decided(engine: Engine, **properties: Any) -> None:
    event = TriggerEvent(type="order", id="o-1", properties=properties)
    await engine.decide(DecisionRequest(placement="home", customer_id="mei", event=event))


async def loaded(engine: Engine, **properties: Any) -> None:
    past = PastEvent(
        type="order", id="o-1", at=from_micros(engine.runtime.clock()), properties=properties
    )
    await Loading(engine.runtime).put(CustomerRow(customer_id="mei", events=[past]))


Door = Callable[..., Awaitable[None]]
DOORS = [told, decided, loaded]


async def counted(store: Any) -> dict[tuple[str, str], int]:
    found = {}
    for who in ("mei", "bo", "li"):
        document = (await store.read(who)).document
        for kind in ("thanked", "late", "again"):
            if kind in document.events:
                found[who, kind] = document.events[kind].total
    return found


async def shop(store: Any, clock: Clock) -> Engine:
    engine = await engine_on(store, clock, policy())
    for name in ("mei", "bo", "li"):
        await change(engine, name, x=1)
    return engine


def store_of(clock: Clock) -> MemoryStore:
    return MemoryStore(lambda: clock.now / 1_000_000)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("friend", ["mei", "li", "bo"])
async def test_it_counts_once_with_all_that_follows_from_it(
    clock: Clock, door: Door, friend: str
) -> None:
    """It happens to the sender, to somebody else, or to whom it names."""
    engine = await shop(store_of(clock), clock)
    store = engine.runtime.store
    for _ in range(2):
        await door(engine, friend=friend, other="bo")
    expected = {("bo", "thanked"): 1, (friend, "again"): 1}
    assert await counted(store) == expected
    document = (await store.read("bo")).document
    assert engine.snapshot.policy.scores is not None and document.scores
    assert document.journeys is not None and list(document.journeys.runs) == ["glad"]
    clock.now += 2 * HOUR
    await engine.stepping.run_due(lease_ms=0)
    assert await counted(store) == {**expected, ("bo", "late"): 1}
    moments = {(one.type, one.customer_id) for one in await logged(store, "event")}
    assert moments >= {
        ("moment.praised", friend),
        ("moment.waiting", friend),
        ("moment.famous", "bo"),
    }
    await check(engine)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("friend", ["mei", "li"])
@pytest.mark.parametrize("after", [False, True])
async def test_whatever_operation_is_lost_it_counts_once(
    clock: Clock, door: Door, friend: str, after: bool
) -> None:
    """The event is sent again, and the timer is looked at again."""
    for fails_at in itertools.count(1):
        store = store_of(clock)
        engine = await shop(store, clock)
        dying = Dying(store, fails_at, after=after, dies=True)
        other = Engine(dying, engine.runtime.settings, clock)
        other.use(engine.snapshot)
        with contextlib.suppress(StoreUnavailable):
            await door(other, friend=friend, other="bo")
            clock.now += 2 * HOUR
            await other.stepping.run_due(lease_ms=0)
        await door(engine, friend=friend, other="bo")
        clock.now += 2 * HOUR
        await engine.stepping.run_due(lease_ms=0)
        found = await counted(store)
        assert found == {("bo", "thanked"): 1, (friend, "again"): 1, ("bo", "late"): 1}, fails_at
        if not dying.dead:
            break


async def test_what_others_write_meanwhile_costs_no_count(clock: Clock) -> None:
    """Each commit of the sender, and of whom it names first, is overtaken once."""
    store = store_of(clock)
    base = await shop(store, clock)

    class Overtaken:
        done: frozenset[str] = frozenset()

        def __getattr__(self, name: str) -> Any:
            found = getattr(store, name)
            if name != "commit":
                return found

            async def commit(one: Any, **more: Any) -> Any:
                if one.customer_id not in self.done:
                    self.done |= {one.customer_id}
                    await tell(base, "visit", one.customer_id)
                return await found(one, **more)

            return commit

    engine = Engine(Overtaken(), base.runtime.settings, clock)  # type: ignore[arg-type]
    engine.use(base.snapshot)
    await told(engine, friend="li", other="bo")
    await tell(engine, "order", "li", id="o-2", friend="li", other="bo")
    found = await counted(store)
    assert found == {("bo", "thanked"): 2, ("li", "again"): 2}
