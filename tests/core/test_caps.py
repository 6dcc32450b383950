"""Caps that do not always allow the same: with a condition, or with a number from a field."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.core.caps import number_of
from decision.core.clock import DAY, HOUR
from decision.core.conditions import ALWAYS, Clause, compile_condition
from decision.core.contact_policy import NEVER
from decision.core.definition import Cap, Experiment, FieldLimit, Rule, Selector
from decision.core.document import ContactState
from decision.core.explanation import explain
from decision.core.policy_builder import compile_policy
from tests.core.small import NOON, ask, contact, customer, definition, reasons

GOLD = Clause("customer.tier", "eq", "gold")
LIMIT = FieldLimit("customer.weekly_limit", 2)
ALL = Selector()

values = st.one_of(
    st.integers(-3, 5),
    st.sampled_from([0, 1.0, 2.5, -0.5, 1e300, 10**30, "3", "", True, False, [2], {"a": 1}]),
)
selectors = st.sampled_from([ALL, Selector(channel=("push",)), Selector(category=("sale",))])
varying = st.builds(
    Cap,
    name=st.sampled_from(["a", "b", "c"]),
    of=selectors,
    at_most=st.integers(1, 3) | st.builds(FieldLimit, st.just(LIMIT.field), st.integers(0, 3)),
    within=st.sampled_from([HOUR, 7 * DAY, "day", "week"]),
    per=st.sampled_from([None, "message", "category", "channel"]),
    when=st.sampled_from([GOLD, Clause("customer.n", "gt", 1)]),
)


@given(
    st.lists(varying, max_size=3, unique_by=lambda cap: cap.name),
    st.dictionaries(st.sampled_from(["tier", "weekly_limit", "n"]), values | st.just("gold")),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 8 * DAY)), max_size=6),
    st.integers(1, 3),
)
def test_caps_are_those_that_apply_with_the_number_that_the_field_has(
    caps: list[Cap], attributes: dict[str, Any], had: list[tuple[int, int]], limit: int
) -> None:
    """Decided as if the rules had just those caps and numbers; 0 excludes what the cap is about."""
    document = customer(
        attributes=attributes,
        contacts=sorted((contact(kind, NOON - age) for kind, age in had), key=lambda c: c.at),
    )
    base = compile_policy(definition(caps=tuple(caps)), reads=["customer.x"])
    plain, nothing = [], []
    for cap in caps:
        slots = [attributes.get(name, "") for name in ("tier", "n")]
        test = compile_condition(cap.when, ["customer.tier", "customer.n"].index)
        if not test(slots):
            continue
        allowed = cap.at_most
        if isinstance(allowed, FieldLimit):
            found = number_of(attributes.get("weekly_limit", ""))
            allowed = allowed.default if found is None else found
        if allowed == 0:
            nothing.append(Rule(name=cap.name, exclude=cap.of))
        else:
            plain.append(Cap(**{**msgspec.structs.asdict(cap), "at_most": allowed, "when": ALWAYS}))
    judge = compile_policy(definition(caps=tuple(plain), rules=tuple(nothing)))
    verdict = ask(base, document, limit=limit)
    expected = ask(judge, document, limit=limit)
    assert [row.candidate for row in verdict.chosen] == [row.candidate for row in expected.chosen]
    mine, theirs = reasons(base, verdict), reasons(judge, expected)
    assert mine == {
        name: "capped" if reason == "rule_excluded" else reason for name, reason in theirs.items()
    }
    if not nothing:
        assert verdict.not_before == expected.not_before


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (0, 0), (3, 3), (3.0, 3), (10**30, 10**30), (1e300, int(1e300)), (2.5, None), (-1, None),
        (-0.0, 0), (float("inf"), None), (float("nan"), None), ("3", None), (True, None),
        (False, None), ([3], None), ({}, None), (None, None),
    ],
)  # fmt: skip
def test_only_whole_numbers_of_zero_or_more_are_a_limit(value: Any, number: int | None) -> None:
    assert number_of(value) == number


def capped_detail(attributes: dict[str, Any], cap: Cap, count: int) -> str | None:
    policy = compile_policy(definition(caps=(cap,)))
    had = [contact(2, NOON - DAY - minute) for minute in reversed(range(count))]
    verdict = ask(policy, customer(attributes=attributes, contacts=had))
    return next(row.detail for row in explain(policy, verdict) if row.message == "news")


def test_the_explanation_names_the_cap_its_condition_and_where_the_number_came_from() -> None:
    cap = Cap(name="own", of=ALL, at_most=LIMIT, within=7 * DAY, when=GOLD)
    gold = {"tier": "gold"}
    because = '; it applies where customer.tier is "gold"'
    field = "customer.weekly_limit"
    assert capped_detail({**gold, "weekly_limit": 1}, cap, 1) == (
        f"own: 1 contact within 7d, at most 1 by {field}{because}"
    )
    assert capped_detail({**gold, "weekly_limit": "lots"}, cap, 2) == (
        f'own: 2 contacts within 7d, at most 2 by default, as {field} is "lots"{because}'
    )
    assert capped_detail({**gold, "weekly_limit": 0}, cap, 0) == (
        f"own: 0 contacts within 7d, at most 0 by {field}{because}"
    )
    assert "at most 2 by default, as customer.weekly_limit is missing" in str(
        capped_detail(gold, cap, 2)
    )


def test_a_cap_that_allows_nothing_opens_never() -> None:
    policy = compile_policy(definition(caps=(Cap(name="a", of=ALL, at_most=LIMIT, within=DAY),)))
    document = customer(attributes={"weekly_limit": 0}, contacts=[contact(2, NOON - 1)])
    verdict = ask(policy, document)
    assert verdict.reason == "capped" and verdict.not_before is None
    group = policy.contact_policy.groups[0]
    opens = policy.contact_policy.cap_opens(
        group, verdict.standing.limits[group.number], document, NOON, policy.zone
    )
    assert opens == NEVER


def test_an_expiring_reservation_opens_a_cap_by_a_field() -> None:
    policy = compile_policy(definition(caps=(Cap(name="a", of=ALL, at_most=LIMIT, within=DAY),)))
    reserved = contact(2, NOON - 10, ContactState.RESERVED_THEN_RELEASE, mark=60)
    document = customer(attributes={"weekly_limit": 1}, contacts=[reserved])
    assert ask(policy, document).not_before == NOON - 10 + 60_000_000


def test_what_rules_set_counts_for_caps() -> None:
    """As for messages: the values are those that the rules have left."""
    gold = Rule(name="gold", set={"customer.tier": "gold", "customer.weekly_limit": 0})
    cap = Cap(name="own", of=ALL, at_most=LIMIT, within=7 * DAY, when=GOLD)
    policy = compile_policy(definition(caps=(cap,), rules=(gold,)))
    assert ask(policy, customer()).reason == "capped"


def test_an_experiment_with_caps_exposes_those_whom_the_caps_may_hold_back() -> None:
    """A test of two frequencies is a test: its variants are logged."""
    often = Experiment(name="often", seed="o", variants={"a": 0.5, "b": 0.5})
    when = Clause("experiment.often", "eq", "a")
    cap = Cap(name="slow", of=Selector(category=("sale",)), at_most=1, within=DAY, when=when)
    policy = compile_policy(definition(caps=(cap,), experiments=(often,)))
    assert [one.mask for one in policy.exposures] == [policy.message_masks["offer"]]
    assert ask(policy, customer()).experiments.keys() == {"often"}


def test_a_policy_without_such_caps_decides_by_constants() -> None:
    """Nothing is looked at for what is not used: all decisions share one list of limits."""
    plain = Cap(name="a", of=ALL, at_most=2, within=DAY)
    policy = compile_policy(definition(caps=(plain,)))
    one, other = ask(policy, customer()).standing, ask(policy, customer()).standing
    assert one.limits is other.limits
