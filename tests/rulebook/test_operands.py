"""A field may be compared with another field, everywhere that a condition is looked at."""

from __future__ import annotations

from typing import Any

import pytest

from decision.core.business_rules import PlainMatcher
from decision.core.decide import Question, Verdict, decide
from decision.core.explanation import explain
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from decision.rulebook.durable_engine import DurableMatcher
from decision.rulebook.reader import load_files
from tests.core.small import NOON, Fixed, customer

SHOP = """\
purposes: {service: {consent: not_required}}
channels: {push: {}}
placements: {outbound: {channels: [push]}}
messages:
  offer: {purpose: service, channels: [push], value: 1, when: %s}
"""


def policy_of(text: str) -> Policy:
    found = load_files({"a.yaml": text})
    assert found.definition is not None, [one.message for one in found.errors]
    return compile_policy(found.definition)


def verdict_of(policy: Policy, attributes: dict[str, Any], durable: bool = False) -> Verdict:
    document = customer(attributes=attributes)
    make = DurableMatcher if durable else PlainMatcher
    matcher = make(policy.rules, policy.rule_strata, policy.fields.slot)
    question = Question(placement="outbound")
    return decide(policy, matcher, Fixed(policy, {}), document, question, NOON, lambda: 0.0)


@pytest.mark.parametrize(
    ("when", "attributes", "detail"),
    [
        (
            "{customer.a: {gt: {field: customer.b}}}",
            {"a": 1, "b": 3},
            "customer.a is 1, must be more than customer.b, which is 3",
        ),
        (
            "{customer.a: {gt: {field: customer.b}}}",
            {"a": "2026-11-01", "b": "2026-11-21"},
            'customer.a is "2026-11-01", must be after customer.b, which is "2026-11-21"',
        ),
        (
            "{not: {customer.a: {lte: {field: customer.b}}}}",
            {"a": "2026-11-01", "b": "2026-11-21"},
            'customer.a is "2026-11-01", must not be at or before customer.b, which is "2026-11-21"',
        ),
        (
            "{customer.a: {eq: {field: customer.b}}}",
            {},
            "customer.a is missing, must be customer.b, which is missing",
        ),
        (
            "{customer.a: {eq: {field: customer.b}}}",
            {"a": 1, "b": True},
            "customer.a is 1, must be customer.b, which is true",
        ),
        (
            "{customer.a: {in: {field: customer.b}}}",
            {"a": "S", "b": ["M", "L"]},
            'customer.a is "S", must be one of customer.b, which is ["M", "L"]',
        ),
        (
            "{customer.a: {vgte: {field: customer.b}}}",
            {"a": "2.9.0", "b": "2.10.0"},
            'customer.a is "2.9.0", must be version customer.b, which is "2.10.0", or later',
        ),
        (
            '{customer.a: {vgte: "2.10.0"}}',
            {"a": "2.9.0"},
            'customer.a is "2.9.0", must be version "2.10.0" or later',
        ),
    ],
)
def test_an_explanation_shows_both_values(
    when: str, attributes: dict[str, Any], detail: str
) -> None:
    policy = policy_of(SHOP % when)
    (row,) = explain(policy, verdict_of(policy, attributes))
    assert (row.reason, row.detail) == ("not_eligible", detail)


def test_what_is_kept_of_events_includes_the_operand() -> None:
    policy = policy_of(SHOP % "{customer.a: {lt: {field: events.purchase.sum_amount_7d}}}")
    assert policy.measures()["purchase"].sums == ("amount",)


RULES = """\
purposes: {service: {consent: not_required}}
channels: {push: {}}
placements: {outbound: {channels: [push]}}
messages: {offer: {purpose: service, channels: [push], value: 1}}
rules:
  limit: {when: {customer.gold: true}, set: {customer.limit: 100}}
  above: {when: {customer.spend: {gt: {field: customer.limit}}}, exclude: {messages: offer}}
"""


@pytest.mark.parametrize("durable", [False, True])
def test_a_rule_sees_an_operand_that_a_rule_above_has_set(durable: bool) -> None:
    policy = policy_of(RULES)
    assert policy.rule_strata.strata == ((0,), (1,))
    for gold, outcome in ((True, "none"), (False, "selected")):
        assert verdict_of(policy, {"gold": gold, "spend": 101}, durable).outcome == outcome


def test_rules_that_feed_each_other_through_an_operand_are_a_circle() -> None:
    text = RULES + "  back: {when: {customer.limit: 100}, set: {customer.gold: true}}\n"
    text = text.replace(
        "{customer.gold: true}, set", "{customer.one: {eq: {field: customer.gold}}}, set"
    )
    assert "set-cycle" in {one.code for one in load_files({"a.yaml": text}).diagnostics}


