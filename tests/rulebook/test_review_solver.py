"""Proofs about conditions are true for all facts: no false alarms."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from decision.core.conditions import (
    ALWAYS,
    All,
    AnyOf,
    Clause,
    Condition,
    FieldOperand,
    Not,
    compile_condition,
)
from decision.core.definition import Experiment
from decision.core.policy import variant_of
from decision.core.values import MISSING
from decision.rulebook.review.fields import FieldDomains
from decision.rulebook.review.intervals import complement, intersect, ordered, points, whole_numbers
from decision.rulebook.review.solver import Solver

PLACEMENTS = ("home", "outbound")
STATES = ("core", "low")
VARIANTS = ("control", "short")
EXPERIMENT = Experiment(name="copy", seed="s", variants=dict.fromkeys(VARIANTS, 0.5))

CONSTANTS: list[Any] = [
    0, 1, 2, 5, 2.5, -1, 10**20, 1e300, "", "a", "ab", "b", "0", "5", True, False,
]  # fmt: skip
NAN = float("nan")
ANY = st.sampled_from([
    MISSING, *CONSTANTS, 3, 4, "aa", [], [1], ["a", 1], [True], {"a": 1}, 0.5, "2.0", "v2.0+b", NAN, [NAN], [None],
])  # fmt: skip
COUNTS = st.integers(0, 7)

FIELDS: dict[str, tuple[st.SearchStrategy[Any], list[Any]]] = {
    # field: (the values that it may have, the constants that it is compared with)
    "customer.a": (ANY, CONSTANTS),
    "context.b": (ANY, CONSTANTS),
    "events.x.count_7d": (COUNTS, [0, 1, 2, 2.5, -1, 5]),
    "events.x.days_since": (st.one_of(st.just(MISSING), COUNTS), [0, 1, 2, 0.5, -1]),
    "events.x.active_days_5d": (st.integers(0, 5), [0, 1, 5, 6, 4.5]),
    "events.x.sum_y_7d": (st.floats(), [0, -1, 2.5]),
    "contacts.push.count_7d": (COUNTS, [0, 1, 2]),
    "customer.d.anniversary_in": (st.one_of(ANY, st.integers(0, 365)), [0, -1, 365, 366, 0.5]),
    "customer.d.days_until": (st.one_of(ANY, st.integers(-3, 3)), [0, -1, 1, 0.5]),
    "time.hour": (st.integers(0, 23), [0, 5, 22, 23, 24, 22.5]),
    "time.weekday": (st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), ["mon", "sun", "x"]),
    "time.date": (st.dates().map(str), ["2026-11-21", "2026-11-22", "0001-01-01"]),
    "placement": (st.sampled_from(PLACEMENTS), ["home", "outbound", "x"]),
    "customer.state": (st.sampled_from([MISSING, *STATES]), ["core", "low", "x"]),
    "experiment.copy": (st.sampled_from(VARIANTS), ["control", "short", "x"]),
    "event.type": (st.sampled_from([MISSING, "a", "purchase"]), ["a", "purchase"]),
}  # fmt: skip

NAMES = list(FIELDS)
PATTERNS = ["^a", "b", "5$"]


@st.composite
def a_clause(draw: st.DrawFn, names: tuple[str, ...] = tuple(NAMES)) -> Clause:
    field = draw(st.sampled_from(names))
    constants = st.sampled_from(FIELDS[field][1])
    operator = draw(
        st.sampled_from(
            [
                *("eq", "ne", "gt", "gte", "lt", "lte", "in", "not_in", "exists", "contains"),
                *("matches", "vgt", "vgte", "vlt", "vlte", "veq", "vne"),
            ]
        )
    )
    if operator not in ("exists", "matches") and draw(st.integers(0, 2)) == 0:
        return Clause(field, operator, FieldOperand(draw(st.sampled_from((*names, field)))))
    match operator:
        case "vgt" | "vgte" | "vlt" | "vlte" | "veq" | "vne":
            return Clause(field, operator, draw(st.sampled_from(["1", "2.0", "a", "5.0.0", ""])))
        case "in" | "not_in":
            return Clause(field, operator, tuple(draw(st.lists(constants, max_size=3))))
        case "exists":
            return Clause(field, operator, draw(st.booleans()))
        case "matches":
            return Clause(field, operator, draw(st.sampled_from(PATTERNS)))
        case "eq" | "ne":
            value = draw(st.one_of(constants, st.lists(constants, max_size=2).map(tuple)))
            return Clause(field, operator, value)
        case "gt" | "gte" | "lt" | "lte":
            value = draw(constants.filter(lambda one: not isinstance(one, bool)))
            return Clause(field, operator, value)
    return Clause(field, operator, draw(constants))


def conditions(names: tuple[str, ...]) -> st.SearchStrategy[Condition]:
    return st.recursive(
        a_clause(names),
        lambda part: st.one_of(
            st.lists(part, max_size=4).map(lambda parts: All(tuple(parts))),
            st.lists(part, max_size=3).map(lambda parts: AnyOf(tuple(parts))),
            part.map(Not),
        ),
        max_leaves=8,
    )


def fields_and_conditions(count: int) -> st.SearchStrategy[list[Condition]]:
    """Conditions over one or two fields, so that they often contradict each other."""
    return st.lists(st.sampled_from(NAMES), min_size=1, max_size=2).flatmap(
        lambda names: st.lists(conditions(tuple(names)), min_size=count, max_size=count)
    )


def solver() -> Solver:
    return Solver(FieldDomains(PLACEMENTS, STATES, True, [EXPERIMENT]))


def holds(condition: Condition, facts: dict[str, Any]) -> bool:
    return compile_condition(condition, NAMES.index)([facts[name] for name in NAMES])


FACTS = st.fixed_dictionaries({name: values for name, (values, _) in FIELDS.items()})


@settings(deadline=None, max_examples=250)
@given(fields_and_conditions(1), st.lists(FACTS, min_size=8, max_size=8))
def test_a_proof_of_never_or_always_is_true_for_all_facts(
    found: list[Condition], facts: list[dict[str, Any]]
) -> None:
    one = solver()
    never, always = one.never(found[0]), one.always(found[0])
    for fact in facts:
        held = holds(found[0], fact)
        assert not (never and held)
        assert not (always and not held)


@settings(deadline=None, max_examples=150)
@given(fields_and_conditions(2), st.lists(FACTS, min_size=8, max_size=8))
def test_a_proof_of_implication_is_true_for_all_facts(
    found: list[Condition], facts: list[dict[str, Any]]
) -> None:
    if solver().implies(*found):
        for fact in facts:
            assert not holds(found[0], fact) or holds(found[1], fact)


A, B = "customer.a", "context.b"


def every(*parts: Condition) -> All:
    return All(parts)


NEVER = [
    every(Clause(A, "gt", 5), Clause(A, "lt", 5)),
    every(Clause(A, "gte", 5), Clause(A, "lt", 5)),
    every(Clause(A, "eq", 1), Clause(A, "eq", 2)),
    every(Clause(A, "eq", 1), Clause(A, "eq", "1")),
    every(Clause(A, "eq", 1), Clause(A, "eq", True)),
    every(Clause(A, "in", (1, 2)), Clause(A, "in", (3, "a"))),
    every(Clause(A, "in", (1, 2)), Clause(A, "not_in", (2, 1, 5))),
    every(Clause(A, "exists", False), Clause(A, "eq", 1)),
    every(Clause(A, "eq", "gold"), Not(Clause(A, "eq", "gold"))),
    every(Clause(A, "matches", "^a"), Not(Clause(A, "matches", "^a"))),
    every(Clause(A, "matches", "^a"), Clause(A, "in", ("b", "c"))),
    every(Clause(A, "contains", "x"), Clause(A, "gt", 3)),
    every(Clause(A, "gt", 3), Clause(A, "gt", "3")),
    every(Clause(A, "eq", (1, 2)), Clause(A, "contains", 3)),
    every(Clause(A, "eq", (1, 2)), Clause(A, "eq", (2, 1))),
    every(AnyOf((Clause(A, "eq", 1), Clause(A, "eq", 2))), Clause(A, "gt", 2)),
    Not(AnyOf((Clause(A, "exists", True), Clause(A, "exists", False)))),
    AnyOf(()),
    Clause(A, "in", ()),
    Clause("time.hour", "gte", 24),
    Clause("time.hour", "exists", False),
    every(Clause("time.hour", "gt", 9), Clause("time.hour", "lt", 10)),
    every(Clause("time.weekday", "eq", "sat"), Clause("time.weekday", "eq", "sun")),
    Clause("events.x.count", "lt", 0),
    every(Clause("events.x.count_2h", "gt", 0), Clause("events.x.count_2h", "lt", 1)),
    Clause("events.x.active_days_7d", "gt", 7),
    Clause("placement", "eq", "nowhere"),
    Clause("customer.state", "not_in", ("core", "low")),
    every(Clause("event.type", "eq", "a"), Clause("event.type", "exists", False)),
    every(Clause("time.date", "gte", "2026-12-01"), Clause("time.date", "lt", "2026-11-01")),
    every(Clause(A, "gt", FieldOperand(B)), Clause(A, "lte", FieldOperand(B))),
    every(Clause(A, "gt", FieldOperand(B)), Clause(B, "gt", FieldOperand(A))),
    every(Clause(A, "gte", FieldOperand(B)), Clause(A, "lte", FieldOperand(B)), Clause(B, "ne", FieldOperand(A))),
    every(Clause(A, "eq", FieldOperand(B)), Clause(B, "exists", False)),
    every(Clause(A, "eq", FieldOperand(B)), Clause(A, "eq", 1), Clause(B, "eq", "1")),
    every(Clause(A, "eq", 1), Clause(B, "eq", 2), Clause(A, "eq", FieldOperand(B))),
    every(Clause(A, "in", FieldOperand(B)), Clause(A, "not_in", FieldOperand(B))),
    every(Clause(A, "contains", FieldOperand(B)), Not(Clause(A, "contains", FieldOperand(B)))),
    Clause(A, "gt", FieldOperand(A)),
    Clause(A, "in", FieldOperand(A)),
    every(Clause(A, "ne", FieldOperand(A)), Clause(A, "eq", "x")),
    Clause("events.x.count", "ne", FieldOperand("events.x.count")),
    Clause("time.weekday", "eq", FieldOperand("placement")),
    Not(AnyOf((Clause("events.x.count", "gt", FieldOperand("time.hour")), Clause("events.x.count", "lte", FieldOperand("time.hour"))))),
    every(Clause(A, "vgt", "2.10"), Clause(A, "vlt", "2.9")),
    every(Clause(A, "veq", "1.0.0"), Clause(A, "vne", "v1.0.0+b7")),
    every(Clause(A, "veq", "1"), Clause(A, "eq", "2")),
    every(Clause(A, "vlt", FieldOperand(B)), Clause(B, "vlte", FieldOperand(A))),
    every(Clause(A, "vgt", "1"), Clause(A, "eq", True)),
]  # fmt: skip


@pytest.mark.parametrize("condition", NEVER)
def test_contradictions_are_seen_and_their_negations_always_hold(condition: Condition) -> None:
    one = Solver(FieldDomains(("home",), ("core", "low"), leftover=False))
    assert one.never(condition)
    assert one.always(Not(condition))
    assert not one.always(condition)


@pytest.mark.parametrize(
    "condition",
    [
        Clause(A, "eq", 1),
        every(Clause(A, "ne", 1), Clause(A, "ne", 2)),
        every(Clause(A, "contains", "a"), Clause(A, "contains", "b")),
        every(Clause(A, "contains", 1), Not(Clause(A, "contains", True))),
        AnyOf((Clause(A, "gte", 5), Clause(A, "lt", 5))),  # a text is neither
        AnyOf((Clause(A, "eq", True), Clause(A, "eq", False))),  # it may be missing
        every(Clause("events.x.sum_y_7d", "gt", 0.1), Clause("events.x.sum_y_7d", "lt", 0.2)),
        AnyOf((Clause(A, "gt", FieldOperand(B)), Clause(A, "lte", FieldOperand(B)))),
        Clause(A, "eq", FieldOperand(A)),
        Clause(A, "ne", FieldOperand(A)),
        Clause(A, "gte", FieldOperand(A)),
        AnyOf((Clause(A, "vgt", "1"), Clause(A, "vlte", "1"))),
        # An object's part of that name may be any value.
        Clause("customer.d.anniversary_in", "eq", 400),
        Clause("customer.d.anniversary_in", "lt", 0),
        Clause("customer.d.days_until", "eq", 0.5),
        every(
            Clause("customer.d.years_since", "gt", 17), Clause("customer.d.years_since", "lt", 18)
        ),
        every(Clause("customer.d.days_since", "gt", 3), Clause("customer.d.days_since", "lt", 4)),
        every(Clause(A, "gt", FieldOperand(B)), Clause(B, "gt", FieldOperand("context.c"))),
    ],
)
def test_what_depends_on_the_customer_is_neither_never_nor_always(condition: Condition) -> None:
    assert not solver().never(condition)
    assert not solver().always(condition)


def test_too_many_alternatives_prove_nothing() -> None:
    parts = tuple(
        AnyOf(tuple(Clause(f"customer.f{i}_{j}", "eq", 1) for j in range(9))) for i in range(40)
    )
    contradiction = (Clause(A, "eq", 1), AnyOf((Clause(A, "eq", 2), Clause(A, "eq", 3))))
    assert not solver().never(All(parts))
    solver().never(All((*parts, *contradiction)))
    assert solver().always(ALWAYS)


BOUNDS = st.sampled_from([-3, -1, 0, 0.5, 1, 1.5, 2, 7])
SETS = st.recursive(
    st.one_of(
        st.lists(BOUNDS, max_size=4).map(points),
        st.tuples(st.sampled_from(["gt", "gte", "lt", "lte"]), BOUNDS).map(lambda p: ordered(*p)),
    ),
    lambda inner: st.one_of(
        inner.map(complement), st.tuples(inner, inner).map(lambda p: intersect(*p))
    ),
    max_leaves=6,
)


def inside(value: float, intervals: Any) -> bool:
    return any(low < (1, value, 0.5) < high for low, high in intervals)


@settings(deadline=None, max_examples=150)
@given(SETS, SETS, st.sampled_from([-4, -3, -2, -1, -0.5, 0, 0.25, 0.5, 1, 1.5, 1.75, 2, 7, 8]))
@example(points([1]), complement(points([1])), 1)
def test_sets_of_intervals_are_exact(left: Any, right: Any, value: float) -> None:
    assert inside(value, intersect(left, right)) == (inside(value, left) and inside(value, right))
    assert inside(value, complement(left)) == (not inside(value, left))
    if value == int(value):
        assert inside(value, whole_numbers(left)) == inside(value, left)


SHARES = st.lists(st.integers(0, 10_000), min_size=1, max_size=3).map(
    lambda cuts: [
        (end - start) / 10_000
        for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), 10_000], strict=True)
    ]
)


@settings(max_examples=30, deadline=None)
@given(st.tuples(SHARES, SHARES, SHARES))
def test_a_combination_of_variants_never_holds_exactly_if_one_seed_gives_it_to_nobody(
    shares: tuple[list[float], ...],
) -> None:
    experiments = [
        Experiment(
            name=f"e{n}",
            seed="one" if n < 2 else "another",
            variants={f"v{at}": share for at, share in enumerate(each)},
        )
        for n, each in enumerate(shares)
    ]
    one = Solver(FieldDomains(experiments=experiments))
    seen = {tuple(str(variant_of(each, f"c-{n}")) for each in experiments) for n in range(3_000)}
    for variants in seen:
        clauses = [Clause(f"experiment.e{n}", "eq", name) for n, name in enumerate(variants)]
        one.allow(100)
        assert one.can_hold(*clauses)
    halves = [Experiment(name=n, seed="s", variants={"a": 0.5, "b": 0.5}) for n in ("x", "y")]
    both = All((Clause("experiment.x", "eq", "a"), Clause("experiment.y", "not_in", ("a",))))
    assert Solver(FieldDomains(experiments=halves)).never(both)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), st.booleans()), max_size=5)
)
@example([("a", "b", True), ("b", "a", True)])
@example([("a", "b", False), ("b", "a", False)])
@example([("a", "b", True), ("b", "c", False), ("c", "a", True)])
@example([("a", "a", True)])
def test_what_came_after_what_holds_exactly_where_some_order_of_events_fits(
    said: list[tuple[str, str, bool]],
) -> None:
    """Of every order in which three types of events can have come last, or not at all."""
    clauses = [Clause(f"events.{kind}.since.{other}", "eq", one) for kind, other, one in said]
    fits = any(
        all(
            last[other] is not None and ((last[kind] or 0) > (last[other] or 0)) is one
            for kind, other, one in said
        )
        for times in itertools.product([None, 1, 2, 3], repeat=3)
        for last in [dict(zip("abc", times, strict=True))]
    )
    assert Solver(FieldDomains()).can_hold(All(tuple(clauses))) is fits
