"""`ask_again`: what gets nothing because of the time alone is asked again by itself."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from decision.core.clock import DAY, HOUR
from decision.core.errors import InputError
from decision.core.journeys.again import AGAIN, HOLD
from decision.core.journeys.runs import runs_of
from decision.core.schema import DecisionRequest, TriggerEvent
from decision.engine import Engine
from decision.store import MemoryStore
from tests.core.small import NOON
from tests.engine.conftest import Clock
from tests.engine.journeys.world import asked, decisions, definition, engine_on, steps

pytestmark = pytest.mark.anyio
RULES = """
settings: {timezone: UTC, currency: EUR, exploration: "off"}
purposes: {service: {consent: not_required}}
channels: {push: {quiet_hours: {from: "22:00", to: "08:00"}}, sms: {}}
placements:
  outbound: {channels: [push], delivery: gateway}
  home: {channels: [push]}
messages:
  news:
    purpose: service
    when: {customer.left: {ne: true}}
    channels: [push]
    value: 2
    content: {title: "{{ event.sku | default('-') }} {{ context.why | default('-') }}"}
"""


@pytest.fixture
async def engine(clock: Clock) -> Engine:
    clock.now = NOON + 11 * HOUR  # 23:00
    plain = msgspec.structs.replace(definition(rules=RULES), journeys=(), moments=())
    return await engine_on(MemoryStore(lambda: clock.now / 1_000_000), clock, plain)


async def ask(engine: Engine, sku: str = "tea", **more: Any) -> Any:
    event = TriggerEvent("view", properties={"sku": sku})
    asked = {"placement": "outbound", "customer_id": "mei", "event": event, "ask_again": True}
    return await engine.decide(DecisionRequest(**{**asked, **more}))


async def given(engine: Engine) -> list[dict[str, Any]]:
    rows = await engine.runtime.store.deliveries_of("mei")
    return [row.delivery.content for row in rows]


async def test_it_is_asked_again_when_time_allows_with_its_event_and_context(
    engine: Engine, clock: Clock
) -> None:
    answer = await ask(engine, context={"why": "cart"})
    assert (answer.outcome, answer.reason) == ("none", "quiet_hours")
    assert answer.not_before.hour == 8
    clock.now += 8 * HOUR
    assert (await engine.stepping.run_due()).asks == 0
    clock.now += HOUR
    assert (await engine.stepping.run_due()).asks == 1
    assert await given(engine) == [{"title": "tea cart"}]
    first, second = await decisions(engine.runtime.store)
    assert second.question.context == {"why": "cart", "journey": AGAIN, "step": "ask"}
    assert second.request_id is not None and second.request_id.endswith(".1.1")
    done = await steps(engine.runtime.store)
    assert [(one.decision_id, one.holds, one.ended) for one in done] == [
        (first.decision_id, True, None),
        (second.decision_id, False, "finished"),
    ]
    assert await engine.runtime.store.next_wake(range(256)) is None
    tallies = await engine.runtime.store.tallies()
    assert {name: n for name, n in tallies.items() if n} == {f"{AGAIN}\0!finished": 1}


async def test_it_is_asked_for_a_day_at_most_and_not_where_more_than_time_is_in_the_way(
    engine: Engine, clock: Clock
) -> None:
    await ask(engine)
    clock.now += HOLD + HOUR  # nobody has looked meanwhile
    await engine.stepping.run_due()
    assert await given(engine) == []
    assert [one.skipped for one in await steps(engine.runtime.store)] == [None, "ask"]
    document = (await engine.runtime.store.read("mei")).document
    assert list(runs_of(document)) == []


async def test_a_newer_request_takes_the_place_of_one_for_the_same_placement_and_event(
    engine: Engine, clock: Clock
) -> None:
    for sku in ("tea", "rice"):
        clock.now += HOUR
        await ask(engine, sku)
    clock.now += 9 * HOUR
    await engine.stepping.run_due()
    assert await given(engine) == [{"title": "rice -"}]
    ends = [one.ended for one in await steps(engine.runtime.store) if one.ended]
    assert ends == ["replaced", "finished"]


async def test_nothing_waits_where_something_was_given_nobody_asked_or_the_answer_is_kept(
    engine: Engine, clock: Clock
) -> None:
    store = engine.runtime.store
    await ask(engine, ask_again=False)
    await ask(engine, dry_run=True)
    assert await store.next_wake(range(256)) is None
    for _ in range(2):
        await ask(engine, request_id="r-1")  # the second one gets the kept answer
    assert len(await steps(store)) == 1
    clock.now += 10 * HOUR
    assert (await ask(engine, request_id="r-2")).outcome == "selected"
    await engine.stepping.run_due()
    assert len(await asked(store)) == 1


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"placement": "home"}, "delivery to gateway"),
        ({"context": {"long": "x" * 5000}}, "2048"),
    ],
)
async def test_it_is_refused_where_nobody_would_get_it_or_too_much_is_to_be_kept(
    engine: Engine, more: dict[str, Any], text: str
) -> None:
    with pytest.raises(InputError, match=text):
        await ask(engine, **more)


async def test_a_placement_that_is_gone_ends_it(engine: Engine, clock: Clock) -> None:
    await ask(engine)
    rules = RULES.replace("outbound:", "other:")
    plain = msgspec.structs.replace(definition(rules=rules), journeys=(), moments=())
    other = await engine_on(engine.runtime.store, clock, plain)
    clock.now += DAY - HOUR
    await other.stepping.run_due()
    assert [one.ended for one in await steps(engine.runtime.store)] == [None, "step_removed"]
