"""Conditions: closures, narrator and rule engine say the same of every tree and every fact."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decision.core.business_rules import PlainMatcher, strata_of
from decision.core.condition_words import clause_in_words, facts_of, failures
from decision.core.conditions import (
    ALWAYS,
    LONGEST_SEARCHED,
    OPERATORS,
    VERSION_OPERATORS,
    All,
    AnyOf,
    Clause,
    Condition,
    FieldOperand,
    Not,
    clauses,
    compile_condition,
    holds,
)
from decision.core.definition import Rule
from decision.core.requirements import Requirements
from decision.core.values import MISSING, Value
from decision.rulebook.durable_engine import DurableMatcher

FIELDS = ("event.type", "placement", "customer.a", "customer.b", "customer.c", "context.d")
slot_of: Callable[[str], int] = FIELDS.index
COMPARING = tuple(op for op in OPERATORS if op not in ("matches", "exists"))
"""Operators that may compare two fields."""

# ------------------------------------------------------------------ the judge, written apart


def kind(value: Value) -> str:
    if value is MISSING:
        return "missing"
    if type(value) is bool:
        return "truth"
    if type(value) in (int, float):
        return "number"
    return {str: "text", list: "list", tuple: "list", dict: "mapping"}[type(value)]


def exact(number: float) -> Any:
    """The number as a fraction, which compares exactly; infinities and NaN as they are."""
    return number if isinstance(number, float) and not math.isfinite(number) else Fraction(number)


def same(one: Value, other: Value) -> bool:
    if kind(one) != kind(other) or kind(one) == "missing":
        return False
    match kind(one):
        case "number":
            return bool(exact(one) == exact(other))
        case "list":
            return len(one) == len(other) and all(map(same, one, other))
        case "mapping":
            return set(one) == set(other) and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


def less(one: Value, other: Value) -> bool:
    if kind(one) != kind(other):
        return False
    if kind(one) == "number":
        return bool(exact(one) < exact(other))
    return kind(one) == "text" and [*map(ord, one)] < [*map(ord, other)]


def searched(pattern: str, value: Value) -> bool:
    """Python's own `re`, for patterns that mean the same in RE2."""
    if kind(value) != "text" or any("\ud800" <= letter <= "\udfff" for letter in value):
        return False
    return re.search(pattern, value, re.ASCII) is not None


def version(value: Value) -> str | None:
    """GrowthBook's text of a version, letter by letter; None is no version."""
    if kind(value) == "number":
        if isinstance(value, float) and not math.isfinite(value):
            return None
        whole = isinstance(value, float) and value == int(value) and abs(value) < 1e21
        value = str(int(value)) if whole else str(value)
    if kind(value) != "text" or len(value) > 256:
        return None
    text = value or "0"
    last_line = max(map(text.rfind, "\n\r\u2028\u2029")) + 1
    build = text.find("+", last_line)
    text = text if build < 0 else text[:build]
    text = text[1:] if text[:1] == "v" else text
    parts = [""]
    for letter in text:
        if letter in "-.":
            parts.append("")
        else:
            parts[-1] += letter
    padded = []
    for part in parts:
        digits = part != "" and all(letter in "0123456789" for letter in part)
        padded.append(" " * (5 - len(part)) + part if digits else part)
    return "-".join([*padded, "~"] if len(parts) == 3 else padded)


def judged(clause: Clause, value: Value, operand: Value = MISSING) -> bool:
    wanted = operand if isinstance(clause.value, FieldOperand) else clause.value
    match clause.op:
        case "eq":
            return same(value, wanted)
        case "ne":
            return not same(value, wanted)
        case "gt":
            return less(wanted, value)
        case "gte":
            return less(wanted, value) or (ordered(value) and same(wanted, value))
        case "lt":
            return less(value, wanted)
        case "lte":
            return less(value, wanted) or (ordered(value) and same(wanted, value))
        case "in":
            return kind(wanted) == "list" and any(same(value, item) for item in wanted)
        case "not_in":
            return kind(wanted) != "list" or all(not same(value, item) for item in wanted)
        case "contains" if kind(value) == "list":
            return any(same(item, wanted) for item in value)
        case "contains":
            return kind(value) == kind(wanted) == "text" and value.find(wanted) >= 0
        case "matches":
            return searched(wanted, value)
        case "vgt" | "vgte" | "vlt" | "vlte" | "veq" | "vne":
            one, other = version(value), version(wanted)
            if one is None or other is None:
                return clause.op == "vne"
            found = (one > other) - (one < other)
            return found in {"gt": [1], "gte": [0, 1], "lt": [-1], "lte": [-1, 0], "eq": [0], "ne": [1, -1]}[clause.op[1:]]  # fmt: skip
    assert clause.op == "exists"
    return (kind(value) != "missing") == wanted


