"""A write is not starved by those of others for the same customer, however slow its attempts are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from decision.core.clock import from_micros
from decision.core.schema import DecisionRequest, Event, EventsAnswer, TriggerEvent
from decision.engine import Engine
from decision.engine.events import PastEvent
from decision.engine.loading import CustomerRow, Loading
from decision.store import MemoryStore
from tests.core.small import NOON
from tests.engine.test_for_others import count, inviting, sign_up
from tests.engine.test_many_writes import Yielding, beside, idle

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]
OTHERS = 24
"""How many write for anna at the same time, without a pause."""


@pytest.fixture
def yielding(store: Any) -> Any:
    """Each of the stores; the one in memory lets others go on as well."""
    return Yielding(store) if isinstance(store, MemoryStore) else store


async def itself(engine: Engine, number: int) -> bool:
    """An event that names its own sender."""
    return (await engine.events.record([sign_up("anna", "anna", f"own-{number}")])).accepted == 1


async def strangers(engine: Engine, number: int) -> bool:
    """Events that name more people than are held at a time, none of them known."""
    events = [
        Event(
            type="purchase",
            customer_id="anna",
            id=f"g-{number}-{part}",
            properties={"gifts": [{"to": f"n-{part}-{one}", "price": 10} for one in range(100)]},
        )
        for part in range(11)
    ]
    return number > 1 or (await engine.events.record(events)).accepted == 11


async def friends(engine: Engine, number: int) -> bool:
    """An event that names its sender and others, who write themselves."""
    gifts = [{"to": name, "price": 10} for name in ("anna", "bea", "anna", "carl")]
    event = Event(
        type="purchase", customer_id="anna", id=f"f-{number}", properties={"gifts": gifts}
    )
    return (await engine.events.record([event])).accepted == 1


async def coupon(engine: Engine, number: int) -> bool:
    """An event that asks more of the store than what it writes."""
    event = Event(
        type="coupon.redeemed",
        customer_id="anna",
        id=f"c-{number}",
        properties={"code": f"CODE-{number}"},
    )
    return (await engine.events.record([event])).accepted == 1


async def row(engine: Engine, number: int) -> bool:
    """A loaded row with an event that names its customer."""
    past = PastEvent(
        type="sign-up", at=from_micros(NOON), id=f"l-{number}", properties={"inviter_id": "anna"}
    )
    return (
        await Loading(engine.runtime).put(CustomerRow(customer_id="anna", events=[past]))
    ).events == 1


async def decision(engine: Engine, number: int) -> bool:
    """A decision with an event that names its customer."""
    event = TriggerEvent(type="sign-up", id=f"d-{number}", properties={"inviter_id": "anna"})
    request = DecisionRequest(
        placement="inbox", customer_id="anna", event=event, deadline_ms=30_000
    )
    return "contention" not in (await engine.decide(request)).degraded


@pytest.mark.parametrize("work", [itself, strangers, friends, coupon, row, decision])
async def test_what_others_count_for_a_customer_does_not_starve_what_the_customer_writes(
    make_engine: Make, yielding: Any, work: Callable[[Engine, int], Any]
) -> None:
    """Others write on for as long as the customer's own writes last; these are all written."""
    engine = await inviting(make_engine, "anna", "bea", "carl", store=yielding, timeout=60)
    done = asyncio.Event()
    told: list[EventsAnswer] = []

    async def another(who: int) -> None:
        while not done.is_set():
            event_id = f"s-{who}-{len(told)}"
            told.append(await engine.events.record([sign_up(f"guest-{who}", "anna", event_id)]))

    others = [asyncio.create_task(another(who)) for who in range(OTHERS)]
    while len(told) < OTHERS:
        await asyncio.sleep(0)
    works = (work(engine, number) for number in range(10))
    async with asyncio.timeout(60):
        results = await asyncio.gather(*works, return_exceptions=True)
    done.set()
    await asyncio.gather(*others)
    assert results == [True] * 10
    own = 10 if work in (itself, row, decision) else 0
    assert await count(engine, "anna") == sum(one.accepted for one in told) + own
    assert await count(engine, "anna", "gift") == (20 if work is friends else 0)
    assert idle(engine)


async def test_what_names_its_own_sender_is_not_starved_by_another_process(
    make_engine: Make, yielding: Any
) -> None:
    """An attempt that is made again takes one round trip, as those of the other process do."""
    engine = await inviting(make_engine, "anna", store=yielding, timeout=60)
    other, done = beside(engine), asyncio.Event()

    async def another(who: int) -> None:
        number = 0
        while not done.is_set():
            number += 1
            await other.events.record([sign_up(f"guest-{who}", "anna", f"s-{who}-{number}")])

    others = [asyncio.create_task(another(who)) for who in range(OTHERS)]
    async with asyncio.timeout(60):
        results = await asyncio.gather(*(itself(engine, number) for number in range(20)))
    done.set()
    await asyncio.gather(*others)
    assert results == [True] * 20
