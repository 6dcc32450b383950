"""Exploration: probabilities are exact, and what is drawn had one."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.core.exploration import choose, inverse_gap_weights

scores = st.lists(st.floats(-1, 1), min_size=1, max_size=60)
gammas = st.none() | st.floats(0, 1e6)
below_one = st.floats(0, 1, exclude_max=True)


@given(scores, gammas)
def test_probabilities_are_a_distribution(values: list[float], gamma: float | None) -> None:
    found = inverse_gap_weights(values, gamma)
    assert len(found) == len(values)
    assert min(found) >= 0
    assert abs(math.fsum(found) - 1) <= 2**-52


@given(scores, st.floats(0, 1e6))
def test_every_candidate_but_the_best_has_its_closed_form(
    values: list[float], gamma: float
) -> None:
    found = inverse_gap_weights(values, gamma)
    best = values.index(max(values))
    for index, value in enumerate(values):
        if index != best:
            assert found[index] == 1 / (len(values) + gamma * (values[best] - value))
    assert found[best] >= max(found) - 2**-52


@given(scores, st.floats(0, 1e6))
def test_a_better_score_never_has_less_probability(values: list[float], gamma: float) -> None:
    found = inverse_gap_weights(values, gamma)
    order = sorted(range(len(values)), key=values.__getitem__)
    for low, high in itertools.pairwise(order):
        assert found[low] <= found[high] + 2**-52 or values[low] == values[high]


@given(scores)
def test_without_gamma_the_first_of_the_best_is_certain(values: list[float]) -> None:
    found = inverse_gap_weights(values, None)
    best = values.index(max(values))
    assert found == [float(index == best) for index in range(len(values))]


def test_published_example_by_hand() -> None:
    """K = 3, γ = 10: gaps of 0.2 and 0.4 give 1/5 and 1/7."""
    assert inverse_gap_weights([0.6, 1.0, 0.8], 10) == pytest.approx(
        [1 / 7, 1 - 1 / 7 - 1 / 5, 1 / 5]
    )


def test_gamma_zero_is_uniform_and_one_candidate_is_certain() -> None:
    assert inverse_gap_weights([0.1, 0.9, 0.5, 0.5], 0) == pytest.approx([0.25] * 4)
    assert inverse_gap_weights([0.3], 100) == [1.0]
    assert inverse_gap_weights([], 100) == []


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="each must be finite"):
        inverse_gap_weights([0.1, bad], 10)


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_a_gamma_without_meaning_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="gamma is"):
        inverse_gap_weights([0.1, 0.2], bad)


@given(scores, gammas, below_one)
def test_what_is_drawn_has_a_probability(
    values: list[float], gamma: float | None, u: float
) -> None:
    found = inverse_gap_weights(values, gamma)
    assert found[choose(found, u)] > 0


@given(st.lists(st.just(0.0) | st.floats(0, 1), min_size=1, max_size=20), below_one)
def test_a_draw_never_runs_past_the_end_whatever_the_sum(weights: list[float], u: float) -> None:
    if not any(weights):
        with pytest.raises(ValueError, match="above zero"):
            choose(weights, u)
        return
    assert weights[choose(weights, u)] > 0


def test_the_largest_u_with_a_sum_below_one_falls_on_the_last_with_a_probability() -> None:
    assert choose([0.0, 0.1] + [0.1] * 8 + [0.0], math.nextafter(1.0, 0.0)) == 9
    assert choose([0.0, 0.5, 0.5, 0.0], 0.0) == 1
    assert choose([0.0, 0.5, 0.5, 0.0], 0.5) == 2


def test_draws_come_with_their_probabilities() -> None:
    found = inverse_gap_weights([0.2, 1.0, 0.9, 0.9], 20)
    generator = random.Random(11)
    counts = [0] * 4
    for _ in range(40_000):
        counts[choose(found, generator.random())] += 1
    assert [count / 40_000 for count in counts] == pytest.approx(found, abs=0.01)