def ordered(value: Value) -> bool:
    return kind(value) in ("number", "text")


def operand_of(clause: Clause, values: Sequence[Value]) -> Value:
    if isinstance(clause.value, FieldOperand):
        return values[slot_of(clause.value.field)]
    return MISSING


def true(condition: Condition, values: Sequence[Value]) -> bool:
    match condition:
        case Clause():
            return judged(
                condition, values[slot_of(condition.field)], operand_of(condition, values)
            )
        case Not(part):
            return not true(part, values)
        case All(parts):
            return [true(part, values) for part in parts].count(False) == 0
        case AnyOf(parts):
            return [true(part, values) for part in parts].count(True) > 0


# ------------------------------------------------------------------ what is thrown at them

TEXTS = (
    *("", "5", "0", "true", "null", "gold", "Gold", "gold ", "金牌", "😀", "é", "e\u0301", "ß"),
    *(
        '"',
        "\\",
        '\\"',
        "a\\",
        'a"b',
        "a'b",
        "a\nb",
        "\t",
        "\0",
        "a\0b",
        "\x7f",
        "\u2028",
        "\ufeff",
    ),
    *("{", "[]", ",", ":", "$and", "$m", "id", "\ud800", "a\udfff", "x" * 1_000, "x" * 1_001),
)
NUMBERS = (
    *(
        0,
        1,
        -1,
        5,
        2**31,
        2**53 - 1,
        2**53,
        2**53 + 1,
        -(2**53) - 1,
        2**63,
        -(2**64),
        2**70,
        10**30,
    ),
    *(0.0, -0.0, 0.1, 0.3, 0.1 + 0.2, -2.5, 5.0, 1e-7, 1e-320, 5e-324, 1e16, 1e300, -1e300),
    *(2.0**53, 2.0**53 + 2, 2.0**70, 1.7976931348623157e308, math.inf, -math.inf, math.nan),
)
VERSIONS = (
    *("0", "1", "1.2", "1.2.3", "v1.2.3", "1.2.3-rc.1", "1.2.3+b7", "1.10.0", "2", "2.0.0-beta"),
    *("99999.1", "100000.1", "1..2", "-", "v", "+", "a.b.c"),
)
PATTERNS = ("", "^g", "o.d", "金", "[0-9]+", r"\d$", "(?i)GOLD", r"^$", "a|b", r"\\", '"')

texts = st.one_of(st.sampled_from(TEXTS), st.text(max_size=4))
numbers = st.one_of(st.sampled_from(NUMBERS), st.integers(-3, 7), st.integers(), st.floats())
scalars = st.one_of(texts, numbers, st.booleans())
lists = st.lists(scalars, max_size=3)
facts = st.one_of(
    st.just(MISSING),
    scalars,
    lists,
    st.sampled_from(VERSIONS),
    st.lists(lists, max_size=2),
    st.dictionaries(st.text(max_size=2), scalars, max_size=2),
)
fields = st.sampled_from(FIELDS)


