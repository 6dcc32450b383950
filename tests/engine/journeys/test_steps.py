"""Journeys on the engine: what starts them, what they ask, what is kept of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from decision.core.clock import DAY, HOUR, MINUTE
from decision.core.journeys.definition import Ask, Journey, Trigger, Wait
from decision.core.journeys.runs import runs_of
from decision.core.schema import DecisionRequest, TriggerEvent
from decision.rulebook.reader import load_files
from decision.store import MemoryStore
from tests.core.small import NOON
from tests.engine.conftest import Clock
from tests.engine.journeys.world import (
    asked,
    change,
    check,
    decisions,
    definition,
    engine_on,
    logged,
    of,
    steps,
    tell,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def engine(clock: Clock) -> Any:
    store = MemoryStore(lambda: clock.now / 1_000_000)
    return await engine_on(store, clock, definition())


async def pass_(engine: Any, clock: Clock, span: int) -> None:
    """Time goes by, and what is due is done."""
    end = clock.now + span
    store = engine.runtime.store
    while (at := await store.next_wake(range(256))) is not None and at <= end:
        clock.now = max(clock.now, at)
        await engine.stepping.run_due()
    clock.now = end
    await engine.stepping.run_due()
    await check(engine)


async def given(engine: Any) -> list[str]:
    return [one.message for row in await decisions(engine.runtime.store) for one in row.selections]


async def test_a_run_asks_waits_asks_again_and_ends_each_in_time(engine: Any, clock: Clock) -> None:
    begin = clock.now
    await tell(engine, "follow", sku="tea", cart="c1")
    await check(engine)
    assert await given(engine) == []  # nothing is asked inside a call
    await engine.stepping.run_due()
    [hello] = await decisions(engine.runtime.store)
    assert hello.selections[0].message == "hello" and hello.decided_at == begin
    assert hello.question.context == {"journey": "welcome", "step": "hello"}
    assert hello.question.event is not None and hello.question.event.properties["sku"] == "tea"
    deliveries = await engine.runtime.store.deliveries_of("mei")
    assert [row.delivery.content for row in deliveries] == [{"title": "tea hello"}]
    await pass_(engine, clock, 2 * HOUR)
    assert await given(engine) == ["hello", "nudge"]
    done = await steps(engine.runtime.store)
    said = [step for one in done if one.journey == "welcome" for step in one.steps]
    assert said == ["hello:ask", "pause:wait", "nudge:ask", "mark:set"]
    assert [one.ended for one in done if one.ended] == ["finished"]
    document = (await engine.runtime.store.read("mei")).document
    assert document.attributes["segment.welcomed"] is True
    assert [name for name, _ in runs_of(document)] == ["later"]  # what was set starts another
    assert document.events.get("follow") is None or document.events["follow"].total == 1


async def test_what_is_only_held_by_time_is_asked_again_and_goes_on_in_the_end(
    engine: Any, clock: Clock
) -> None:
    await engine.decide(DecisionRequest(placement="home", customer_id="mei"))
    for cart in ("a", "b"):
        await tell(engine, "follow", cart=cart)
    await pass_(engine, clock, 3 * HOUR)
    held = [one for one in await steps(engine.runtime.store) if one.holds]
    assert [one.outcome for one in held] == ["none"]
    assert (await given(engine)).count("nudge") == 1  # the cap is one a day
    await pass_(engine, clock, DAY)
    assert (await given(engine)).count("nudge") == 2
    assert len(await asked(engine.runtime.store)) == 5


@pytest.mark.parametrize("days", [1, 6, 9, 40, 60, 300])
async def test_a_wait_ends_at_its_time_however_often_its_timer_comes_too_early(
    days: int, clock: Clock
) -> None:
    slow = Journey(
        name="slow",
        start=Trigger(name="", event="follow"),
        steps=(
            Wait(name="pause", lasts=days * DAY),
            Ask(name="hi", placement="outbound", of=of("hello")),
        ),
    )
    store, begin = MemoryStore(lambda: clock.now / 1_000_000), clock.now
    engine = await engine_on(store, clock, definition(slow))
    await tell(engine, "follow")
    await pass_(engine, clock, days * DAY - MINUTE)
    assert await given(engine) == []
    await pass_(engine, clock, 2 * MINUTE)
    assert [one.decided_at - begin for one in await decisions(store)] == [days * DAY]


async def test_a_goal_ends_a_run_as_it_comes_and_nothing_more_is_asked(
    engine: Any, clock: Clock
) -> None:
    await tell(engine, "follow", cart="a")
    await engine.stepping.run_due()
    await tell(engine, "purchase")
    await check(engine)
    await pass_(engine, clock, 3 * DAY)
    assert await given(engine) == ["hello"]
    assert [one.ended for one in await steps(engine.runtime.store) if one.ended] == ["goal"]
    assert await engine.runtime.store.next_wake(range(256)) is None


async def test_a_moment_is_an_event_like_any_other_logged_once_and_starts_a_run(
    engine: Any, clock: Clock
) -> None:
    await tell(engine, "cart_add", sku="tea")
    await pass_(engine, clock, HOUR - MINUTE)
    assert await given(engine) == []
    await pass_(engine, clock, 2 * MINUTE)
    events = {one.type: one for one in await logged(engine.runtime.store, "event")}
    assert events["moment.abandoned"].properties == {"sku": "tea"}
    assert await given(engine) == ["hello"]
    await tell(engine, "cart_add", sku="rice")
    await tell(engine, "purchase")
    await pass_(engine, clock, DAY)
    assert len([o for o in await logged(engine.runtime.store, "event") if "moment" in o.type]) == 1


async def test_the_event_of_a_decision_starts_a_run_in_the_decisions_own_commit(
    engine: Any, clock: Clock
) -> None:
    event = TriggerEvent("follow", id="f-1", properties={"cart": "z", "sku": "tea"})
    await engine.decide(DecisionRequest(placement="home", customer_id="mei", event=event))
    await check(engine)
    await engine.decide(DecisionRequest(placement="home", customer_id="mei", event=event))
    assert await engine.stepping.run_due()
    assert (await given(engine)).count("hello") == 1


async def test_a_changed_attribute_starts_what_a_segment_starts(engine: Any, clock: Clock) -> None:
    await change(engine, city="Wuhan")
    await check(engine)
    await change(engine, **{"segment.welcomed": True})
    await check(engine)
    await tell(engine, "purchase")
    await pass_(engine, clock, MINUTE)
    assert await given(engine) == ["hello"]
    assert [one.ended for one in await steps(engine.runtime.store) if one.ended] == ["finished"]


async def test_what_an_event_counts_as_for_others_starts_their_journeys(clock: Clock) -> None:
    thanked = Journey(
        name="thanked",
        start=Trigger(name="", event="credited"),
        steps=(Ask(name="hi", placement="outbound", of=of("hello")),),
    )
    store = MemoryStore(lambda: clock.now / 1_000_000)
    engine = await engine_on(store, clock, definition(thanked))
    await change(engine, "bo", city="Wuhan")
    await tell(engine, "order", "mei", friend="bo", id="o-1")
    await check(engine)
    await engine.stepping.run_due()
    [decision] = await decisions(store)
    assert decision.customer_id == "bo"


async def test_a_policy_without_journeys_writes_no_state_and_no_timer(clock: Clock) -> None:
    store = MemoryStore(lambda: clock.now / 1_000_000)
    plain = msgspec.structs.replace(definition(), journeys=(), moments=())
    engine = await engine_on(store, clock, plain)
    assert engine.snapshot.policy.journeys is None
    await tell(engine, "follow")
    await change(engine, city="Wuhan")
    assert (await store.read("mei")).document.journeys is None
    assert await store.next_wake(range(256)) is None and await store.tallies() == {}


async def test_runs_of_a_journey_that_is_gone_end_and_say_so(engine: Any, clock: Clock) -> None:
    await tell(engine, "follow", cart="a")
    await engine.stepping.run_due()
    plain = msgspec.structs.replace(definition(), journeys=(), moments=())
    other = await engine_on(engine.runtime.store, clock, plain)
    await pass_(other, clock, 3 * HOUR)
    assert [one.ended for one in await steps(engine.runtime.store) if one.ended] == [
        "journey_removed"
    ]


async def test_a_merge_takes_runs_and_their_timer_along(engine: Any, clock: Clock) -> None:
    store = engine.runtime.store
    await tell(engine, "follow", "bo", cart="b", id="f-1")
    await engine.stepping.run_due()
    await change(engine, "mei", city="Wuhan")
    await engine.customers.merge("mei", "bo")
    await check(engine)
    document = (await store.read("mei")).document
    assert [run.step for _, run in runs_of(document)] == ["pause"]
    assert set(store._near) == {"mei"}
    clock.now += 2 * HOUR
    await engine.stepping.run_due()
    last = (await decisions(store))[-1]
    assert sorted(await given(engine)) == ["hello", "nudge"] and last is not None
    await check(engine)


DAILY = """
settings: {timezone: UTC, exploration: "off"}
purposes: {service: {consent: not_required}}
channels: {push: {}}
placements: {crm: {channels: [push], delivery: gateway}}
messages: {tip: {purpose: service, channels: [push], value: 1, content: {title: Tip}}}
journeys:
  daily:
    start: {event: follow}
    steps:
      nine: {wait: {until: "12:00"}}
      tip: {ask: crm, go: nine}
"""


async def test_a_local_time_that_was_waited_for_is_kept_with_the_run(clock: Clock) -> None:
    """So a wait until noon and an ask, again and again, are one ask a day, also at noon itself."""
    store = MemoryStore(lambda: clock.now / 1_000_000)
    engine = await engine_on(store, clock, load_files({"rules.yaml": DAILY}).definition)
    clock.now = NOON + 10_000_000
    await tell(engine, "follow")
    await pass_(engine, clock, 3 * DAY)
    assert [one.decided_at for one in await decisions(store)] == [
        NOON + 10_000_000,
        *(NOON + n * DAY for n in (1, 2, 3)),
    ]
