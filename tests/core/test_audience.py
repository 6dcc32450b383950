"""Who is in an audience: by the code that decides, which agrees with the plain evaluator."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core import business_rules
from decision.core.audience import Audience, Reach
from decision.core.business_rules import PlainMatcher
from decision.core.clock import DAY, HOUR
from decision.core.conditions import (
    All,
    AnyOf,
    Clause,
    Condition,
    FieldOperand,
    Not,
    fields_read,
    holds,
)
from decision.core.definition import PolicyDefinition, Purpose, Suppression
from decision.core.document import (
    Consent,
    Contact,
    ContactKind,
    ContactState,
    Document,
    EventHistory,
    Signal,
)
from decision.core.fields import Situation
from decision.core.narrowing import what_decides
from decision.core.policy_builder import compile_policy
from decision.rulebook.reader import load_files
from tests.core.small import NOON

RULES = """
settings: {timezone: Asia/Shanghai}
calendars: {feast: {dates: [2026-11-21]}}
purposes: {news: {consent: opt_in}, tips: {consent: opt_out}, service: {consent: not_required}}
channels: {email: {}, push: {quiet_hours: {from: "22:00", to: "08:00"}}}
placements: {inbox: {channels: [email, push]}}
messages:
  hello:
    purpose: news
    category: greeting
    channels: [email, push]
    value: 1
    when: {customer.care: personal, events.buy.count_7d: {gte: 1}}
    content: {title: Hello}
caps: {weekly: {of: {purpose: news}, at_most: 2, within: 7d, when: {customer.tier: gold}}}
scores: {interest: {adds: {buy: 3}, half_life: 30d}}
states:
  power: {when: {events.buy.count_7d: {gte: 2}}}
  known: {when: {customer.country: {exists: true}}}
  low: {}
rules:
  spender: {when: {customer.spend: {gte: 100}}, set: {customer.tier: gold}}
  often: {when: {customer.state: power, customer.country: CN}, set: {customer.tier: silver}}
  carer: {when: {customer.tier: gold, contacts.email.count_7d: 0}, set: {customer.care: personal}}
  nobody: {when: {event.type: buy}, set: {customer.tier: iron}}
  loud: {when: {customer.care: personal}, boost: {category: greeting}, by: 2}
  spender-no-more: {when: {customer.sad: true}, set: {customer.tier: none}}
experiments:
  copy: {seed: c-1, variants: {long: 50%, short: 50%}}
  held: {share: 5%, seed: h-1, keeps: [service]}
