"""The lower bound that may be looked at every day: equal to its definition, and seldom wrong."""

from __future__ import annotations

from math import exp, log1p

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.evaluation.always_valid import lower_bound
from decision.evaluation.paired import PairedRows, increments, least_increment

ALPHA = 0.05


def by_definition(increments: list[float], least: float, alpha: float) -> float:
    """The mean at which the mixture of supermartingales is 1/α, stepped through one by one."""
    lambdas = [0.9 / 1.6**step for step in range(24)]
    highest = least / 4
    scale = least + highest

    def mixture(mean: float) -> float:
        exponents, seen = [0.0] * len(lambdas), []
        for x in increments:
            centre = min(sum(seen) / len(seen), highest) if seen else 0.0
            for place, one in enumerate(lambdas):
                away = ((x - centre) / scale) ** 2
                exponents[place] += one * (x - mean) / scale - (-log1p(-one) - one) * away
            seen.append(x)
        return sum(exp(min(700.0, each)) for each in exponents) / len(lambdas)

    high = sum(increments) / len(increments)
    low = high - 1.0
    while mixture(low) < 1 / alpha:
        low -= high - low
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if mixture(middle) >= 1 / alpha else (low, middle)
    return low


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1.0, 6.0, width=32), min_size=1, max_size=25), st.floats(0.01, 0.5))
def test_the_bound_is_where_the_mixture_by_its_definition_is_one_over_alpha(
    values: list[float], alpha: float
) -> None:
    found = lower_bound(np.array(values), least=1.0, alpha=alpha)
    assert found == pytest.approx(by_definition(values, 1.0, alpha), abs=1e-6)


def test_what_is_impossible_is_refused() -> None:
    with pytest.raises(ValueError, match="none may be below -1"):
        lower_bound(np.array([0.0, -1.5]), least=1.0, alpha=ALPHA)
    with pytest.raises(ValueError, match="alpha"):
        lower_bound(np.array([0.0]), least=1.0, alpha=0.0)
    assert lower_bound(np.empty(0), least=1.0, alpha=ALPHA) == -np.inf


def test_the_bound_comes_near_the_mean_with_more_and_more_increments() -> None:
    draw = np.random.default_rng(1)
    gaps = [0.1 - lower_bound(draw.normal(0.1, 0.3, n).clip(-1), 1.0, ALPHA) for n in (100, 10_000)]
    assert 0 < gaps[1] < gaps[0] / 5 and gaps[1] < 0.015


def logged(draw: np.random.Generator, rounds: int) -> PairedRows:
    """Rounds of three messages whose responses depend on nothing: no policy is better or worse."""
    odds = draw.dirichlet([1.0, 1.0, 1.0], size=rounds) * 0.9 + 0.1 / 3
    chosen = (odds.cumsum(axis=1) < draw.random(rounds)[:, None]).sum(axis=1).clip(0, 2)
    return PairedRows(
        challenger=draw.dirichlet([0.3, 0.3, 0.3], size=rounds),
        champion=draw.dirichlet([0.3, 0.3, 0.3], size=rounds),
        logged=odds,
        predicted=draw.random((rounds, 3)) * 0.5,
        value=np.array([[1.0, 1.0, 1.0]]),
        cost=np.zeros((1, 3)),
        chosen=chosen,
        reached=(draw.random(rounds) < 0.2).astype(float),
    )


def ever_wrong(gates: int, days: int, a_day: int, seed: int) -> float:
    """The share of gates that pass, on any of their days, a challenger no better than the bar."""
    wrong = 0
    for gate in range(gates):
        rows = logged(np.random.default_rng([seed, gate]), days * a_day)
        found, least = increments(rows, 1.0), least_increment(rows.value, rows.cost, 1.0)
        looks = range(a_day, days * a_day + 1, a_day)
        wrong += any(lower_bound(found[:end], least, ALPHA) > 0 for end in looks)
    return wrong / gates


def test_gates_looked_at_daily_are_seldom_wrong() -> None:
    """At most α; `python -m benchmarks.gates` asks 2,000 of them for longer."""
    assert ever_wrong(gates=100, days=10, a_day=50, seed=1) <= ALPHA


def test_an_increment_is_never_below_its_bound_and_right_in_the_mean() -> None:
    """Whatever is predicted: the mean over all choices and responses is the difference of values."""
    draw = np.random.default_rng(2)
    value, cost = np.array([[2.0, 0.5, 1.0]]), np.array([[0.1, 0.0, 0.3]])
    for _ in range(50):
        challenger, champion, odds = draw.dirichlet([0.2] * 3, size=3)
        truth, predicted = draw.random((2, 3))
        odds = 0.99 * odds + 0.01 / 3
        expected = 0.0
        for action in range(3):
            for reached in (0.0, 1.0):
                one = PairedRows(
                    *(each[None, :] for each in (challenger, champion, odds, predicted)),
                    value=value,
                    cost=cost,
                    chosen=np.array([action]),
                    reached=np.array([reached]),
                )
                (found,) = increments(one, 0.9)
                assert found >= -least_increment(value, cost, 0.9)
                share = truth[action] if reached else 1 - truth[action]
                expected += odds[action] * share * found
        worth = value[0] * truth - cost[0]
        assert expected == pytest.approx(float((challenger - 0.9 * champion) @ worth), abs=1e-9)


def test_what_the_log_could_not_do_counts_as_the_worst() -> None:
    """A challenger gains nothing by what was never given; what is in force loses nothing by it."""
    rows = PairedRows(
        challenger=np.array([[0.0, 1.0]]),
        champion=np.array([[1.0, 0.0]]),
        logged=np.array([[1.0, 0.0]]),
        predicted=np.array([[0.2, 0.9]]),
        value=np.array([[1.0, 1.0]]),
        cost=np.zeros((1, 2)),
        chosen=np.array([0]),
        reached=np.array([0.0]),
    )
    assert increments(rows, 1.0).tolist() == [0.0]
    back = rows._replace(challenger=rows.champion, champion=rows.challenger)
    assert increments(back, 1.0).tolist() == [-1.0]
