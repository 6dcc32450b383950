"""Business rules: the order in which they are asked, and what their `set` changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core.business_rules import Override, PlainMatcher, run, strata_of
from decision.core.conditions import ALWAYS, All, AnyOf, Clause, Condition, Not, compile_condition
from decision.core.definition import Rule
from decision.core.values import MISSING, Value

FIELDS = ("customer.a", "customer.b", "customer.c", "customer.d")
slot_of: Callable[[str], int] = FIELDS.index


def eq(field: str, value: Value) -> Clause:
    return Clause(field, "eq", value)


def rule(name: str, when: Condition = ALWAYS, **values: Value) -> Rule:
    return Rule(name=name, when=when, set={f"customer.{key}": v for key, v in values.items()})


def ask(rules: Sequence[Rule], values: list[Value]) -> int:
    order = strata_of(rules, slot_of)
    return run(order, rules, PlainMatcher(rules, order, slot_of), values, slot_of)


def one_by_one(rules: Sequence[Rule], values: list[Value]) -> int:
    """What rules mean: each in file order sees what those before it have set."""
    fired = 0
    for index, one in enumerate(rules):
        if compile_condition(one.when, slot_of)(values):
            fired |= 1 << index
            for field, value in one.set.items():
                values[slot_of(field)] = value
    return fired


fields = st.sampled_from(FIELDS)
small = st.sampled_from([MISSING, 0, 1, "gold", True])
leaves = st.builds(Clause, fields, st.sampled_from(["eq", "ne"]), small.filter(lambda v: v != ""))
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.lists(inner, max_size=3).map(lambda parts: All(tuple(parts))),
        st.lists(inner, max_size=3).map(lambda parts: AnyOf(tuple(parts))),
    ),
    max_leaves=4,
)
rule_lists = st.lists(
    st.builds(
        Rule,
        name=st.just("r"),
        when=conditions,
        set=st.dictionaries(fields, st.sampled_from([0, 1, "gold", True]), max_size=2),
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=200)
@given(rule_lists, st.lists(small, min_size=4, max_size=4))
def test_asking_by_strata_gives_what_asking_one_by_one_in_file_order_gives(
    rules: list[Rule], values: list[Value]
) -> None:
    expected_values, found_values = list(values), list(values)
    assert ask(rules, found_values) == one_by_one(rules, expected_values)
    assert found_values == expected_values


@settings(deadline=None)
@given(rule_lists)
def test_every_rule_is_in_just_one_stratum_and_in_file_order_within_it(rules: list[Rule]) -> None:
    strata = strata_of(rules).strata
    assert sorted(index for stratum in strata for index in stratum) == list(range(len(rules)))
    assert all(stratum and list(stratum) == sorted(stratum) for stratum in strata)


def test_a_rule_sees_what_a_rule_before_it_set() -> None:
    rules = [
        rule("big-spender", Clause("customer.a", "gte", 10_000), b="gold"),
        rule("vip", eq("customer.b", "gold")),
    ]
    assert strata_of(rules).strata == ((0,), (1,))
    assert ask(rules, [20_000, MISSING, MISSING, MISSING]) == 0b11
    assert ask(rules, [10, MISSING, MISSING, MISSING]) == 0b00


def test_a_rule_does_not_see_what_only_a_rule_after_it_sets() -> None:
    rules = [rule("vip", eq("customer.b", "gold")), rule("everybody", b="gold")]
    assert strata_of(rules).strata == ((0, 1),)
    assert ask(rules, [MISSING] * 4) == 0b10


def test_of_two_rules_that_set_a_field_the_later_wins() -> None:
    values: list[Value] = [MISSING] * 4
    ask([rule("first", a=1), rule("second", a=2)], values)
    assert values[0] == 2


def test_an_earlier_rule_in_a_later_stratum_still_loses_to_a_later_rule() -> None:
    rules = [
        rule("base", a="x"),
        rule("fed", eq("customer.a", "x"), b=1),
        rule("last", b=2),
    ]
    values: list[Value] = [MISSING] * 4
    assert ask(rules, values) == 0b111
    assert values[1] == 2


def test_a_rule_may_change_the_field_it_reads() -> None:
    values: list[Value] = [1, MISSING, MISSING, MISSING]
    rules = [rule("up", eq("customer.a", 1), a=2), rule("up again", eq("customer.a", 2), a=3)]
    assert ask(rules, values) == 0b11
    assert values[0] == 3


def test_rules_that_do_not_feed_each_other_are_asked_together() -> None:
    rules = [rule(f"r{i}", eq("customer.a", i)) for i in range(100)]
    assert len(strata_of(rules).strata) == 1


def test_overrides_tell_slot_value_and_rule_in_the_order_in_which_they_took_effect() -> None:
    rules = [
        rule("one", a=1),
        rule("silent", eq("customer.d", "never"), b=9),
        rule("two", eq("customer.a", 1), a=2, c=3),
    ]
    order = strata_of(rules, slot_of)
    overrides: list[Override] = []
    matcher = PlainMatcher(rules, order, slot_of)
    assert run(order, rules, matcher, [MISSING] * 4, slot_of, overrides) == 0b101
    assert overrides == [(0, 1, 0), (0, 2, 2), (2, 3, 2)]


def test_a_plan_made_without_slots_gives_the_same_answers() -> None:
    rules = [rule("one", a=1), rule("two", eq("customer.a", 1), b=2)]
    order = strata_of(rules)
    values: list[Value] = [MISSING] * 4
    assert run(order, rules, PlainMatcher(rules, order, slot_of), values, slot_of) == 0b11
    assert values[:2] == [1, 2]


def test_without_rules_nothing_is_asked() -> None:
    order = strata_of([], slot_of)
    assert order.strata == ()
    assert run(order, [], PlainMatcher([], order, slot_of), [], slot_of) == 0
