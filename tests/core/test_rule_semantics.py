"""Business rules mean what a straight reading of the file says, whatever they are made of.

The judge reads the rules from top to bottom with dictionaries and sets. What decides asks them by
strata, in the rule engine, over bit masks; both must come to the same.
"""

from __future__ import annotations

import random
from fnmatch import fnmatch
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core.business_rules import PlainMatcher
from decision.core.conditions import ALWAYS, All, AnyOf, Clause, Condition, Not
from decision.core.decide import Question, Verdict, decide
from decision.core.definition import Channel, Message, Placement, PolicyDefinition, Rule, Selector
from decision.core.masks import indices
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from decision.core.reasons import Reason
from decision.rulebook.durable_engine import DurableMatcher
from tests.core.small import NOON, Fixed, customer, definition

CHANNELS = ("push", "email", "sms")
MESSAGES = tuple(
    Message(
        name=name,
        purpose=purpose,
        category=category,
        tags=tags,
        channels=channels,
        value=10.0,
    )
    for name, purpose, category, tags, channels in [
        ("sale-a", "marketing", "sale", ("coupon", "new"), ("push", "email")),
        ("sale-b", "marketing", "sale", (), ("sms",)),
        ("tip-a", "service", "tip", ("new",), ("email", "sms")),
        ("tip-b", "service", "", ("coupon",), ("push",)),
    ]
)
NAMES = ("a", "b", "c", "d")


def build(rules: tuple[Rule, ...]) -> PolicyDefinition:
    return definition(
        channels=tuple(Channel(name=name) for name in CHANNELS),
        placements=(Placement(name="outbound", channels=CHANNELS, threshold=-1.0),),
        messages=MESSAGES,
        rules=rules,
    )


# ------------------------------------------------------------------ the judge


def fits(selector: Selector, message: Message, channel: str) -> bool:
    wanted = {
        "messages": [message.name],
        "tags": list(message.tags),
        "category": [message.category],
        "purpose": [message.purpose],
        "channel": [channel],
    }
    for key, found in wanted.items():
        allowed = getattr(selector, key)
        if allowed is not None and not any(
            fnmatch(one, glob) if key == "messages" else one == glob
            for one in found
            for glob in allowed
        ):
            return False
    return True


def true(condition: Condition, known: dict[str, Any]) -> bool:
    match condition:
        case Not(part):
            return not true(part, known)
        case All(parts):
            return all(true(part, known) for part in parts)
        case AnyOf(parts):
            return any(true(part, known) for part in parts)
        case Clause(field, op, wanted):
            value = known.get(field.removeprefix("customer."))
            same = value is not None and (type(value), value) == (type(wanted), wanted)
            match op:
                case "eq":
                    return same
                case "ne":
                    return not same
                case "exists":
                    return (value is not None) is wanted
                case "gte":
                    return type(value) is int and value >= wanted
    raise AssertionError(condition)


def read_straight(
    rules: tuple[Rule, ...], known: dict[str, Any]
) -> tuple[set[tuple[str, str]], dict[tuple[str, str], float], dict[str, Any]]:
    """(what is excluded, the lever of each candidate, what is known in the end)."""
    everything = [(message, channel) for message in MESSAGES for channel in message.channels]
    known = dict(known)
    excluded: set[tuple[str, str]] = set()
    levers = {(message.name, channel): 1.0 for message, channel in everything}
    for rule in rules:
        if not true(rule.when, known):
            continue
        for message, channel in everything:
            pair = message.name, channel
            if rule.exclude is not None and fits(rule.exclude, message, channel):
                excluded.add(pair)
            if rule.allow_only is not None and not fits(rule.allow_only, message, channel):
                excluded.add(pair)
            if rule.boost is not None and fits(rule.boost, message, channel):
                levers[pair] *= rule.by
        known.update({field.removeprefix("customer."): v for field, v in rule.set.items()})
    return excluded, levers, known


def decided(
    policy: Policy, attributes: dict[str, Any], matcher: Any = None
) -> tuple[set[tuple[str, str]], dict[tuple[str, str], float], dict[str, Any], Verdict]:
    verdict = decide(
        policy,
        matcher or DurableMatcher(policy.rules, policy.rule_strata, policy.fields.slot),
        Fixed(policy, {}),
        customer(attributes=attributes),
        Question(placement="outbound"),
        NOON,
        lambda: 0.0,
    )

    def pair(index: int) -> tuple[str, str]:
        return policy.candidates[index].message, policy.candidates[index].channel

    excluded = {pair(index) for index in indices(verdict.fallen.get(Reason.RULE_EXCLUDED, 0))}
    levers = {pair(row.candidate): row.lever for row in verdict.scores.rows()}
    known = dict(attributes)
    for field, value in zip(policy.fields.fields, verdict.values, strict=True):
        if value or value is False or value == 0:
            known[field.name.removeprefix("customer.")] = value
    return excluded, levers, known, verdict