def clause(ops: Sequence[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[Clause]:
    return st.builds(Clause, fields, st.sampled_from(ops), values)


some_clauses = st.one_of(
    clause(("eq", "ne"), st.one_of(scalars, lists.map(tuple))),
    clause(("gt", "gte", "lt", "lte"), st.one_of(numbers, texts)),
    clause(("in", "not_in"), lists.map(tuple)),
    clause(("contains",), scalars),
    clause(("matches",), st.sampled_from(PATTERNS)),
    clause(("exists",), st.booleans()),
    clause(tuple(VERSION_OPERATORS), st.one_of(st.sampled_from(VERSIONS), texts)),
    clause(COMPARING, st.builds(FieldOperand, fields)),
)
conditions: st.SearchStrategy[Condition] = st.recursive(
    st.one_of(some_clauses, st.just(ALWAYS), st.just(AnyOf(()))),
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.lists(inner, min_size=1, max_size=4).map(lambda parts: All(tuple(parts))),
        st.lists(inner, min_size=1, max_size=4).map(lambda parts: AnyOf(tuple(parts))),
    ),
    max_leaves=10,
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Condition], list[list[Value]]]:
    """Trees, and situations of which half the values are near a constant of their own field."""
    trees = draw(st.lists(conditions, min_size=1, max_size=5))
    constants: dict[str, list[Value]] = {}
    for part in (part for tree in trees for part in clauses(tree)):
        wanted = part.value if isinstance(part.value, tuple) else (part.value,)
        if part.operand is not None:
            wanted = (1, "gold", True, "1.2.3")
            constants.setdefault(part.operand, []).extend(wanted)
        constants.setdefault(part.field, []).extend(wanted)

    def value(field: str) -> Value:
        # Not `one_of`, which would count every branch of `facts`.
        if field in constants and constants[field] and draw(st.booleans()):
            return draw(_near(draw(st.sampled_from(constants[field]))))
        return draw(facts)

    return trees, [[value(field) for field in FIELDS] for _ in range(4)]


def _near(value: Value) -> st.SearchStrategy[Value]:
    found: list[Value] = [value, value, value, [value], str(value)]
    if kind(value) == "truth":
        found += [not value, int(value), float(value)]
    elif kind(value) == "number":
        found += [value + 1, value - 1, -value]
        if isinstance(value, float):
            found += [math.nextafter(value, math.inf), math.nextafter(value, -math.inf)]
        if math.isfinite(value) and abs(value) < 1e308:
            found += [float(value), int(value)]
        if value in (0, 1):
            found.append(bool(value))
    elif kind(value) == "text":
        found += [f"{value}x", value[:-1], value.upper()]
    return st.sampled_from(found)


