"""Circles through deliveries: what is reported of messages that journeys asked for moves journeys."""

from __future__ import annotations

import pytest

from decision.core.clock import DAY, MINUTE, SECOND
from decision.core.journeys.chains import APART, MOST_ASKS
from decision.core.journeys.state import MOST_RUNS
from decision.core.schema import Event
from decision.engine import Engine
from decision.store import MemoryStore
from tests.engine.conftest import Clock
from tests.engine.journeys.world import check, decisions, engine_on, is_asked, logged, steps, tell

pytestmark = pytest.mark.anyio

RULES = """
settings: {timezone: UTC, currency: EUR, exploration: "off"}
purposes: {service: {consent: not_required}}
channels: {push: {}}
placements: {crm: {channels: [push], delivery: gateway}}
messages: {hello: {purpose: service, channels: [push], value: 2, content: {title: Hello}}}
"""
BEGIN = "begin: {start: {event: x}, again: always, steps: {a: {ask: crm}}}"
CIRCLES = {
    "wait_for": """
journeys:
  one:
    start: {event: x}
    steps: {a: {ask: crm}, w: {wait_for: {event: message.sent, within: 1d}, then: a, else: a}}
""",
    "start": f"""
journeys:
  {BEGIN}
  one: {{start: {{event: message.sent}}, again: always, steps: {{a: {{ask: crm}}}}}}
""",
    "several": f"""
journeys:
  {BEGIN}
  one: {{start: {{event: message.sent}}, again: always, steps: {{a: {{ask: crm}}}}}}
  two: {{start: {{event: message.sent}}, again: always, steps: {{a: {{ask: crm}}, b: {{ask: crm}}}}}}
  three: {{start: {{event: message.sent}}, again: always, steps: {{w: {{wait: 1s}}, a: {{ask: crm}}}}}}
""",
    "short wait": f"""
journeys:
  {BEGIN}
  one: {{start: {{event: message.sent}}, again: always, steps: {{w: {{wait: 1s}}, a: {{ask: crm}}}}}}
""",
    "moment": f"""
moments: {{ms: {{pattern: [{{event: message.sent}}], within: 1m}}}}
journeys:
  {BEGIN}
  one: {{start: {{moment: ms}}, again: always, steps: {{a: {{ask: crm}}}}}}
""",
    "moment by time": f"""
moments: {{ms: {{pattern: [{{event: message.sent}}, {{not: purchase}}], within: 1s}}}}
journeys:
  {BEGIN}
  one: {{start: {{moment: ms}}, again: always, steps: {{a: {{ask: crm}}}}}}
""",
    "derived": f"""
events: {{told: {{of: message.sent}}}}
journeys:
  {BEGIN}
  one: {{start: {{event: told}}, again: always, steps: {{a: {{ask: crm}}}}}}
""",
    "set": f"""
journeys:
  {BEGIN}
  one: {{start: {{event: message.sent}}, again: always, steps: {{on: {{set: {{customer.on: true}}}}}}}}
  two:
    start: {{when: {{customer.on: true}}}}
    again: always
    steps: {{off: {{set: {{customer.on: false}}}}, a: {{ask: crm}}}}
""",
}


async def engine_of(clock: Clock, rules: str) -> Engine:
    from decision.rulebook.reader import load_files

    found = load_files({"rules.yaml": RULES + rules})
    assert found.definition is not None, found.diagnostics
    return await engine_on(MemoryStore(lambda: clock.now / SECOND), clock, found.definition)


async def go_by(
    engine: Engine, clock: Clock, rounds: int, pause: int, kind: str = "message.sent"
) -> int:
    """Does what is due, and reports each message that was asked for, once; how many there are."""
    store = engine.runtime.store
    told = {one.decision_id for one in await logged(store, "event") if one.decision_id}
    for _ in range(rounds):
        await engine.stepping.run_due()
        new = [
            one.decision_id
            for one in await decisions(store)
            if is_asked(one) and one.outcome == "selected" and one.decision_id not in told
        ]
        for decision_id in new:
            told.add(decision_id)
            await engine.events.record(
                [Event(type=kind, customer_id="mei", decision_id=decision_id)]
            )
        clock.now += pause
    return len(told)


@pytest.mark.parametrize("name", CIRCLES)
async def test_a_circle_through_deliveries_ends_as_loop(clock: Clock, name: str) -> None:
    engine = await engine_of(clock, CIRCLES[name])
    await tell(engine, "x")
    given = await go_by(engine, clock, 2 * MOST_ASKS + 20, 2 * SECOND)
    assert MOST_ASKS <= given <= MOST_ASKS + MOST_RUNS
    assert "loop" in {one.ended for one in await steps(engine.runtime.store)}
    assert await go_by(engine, clock, 1, SECOND) == given
    await check(engine)


@pytest.mark.parametrize("kind", ["message.delivered", "message.failed", "message.clicked"])
async def test_every_report_hands_the_chain_on(clock: Clock, kind: str) -> None:
    engine = await engine_of(clock, CIRCLES["start"].replace("message.sent", kind))
    await tell(engine, "x")
    assert await go_by(engine, clock, MOST_ASKS + 20, 2 * SECOND, kind) == MOST_ASKS


async def test_other_events_between_do_not_hide_a_circle(clock: Clock) -> None:
    engine = await engine_of(clock, CIRCLES["start"])
    await tell(engine, "x")
    for _ in range(MOST_ASKS + 20):
        await tell(engine, "visit")
        await go_by(engine, clock, 1, SECOND)
    given = await decisions(engine.runtime.store)
    assert len(given) <= MOST_ASKS + 20


async def test_who_has_a_message_every_day_for_a_year_is_in_no_circle(clock: Clock) -> None:
    engine = await engine_of(
        clock,
        """
journeys:
  daily:
    start: {event: x}
    steps:
      a: {ask: crm}
      w: {wait_for: {event: message.sent, within: 1d}, then: p, else: p}
      p: {wait: 1d, go: a}
""",
    )
    await tell(engine, "x")
    assert await go_by(engine, clock, 500, DAY // 2 + SECOND) > 150
    assert {one.ended for one in await steps(engine.runtime.store)} == {None}


async def test_many_short_chains_of_one_customer_are_no_circle(clock: Clock) -> None:
    engine = await engine_of(
        clock,
        """
journeys:
  task:
    start: {event: x}
    again: always
    steps: {a: {ask: crm}, w: {wait_for: {event: message.sent, within: 1h}}, b: {ask: crm}}
""",
    )
    for _ in range(MOST_ASKS + 20):
        await tell(engine, "x")
        await go_by(engine, clock, 3, MINUTE)
    assert {one.ended for one in await steps(engine.runtime.store)} == {None, "finished"}


async def test_a_chain_is_over_after_a_while_without_a_message(clock: Clock) -> None:
    engine = await engine_of(clock, CIRCLES["start"])
    await tell(engine, "x")
    assert await go_by(engine, clock, MOST_ASKS + 20, APART) == MOST_ASKS + 20
    await tell(engine, "visit")
    document = (await engine.runtime.store.read("mei")).document
    assert document.journeys is None or len(document.journeys.chains) <= 1


async def test_rules_that_hear_no_reports_keep_no_chains(clock: Clock) -> None:
    engine = await engine_of(clock, f"journeys:\n  {BEGIN}\n")
    await tell(engine, "x")
    await engine.stepping.run_due()
    assert (await engine.runtime.store.read("mei")).document.journeys is None
    assert await logged(engine.runtime.store, "decision")
