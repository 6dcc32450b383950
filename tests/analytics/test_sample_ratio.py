"""The test for sample-ratio mismatch keeps its promise whenever it is looked at, and finds losses."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.analytics import sample_ratio
from decision.analytics.sample_ratio import ALPHA, CONCENTRATIONS, p_value, ratio_of


def bayes_factor(customers: list[int], shares: list[Fraction], concentration: int) -> Fraction:
    """By its definition, customer after customer: what was predicted of each, over their share."""
    seen, found = [Fraction(0)] * len(shares), Fraction(1)
    for arm in customers:
        told = (concentration * shares[arm] + seen[arm]) / (concentration + sum(seen))
        found *= told / shares[arm]
        seen[arm] += 1
    return found


@given(
    customers=st.lists(st.integers(0, 2), max_size=40),
    shares=st.sampled_from([(1, 1, 1), (1, 2, 7), (90, 5, 5)]),
)
def test_it_is_what_customers_one_after_the_other_come_to(
    customers: list[int], shares: tuple[int, ...]
) -> None:
    exact = [Fraction(one, sum(shares)) for one in shares]
    factors = [bayes_factor(customers, exact, int(one)) for one in CONCENTRATIONS]
    wanted = min(1.0, float(len(factors) / sum(factors)))
    counts = [customers.count(arm) for arm in range(3)]
    found = p_value(counts, [float(one) for one in exact])
    assert found == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_shares_that_hold_are_ever_reported_with_probability_alpha_at_most(share: float) -> None:
    """Exactly, by all ways that 400 customers can go, looked at after each of them."""
    alpha, most, both = 0.05, 400, (share, 1 - share)
    left = np.array([1.0])  # the probability of so many in the first variant, and no report yet
    reported = chi_square = 0.0
    open_to_chi = np.array([1.0])
    for number in range(1, most + 1):
        left, open_to_chi = step(left, share), step(open_to_chi, share)
        first = np.arange(number + 1)
        cross = np.array([p_value((one, number - one), both) <= alpha for one in first.tolist()])
        reported += left[cross].sum()
        left[cross] = 0
        square = (first - number * share) ** 2 / (number * share * (1 - share))
        wrong = square > 3.8415  # a chi-square test at 5 %, looked at each time
        chi_square += open_to_chi[wrong].sum()
        open_to_chi[wrong] = 0
    assert 0 < reported <= alpha
    assert chi_square > 5 * alpha


def step(chances: np.ndarray, share: float) -> np.ndarray:
    return np.append(chances * (1 - share), 0) + np.insert(chances * share, 0, 0)


@pytest.mark.parametrize(
    ("counts", "shares"),
    [
        ((821_588, 815_482), (0.5, 0.5)),  # Kohavi, Tang, Xu 2020: chi-square p 1.8e-6
        ((495_000, 500_000 + 5_000), (0.5, 0.5)),
        ((30, 0), (0.5, 0.5)),
        ((0, 600), (0.02, 0.98)),
        ((1, 99), (0.0, 1.0)),
    ],
)
def test_a_mismatch_is_reported(counts: tuple[int, int], shares: tuple[float, float]) -> None:
    arms = [(str(place), shares[place], count) for place, count in enumerate(counts)]
    assert ratio_of("one", arms).mismatch


@pytest.mark.parametrize(("loss", "customers"), [(0.01, 1_600_000), (0.05, 70_000), (0.25, 2_500)])
def test_a_loss_of_a_part_of_one_variant_is_found(loss: float, customers: int) -> None:
    """In nine of ten experiments of so many customers."""
    chance = np.random.default_rng(7)
    found = 0
    for _ in range(200):
        first = int(chance.binomial(customers, 0.5))
        kept = int(chance.binomial(customers - first, 1 - loss))
        found += p_value([first, kept], [0.5, 0.5]) <= ALPHA
    assert found >= 0.9 * 200


def test_a_thousand_right_experiments_looked_at_each_day_are_hardly_ever_reported() -> None:
    """1,000 customers a day for 60 days, 3 variants: chance reports one in a thousand at most."""
    chance = np.random.default_rng(11)
    shares = [0.5, 0.3, 0.2]
    days = chance.multinomial(1_000, shares, size=(1_000, 60)).cumsum(axis=1)
    reported = sum(
        any(p_value(counts, shares) <= ALPHA for counts in each) for each in days.tolist()
    )
    assert reported <= 4  # more than that has a probability of 0.4 % where it is 1


@pytest.mark.parametrize("shares", [(0.5,), (0.5, 0.4), ()])
def test_shares_that_cannot_be_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must sum to 1"):
        p_value([1, 2], shares)


def test_nobody_says_nothing() -> None:
    assert p_value([0, 0], [0.5, 0.5]) == 1
    assert not sample_ratio.ratio_of("one", [("a", 1.0, 12)]).mismatch
