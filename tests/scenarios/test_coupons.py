"""Coupon codes in scenarios: made up, as many as a scenario says, and recorded where few are left."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from decision.core.coupons import counter_of
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from decision.rulebook.reader import load_files
from decision.scenarios import run_scenarios, scenarios_in
from decision.scenarios.coverage import Coverage, Sight
from tests.scenarios.test_recording import logged, passes

POLICY = """
settings: {timezone: Asia/Shanghai, currency: CNY, exploration: "off"}
purposes: {tips: {consent: opt_out}}
channels: {push: {}}
placements: {outbound: {channels: [push]}}
coupons: {spring-10: {give_back_after: 14d}}
messages:
  a: {purpose: tips, channels: [push], value: 9, coupon: spring-10, content: {body: "{{ coupon.code }}"}}
  b: {purpose: tips, channels: [push], value: 1, content: {body: B}}
"""
NOW = "now: 2026-11-21T10:00:00+08:00"


def policy() -> Policy:
    definition = load_files({"all.yaml": POLICY}).definition
    assert definition is not None
    return compile_policy(definition)


def problems(text: str) -> list[str]:
    """What is wrong with a scenario, or with what it gives."""
    here = policy()
    placed, diagnostics = scenarios_in("tests/all.yaml", text, here)
    if diagnostics:
        return [f"{one.message}; {one.hint}" for one in diagnostics]
    results = asyncio.run(run_scenarios(here.definition, placed, durable=False))
    return [problem for one in results for problem in one.problems]


@pytest.mark.parametrize(
    ("given", "codes"),
    [("{}", ["CODE-1", "CODE-2", "CODE-3"]), ("{spring-10: 2}", ["CODE-1", "CODE-2", "B"])],
)
def test_codes_are_made_up_and_as_many_as_a_scenario_says(given: str, codes: list[str]) -> None:
    steps = "".join(
        f"    - {{ask: {{placement: outbound}}, expect: {{content: {{body: {code}}}}}}}\n"
        for code in codes
    )
    assert problems(f"- name: x\n  {NOW}\n  coupons: {given}\n  steps:\n{steps}") == []


def test_a_dry_run_prints_a_placeholder_and_takes_none() -> None:
    steps = """
    - {ask: {placement: outbound, dry_run: true}, expect: {content: {body: CODE}}}
    - {ask: {placement: outbound}, expect: {content: {body: CODE-1}}}
    - {ask: {placement: outbound}, expect: {message: b, reasons: {a/push: budget_spent}}}
"""
    assert problems(f"- name: x\n  {NOW}\n  coupons: {{spring-10: 1}}\n  steps:{steps}") == []


REDEEMED = "{type: coupon.redeemed, at: 2026-11-20T09:00:00+08:00, properties: {code: CODE-1}}"


@pytest.mark.parametrize(
    ("given", "then"),
    [
        ("coupons: {spring-10: 1}", "{message: b}"),
        ("coupons: {spring-10: 2}", "{content: {body: CODE-2}}"),
        (f"coupons: {{spring-10: 1}}\n  customer: {{events: [{REDEEMED}]}}", ""),
    ],
)
def test_a_code_that_was_redeemed_never_comes_back(given: str, then: str) -> None:
    """Told in a step, also after it came back; or as something that happened before."""
    later = REDEEMED.replace("11-20T09", "11-30T09")
    steps = "    - {ask: {placement: outbound}, expect: {message: b}}\n"
    if then:
        steps = f"""\
    - {{ask: {{placement: outbound}}, expect: {{content: {{body: CODE-1}}}}}}
    - {{now: 2026-12-06T10:00:00+08:00, events: [{later}], ask: {{placement: outbound}}, expect: {then}}}
    - {{now: 2027-01-06T10:00:00+08:00, ask: {{placement: outbound, dry_run: true}}, expect: {{}}}}
"""
    assert problems(f"- name: x\n  {NOW}\n  {given}\n  steps:\n{steps}") == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("coupons: {sprin-10: 1}", 'did you mean "spring-10"?'),
        ("coupons: {spring-10: -1}", "0"),
        ("coupons: {spring-10: A}", ""),
        ("table: [{coupons.sprin-10: 1, expect: none}]", "coupons.spring-10"),
    ],
)
def test_a_pool_that_is_not_there_and_a_number_that_is_none_are_refused(
    line: str, problem: str
) -> None:
    expect = "" if "table" in line else "  expect: {outcome: selected}\n"
    found = problems(f"- name: x\n  {NOW}\n  {line}\n  ask: {{placement: outbound}}\n{expect}")
    assert found
    assert problem in found[0]


@pytest.mark.parametrize(("left", "kept"), [(0, {"spring-10": 0}), (3, {"spring-10": 3}), (10, {})])
def test_a_recorded_decision_keeps_that_few_codes_were_left(
    left: int, kept: dict[str, int]
) -> None:
    here = policy()
    more: dict[str, Any] = (
        {"spent": frozenset({"a/push"}), "given": ("b/push",)} if not left else {}
    )
    one = logged(here, budgets={counter_of("spring-10"): -left} if left else {}, **more)
    scenario, _ = passes(here, one)
    assert scenario.coupons == kept


def test_an_empty_pool_is_something_to_be_seen() -> None:
    here = policy()
    text = f"- name: x\n  {NOW}\n  table: [{{coupons.spring-10: 1, expect: a}}, {{coupons.spring-10: 0, expect: b}}]\n  ask: {{placement: outbound}}\n"
    placed, _ = scenarios_in("tests/all.yaml", text, here)
    sight = Sight("coupon pool", "spring-10", "was empty")
    coverage = Coverage(here.definition)
    assert sight in coverage.sights
    asyncio.run(run_scenarios(here.definition, placed[:1], watcher=coverage))
    assert sight not in coverage.seen
    asyncio.run(run_scenarios(here.definition, placed[1:], watcher=coverage))
    assert sight in coverage.seen
