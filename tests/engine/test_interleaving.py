"""Concurrent decisions, events and consents for one customer, in every order of their steps."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest

from decision.core import records as log
from decision.core.clock import from_micros
from decision.core.identifiers import partition_of
from decision.core.schema import CustomerUpdate, DecisionRequest, Event, TriggerEvent
from decision.engine.loading import CustomerRow, Loading
from decision.store.memory_store import MemoryStore
from tests.engine.conftest import RULES, Clock
from tests.engine.schedule import Gated, next_choices, run_order

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]


def one_a_week() -> str:
    return RULES.replace("at_most: 2, within: 7d", "at_most: 1, within: 7d")


async def every_order(
    make_engine: Make,
    clock: Clock,
    works: Callable[[Any], list[Any]],
    check: Callable[[Any, list[Any]], Any],
    limit: int = 60_000,
    prepare: Callable[[Any], Any] | None = None,
) -> int:
    """Runs the works in all orders (or the first `limit`) on fresh stores; returns how many."""
    choices: list[int] | None = []
    ran = 0
    while choices is not None:
        gated = Gated(MemoryStore(lambda: clock.now / 1_000_000))
        engine = await make_engine(one_a_week(), gated)
        await engine.customers.set_consents("c-1", {"marketing": {"*": "granted"}})
        if prepare is not None:
            await prepare(engine)
        results, options = await run_order(gated, works(engine), choices)
        await check(engine, results)
        ran += 1
        if ran == limit:
            break
        choices = next_choices(choices, options)
    return ran


async def contacts_and_records(engine: Any) -> tuple[int, int]:
    view = await engine.customers.get("c-1")
    rows = await engine.runtime.store.log_records(partition_of("c-1"))
    logged = [log.decode_decision(row.body) for row in rows if row.kind == "decision"]
    assert len({row.decision_id for row in logged}) == len(logged)
    return len(view.contacts), sum(len(row.selections) for row in logged)


def decision(engine: Any, **changes: Any) -> Callable[[], Any]:
    request = DecisionRequest(**{"placement": "outbound", "customer_id": "c-1", **changes})
    return lambda: engine.decide(request)


async def test_of_two_decisions_one_is_selected_in_every_order(
    make_engine: Make, clock: Clock
) -> None:
    async def check(engine: Any, results: list[Any]) -> None:
        assert sorted(result.outcome for result in results) == ["none", "selected"]
        assert await contacts_and_records(engine) == (1, 1)

    ran = await every_order(
        make_engine, clock, lambda engine: [decision(engine), decision(engine)], check
    )
    assert ran >= 6


async def test_the_same_request_twice_at_once_is_one_decision_in_every_order(
    make_engine: Make, clock: Clock
) -> None:
    async def check(engine: Any, results: list[Any]) -> None:
        assert results[0].decision_id == results[1].decision_id
        assert await contacts_and_records(engine) == (1, 1)

    await every_order(
        make_engine,
        clock,
        lambda engine: [decision(engine, request_id="r"), decision(engine, request_id="r")],
        check,
    )


async def test_a_consent_withdrawn_before_the_reservation_wins_in_every_order(
    make_engine: Make, clock: Clock
) -> None:
    ended: list[str] = []

    async def check(engine: Any, results: list[Any]) -> None:
        made = results[0]
        rows = await engine.runtime.store.log_records(partition_of("c-1"))
        order = [
            row.kind
            for row in rows
            if row.kind == "decision"
            or (row.kind == "event" and log.decode_event(row.body).type == "message.unsubscribed")
        ]
        if order == ["event", "decision"]:
            assert (made.outcome, made.reason) == ("none", "no_consent")
        else:
            assert made.outcome == "selected"
        ended.append(made.outcome)

    def works(engine: Any) -> list[Any]:
        unsubscribe = [Event(type="message.unsubscribed", customer_id="c-1")]
        return [decision(engine), lambda: engine.events.record(unsubscribe)]

    await every_order(make_engine, clock, works, check)
    assert set(ended) == {"none", "selected"}


async def test_three_decisions_with_a_budget_of_one_in_sampled_orders(
    make_engine: Make, clock: Clock
) -> None:
    """All orders of three are too many: a fixed spread of them is walked."""
    chooser = random.Random(7)
    for _ in range(100):
        gated = Gated(MemoryStore(lambda: clock.now / 1_000_000))
        rules = one_a_week().replace("total: 5", "total: 1")
        engine = await make_engine(rules, gated)
        names = ["c-1", "c-2", "c-3"]
        for name in names:
            await engine.customers.set_consents(name, {"marketing": {"*": "granted"}})
        works = [decision(engine, customer_id=name) for name in names]
        choices = [chooser.randrange(3) for _ in range(60)]
        results, _ = await run_order(gated, works, choices)
        chosen = [result.selections[0].message for result in results]
        assert sorted(chosen) == ["news", "news", "offer"]


@pytest.mark.parametrize("limit", [300, pytest.param(60_000, marks=pytest.mark.soak, id="every")])
async def test_of_three_decisions_one_is_selected_in_every_order(
    make_engine: Make, clock: Clock, limit: int
) -> None:
    """There are 14,868 orders."""

    async def check(engine: Any, results: list[Any]) -> None:
        assert sorted(result.outcome for result in results) == ["none", "none", "selected"]
        assert await contacts_and_records(engine) == (1, 1)

    ran = await every_order(
        make_engine, clock, lambda engine: [decision(engine) for _ in range(3)], check, limit
    )
    print(f"\n{ran} orders of three decisions")
    assert ran >= 90


@pytest.mark.parametrize("limit", [300, pytest.param(20_000, marks=pytest.mark.soak, id="many")])
async def test_a_merge_beside_two_decisions_never_exceeds_the_cap_in_every_order(
    make_engine: Make, clock: Clock, limit: int
) -> None:
    """One a week each before the merge; the merged customer gets none more."""

    async def check(engine: Any, results: list[Any]) -> None:
        view = await engine.customers.get("c-1")
        assert view.merged == ["anon"]
        asked = DecisionRequest(placement="outbound", customer_id="anon")
        assert (await engine.decide(asked)).outcome == "none"
        made = sum(result.outcome == "selected" for result in results[1:])
        assert len(view.contacts) == made >= 1

    def works(engine: Any) -> list[Any]:
        return [
            lambda: engine.customers.merge("c-1", "anon"),
            decision(engine),
            decision(engine, customer_id="anon"),
        ]

    ran = await every_order(make_engine, clock, works, check, limit, anon_too)
    print(f"\n{ran} orders of a merge and two decisions")


async def anon_too(engine: Any) -> None:
    await engine.customers.set_consents("anon", {"marketing": {"*": "granted"}})


async def knows_the_event(engine: Any) -> None:
    await anon_too(engine)
    await engine.events.record([Event(type="app_open", customer_id="anon", id="e-1")])


@pytest.mark.parametrize("way", ["recorded", "decided on", "loaded"])
async def test_an_event_is_not_recorded_again_after_a_merge_in_any_order(
    make_engine: Make, clock: Clock, way: str
) -> None:
    """Its id is known under the merged id; only before the merge is it an event of another."""

    async def check(engine: Any, results: list[Any]) -> None:
        rows = await engine.runtime.store.log_records(partition_of("c-1"))
        kinds = [row.kind for row in rows if row.kind in ("merge", "event")]
        assert kinds in (["merge"], ["event", "merge"])
        view = await engine.customers.get("c-1")
        assert view.events["app_open"].count == len(kinds)

    def works(engine: Any) -> list[Any]:
        event = {"type": "app_open", "id": "e-1"}
        row = {"customer_id": "c-1", "events": [{**event, "at": from_micros(clock.now)}]}
        tell = {
            "recorded": lambda: engine.events.record([Event(customer_id="c-1", **event)]),
            "decided on": decision(engine, event=TriggerEvent(**event)),
            "loaded": lambda: Loading(engine.runtime).put(msgspec.convert(row, CustomerRow)),
        }
        return [lambda: engine.customers.merge("c-1", "anon"), tell[way]]

    await every_order(make_engine, clock, works, check, 250, knows_the_event)


async def test_no_change_is_lost_in_any_order(make_engine: Make, clock: Clock) -> None:
    names = ["a", "b", "c"]

    async def check(engine: Any, results: list[Any]) -> None:
        view = await engine.customers.get("c-1")
        assert sorted(view.attributes) == names

    def works(engine: Any) -> list[Any]:
        return [partial(engine.customers.update, "c-1", update) for update in updates]

    updates = [CustomerUpdate(attributes={name: 1}) for name in names]
    assert await every_order(make_engine, clock, works, check) > 100
