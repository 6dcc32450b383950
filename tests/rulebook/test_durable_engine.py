"""Business rules in durable-rules answer exactly as the plain evaluator does."""

from __future__ import annotations

import gc
import random
import resource
import threading
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core.business_rules import PlainMatcher, run, strata_of
from decision.core.conditions import ALWAYS, All, AnyOf, Clause, Condition, FieldOperand, Not
from decision.core.definition import Rule
from decision.core.values import MISSING, Value
from decision.rulebook import durable_engine
from decision.rulebook.durable_engine import DurableMatcher, RuleEngineError
from decision.rulebook.durable_rulesets import RULE_NAMES, compile_rules

FIELDS = ("event.type", "placement", "customer.a", "customer.b", "event.c", "context.d")
A, B = "customer.a", "customer.b"
slot_of: Callable[[str], int] = FIELDS.index

TEXTS = (
    *("", "a", "gold", "Gold", "gold ", "gol", "golden", "5", "true", "null", "中文", "😀", "é"),
    *('"', "\\", '\\"', "a\\", 'a"b', "a'b", "a\nb", "\t", "\0", "a\0b", "\x1f", "\x7f", "\u2028"),
    *("{", "}", "[]", ",", ":", "$and", "x" * 999, "x" * 1_001, "x" * 70_000),
)
NO_UNICODE = "\ud800"  # half of a pair: no UTF-8 holds it, and RE2 refuses it
NUMBERS = (
    *(0, 1, -1, 5, 2**31, 2**53 - 1, 2**53, 2**53 + 1, -(2**53), -(2**53) - 1, 2**63, -(2**64)),
    *(10**30, 0.0, -0.0, 0.1, 0.1 + 0.2, 0.3, -2.5, 5.0, 1e-7, 5e-324, 1.5e-10, 1e15, 1e16),
    *(2.0**53, 2.0**53 + 2, 1e300, -1e300, float("inf"), float("-inf"), float("nan")),
)
OTHERS = (MISSING, True, False, [], ["gold"], ["a", 1], [[1]], [True])

texts = st.one_of(st.sampled_from(TEXTS), st.text(max_size=6))
numbers = st.one_of(st.sampled_from(NUMBERS), st.integers(), st.floats())
scalars = st.one_of(texts, numbers, st.booleans())
lists = st.lists(scalars, max_size=3)
facts = st.one_of(st.sampled_from(OTHERS), scalars, lists)


