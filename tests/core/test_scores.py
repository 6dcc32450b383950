"""Scores: the sum of what events add, each halving with time, whatever the order."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.core.clock import DAY, HOUR, MINUTE
from decision.core.condition_words import clause_in_words
from decision.core.conditions import Clause
from decision.core.definition import Score
from decision.core.document import Document
from decision.core.scores import LONGEST_HALF_LIFE, SHORTEST_HALF_LIFE, Scores
from decision.engine.uniting import unite

NOW = 1_795_000_000_000_000
Row = tuple[str, int, dict[str, Any]]


def score(half_life: int = 30 * DAY, **adds: float | str) -> Score:
    return Score(name="s", adds=adds or {"visit": 1.0, "order": "total"}, half_life=half_life)


def oracle(rows: list[Row], half_life: int, now: int) -> float:
    """The definition itself: every event by its own age."""
    amounts = [
        (1.0 if kind == "visit" else float(properties["total"]), at)
        for kind, at, properties in rows
    ]
    return math.fsum(amount * 2.0 ** (-(now - at) / half_life) for amount, at in amounts)


amount = st.floats(0.01, 1e6)
row = st.tuples(
    st.sampled_from(["visit", "order"]),
    st.integers(NOW - 3650 * DAY, NOW + 5 * MINUTE),
    amount.map(lambda value: {"total": value}),
)
half_lives = st.integers(SHORTEST_HALF_LIFE, LONGEST_HALF_LIFE)


def counted(scores: Scores, rows: list[Row], customer_id: str = "anna") -> Document:
    document = Document(customer_id=customer_id)
    for kind, at, properties in rows:
        scores.count(document, kind, at, properties)
    return document


def near(found: object, wanted: float) -> bool:
    assert isinstance(found, float)
    return math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-300)


@given(st.lists(row, max_size=12), half_lives, st.integers(0, 400 * DAY), st.randoms())
def test_a_score_is_the_sum_of_what_is_left_of_each_event_in_any_order(
    rows: list[Row], half_life: int, later: int, random: Any
) -> None:
    scores = Scores([score(half_life)])
    random.shuffle(rows)
    found = scores.value(counted(scores, rows), "s", NOW + later)
    assert near(found, oracle(rows, half_life, NOW + later))


@given(st.lists(row, max_size=8), st.lists(row, max_size=8), half_lives)
def test_the_scores_of_two_customers_who_are_one_add_up(
    own: list[Row], others: list[Row], half_life: int
) -> None:
    scores = Scores([score(half_life)])
    document = counted(scores, own)
    unite(document, counted(scores, others, "ben"))
    assert near(
        scores.value(document, "s", NOW + DAY), oracle([*own, *others], half_life, NOW + DAY)
    )
    assert sum(kept.events for kept in document.scores.values()) == len(own) + len(others)


@pytest.mark.parametrize("years", [1, 100, 1000])
def test_over_years_nothing_overflows_and_old_interest_ends_at_zero(years: int) -> None:
    scores = Scores([score(SHORTEST_HALF_LIFE)])
    for first, second in ((0, years * 365 * DAY), (years * 365 * DAY, 0)):
        document = counted(scores, [("visit", first, {}), ("visit", second, {})])
        assert scores.value(document, "s", years * 365 * DAY) == 1.0
        assert scores.value(document, "s", 2 * years * 365 * DAY) == 0.0
        assert math.isfinite(scores.value(document, "s", 0))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "total", [1e308, 10**400, -(10**400), -1e308], ids=["big", "huge", "least", "low"]
)
def test_amounts_beyond_every_number_stay_finite(total: Any) -> None:
    scores = Scores([score()])
    document = counted(scores, [("order", NOW, {"total": total})] * 5)
    value = scores.value(document, "s", NOW - DAY)
    assert isinstance(value, float) and math.isfinite(value)
    assert (value > 0) is (total > 0)


@pytest.mark.parametrize(
    "properties", [{}, {"total": "5"}, {"total": True}, {"total": None}, {"total": [5]}]
)
def test_what_is_no_number_adds_nothing(properties: dict[str, Any]) -> None:
    scores = Scores([score()])
    document = counted(scores, [("order", NOW, properties)])
    assert document.scores == {}
    assert scores.value(document, "s", NOW) == 0.0


@pytest.mark.parametrize(
    "other", [score(31 * DAY), score(visit=2.0), score(visit=1.0), score(order="amount")]
)
def test_values_of_two_definitions_are_never_mixed(other: Score) -> None:
    old, new = Scores([score()]), Scores([other])
    document = counted(old, [("visit", NOW, {}), ("order", NOW, {"total": 5, "amount": 6})])
    assert old.value(document, "s", NOW) == 6.0
    assert new.value(document, "s", NOW) == 0.0
    for kind in ("visit", "order"):
        new.count(document, kind, NOW, {"total": 5, "amount": 6})
    fresh = counted(new, [("visit", NOW, {}), ("order", NOW, {"total": 5, "amount": 6})])
    assert new.value(document, "s", NOW) == new.value(fresh, "s", NOW)
    assert old.value(document, "s", NOW) == 0.0


def test_of_two_definitions_a_merge_keeps_the_part_with_the_later_event() -> None:
    old, new = Scores([score()]), Scores([score(7 * DAY)])
    for one, other in ((old, new), (new, old)):
        document = counted(one, [("visit", NOW, {})])
        unite(document, counted(other, [("visit", NOW - HOUR, {})], "ben"))
        assert one.value(document, "s", NOW) == 1.0


@pytest.mark.parametrize("in_force_is_earlier", [True, False])
@pytest.mark.parametrize("into_the_earlier", [True, False])
def test_of_two_definitions_a_merge_keeps_the_part_of_the_one_in_force(
    in_force_is_earlier: bool, into_the_earlier: bool
) -> None:
    old, new = Scores([score()]), Scores([score(7 * DAY)])
    in_force, other = (new, old) if in_force_is_earlier else (old, new)
    earlier = counted(new, [("visit", NOW - HOUR, {})], "ben")
    later = counted(old, [("visit", NOW, {})])
    into, moving = (earlier, later) if into_the_earlier else (later, earlier)
    unite(into, moving, in_force.digests)
    assert in_force.value(into, "s", NOW - HOUR * in_force_is_earlier) == 1.0
    assert other.value(into, "s", NOW) == 0.0


def test_the_order_of_the_lines_of_a_definition_changes_nothing() -> None:
    one, other = score(a=1.0, b=2.0), score(b=2.0, a=1.0)
    document = counted(Scores([one]), [("a", NOW, {})])
    assert Scores([other]).value(document, "s", NOW) == 1.0


def test_an_explanation_shows_two_decimals_where_these_say_enough() -> None:
    clause = Clause("score.s", "gte", 20)
    assert clause_in_words(clause, 19.2345) == "score.s is 19.23, must be at least 20"
    assert clause_in_words(clause, 19.99999) == "score.s is 19.99999, must be at least 20"


def test_a_document_keeps_its_scores_and_one_without_keeps_its_bytes() -> None:
    from decision.store.memory_store import MemoryStore

    store = MemoryStore()
    scores = Scores([score()])
    document = counted(scores, [("visit", NOW, {})])
    document.exists = True
    again = store.unpack("anna", store.pack(document))
    assert again.scores == document.scores and again.events == {}
    bare = msgspec.structs.replace(document, scores={})
    assert store.pack(bare) == store.pack(Document(customer_id="anna", exists=True))
