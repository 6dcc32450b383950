"""Exploration: probabilities are exact, and what is drawn had one."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.core.arbitration import MANY, drawn, gap_weights
from decision.core.definition import Message, Purpose, Settings
from decision.core.exploration import (
    LARGEST_FLOOR,
    choose,
    choose_of_many,
    inverse_gap_weights,
    inverse_gap_weights_of_many,
    with_floors,
)
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from tests.core.small import ask, customer, definition

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


repeated = st.lists(st.sampled_from([-1.0, -0.0, 0.0, 0.5, 1.0]) | st.floats(-1, 1), min_size=1)


@given(repeated, gammas, below_one)
def test_arrays_give_the_same_probabilities_and_draw_to_the_last_bit(
    values: list[float], gamma: float | None, u: float
) -> None:
    """So decisions that were drawn with lists are replayed, whichever way is faster now."""
    plain = inverse_gap_weights(values, gamma)
    found = inverse_gap_weights_of_many(np.array(values), gamma)
    assert found.tobytes() == np.array(plain).tobytes()
    for number in (u, found[0], math.fsum(plain[:2])):
        if number < 1:
            assert choose_of_many(found, number) == choose(plain, number)


@given(st.lists(st.floats(0, 1), min_size=1).filter(any), below_one)
def test_arrays_draw_by_any_weights_as_lists_do(values: list[float], u: float) -> None:
    assert choose_of_many(np.array(values), u) == choose(values, u)


@pytest.mark.parametrize("priority", [1e-320, 3.7, 1e300])
def test_the_draw_is_the_same_on_both_sides_of_where_arrays_are_faster(priority: float) -> None:
    for count in range(1, 2 * MANY):
        values = [priority * (0.3 + (k * 7 % 5) / 10) for k in range(count)]
        scale = 1 / max(values) if math.isfinite(1 / max(values)) else 1.0
        plain = inverse_gap_weights([value * scale for value in values], 20.0)
        found = gap_weights(np.array(values), 20.0)
        assert found.tolist() == plain
        assert [drawn(found, u / 50) for u in range(50)] == [
            choose(plain, u / 50) for u in range(50)
        ]


def test_no_array_without_a_probability_is_drawn_from() -> None:
    with pytest.raises(ValueError, match="above zero"):
        choose_of_many(np.zeros(MANY), 0.5)
    for bad in (math.inf, math.nan):
        with pytest.raises(ValueError, match="finite"):
            inverse_gap_weights_of_many(np.array([0.1, bad]), 10)
        with pytest.raises(ValueError, match="gamma"):
            inverse_gap_weights_of_many(np.array([0.1, 0.2]), bad)


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


@given(
    st.lists(st.tuples(st.floats(-1, 1), st.integers(-1, 4)), min_size=1, max_size=30),
    gammas,
    st.floats(0, 1),
)
def test_with_floors_it_is_a_distribution_in_which_nobody_has_less_than_their_floor(
    rows: list[tuple[float, int]], gamma: float | None, floor: float
) -> None:
    weights = inverse_gap_weights([score for score, _ in rows], gamma)
    groups = [group for _, group in rows]
    found = with_floors(weights, groups, floor)
    assert math.fsum(found) == pytest.approx(1, abs=1e-12)
    tried = {group for group in groups if group >= 0}
    for group in tried:
        together = math.fsum(p for p, own in zip(found, groups, strict=True) if own == group)
        assert together >= min(floor, LARGEST_FLOOR / len(tried)) - 1e-12
    if not tried or floor == 0:
        assert found == pytest.approx(weights, abs=1e-15)


GOOD = {"offer": 0.9, "news": 0.1}


def chances(policy: Policy, unproven: set[str] = frozenset()) -> dict[str, float]:
    mask = sum(1 << i for i, c in enumerate(policy.candidates) if c.message in unproven)
    verdict = ask(policy, customer(), probabilities=GOOD, unproven=mask)
    names = [f"{c.message}/{c.channel}" for c in policy.candidates]
    return {names[row.candidate]: row.selection_probability for row in verdict.scores.rows()}


def test_a_message_without_evidence_is_tried_at_its_floor_over_all_its_channels() -> None:
    settings = Settings(timezone="UTC", exploration=1e6, exploration_floor=0.05)
    policy = compile_policy(definition(settings=settings))
    assert chances(policy)["news/email"] < 1e-5
    assert chances(policy, {"news"})["news/email"] == pytest.approx(0.05, rel=1e-3)
    both = chances(policy, {"news", "offer"})
    assert both["offer/push"] + both["offer/email"] == pytest.approx(0.95, rel=1e-3)
    off = Settings(timezone="UTC", exploration=None, exploration_floor=0.05)
    assert chances(compile_policy(definition(settings=off)), {"news"})["news/email"] == 0


@pytest.mark.parametrize("gamma", [0.0, 10.0])
def test_nothing_is_tried_out_with_a_purpose_marked_so(gamma: float) -> None:
    """Its message wins for certain when it is the best, and else is never drawn."""
    settings = Settings(timezone="UTC", exploration=gamma, exploration_floor=0.05)
    service = Purpose(name="service", consent="not_required", explore=False)
    changed = definition(
        settings=settings, purposes=(Purpose(name="marketing", consent="opt_in"), service)
    )
    receipt = Message(name="receipt", purpose="service", channels=("email",), value=1.0)
    policy = compile_policy(
        definition(
            settings=settings,
            purposes=changed.purposes,
            messages=(*changed.messages[:2], receipt),
        )
    )
    low = ask(
        policy, customer(), probabilities={**GOOD, "receipt": 1.0}, unproven=policy.everything
    )
    by_name = {policy.candidates[r.candidate].message: r for r in low.scores.rows()}
    assert by_name["receipt"].selection_probability == 0
    assert by_name["news"].selection_probability > 0
    rare = {"offer": 0.05, "news": 0.1, "receipt": 1.0}
    best = ask(policy, customer(), probabilities=rare, unproven=policy.everything)
    assert [policy.candidates[row.candidate].message for row in best.chosen] == ["receipt"]
    assert best.chosen[0].selection_probability == 1