def sample(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


clauses = st.one_of(
    st.builds(Clause, sample(*FIELDS), sample("eq", "ne"), st.one_of(scalars, lists.map(tuple))),
    st.builds(Clause, sample(*FIELDS), sample("gt", "gte", "lt", "lte"), st.one_of(numbers, texts)),
    st.builds(Clause, sample(*FIELDS), sample("in", "not_in"), lists.map(tuple)),
    st.builds(Clause, sample("event.type", "placement"), sample("eq"), sample("a", "gold")),
    st.builds(Clause, sample(*FIELDS), sample("contains"), scalars),
    st.builds(Clause, sample(*FIELDS), sample("matches"), sample("^g", "o.d", "中", "[0-9]+", "")),
    st.builds(Clause, sample(*FIELDS), sample("exists"), st.booleans()),
    st.builds(Clause, sample(*FIELDS), sample("vgt", "vlte", "veq", "vne"), sample("1", "2.0")),
    st.builds(
        Clause,
        sample(*FIELDS),
        sample("eq", "ne", "gt", "lte", "in", "not_in", "contains", "vlt"),
        st.builds(FieldOperand, sample(*FIELDS)),
    ),
)


def nested(depth: int) -> st.SearchStrategy[Condition]:
    if not depth:
        return clauses
    inner = nested(depth - 1)
    several = st.lists(inner, max_size=3).map(tuple)
    return st.one_of(clauses, inner.map(Not), several.map(All), several.map(AnyOf))


rules = st.builds(
    Rule,
    name=st.just("r"),
    when=st.one_of(st.just(ALWAYS), nested(4)),
    set=st.dictionaries(sample(*FIELDS), st.one_of(scalars, lists), max_size=1),
)


def values_near(rule_list: Sequence[Rule]) -> st.SearchStrategy[list[Value]]:
    """Slot values; half of them constants of the rules, so that comparisons are close."""
    constants = [
        value
        for rule in rule_list
        for clause in _clauses(rule.when)
        for value in (clause.value if isinstance(clause.value, tuple) else (clause.value,))
        if clause.operand is None
    ]
    one = st.one_of(facts, st.sampled_from(constants)) if constants else facts
    return st.lists(one, min_size=len(FIELDS), max_size=len(FIELDS))


def _clauses(condition: Condition) -> list[Clause]:
    match condition:
        case Clause():
            return [condition]
        case Not(part):
            return _clauses(part)
        case All(parts) | AnyOf(parts):
            return [clause for part in parts for clause in _clauses(part)]


def both(rule_list: Sequence[Rule]) -> Callable[[Sequence[Value]], tuple[Any, Any]]:
    """Asks the plain evaluator and the engine: fired rules, and values as rules have set them."""
    order = strata_of(rule_list, slot_of)
    matchers = [matcher(rule_list, order, slot_of) for matcher in (PlainMatcher, DurableMatcher)]

    def ask(values: Sequence[Value]) -> tuple[Any, Any]:
        plain, durable = (
            (run(order, rule_list, matcher, mine := list(values), slot_of), repr(mine))
            for matcher in matchers
        )
        return plain, durable

    return ask


def conditions_hold_alike(conditions: Sequence[Condition], situations: Sequence[Any]) -> None:
    rule_list = [Rule(name=f"r{i}", when=condition) for i, condition in enumerate(conditions)]
    ask = both(rule_list)
    for values in situations:
        (plain, _), (durable, _) = ask(values)
        differing = plain ^ durable
        assert not differing, (values, conditions[differing.bit_length() - 1])


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_the_engine_answers_as_the_plain_evaluator_through_strata_with_sets(
    data: st.DataObject,
) -> None:
    rule_list = data.draw(st.lists(rules, min_size=1, max_size=6))
    ask = both(rule_list)
    for values in data.draw(st.lists(values_near(rule_list), min_size=1, max_size=6)):
        plain, durable = ask(values)
        assert durable == plain


@pytest.mark.parametrize("op", ["eq", "ne", "gt", "gte", "lt", "lte"])
def test_every_comparison_of_every_odd_value_is_exact(op: str) -> None:
    constants: list[Value] = [*TEXTS, NO_UNICODE, *NUMBERS]
    if op in ("eq", "ne"):
        constants += [True, False]
    conditions = [Clause(A, op, constant) for constant in constants]
    situations = [
        [MISSING, MISSING, value, MISSING, MISSING, MISSING]
        for value in (*TEXTS, NO_UNICODE, *NUMBERS, *OTHERS)
    ]
    conditions_hold_alike(conditions, situations)


def random_condition(rng: random.Random, depth: int = 2) -> Condition:
    if depth and rng.random() < 0.5:
        parts = tuple(random_condition(rng, depth - 1) for _ in range(rng.randint(1, 4)))
        kind = rng.choice(["all", "any", "not"])
        return Not(AnyOf(parts)) if kind == "not" else All(parts) if kind == "all" else AnyOf(parts)
    field = rng.choice(FIELDS)
    op = rng.choice(["eq", "eq", "gte", "lt", "in", "ne", "exists"])
    if op == "exists":
        return Clause(field, op, rng.random() < 0.5)
    if op == "in":
        return Clause(field, op, ("a", "b", 3))
    return Clause(field, op, rng.choice([*range(10), "a", "b", "c", True]) if op == "eq" else 5)


def random_values(rng: random.Random) -> list[Value]:
    choices = [*range(10), 4.5, "a", "b", "c", True, False, MISSING, ["a"]]
    return [rng.choice(choices) for _ in FIELDS]


@pytest.mark.parametrize("seed", range(4))
def test_rulesets_full_of_rules_answer_as_the_plain_evaluator(seed: int) -> None:
    rng = random.Random(seed)
    conditions = [random_condition(rng, 3) for _ in range(120)]
    conditions_hold_alike(conditions, [random_values(rng) for _ in range(150)])


def test_rules_that_all_hold_at_once_all_fire() -> None:
    same = [Clause(A, "eq", "x")] * 40
    different = [Clause(A, "gte", number) for number in range(200)]
    both_ways = [AnyOf((Clause(B, "gte", n), Clause(B, "lt", 500 - n))) for n in range(100)]
    conditions_hold_alike(
        [*same, *different, *both_ways],
        [[MISSING, MISSING, a, b, MISSING, MISSING] for a, b in product(("x", 300), (250, "y"))],
    )


def test_alternatives_of_alternatives_do_not_multiply() -> None:
    pairs = [AnyOf((Clause(A, "gte", n), Clause(B, "gte", n))) for n in range(40)]
    wide = AnyOf(tuple(Clause(A, "eq", n) for n in range(500)))
    conditions_hold_alike(
        [All(tuple(pairs)), All((*pairs[:3], wide)), wide, Not(All(tuple(pairs)))],
        [[MISSING, MISSING, a, b, MISSING, MISSING] for a in (0, 39, 499, "x") for b in (0, 39)],
    )


def test_a_long_or_deep_condition_is_evaluated_beforehand() -> None:
    long = All(tuple(Clause(A, "gte", n) for n in range(300)))
    deep: Condition = Clause(A, "eq", 1)
    for n in range(60):
        deep = (All if n % 2 else AnyOf)((deep, Clause(B, "eq" if n % 2 else "ne", n)))
    situations = [
        [MISSING, MISSING, a, b, MISSING, MISSING] for a in (1, 299, 300) for b in (0, 59)
    ]
    conditions_hold_alike([long, Not(long), deep, Not(deep)], situations)


def test_nested_alternatives_stay_within_the_depth_of_the_engine() -> None:
    condition: Condition = Clause(A, "eq", 0)
    conditions = []
    for n in range(1, 12):
        condition = AnyOf(
            (
                All((Clause(A, "eq", n), Clause(B, "eq", n))),
                All((Clause(B, "gte", n), condition)),
            )
        )
        conditions.append(condition)
    conditions_hold_alike(
        conditions,
        [[MISSING, MISSING, a, b, MISSING, MISSING] for a in range(12) for b in range(12)],
    )


def test_a_rule_over_more_fields_than_a_fact_holds_answers_right() -> None:
    names = [f"customer.{n}" for n in range(400)]
    rule_list = [
        Rule(name="all", when=All(tuple(Clause(name, "gte", 1) for name in names))),
        Rule(name="any", when=AnyOf(tuple(Clause(name, "gte", 2) for name in names))),
        *(Rule(name=name, when=Clause(name, "eq", 1)) for name in names),
    ]
    order = strata_of(rule_list, names.index)
    durable = DurableMatcher(rule_list, order, names.index)
    plain = PlainMatcher(rule_list, order, names.index)
    for last in (0, 1, 2):
        values = [1] * 399 + [last]
        assert durable.match(0, values) == plain.match(0, values)


def test_constant_conditions_hold_without_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    never, always = AnyOf(()), All(())
    conditions = [always, never, Not(never), All((always, Not(never))), AnyOf((never, always))]
    rule_list = [Rule(name="r", when=condition) for condition in conditions]
    monkeypatch.setattr(durable_engine, "engine", None)
    matcher = DurableMatcher(rule_list, strata_of(rule_list), slot_of)
    assert matcher.match(0, [MISSING] * len(FIELDS)) == 0b11101


def count_facts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []
    real = durable_engine.engine.assert_fact

    def assert_fact(handle: int, fact: str) -> Any:
        asked.append(fact)
        return real(handle, fact)

    monkeypatch.setattr(durable_engine.engine, "assert_fact", assert_fact)
    return asked


def test_rules_that_the_request_cannot_trigger_are_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rule_list = [
        Rule(name=f"r{n}", when=All((Clause(field, op, value), Clause(A, "gte", n % 7))))
        for n in range(400)
        for field, op, value in [
            ("event.type", "eq", f"e{n % 100}"),
            ("placement", "in", (f"p{n % 100}", "x")),
        ]
    ]
    order = strata_of(rule_list, slot_of)
    durable = DurableMatcher(rule_list, order, slot_of)
    plain = PlainMatcher(rule_list, order, slot_of)
    asked = count_facts(monkeypatch)
    for event, placement in [("e5", "p7"), ("e99", "nowhere"), (MISSING, "p0"), ("e", ["p1"])]:
        values = [event, placement, 5, MISSING, MISSING, MISSING]
        asked.clear()
        assert durable.match(0, values) == plain.match(0, values)
        assert len(asked) <= 2


def test_a_rule_triggered_by_several_events_fires_for_each_of_them() -> None:
    conditions = [
        Clause("event.type", "in", tuple("abcdefgh"[:n])) for n in range(9) for _ in range(9)
    ]
    situations = [[text, MISSING, 1, MISSING, MISSING, MISSING] for text in (*"abcdefghi", 1, [])]
    conditions_hold_alike(conditions, situations)


def test_no_two_properties_of_a_fact_look_the_same_to_the_engine() -> None:
    """It knows names by 32 bits of FNV-1a alone."""

    def fnv(text: str) -> int:
        found = 0x811C9DC5
        for byte in text.encode():
            found = (found ^ byte) * 16777619 & 0xFFFFFFFF
        return found

    names = [f"f{n}" for n in range(50_000)] + ["id", "sid", "first", "$s", "$forward", "m"]
    assert len({fnv(name) for name in names}) == len(names)


def test_no_ruleset_is_larger_than_the_engine_holds() -> None:
    rng = random.Random(3)
    rule_list = [Rule(name="r", when=random_condition(rng, 4)) for _ in range(600)]
    for routes in compile_rules(rule_list, strata_of(rule_list), slot_of):
        for ruleset in routes.rulesets():
            assert len(ruleset.items) <= len(RULE_NAMES) == 31
            assert ruleset.paths <= 60


STATM = Path("/proc/self/statm")
needs_proc = pytest.mark.skipif(not STATM.exists(), reason="memory is read from /proc")


def resident_kilobytes() -> int:
    gc.collect()
    return int(STATM.read_text().split()[1]) * resource.getpagesize() // 1024


@needs_proc
def test_twenty_thousand_decisions_on_one_matcher_are_right_and_memory_does_not_grow() -> None:
    rng = random.Random(5)
    rule_list = [Rule(name="r", when=random_condition(rng)) for _ in range(50)]
    order = strata_of(rule_list, slot_of)
    durable = DurableMatcher(rule_list, order, slot_of)
    plain = PlainMatcher(rule_list, order, slot_of)
    situations = [random_values(rng) for _ in range(500)]
    expected = [plain.match(0, values) for values in situations]
    assert [durable.match(0, values) for values in situations] == expected
    before = resident_kilobytes()
    for _ in range(40):
        assert [durable.match(0, values) for values in situations] == expected
    assert resident_kilobytes() - before < 4_000


@needs_proc
def test_matchers_that_are_closed_or_forgotten_give_their_memory_back() -> None:
    rng = random.Random(6)
    rule_list = [Rule(name="r", when=random_condition(rng)) for _ in range(93)]
    order = strata_of(rule_list, slot_of)

    def use(times: int) -> None:
        for turn in range(times):
            matcher = DurableMatcher(rule_list, order, slot_of)
            matcher.match(0, random_values(rng))
            if turn % 2:
                matcher.close()
                matcher.close()

    use(6)
    before = resident_kilobytes()
    use(60)
    assert resident_kilobytes() - before < 20_000


def test_two_thousand_rules_are_built_and_answer_right() -> None:
    rng = random.Random(7)
    rule_list = [Rule(name="r", when=random_condition(rng)) for _ in range(2_000)]
    order = strata_of(rule_list, slot_of)
    durable = DurableMatcher(rule_list, order, slot_of)
    plain = PlainMatcher(rule_list, order, slot_of)
    for _ in range(30):
        values = random_values(rng)
        assert durable.match(0, values) == plain.match(0, values)


def test_threads_that_share_a_matcher_get_right_answers() -> None:
    rng = random.Random(8)
    rule_list = [Rule(name="r", when=random_condition(rng)) for _ in range(40)]
    order = strata_of(rule_list, slot_of)
    durable = DurableMatcher(rule_list, order, slot_of)
    plain = PlainMatcher(rule_list, order, slot_of)
    situations = [random_values(rng) for _ in range(300)]
    expected = [plain.match(0, values) for values in situations]
    wrong: list[int] = []

    def ask() -> None:
        for values, wanted in zip(situations, expected, strict=True):
            if durable.match(0, values) != wanted:
                wrong.append(wanted)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


TWO = [Rule(name="a", when=Clause(A, "eq", "x")), Rule(name="b", when=Clause(A, "ne", "x"))]
X = [MISSING, MISSING, "x", MISSING, MISSING, MISSING]


@pytest.mark.parametrize(
    "call", ["assert_fact", "start_action_for_state", "complete_and_start_action", "retract_fact"]
)
@pytest.mark.parametrize("raised", [durable_engine.engine.error, MemoryError, KeyboardInterrupt])
def test_after_a_failure_during_a_question_the_next_answer_is_right(
    monkeypatch: pytest.MonkeyPatch, call: str, raised: type[BaseException]
) -> None:
    durable = DurableMatcher(TWO, strata_of(TWO), slot_of)
    real = getattr(durable_engine.engine, call)

    def fail(*_: Any) -> None:
        monkeypatch.setattr(durable_engine.engine, call, real)
        raise raised("injected")

    monkeypatch.setattr(durable_engine.engine, call, fail)
    expected = KeyboardInterrupt if raised is KeyboardInterrupt else RuleEngineError
    with pytest.raises(expected):
        durable.match(0, X)
    assert durable.match(0, X) == 0b01
    assert durable.match(0, [MISSING] * len(FIELDS)) == 0b10


def test_a_closed_matcher_refuses_to_answer() -> None:
    durable = DurableMatcher(TWO, strata_of(TWO), slot_of)
    durable.close()
    with pytest.raises(RuleEngineError):
        durable.match(0, X)