def test_an_experiment_as_an_operand_exposes() -> None:
    text = SHOP % "{customer.a: {eq: {field: experiment.copy}}}"
    policy = policy_of(text + "experiments: {copy: {seed: s, variants: {long: 50%, short: 50%}}}\n")
    assert [one.experiment for one in policy.exposures] == ["copy"]


@pytest.mark.parametrize(
    ("when", "code", "words"),
    [
        ("{customer.a: {gt: {field: customer.a}}}", "never-holds", "compare it with another field"),
        ("{customer.a: {in: {field: customer.a}}}", "never-holds", "customer.a can never be"),
        ("{events.x.count: {ne: {field: events.x.count}}}", "never-holds", "events.x.count"),
        ("{events.x.count: {gte: {field: events.x.count}}}", "always-holds", "events.x.count"),
        ("{customer.a: {eq: {field: customer.a}}}", "no-effect", "{exists: true}"),
        (
            "{customer.a: {gt: {field: customer.b}}, customer.b: {gte: {field: customer.a}}}",
            "never-holds",
            "where customer.a is more than customer.b, customer.b cannot be customer.a or more",
        ),
        ('{customer.v: {vgt: "2.0", vlt: "1.0"}}', "never-holds", 'a version before "1.0"'),
        (
            "{any: [{time.hour: {gt: {field: events.x.count}}}, "
            "{time.hour: {lte: {field: events.x.count}}}]}",
            "always-holds",
            "cover every case",
        ),
    ],
)
def test_what_can_never_or_always_hold_is_said(when: str, code: str, words: str) -> None:
    (found,) = load_files({"a.yaml": SHOP % when}).diagnostics
    assert found.code == code
    assert words in f"{found.message} | {found.hint}"


@pytest.mark.parametrize(
    ("when", "code", "words"),
    [
        ("{customer.b.anniversary_in: 400}", "doubtful-comparison", "a whole number from 0 to 365"),
        ("{customer.b.anniversary_in: -1}", "doubtful-comparison", "is never -1"),
        ("{customer.b.days_until: 1.5}", "doubtful-comparison", "days_until is a whole number"),
        (
            "{customer.b.years_since: {gte: 18, exists: false}}",
            "never-holds",
            "cannot be both 18 or more and missing",
        ),
    ],
)
def test_what_a_measure_of_a_date_is_never_is_said(when: str, code: str, words: str) -> None:
    (found,) = load_files({"a.yaml": SHOP % when}).diagnostics
    assert found.code == code
    assert words in f"{found.message} | {found.hint}"
    assert "0 or more" not in found.hint


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ("{customer.a: {eq: {field: placement}}}, {customer.a: home}", "unshown-message"),
        ("{customer.a: {eq: {field: time.hour}}}, {customer.a: 12}", "always-quiet"),
    ],
)
def test_the_review_finds_the_place_of_a_field_that_is_only_an_operand(
    parts: str, code: str
) -> None:
    text = (
        'channels: {push: {quiet_hours: {from: "08:00", to: "07:00"}}, email: {}}\n'
        "purposes: {service: {consent: not_required}}\n"
        "placements: {outbound: {channels: [push]}, home: {channels: [email]}}\n"
        "messages:\n"
        "  m: {purpose: service, channels: [push], placements: [outbound], value: 1,\n"
        f"    when: {{all: [{parts}]}}}}\n"
    )
    (found,) = load_files({"a.yaml": text}).diagnostics
    assert (found.code, found.line, found.column) == (code, 6, 32)


def test_a_measure_of_an_attribute_that_a_rule_sets_gets_a_warning() -> None:
    when = "{customer.renewal.days_until: {gte: 0, lt: 9}}"
    text = (
        SHOP % when + "rules: {r: {when: {customer.a: 1}, set: {customer.renewal: 2027-01-01}}}\n"
    )
    (found,) = load_files({"a.yaml": text}).diagnostics
    assert found.code == "no-effect"
    assert (found.line, found.column) == (5, 94)
    assert 'not from what rule "r" sets' in found.message


@pytest.mark.parametrize("durable", [False, True])
def test_measures_of_dates_decide_in_rules_and_in_messages(durable: bool) -> None:
    when = "{customer.renewal.days_until: {gte: 0, lte: {field: customer.notice}}}"
    gone = "rules: {r: {when: {customer.b.years_since: {lt: 18}}, exclude: {messages: offer}}}\n"
    policy = policy_of(SHOP % when + gone)
    for attributes, outcome in (
        ({"renewal": "2026-11-28", "notice": 7}, "selected"),
        ({"renewal": "2026-11-29", "notice": 7}, "none"),
        ({"renewal": "2026-11-20", "notice": 7}, "none"),
        ({"renewal": "2026-11-28", "notice": 7, "b": "2008-11-22"}, "none"),
        ({"renewal": "2026-11-28", "notice": 7, "b": "2008-11-21"}, "selected"),
    ):
        assert verdict_of(policy, attributes, durable).outcome == outcome