def check(trees: list[Condition], situations: list[list[Value]]) -> None:
    rules = [Rule(name="r", when=tree) for tree in trees]
    order = strata_of(rules, slot_of)
    engine = DurableMatcher(rules, order, slot_of)
    plain = PlainMatcher(rules, order, slot_of)
    demanded = Requirements([(tree, 1 << index) for index, tree in enumerate(trees)], slot_of)
    for values in situations:
        expected = [true(tree, values) for tree in trees]
        mask = sum(held << index for index, held in enumerate(expected))
        assert [compile_condition(tree, slot_of)(values) for tree in trees] == expected
        assert [not failures(tree, values, slot_of) for tree in trees] == expected
        assert plain.match(0, values) == mask
        everyone = (1 << len(trees)) - 1
        for among in (everyone, everyone // 3):  # all, and every second one
            assert demanded.failing(values, among) & among == ~mask & among
        assert engine.match(0, values) == mask
        for tree in trees:
            for part in clauses(tree):
                value = values[slot_of(part.field)]
                other = operand_of(part, values)
                assert holds(part, value, other) == judged(part, value, other)
    engine.close()


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_all_readers_agree_with_the_judge(case: tuple[list[Condition], list[list[Value]]]) -> None:
    check(*case)


@pytest.mark.soak
@settings(deadline=None, max_examples=60_000, suppress_health_check=list(HealthCheck))
@given(cases())
def test_all_readers_agree_with_the_judge_for_a_long_time(
    case: tuple[list[Condition], list[list[Value]]],
) -> None:
    check(*case)


def odd_clauses() -> Iterator[Clause]:
    scalar: list[Value] = [*TEXTS, *NUMBERS, True, False]
    for op in ("eq", "ne", "contains"):
        yield from (Clause("customer.a", op, value) for value in scalar)
    for op in ("gt", "gte", "lt", "lte"):
        yield from (Clause("customer.a", op, value) for value in scalar if type(value) is not bool)
    for op in ("in", "not_in"):
        yield from (Clause("customer.a", op, (value, "other")) for value in scalar)
        yield Clause("customer.a", op, ())
    yield from (Clause("customer.a", "matches", pattern) for pattern in PATTERNS)
    yield from (Clause("customer.a", "exists", wanted) for wanted in (True, False))
    for op in VERSION_OPERATORS:
        yield from (Clause("customer.a", op, value) for value in (*VERSIONS, *TEXTS))


def test_every_operator_of_every_odd_constant_is_right_for_every_odd_value() -> None:
    """Some 40,000 comparisons, in the rule engine, too."""
    tests = list(odd_clauses())
    assert {one.op for one in tests} == set(OPERATORS)
    odd: list[Value] = [
        MISSING,
        *VERSIONS,
        *TEXTS,
        *NUMBERS,
        True,
        False,
        [],
        [1],
        [True],
        ["gold"],
        {"a": 1},
    ]
    situations = [[MISSING, MISSING, value, MISSING, MISSING, MISSING] for value in odd]
    rules = [Rule(name="r", when=one) for one in tests]
    order = strata_of(rules, slot_of)
    engine = DurableMatcher(rules, order, slot_of)
    plain = PlainMatcher(rules, order, slot_of)
    for values in situations:
        expected = sum(judged(one, values[2]) << index for index, one in enumerate(tests))
        for found in (plain.match(0, values), engine.match(0, values)):
            wrong = found ^ expected
            assert not wrong, (values[2], tests[wrong.bit_length() - 1])
    assert len(tests) * len(odd) > 40_000


# ------------------------------------------------------------------ what explanations say

IS = {"customer.a": 1, "customer.b": "gold"}
VALUES: list[Value] = [MISSING, MISSING, 1, "gold", MISSING, MISSING]


def said(condition: Condition) -> list[str]:
    return failures(condition, VALUES, slot_of)


def eq(field: str, value: Value) -> Clause:
    return Clause(f"customer.{field}", "eq", value)


@pytest.mark.parametrize(
    ("condition", "lines"),
    [
        (All((eq("a", 2), eq("b", "gold"), eq("c", 3))), ["a is 1, must be 2", "c is missing, must be 3"]),
        (AnyOf((eq("a", 2), eq("b", "gold"))), []),
        (AnyOf((eq("a", 2), All((eq("b", "x"), eq("a", 1))))), ['none of: a is 1, must be 2 | b is "gold", must be "x"']),
        (AnyOf((eq("a", 2),)), ["a is 1, must be 2"]),
        (Not(eq("a", 1)), ["a is 1, must not be 1"]),
        (Not(Not(eq("a", 2))), ["a is 1, must be 2"]),
        (Not(AnyOf((eq("a", 1), eq("b", "x")))), ["a is 1, must not be 1"]),
        (Not(All((eq("a", 1), eq("b", "gold")))), ['none of: a is 1, must not be 1 | b is "gold", must not be "gold"']),
        (Not(All((eq("a", 1), eq("b", "x")))), []),
        (Not(Clause("customer.a", "gte", 1)), ["a is 1, must not be at least 1"]),
        (Not(Clause("customer.a", "in", (1, 2))), ["a is 1, must be none of [1, 2]"]),
        (Not(Clause("customer.c", "ne", 5)), ["c is missing, must be 5"]),
        (Not(Clause("customer.a", "exists", True)), ["a is 1, must not exist"]),
        (Not(Clause("customer.c", "exists", False)), ["c is missing, must exist"]),
        (Not(ALWAYS), ["none of: nothing"]),
        (AnyOf(()), ["none of: nothing"]),
        (ALWAYS, []),
    ],
)  # fmt: skip
def test_failures_name_exactly_the_clauses_that_fail(
    condition: Condition, lines: list[str]
) -> None:
    assert [line.replace("customer.", "") for line in said(condition)] == lines


@pytest.mark.parametrize(
    ("clause", "value", "attributes", "said"),
    [
        (Clause("context.app", "vgte", "3.10.0"), "unknown", {},
         'context.app is "unknown", which is no version, must be version "3.10.0" or later'),
        (Clause("context.app", "vgte", "3.10.0"), 3.1, {},
         'context.app is 3.1, which is no version, must be version "3.10.0" or later'),
        (Clause("context.app", "vgte", "3.10.0"), MISSING, {},
         'context.app is missing, must be version "3.10.0" or later'),
        (Clause("customer.born.anniversary_in", "eq", 0), MISSING, {"born": "2008/2/29"},
         'customer.born is "2008/2/29", which is no date; customer.born.anniversary_in must be 0'),
        (Clause("customer.a.b.days_since", "gt", 3), MISSING, {"a": {"b": 39507}},
         "customer.a.b is 39507, which is no date; customer.a.b.days_since must be more than 3"),
        (Clause("customer.born.anniversary_in", "eq", 0), MISSING, {"born": None},
         "customer.born.anniversary_in is missing, must be 0"),
        (Clause("customer.born.years_since", "gt", FieldOperand("customer.x.years_since")), 3,
         {"x": "2008-02-30"},
         "customer.born.years_since is 3, must be more than customer.x.years_since "
         '(customer.x is "2008-02-30", which is no date)'),
    ],
)  # fmt: skip
def test_of_what_is_no_version_and_no_date_explanations_say_so(
    clause: Clause, value: Value, attributes: dict[str, Any], said: str
) -> None:
    assert clause_in_words(clause, value, attributes=attributes) == said
    fields = [clause.field, str(clause.operand)]
    told = failures(clause, [value, MISSING], fields.index, attributes=attributes)
    assert told == ([] if holds(clause, value) else [said])
    [fact, *_] = facts_of(clause, [value, MISSING], fields.index, attributes=attributes)
    assert said.startswith(fact)


@settings(deadline=None, max_examples=200)
@given(cases())
def test_of_a_list_of_clauses_those_that_fail_are_named_in_order_and_no_others(
    case: tuple[list[Condition], list[list[Value]]],
) -> None:
    trees, situations = case
    listed = [part for tree in trees for part in clauses(tree)]
    for values in situations:
        told = failures(All(tuple(listed)), values, slot_of)
        assert told == [
            clause_in_words(part, values[slot_of(part.field)], operand=operand_of(part, values))
            for part in listed
            if not judged(part, values[slot_of(part.field)], operand_of(part, values))
        ]
        reverse = failures(Not(AnyOf(tuple(listed))), values, slot_of)
        assert len(told) + len(reverse) == len(listed)


def test_a_text_too_long_to_search_matches_nothing_anywhere_and_explanations_say_so() -> None:
    """Long texts come with requests: the closures, the judge and the rule engine skip them alike."""
    clause = Clause("context.d", "matches", "b$")
    for length, found in ((LONGEST_SEARCHED, True), (LONGEST_SEARCHED + 1, False)):
        values: list[Value] = [MISSING] * len(FIELDS)
        values[slot_of("context.d")] = "a" * (length - 1) + "b"
        for condition, wanted in ((clause, found), (Not(clause), not found)):
            rule = Rule(name="r", when=condition)
            order = strata_of([rule], slot_of)
            matcher = DurableMatcher([rule], order, slot_of)
            try:
                assert bool(matcher.match(0, values)) is wanted
            finally:
                matcher.close()
            assert bool(PlainMatcher([rule], order, slot_of).match(0, values)) is wanted
            assert compile_condition(condition, slot_of)(values) is wanted
            assert (not failures(condition, values, slot_of)) is wanted
        assert holds(clause, values[slot_of("context.d")]) is found
        words = clause_in_words(clause, values[slot_of("context.d")])
        assert ("not searched: it has more than 10,000 characters" in words) is not found


@pytest.mark.parametrize("wanted", ["5", 5, 5.0, True, 0, ""])
def test_contains_compares_types_in_long_lists_as_in_short_ones(wanted: Any) -> None:
    items = [1, True, 0, False, 5, 5.0, "5", "", [5], {"a": 5}, (5,)]
    for item in items:
        wide = [None] * 1000 + [item]
        assert holds(Clause("a", "contains", wanted), wide) is same(item, wanted)


def test_what_explanations_show_of_a_value_is_short() -> None:
    """A request may bring a megabyte, and every candidate's row may show it."""
    deep = {f"k{index}": ["x" * 1000] * 1000 for index in range(1000)}
    for value in ("x" * 10**6, ["x" * 1000] * 10**4, list(range(10**5)), deep, [[[deep]]]):
        assert len(clause_in_words(Clause("context.d", "eq", 1), value)) < 40_000
