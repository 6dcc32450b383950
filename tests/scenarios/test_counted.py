"""Derived events and scores in scenarios: set up by events, or directly, and recorded."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from decision.core.clock import from_micros
from decision.core.policy_builder import compile_policy
from decision.core.schema import CustomerUpdate, DecisionRequest, Event
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.rulebook.reader import load_files
from decision.scenarios.coverage import Coverage
from decision.scenarios.files import read_scenarios
from decision.scenarios.recorded import record
from decision.scenarios.recording import find_logged, run_recorded
from decision.scenarios.run import run_scenarios
from decision.store.memory_store import MemoryStore
from tests.core.small import NOON
from tests.scenarios.conftest import folder_of
from tests.scenarios.test_scenarios import errors, run

POLICY = """
purposes: {tips: {consent: not_required}}
channels: {push: {}}
placements: {home: {channels: [push]}}
messages:
  brewing: {purpose: tips, channels: [push], value: 3, when: {events.tea-line.count_30d: {gte: 2}}}
  thanks: {purpose: tips, channels: [push], value: 5, when: {events.invitation.count: {gte: 1}}}
  webinar: {purpose: tips, channels: [push], value: 2, when: {customer.state: warm}}
states:
  warm: {when: {score.interest: {gte: 20}}}
  cold: {}
events:
  tea-line: {of: purchase, each: items, when: {event.category: tea}}
  large: {of: purchase, when: {event.amount: {gte: 100}}}
  invitation: {of: sign-up, for: event.inviter}
scores:
  interest: {adds: {visit: 1, large: 15, purchase: {property: amount}}, half_life: 30d}
rules:
  rich: {when: {events.purchase.sum_amount_30d: {gte: 1}, events.large.count: {gte: 9}}, exclude: {messages: [webinar]}}
"""
NOW = "now: 2026-11-21T10:00:00+08:00"
YESTERDAY = "at: 2026-11-20T10:00:00+08:00"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return folder_of(tmp_path, POLICY)


def expected(folder: Path, customer: str, message: str) -> list[str]:
    """The problems of a scenario that expects a message for a customer."""
    text = f"- name: one\n  {NOW}\n  customer: {customer}\n  ask: {{placement: home}}\n"
    [result] = run(folder, f"{text}  expect: {{message: {message}}}\n")
    return result.problems


@pytest.mark.parametrize(
    ("customer", "message"),
    [
        (
            f"{{events: [{{type: purchase, {YESTERDAY}, "
            "properties: {items: [{category: tea}, {category: tea}, {category: cup}]}}]}",
            "brewing",
        ),
        (f"{{events: [{{type: tea-line, {YESTERDAY}, times: 2}}]}}", "brewing"),
        (f"{{events: [{{type: invitation, {YESTERDAY}}}]}}", "thanks"),
        (
            f"{{customer_id: mei, events: [{{type: sign-up, {YESTERDAY}, "
            "properties: {inviter: mei}}]}",
            "thanks",
        ),
        (f"{{events: [{{type: visit, {YESTERDAY}, times: 25, every: 1m}}]}}", "webinar"),
        (
            f"{{events: [{{type: purchase, {YESTERDAY}, properties: {{amount: 100}}}}]}}",
            "webinar",
        ),
        ("{scores: {interest: 20}}", "webinar"),
        (
            f"{{scores: {{interest: 20}}, events: [{{type: visit, {YESTERDAY}}}]}}",
            "webinar",
        ),
    ],
)
def test_what_has_happened_can_be_said_in_any_of_these_ways(
    rules: Path, customer: str, message: str
) -> None:
    assert expected(rules, customer, message) == []


@pytest.mark.parametrize(
    "customer",
    [
        f"{{events: [{{type: tea-line, {YESTERDAY}}}]}}",
        f"{{events: [{{type: sign-up, {YESTERDAY}, properties: {{inviter: somebody}}}}]}}",
        f"{{derive: false, events: [{{type: purchase, {YESTERDAY}, "
        "properties: {items: [{category: tea}, {category: tea}]}}]}",
        "{scores: {interest: 19.99}}",
        f"{{scores: {{interest: 0}}, events: [{{type: visit, {YESTERDAY}, times: 100, every: 1m}}]}}",
    ],
)
def test_and_what_is_not_enough_gives_nothing(rules: Path, customer: str) -> None:
    assert expected(rules, customer, "null") == []


def test_tables_have_columns_for_derived_events_and_scores(rules: Path) -> None:
    text = f"""
- name: one
  {NOW}
  ask: {{placement: home}}
  table:
    - {{events.tea-line.count_30d: 2, score.interest: 0, expect: brewing/push}}
    - {{events.tea-line.count_30d: 1, score.interest: 31.5, expect: webinar/push}}
    - {{events.invitation.count: 1, score.interest: 31.5, expect: thanks/push}}
    - {{customer.state: warm, expect: webinar/push}}
"""
    assert [result.problems for result in run(rules, text)] == [[]] * 4


def test_a_score_is_expected_and_told_with_two_decimals(rules: Path) -> None:
    text = f"""
- name: one
  {NOW}
  customer: {{events: [{{type: visit, {YESTERDAY}, times: 5, every: 1m}}]}}
  ask: {{placement: home}}
  expect: {{outcome: none, fields: {{score.interest: 4.89}}}}
- name: other
  {NOW}
  ask: {{placement: home}}
  expect: {{fields: {{score.interest: 1}}}}
