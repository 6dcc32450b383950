"""What a variant adds to a metric: from sums over customers to an effect with its intervals.

A metric is one number per customer (whether they bought, what they spent), or a ratio of two
numbers per customer (revenue per order). `Sums` holds what is needed of the customers of one
variant, so that a database can count them. From these come a `Sample` of each side, and from two
samples an `Effect`.

Three things narrow intervals without more customers:

- *CUPED* (Deng, Xu, Kohavi and Walker 2013, "Improving the sensitivity of online controlled
  experiments by utilizing pre-experiment data"): what customers did before the experiment, as far
  as it foretells what they did later, is taken out of the difference;
- *post-stratification* (Miratrix, Sekhon and Yu 2013, https://doi.org/10.1111/rssb.12013): the
  difference within each group of customers, weighed by the group's share of all;
- nothing else: outliers are not cut off unless the metric says so.

Figures agree with GrowthBook's gbstats.

>>> control = Sums(n=3_407, y=1_396.87, yy=52_377.9767)
>>> treatment = Sums(n=3_461, y=2_422.7, yy=134_698.29)
>>> found = effect(control.mean(), treatment.mean(), relative=True)
>>> round(found.estimate, 5), [round(end, 5) for end in found.fixed], round(found.p_value, 5)
(0.70732, [-0.03526, 1.44989], 0.06191)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.analytics.anytime import ALPHA, Interval, Sample, always_half_width, always_p_value

Values = Sequence[float] | NDArray[np.floating[Any]]


class Sums(NamedTuple):
    """Sums over the customers of one variant, one summand a customer.

    `y` is the metric, `x` what it is compared with: the same metric before the experiment, or the
    lower part of a ratio. `yy`, `xx` and `xy` are sums of products.

    >>> Sums.of([1.0, 3.0], [1.0, 2.0])
    Sums(n=2, y=4.0, yy=10.0, x=3.0, xx=5.0, xy=7.0)
    """

    n: int
    y: float
    yy: float
    x: float = 0.0
    xx: float = 0.0
    xy: float = 0.0

    @classmethod
    def of(cls, y: Values, x: Values | None = None) -> Self:
        """The sums of a metric of each customer; exact but for the last rounding.

        Raises:
            ValueError: there is not one of `x` for each of `y`.
        """
        other: Values = [0.0] * len(y) if x is None else x
        if len(other) != len(y):
            raise ValueError(f"{len(y)} values of the metric, {len(other)} beside them")
        return cls(
            len(y),
            math.fsum(y),
            math.fsum(one * one for one in y),
            math.fsum(other),
            math.fsum(one * one for one in other),
            math.fsum(one * two for one, two in zip(y, other, strict=True)),
        )

    def plus(self, other: Sums) -> Sums:
        """The sums of the customers of both.

        >>> Sums(1, 2.0, 4.0).plus(Sums(1, 3.0, 9.0))
        Sums(n=2, y=5.0, yy=13.0, x=0.0, xx=0.0, xy=0.0)
        """
        return Sums(
            self.n + other.n, *(one + two for one, two in zip(self[1:], other[1:], strict=True))
        )

    def mean(self) -> Sample:
        """The metric per customer."""
        return Sample.of_sums(self.n, self.y, self.yy)

    def ratio(self) -> Sample:
        """The sum of the metric over that of `x`; its variance by the delta method.

        Without any `x` there is no ratio: nothing, of no customers.
        """
        if self.n < 2 or not self.x:
            return Sample(0, 0.0, 0.0)
        below, ratio = self.x / self.n, self.y / self.x
        variance = self._over(self.yy, self.y, self.y) - 2 * ratio * self.covariance
        variance += ratio * ratio * self._over(self.xx, self.x, self.x)
        return Sample(self.n, ratio, max(0.0, variance) / below**2)

    @property
    def covariance(self) -> float:
        """Of the metric and `x`, over customers."""
        return self._over(self.xy, self.x, self.y)

    @property
    def spread(self) -> float:
        """The variance of `x`."""
        return max(0.0, self._over(self.xx, self.x, self.x))

    def _over(self, products: float, one: float, other: float) -> float:
        return (products - one * other / self.n) / (self.n - 1) if self.n > 1 else 0.0


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """Treatment against control: a difference, or its share of the control.

    `fixed` and `p_value` (two-sided; Welch's t) hold for one look at a time that was fixed before;
    `always` and `always_p_value` hold for all looks together. `chance` is the probability that the
    treatment is better for who knew nothing before (a flat prior; Gauss).
    """

    estimate: float
    error: float
    fixed: Interval
    p_value: float
    always: Interval
    always_p_value: float
    chance: float


def effect(
    control: Sample, treatment: Sample, *, relative: bool = False, alpha: float = ALPHA
) -> Effect | None:
    """What the treatment adds; None where that cannot be said.

    That is where a side has fewer than two customers, where nobody differs from anybody, and, of a
    relative one, where the control has nothing that a share could be taken of.

    >>> found = effect(Sample.of_share(49, 100), Sample.of_share(51, 100), relative=True)
    >>> round(found.chance, 5)
    0.60918
    """
    if min(control.n, treatment.n) < 2:
        return None
    parts = control.variance / control.n, treatment.variance / treatment.n
    estimate, variance = treatment.mean - control.mean, math.fsum(parts)
    if relative:
        if control.unadjusted <= 0:
            return None
        estimate /= control.unadjusted
        ratio = treatment.unadjusted / control.unadjusted
        variance = (parts[1] + parts[0] * ratio**2) / control.unadjusted**2
    if variance <= 0:
        return None
    freedom = math.fsum(parts) ** 2 / (
        parts[0] ** 2 / (control.n - 1) + parts[1] ** 2 / (treatment.n - 1)
    )
    return effect_from(estimate, variance, control.n + treatment.n, freedom, alpha=alpha)


def effect_from(
    estimate: float, variance: float, n: int, freedom: float, *, alpha: float = ALPHA
) -> Effect:
    """An effect out of an estimate from `n` customers, with its variance (above 0) and its degrees
    of freedom.
    """
    from scipy.special import stdtr, stdtrit  # 0.2 s to load: not for who only imports this

    error = math.sqrt(variance)
    fixed = float(stdtrit(freedom, 1 - alpha / 2)) * error
    always = always_half_width(variance, n, alpha)
    return Effect(
        estimate=estimate,
        error=error,
        fixed=(estimate - fixed, estimate + fixed),
        p_value=min(1.0, 2 * float(stdtr(freedom, -abs(estimate / error)))),
        always=(estimate - always, estimate + always),
        always_p_value=always_p_value(estimate, variance, n),
        chance=NormalDist().cdf(estimate / error),
    )


def adjusted(control: Sums, treatment: Sums) -> tuple[Sample, Sample]:
    """Both sides less what could be foretold from `x`: CUPED, with one slope for both.

    Where `x` is the same for everybody it foretells nothing, and nothing is taken out.
    """
    both = control.plus(treatment)
    if not both.spread:
        return control.mean(), treatment.mean()
    slope = both.covariance / both.spread
    return _without(control, slope), _without(treatment, slope)


def _without(sums: Sums, slope: float) -> Sample:
    plain = sums.mean()
    if sums.n < 2:
        return plain
    variance = plain.variance + slope * slope * sums.spread - 2 * slope * sums.covariance
    mean = plain.mean - slope * sums.x / sums.n
    return Sample(sums.n, mean, max(0.0, variance), plain.mean)


def stratified(
    control: Mapping[str, Sums], treatment: Mapping[str, Sums], *, before: bool = False
) -> tuple[Sample, Sample]:
    """Both sides as if groups of customers (name → sums) had the same shares in each.

    A group counts by its share of all customers; groups that lack two customers on a side are put
    together. With `before`, `x` is taken out within each group.
    """
    small = [
        name
        for name in {**control, **treatment}
        if min(_of(control, name).n, _of(treatment, name).n) < 2
    ]
    groups = [
        (control[name], treatment[name])
        for name in control
        if name in treatment
        if name not in small
    ]
    if small:
        rest = [_EMPTY, _EMPTY]
        for name in small:
            rest = [rest[0].plus(_of(control, name)), rest[1].plus(_of(treatment, name))]
        if min(rest[0].n, rest[1].n) < 2 and groups:  # then they go to the largest group
            most = max(range(len(groups)), key=lambda at: sum(one.n for one in groups[at]))
            first, second = groups[most]
            groups[most] = first.plus(rest[0]), second.plus(rest[1])
        else:
            groups.append((rest[0], rest[1]))
    everybody = sum(one.n + two.n for one, two in groups)
    sides: tuple[list[Sample], list[Sample]] = ([], [])
    for one, two in groups:
        samples = adjusted(one, two) if before else (one.mean(), two.mean())
        for side, sample in zip(sides, samples, strict=True):
            side.append(sample)
    shares = [(one.n + two.n) / everybody for one, two in groups] if everybody else []
    return _weighed(sides[0], shares), _weighed(sides[1], shares)


_EMPTY = Sums(0, 0.0, 0.0)


def _of(groups: Mapping[str, Sums], name: str) -> Sums:
    return groups.get(name, _EMPTY)


def _weighed(samples: Sequence[Sample], shares: Sequence[float]) -> Sample:
    n = sum(sample.n for sample in samples)
    each = [(share, one) for share, one in zip(shares, samples, strict=True) if one.n]
    return Sample(
        n,
        math.fsum(share * one.mean for share, one in each),
        n * math.fsum(share * share * one.variance / one.n for share, one in each),
        math.fsum(share * one.unadjusted for share, one in each),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values that stay honest for several comparisons at once: none of them wrong (Holm 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    found, least = [1.0] * len(order), 0.0
    for place, one in enumerate(order):
        least = max(least, min(1.0, (len(order) - place) * p_values[one]))
        found[one] = least
    return found


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """P-values for many comparisons: a share of those found may be wrong (the 1995 procedure).

    >>> [round(one, 10) for one in benjamini_hochberg([0.01, 0.04, 0.03])]
    [0.03, 0.04, 0.04]
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__, reverse=True)
    found, most = [1.0] * len(order), 1.0
    for place, one in enumerate(order):
        most = min(most, p_values[one] * len(order) / (len(order) - place))
        found[one] = most
    return found


