"""Differences between two samples, with intervals that hold whenever one looks.

An interval of 95 % is wrong one time in twenty if it is looked at once. Who looks every day, and
stops on the first day on which it excludes zero, is wrong far more often. An always-valid interval,
a confidence sequence, is wrong one time in twenty for all days together: it is wider, and may be
looked at as often as one likes.

This one is asymptotic: the normal mixture of Robbins (1970) in the form of Waudby-Smith, Arbour,
Sinha, Kennedy and Ramdas (2024), "Time-uniform central limit theory and asymptotic confidence
sequences", Annals of Statistics 52(6), https://arxiv.org/abs/2103.06476, equations 9 and 161. As
in GrowthBook, it is narrowest about where 5,000 customers were seen.

>>> control, treatment = Sample.of_share(1_396, 3_000), Sample.of_share(2_422, 3_461)
>>> found = relative(control, treatment)
>>> round(found.estimate, 5), [round(end, 5) for end in found.always]
(0.50386, [0.40098, 0.60675])
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final, NamedTuple

TUNED_FOR: Final = 5_000
"""The customers of both samples at which the always-valid interval is narrowest, about."""

ALPHA: Final = 0.05

FEWEST: Final = 10
"""Customers of each sample who did something, and who did not, below which it is too early: the
intervals are those of a normal distribution.
"""

Interval = tuple[float, float]


class Sample(NamedTuple):
    """What customers of one variant had: how many they are, the mean, and the variance of one.

    `raw` is the mean before something was taken out of it; relative differences are shares of that.
    """

    n: int
    mean: float
    variance: float
    raw: float | None = None

    @property
    def unadjusted(self) -> float:
        """The mean as it was."""
        return self.mean if self.raw is None else self.raw

    @classmethod
    def of_share(cls, hits: int, n: int) -> Sample:
        """Of whether something happened, to `hits` of `n` customers."""
        share = hits / n if n else 0.0
        return cls(n, share, share * (1 - share))

    @classmethod
    def of_sums(cls, n: int, total: float, squares: float) -> Sample:
        """Of amounts, by their sum and the sum of their squares."""
        if n < 2:
            return cls(n, total / n if n else 0.0, 0.0)
        return cls(n, total / n, max(0.0, (squares - total * total / n) / (n - 1)))


class Compared(NamedTuple):
    """A difference, with the interval for one look, and the one that holds at all times."""

    estimate: float
    fixed: Interval
    always: Interval


def difference(control: Sample, treatment: Sample, alpha: float = ALPHA) -> Compared | None:
    """Treatment − control; None without customers on both sides.

    >>> difference(Sample(100, 1.0, 1.0), Sample(0, 0.0, 0.0)) is None
    True
    """
    if not control.n or not treatment.n:
        return None
    variance = control.variance / control.n + treatment.variance / treatment.n
    return _compared(treatment.mean - control.mean, variance, control.n + treatment.n, alpha)


def relative(control: Sample, treatment: Sample, alpha: float = ALPHA) -> Compared | None:
    """(Treatment − control) / control, by the delta method; None where the control has nothing."""
    if not control.n or not treatment.n or control.mean <= 0:
        return None
    ratio = treatment.mean / control.mean
    variance = treatment.variance / (treatment.n * control.mean**2)
    variance += control.variance * treatment.mean**2 / (control.n * control.mean**4)
    return _compared(ratio - 1, variance, control.n + treatment.n, alpha)


def always_half_width(variance: float, n: int, alpha: float = ALPHA) -> float:
    """Half the width of the always-valid interval of an estimate with this variance, from `n`."""
    tuned = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / TUNED_FOR
    weight = n * tuned + 1
    return math.sqrt(variance * n * 2 * weight * math.log(math.sqrt(weight) / alpha) / tuned) / n


def always_p_value(estimate: float, variance: float, n: int) -> float:
    """The p-value of an estimate with this variance, from `n`, that may be looked at always.

    It is at most alpha exactly where an interval tuned like this one's excludes zero (equation 155;
    the tuning is that of `ALPHA`).
    """
    tuned = (-2 * math.log(ALPHA) + math.log(-2 * math.log(ALPHA) + 1)) / TUNED_FOR
    weight = n * tuned + 1
    exponent = tuned * n * estimate * estimate / (variance * 2 * weight)
    return min(1.0, math.sqrt(weight) * math.exp(-exponent))


def _compared(estimate: float, variance: float, n: int, alpha: float) -> Compared:
    fixed = NormalDist().inv_cdf(1 - alpha / 2) * math.sqrt(variance)
    always = always_half_width(variance, n, alpha)
    return Compared(
        estimate,
        (estimate - fixed, estimate + fixed),
        (estimate - always, estimate + always),
    )