"""
    first, second = run(rules, text)
    assert first.problems == []
    assert second.problems == ["score.interest must be 1, is 0"]


@pytest.mark.parametrize(
    ("customer", "words"),
    [
        ("{scores: {intrest: 3}}", 'did you mean "interest"'),
        ("{scores: {interest: high}}", "must be a number, not text"),
        (
            f"{{events: [{{type: purchase, {YESTERDAY}, properties: {{items: {[0] * 1001}}}}}]}}",
            "1,001",
        ),
    ],
)
def test_what_cannot_be_set_up_is_an_error_at_its_place(
    rules: Path, customer: str, words: str
) -> None:
    text = f"- name: one\n  {NOW}\n  customer: {customer}\n  ask: {{placement: home}}\n"
    [found] = errors(rules, f"{text}  expect: {{outcome: none}}\n")
    assert words in f"{found.message} {found.hint}"
    assert found.line == 3


def test_a_derived_event_that_no_scenario_counts_is_not_covered(rules: Path) -> None:
    loaded = load_files({"policy.yaml": POLICY}).definition
    assert loaded is not None
    policy = compile_policy(loaded)

    def never(customer: str) -> set[str]:
        text = f"- name: one\n  {NOW}\n  customer: {customer}\n  ask: {{placement: home}}\n"
        (rules / "tests" / "a.yaml").write_text(f"{text}  expect: {{}}\n", encoding="utf-8")
        scenarios, _ = read_scenarios(rules, policy)
        coverage = Coverage(loaded)
        asyncio.run(run_scenarios(loaded, scenarios, watcher=coverage))
        return {one.name for one in coverage.report().unseen if one.kind == "derived event"}

    assert never("{}") == {"tea-line", "large", "invitation"}
    amount = "properties: {amount: 100}"
    assert never(f"{{events: [{{type: purchase, {YESTERDAY}, {amount}}}]}}") == {
        "tea-line",
        "invitation",
    }


@pytest.mark.parametrize(
    ("customer", "ask", "seen"),
    [
        ("{}", "", set()),
        ("{BUY items: [{category: tea}], amount: 99}}]}", "", {"tea-line true", "large false"}),
        (
            "{BUY items: [{category: tea}, {category: cup}], amount: 100}}]}",
            "",
            {"tea-line true", "tea-line false", "large true", "gift false"},
        ),
        ("{derive: false, BUY amount: 100}}]}", "", set()),
        ("{BUY amount: 100, to: ben}}]}", "", {"large true", "gift true"}),
        ("{}", "{type: purchase, properties: {amount: 100}}", set()),
        (
            "{}",
            "{id: e1, type: purchase, properties: {amount: 100}}",
            {"large true", "gift false"},
        ),
    ],
)
def test_a_clause_of_a_derived_event_is_seen_where_an_event_could_have_made_it(
    rules: Path, customer: str, ask: str, seen: set[str]
) -> None:
    policy = POLICY.replace(
        "  invitation:", "  gift: {of: large, when: {event.to: {exists: true}}}\n  invitation:"
    )
    (rules / "policy.yaml").write_text(policy, encoding="utf-8")
    definition = load_files({"policy.yaml": policy}).definition
    assert definition is not None
    customer = customer.replace("BUY", "events: [{type: purchase, YESTERDAY, properties: {")
    text = f"- name: one\n  {NOW}\n  customer: {customer.replace('YESTERDAY', YESTERDAY)}\n"
    event = f", event: {ask}" if ask else ""
    text += f"  ask: {{placement: home{event}}}\n  expect: {{}}\n"
    (rules / "tests" / "a.yaml").write_text(text, encoding="utf-8")
    scenarios, diagnostics = read_scenarios(rules, compile_policy(definition))
    assert diagnostics == []
    coverage = Coverage(definition)
    asyncio.run(run_scenarios(definition, scenarios, watcher=coverage))
    derived = [one for one in coverage.sights if one.kind == "clause" and "event." in one.name]
    assert len(derived) == 6
    found = [one for one in derived if one in coverage.seen]
    assert {f"{one.name.partition(':')[0]} {one.what}" for one in found} == seen


def test_a_recorded_decision_has_its_derived_events_and_scores_again() -> None:
    definition = load_files({"policy.yaml": POLICY}).definition
    assert definition is not None
    policy = compile_policy(definition)

    async def lived() -> str:
        engine = Engine(store, EngineSettings(), lambda: NOON)
        at = from_micros(NOON)
        engine.use(await build_snapshot(definition, None, store, at, durable=False))
        await engine.customers.update("mei", CustomerUpdate(attributes={"a": 1}))
        basket = [{"category": "tea"}, {"category": "tea"}]
        events = [
            Event(type="purchase", customer_id="mei", properties={"items": basket, "amount": 60}),
            Event(type="purchase", customer_id="mei", properties={"amount": 60}),
            Event(type="sign-up", customer_id="ben", properties={"inviter": "mei"}),
        ]
        assert (await engine.events.record(events)).accepted == 3
        request = DecisionRequest(placement="home", customer_id="mei")
        return (await engine.decide(request)).decision_id

    async def look_up() -> object:
        return await find_logged(store, decision_id)

    store = MemoryStore()
    decision_id = asyncio.run(lived())
    found = asyncio.run(look_up())
    assert isinstance(found, tuple)
    recorded = record(found[0], policy, policy)
    assert recorded.scenario.customer.scores == {"interest": 120.0}
    text, result = run_recorded(definition, recorded.scenario, "rules")
    assert result.problems == [], text
    assert "derive: false" in text
