"""Intervals that hold whenever one looks do, and those for one look do not; published numbers."""

from __future__ import annotations

import numpy as np
import pytest

from decision.analytics.anytime import (
    ALPHA,
    Sample,
    always_half_width,
    difference,
    relative,
)


def test_the_published_numbers_of_gbstats_are_reproduced() -> None:
    """GrowthBook's statistics package, its tests of the two-sided and the sequential test."""
    control = Sample.of_sums(3_407, 1_396.87, 52_377.9767)
    treatment = Sample.of_sums(3_461, 2_422.7, 134_698.29)
    found = relative(control, treatment)
    assert found is not None
    assert found.estimate == pytest.approx(0.70732, abs=1e-5)
    assert found.fixed == pytest.approx((-0.03526, 1.44989), abs=2e-4)  # theirs is by Student's t
    found = relative(Sample.of_share(1_396, 3_000), Sample.of_share(2_422, 3_461))
    assert found is not None
    assert found.always == pytest.approx((0.40098, 0.60675), abs=1e-5)


def test_a_difference_is_wider_for_all_days_than_for_one() -> None:
    found = difference(Sample(1_000, 1.0, 4.0), Sample(2_000, 1.5, 9.0))
    assert found is not None
    assert found.estimate == 0.5
    assert found.always[0] < found.fixed[0] < 0.5 < found.fixed[1] < found.always[1]
    strict = difference(Sample(1_000, 1.0, 4.0), Sample(2_000, 1.5, 9.0), ALPHA / 3)
    assert strict is not None and strict.always[0] < found.always[0]


def test_the_interval_shrinks_to_nothing_however_many_look() -> None:
    widths = [always_half_width(1 / n, n) for n in (10, 1_000, 100_000, 10_000_000, 10**9)]
    assert widths == sorted(widths, reverse=True) and widths[-1] < 0.0003


def test_nobody_and_nothing_are_not_compared() -> None:
    some, nobody = Sample.of_share(3, 10), Sample.of_share(0, 0)
    assert difference(some, nobody) is None and relative(nobody, some) is None
    assert relative(Sample.of_share(0, 10), some) is None
    assert Sample.of_sums(1, 4.0, 16.0) == Sample(1, 4.0, 0.0)


@pytest.mark.parametrize("value", ["conversion", "money"])
def test_of_experiments_without_effect_looked_at_daily_few_are_ever_called(value: str) -> None:
    """1,000 experiments of 60 days, 100 customers a day and variant: 5 % at most, and the interval
    for one look far more."""
    rng = np.random.default_rng(7)
    shape = (1_000, 60, 2)
    hits = rng.binomial(100, 0.1, shape)
    counts = 100 * np.arange(1, 61)[None, :, None]
    if value == "conversion":
        total = hits.cumsum(axis=1)
        mean = total / counts
        variance = mean * (1 - mean)
    else:  # what those who bought spent: skewed, as money is
        total = rng.gamma(hits + 1e-9, 20.0).cumsum(axis=1)
        squares = (rng.gamma(hits + 1e-9, 800.0)).cumsum(axis=1)  # of exponential amounts
        mean = total / counts
        variance = squares / counts - mean**2
    late = 9  # the first ten days are too early
    each = (variance / counts).sum(axis=2)[:, late:]
    gap = np.abs(mean[:, late:, 0] - mean[:, late:, 1])
    n = 2 * counts[0, late:, 0]
    unit = np.array([always_half_width(1.0, int(one)) for one in n])
    always = (gap > unit * np.sqrt(each)).any(axis=1).mean()
    fixed = (gap > 1.96 * np.sqrt(each)).any(axis=1).mean()
    assert always <= ALPHA
    assert fixed > 3 * ALPHA