def agree(rules: tuple[Rule, ...], situations: list[dict[str, Any]]) -> None:
    policy = compile_policy(build(rules))
    engine = DurableMatcher(policy.rules, policy.rule_strata, policy.fields.slot)
    plain = PlainMatcher(policy.rules, policy.rule_strata, policy.fields.slot)
    for attributes in situations:
        excluded, levers, known = read_straight(rules, attributes)
        for matcher in (engine, plain):
            found = decided(policy, attributes, matcher)
            assert found[0] == excluded
            assert found[1] == {pair: levers[pair] for pair in levers if pair not in excluded}
            assert {name: found[2].get(name) for name in NAMES} == {
                name: known.get(name) for name in NAMES
            }
    engine.close()


# ------------------------------------------------------------------ whatever the rules

fields = st.sampled_from([f"customer.{name}" for name in NAMES])
values = st.sampled_from([0, 1, 2, "gold", "1", True, False])
conditions: st.SearchStrategy[Condition] = st.recursive(
    st.one_of(
        st.just(ALWAYS),
        st.builds(Clause, fields, st.sampled_from(["eq", "ne"]), values),
        st.builds(Clause, fields, st.just("gte"), st.sampled_from([0, 1, 2])),
        st.builds(Clause, fields, st.just("exists"), st.booleans()),
    ),
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: All(tuple(parts))),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: AnyOf(tuple(parts))),
    ),
    max_leaves=3,
)


def some(*choices: str) -> st.SearchStrategy[tuple[str, ...] | None]:
    return st.one_of(
        st.none(), st.lists(st.sampled_from(choices), min_size=1, max_size=2).map(tuple)
    )


selectors = st.builds(
    Selector,
    messages=some("sale-*", "*-a", "tip-b", "none", "*"),
    tags=some("coupon", "new"),
    category=some("sale", "tip"),
    purpose=some("marketing", "service"),
    channel=some(*CHANNELS),
)
sets = st.dictionaries(fields, values, max_size=2)
factors = st.sampled_from([0.25, 0.5, 1.0, 2.0, 8.0])  # powers of two multiply exactly
rules = st.one_of(
    st.builds(Rule, name=st.just("set"), when=conditions, set=sets),
    st.builds(
        Rule,
        name=st.just("several"),
        when=conditions,
        set=sets,
        exclude=st.one_of(st.none(), selectors),
        allow_only=st.one_of(st.none(), selectors),
        boost=st.one_of(st.none(), selectors),
        by=factors,
    ),
)
attributes = st.dictionaries(st.sampled_from(NAMES), values, max_size=4)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(rules, min_size=1, max_size=8).map(tuple),
    st.lists(attributes, min_size=1, max_size=4),
)
def test_rules_do_what_a_straight_reading_of_the_file_says(
    some_rules: tuple[Rule, ...], situations: list[dict[str, Any]]
) -> None:
    agree(some_rules, situations)


@pytest.mark.soak
@settings(deadline=None, max_examples=30_000)
@given(
    st.lists(rules, min_size=1, max_size=40).map(tuple),
    st.lists(attributes, min_size=1, max_size=10),
)
def test_rules_do_what_a_straight_reading_of_the_file_says_for_a_long_time(
    some_rules: tuple[Rule, ...], situations: list[dict[str, Any]]
) -> None:
    agree(some_rules, situations)


def random_rules(count: int, rng: random.Random) -> tuple[Rule, ...]:
    def condition() -> Condition:
        field = f"customer.{rng.choice(NAMES)}"
        if rng.random() < 0.5:
            return Clause(field, "eq", rng.choice([0, 1, 2, "gold", True]))
        return Clause(field, "gte", rng.randrange(3))

    found = []
    for number in range(count):
        when = All(tuple(condition() for _ in range(rng.randint(1, 3))))
        one = Selector(channel=(rng.choice(CHANNELS),), purpose=("marketing",))
        # Of a hundred rules one sets a field: chains grow long, but do not fill every stratum.
        kind = "set" if number % 100 == 50 else rng.choice(["exclude", "boost", "boost"])
        action: dict[str, Any] = {kind: one}
        if kind == "set":
            action = {"set": {f"customer.{rng.choice(NAMES)}": rng.choice([0, 1, 2, "gold"])}}
        if kind == "boost":
            action["by"] = rng.choice([0.5, 2.0])
        found.append(Rule(name=f"r{number}", when=when, **action))
    return tuple(found)