"""
DEFINITION = load_files({"all.yaml": RULES}).definition
assert DEFINITION is not None
KINDS = [ContactKind("hello", channel, "news", "greeting", ()) for channel in ("email", "push")]

FIELDS: dict[str, list[Any]] = {
    "customer.country": ["CN", "DE", 5],
    "customer.spend": [0, 100, 99.5, "100"],
    "customer.limit": [100, "x"],
    "customer.tier": ["gold", "silver", "iron", "none"],
    "customer.care": ["personal"],
    "customer.sad": [True, False],
    "customer.state": ["power", "known", "low"],
    "customer.segment.vip": [True],
    "customer.born.years_since": [30, 40],
    "events.buy.count_7d": [0, 1, 2],
    "events.buy.days_since": [0, 3],
    "contacts.email.count_7d": [0, 1],
    "contacts.news.count_7d": [0, 2],
    "score.interest": [1, 3],
    "experiment.copy": ["long", "short"],
    "time.hour": [20, 12],
    "time.weekday": ["sat", "sun"],
    "time.in.feast": [True],
}


@st.composite
def clause(draw: st.DrawFn) -> Clause:
    field = draw(st.sampled_from(sorted(FIELDS)))
    value = draw(st.sampled_from(FIELDS[field]))
    operator = draw(st.sampled_from(["eq", "ne", "gte", "lt", "in", "not_in", "exists"]))
    if operator in ("in", "not_in"):
        return Clause(field, operator, (value,))
    if operator == "exists":
        return Clause(field, operator, draw(st.booleans()))
    if draw(st.integers(0, 9)) == 0:
        return Clause(field, operator, FieldOperand(draw(st.sampled_from(sorted(FIELDS)))))
    return Clause(field, operator, value)


CONDITIONS = st.recursive(
    clause(),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: All(tuple(parts))),
        st.lists(inner, max_size=3).map(lambda parts: AnyOf(tuple(parts))),
        inner.map(Not),
    ),
    max_leaves=6,
)


@st.composite
def customer(draw: st.DrawFn) -> Document:
    document = Document(customer_id=draw(st.sampled_from("abcdefgh")), exists=True, kinds=KINDS)
    names = {"country", "spend", "limit", "sad", "tier", "born"}
    values = st.sampled_from(["CN", "DE", 100, 99.5, True, "gold", "1990-02-28", None])
    document.attributes = draw(st.dictionaries(st.sampled_from(sorted(names)), values, max_size=4))
    if draw(st.booleans()):
        document.attributes["segment"] = {"vip": draw(st.sampled_from([True, False, "true"]))}
    document.timezone = draw(st.sampled_from([None, "Europe/Berlin", "Pacific/Auckland"]))
    ages = draw(st.lists(st.integers(0, 10), max_size=3))
    document.contacts = [
        Contact(draw(st.integers(0, 1)), NOON - age * DAY, ContactState.CONFIRMED, 0, 0)
        for age in sorted(ages, reverse=True)
    ]
    if bought := sorted(draw(st.lists(st.integers(0, 9 * 24), max_size=3))):
        seconds = sorted({(NOON - hours * HOUR) // 1_000_000 for hours in bought})
        document.events["buy"] = EventHistory(
            total=len(seconds), last_at=seconds[-1] * 1_000_000, buckets=[[s, 1] for s in seconds]
        )
    return document


def plainly(condition: Condition, document: Document, definition: PolicyDefinition) -> bool:
    """The condition as it reads: on the values that a decision for the customer has."""
    policy = compile_policy(definition, reads=list(fields_read(condition)))
    zone = policy.zone_of(document)
    values = policy.read(Situation(document, "inbox", NOON, zone, variants=policy.variant))
    slot = policy.fields.slot
    matcher = PlainMatcher(policy.rules, policy.rule_strata, slot)
    business_rules.run(policy.rule_strata, policy.rules, matcher, values, slot)

    def true(part: Condition) -> bool:
        match part:
            case Clause():
                other = values[slot(part.operand)] if part.operand else None
                return holds(part, values[slot(part.field)], other)
            case Not(inner):
                return not true(inner)
            case All(parts):
                return all(map(true, parts))
            case AnyOf(parts):
                return any(map(true, parts))

    return true(condition)


@given(condition=CONDITIONS, customers=st.lists(customer(), min_size=1, max_size=4))
@settings(max_examples=200)
def test_an_audience_has_those_of_whom_its_condition_is_true_in_a_decision(
    condition: Condition, customers: list[Document]
) -> None:
    assert DEFINITION is not None
    audience = Audience(DEFINITION, condition, columns=["customer.tier"])
    for document in customers:
        assert audience.matches(document, NOON) is plainly(condition, document, DEFINITION)


def test_only_what_the_fields_depend_on_is_asked() -> None:
    assert DEFINITION is not None
    assert [one.name for one in what_decides(DEFINITION, ["customer.country"])] == []
    found = [one.name for one in what_decides(DEFINITION, ["customer.care"])]
    states, setters = ["power", "known", "low"], ["spender", "often", "carer", "nobody"]
    assert found == [*states, *setters, "spender-no-more"]


NEWS = Purpose(name="news", consent="opt_in")
TIPS = Purpose(name="tips", consent="opt_out")
SERVICE = Purpose(name="service", consent="not_required")
PAUSED = PolicyDefinition(
    version="1",
    purposes=(NEWS, TIPS, SERVICE),
    suppressions=(
        Suppression(name="loud", event="message.complained", times=1, within=DAY, pause=DAY),
        Suppression(
            name="off", event="message.dismissed", times=1, within=DAY, pause=DAY, per="channel"
        ),
    ),
)


@pytest.mark.parametrize(
    ("purpose", "channel", "consents", "why"),
    [
        (NEWS, "email", {}, "no_consent"),
        (NEWS, "email", {"news": {"email": True}}, None),
        (NEWS, "push", {"news": {"email": True}}, "no_consent"),
        (NEWS, None, {"news": {"email": True}}, "no_consent"),
        (NEWS, None, {"news": {"*": True, "email": False}}, None),
        (NEWS, None, {"*": {"*": True}}, None),
        (TIPS, None, {}, None),
        (TIPS, "email", {"*": {"email": False}}, "no_consent"),
        (SERVICE, "email", {"*": {"*": False}}, None),
    ],
)
def test_consent_is_that_for_the_purpose_on_the_channel_or_in_general(
    purpose: Purpose, channel: str | None, consents: Any, why: str | None
) -> None:
    audience = Audience(PAUSED, All(()), Reach(purpose, channel))
    document = Document(customer_id="ann", exists=True)
    document.consents = {
        name: {where: Consent(given) for where, given in rows.items()}
        for name, rows in consents.items()
    }
    assert audience.withheld(document, NOON) == why


@pytest.mark.parametrize("channel", ["email", "push", None])
def test_pauses_of_everything_and_of_the_channel_hold(channel: str | None) -> None:
    audience = Audience(PAUSED, All(()), Reach(SERVICE, channel))
    dismissed = Signal("message.dismissed", NOON, "hello", "email", "greeting")
    complained = Signal("message.complained", NOON, "hello", "sms", "greeting")
    document = Document(customer_id="ann", exists=True, signals=[dismissed])
    assert audience.withheld(document, NOON) == ("suppressed" if channel == "email" else None)
    assert audience.withheld(document, NOON + DAY) is None
    document.signals = [complained]
    assert audience.withheld(document, NOON) == "suppressed"


def test_reach_matters_on_a_channel_only() -> None:
    document = Document(customer_id="ann", exists=True, reachable=["push"], unreachable=["sms"])
    found = {
        channel: Audience(PAUSED, All(()), Reach(SERVICE, channel)).withheld(document, NOON)
        for channel in ("push", "email", "sms", None)
    }
    assert found == {"push": None, "email": "unreachable", "sms": "unreachable", None: None}
    assert Audience(PAUSED, All(())).withheld(document, NOON) is None