def detectable(
    variance: float, n: int, *, share: float = 0.5, power: float = 0.8, alpha: float = ALPHA
) -> float:
    """The least difference that `n` customers show with probability `power`, at one look.

    `variance` is that of the metric of one customer, `share` the treatment's part of the customers.

    >>> round(detectable(0.1 * 0.9, 10_000), 4)
    0.0168

    Raises:
        ValueError: a number is out of its bounds.
    """
    return _quantiles(power, alpha) * math.sqrt(variance / (n * _parts(variance, n, share)))


def customers_needed(
    variance: float,
    difference: float,
    *,
    share: float = 0.5,
    power: float = 0.8,
    alpha: float = ALPHA,
) -> int:
    """How many customers show this difference with probability `power`, at one look.

    >>> customers_needed(0.1 * 0.9, 0.01)
    28256

    Raises:
        ValueError: a number is out of its bounds.
    """
    if not difference:
        raise ValueError("no number of customers shows a difference of 0")
    wanted = variance * (_quantiles(power, alpha) / difference) ** 2
    return math.ceil(wanted / _parts(variance, 1, share))


def _quantiles(power: float, alpha: float) -> float:
    if not 0 < alpha < 1 or not alpha < power < 1:
        raise ValueError(f"power {power} must be above alpha {alpha}, both between 0 and 1")
    normal = NormalDist()
    return normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)


def _parts(variance: float, n: int, share: float) -> float:
    if variance < 0 or n < 1 or not 0 < share < 1:
        raise ValueError(f"variance {variance}, {n} customers, share {share} of the treatment")
    return share * (1 - share)