def test_two_thousand_rules_do_what_a_straight_reading_says() -> None:
    rng = random.Random(2_000)
    situations = [
        {name: rng.choice([0, 1, 2, "gold", True]) for name in NAMES if rng.random() < 0.7}
        for _ in range(20)
    ]
    agree(random_rules(2_000, rng), situations)


def test_a_chain_of_two_hundred_rules_reaches_its_end() -> None:
    chain = tuple(
        Rule(
            name=f"r{step}",
            when=Clause("customer.a", "eq", step),
            set={"customer.a": step + 1},
            boost=Selector(),
            by=1.0,
        )
        for step in range(200)
    )
    last = Rule(
        name="end", when=Clause("customer.a", "eq", 200), exclude=Selector(tags=("coupon",))
    )
    agree((*chain, last), [{"a": 0}, {"a": 199}, {"a": 201}, {}])


# ------------------------------------------------------------------ one by one


def levers(*some_rules: Rule, **attributes: Any) -> dict[tuple[str, str], float]:
    return decided(compile_policy(build(some_rules)), attributes)[1]


SALE = Selector(messages=("sale-*",))


def test_an_exclusion_beats_a_boost_whichever_comes_first() -> None:
    boost = Rule(name="boost", boost=SALE, by=1_000.0)
    exclude = Rule(name="exclude", exclude=SALE)
    for order in ((boost, exclude), (exclude, boost)):
        assert {message for message, _ in levers(*order)} == {"tip-a", "tip-b"}


def test_of_several_allow_only_what_each_allows_is_left() -> None:
    first = Rule(name="one", allow_only=SALE)
    second = Rule(name="two", allow_only=Selector(channel=("email", "sms")))
    assert levers(first, second).keys() == {("sale-a", "email"), ("sale-b", "sms")}


def test_no_rule_brings_back_what_another_has_excluded() -> None:
    rules = (Rule(name="one", exclude=SALE), Rule(name="two", allow_only=SALE))
    assert levers(*rules) == {}


def test_a_rule_that_waits_for_another_does_not_see_what_rules_after_it_set() -> None:
    first = Rule(name="one", when=Clause("customer.a", "eq", 1), set={"customer.b": 1})
    waits = All((Clause("customer.b", "eq", 1), Clause("customer.c", "exists", False)))
    second = Rule(name="two", when=waits, exclude=SALE)
    third = Rule(name="three", set={"customer.c": 1})
    agree((first, second, third), [{"a": 1}, {"a": 1, "c": 1}, {}])
    assert levers(first, second, third, a=1).keys() == {
        ("tip-a", "email"),
        ("tip-a", "sms"),
        ("tip-b", "push"),
    }


def test_a_rule_that_sets_what_it_reads_is_asked_once() -> None:
    rule = Rule(name="up", when=Clause("customer.a", "gte", 1), set={"customer.a": 2})
    assert decided(compile_policy(build((rule,))), {"a": 1})[2]["a"] == 2


def test_a_rule_with_several_actions_takes_them_all() -> None:
    rule = Rule(name="all", set={"customer.a": 1}, exclude=SALE, boost=Selector(), by=2.0)
    after = Rule(name="after", when=Clause("customer.a", "eq", 1), boost=Selector(), by=4.0)
    assert set(levers(rule, after).values()) == {8.0}


def test_what_a_rule_sets_is_what_the_messages_conditions_read() -> None:
    messages = tuple(
        Message(name=name, purpose="service", channels=("email",), value=1.0, when=when)
        for name, when in [
            ("for-gold", Clause("customer.tier", "eq", "gold")),
            ("for-others", Clause("customer.tier", "ne", "gold")),
        ]
    )
    rules = (
        Rule(
            name="spender", when=Clause("customer.spend", "gte", 1), set={"customer.tier": "gold"}
        ),
    )
    policy = compile_policy(definition(messages=messages, rules=rules, placements=_places()))
    for spend, expected in ((1, "for-gold"), (0, "for-others")):
        verdict = decided(policy, {"spend": spend, "tier": "silver"})[3]
        assert [policy.candidates[row.candidate].message for row in verdict.chosen] == [expected]


def _places() -> tuple[Placement, ...]:
    return (Placement(name="outbound", channels=("push", "email")),)
