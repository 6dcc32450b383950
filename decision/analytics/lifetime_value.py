"""How often customers will buy again, and for how much: BG/NBD and Gamma-Gamma.

Fader, Hardie and Lee 2005, "'Counting Your Customers' the Easy Way: An Alternative to the
Pareto/NBD Model", Marketing Science 24(2), for how often; the same 2005, "RFM and CLV: Using
Iso-Value Curves for Customer Base Analysis", Journal of Marketing Research 42(4), for how much.

Of each customer three numbers are needed, in one unit of time: on how many days they bought *again*
(`frequency`; the first purchase is not counted), when they did so last (`recency`, since the first
purchase), and how long they have been seen (`age`, since the first purchase). Both models are for
customers who come and go as they like, without a contract, and believe that how often somebody buys
says nothing about how much they spend each time.

>>> model = BuyingModel(r=0.243, alpha=4.414, a=0.793, b=2.426)
>>> one = Customers.of(frequency=[2], recency=[30.43], age=[38.86])  # weeks
>>> round(float(model.purchases(one, 39.0)[0]), 3), round(float(model.alive(one)[0]), 2)
(1.226, 0.73)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

FEWEST: Final = 100
"""Customers who bought again below which nothing is fitted: four numbers are learned of them."""

_BOUNDS: Final = (-8.0, 12.0)
"""Of the logarithm of each parameter: beyond, the likelihood is flat."""


class Customers(NamedTuple):
    """One entry a customer: how often they bought again, when last, and how long they were seen."""

    frequency: Array
    recency: Array
    age: Array

    @classmethod
    def of(cls, frequency: ArrayLike, recency: ArrayLike, age: ArrayLike) -> Customers:
        """From three columns.

        Raises:
            ValueError: a number is not finite, or below 0; a last purchase after what was seen; a
                last one without one, or the other way round.
        """
        x, last, seen = (np.asarray(one, dtype=np.float64) for one in (frequency, recency, age))
        bad = ~(np.isfinite(x) & np.isfinite(last) & np.isfinite(seen))
        bad |= (x < 0) | (last < 0) | (last > seen) | ((x > 0) != (last > 0))
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            raise ValueError(
                f"customer {at + 1} of {len(x)} bought again {x[at]:g} times, last after "
                f"{last[at]:g}, and was seen for {seen[at]:g}: this cannot be"
            )
        return cls(x, last, seen)


class BuyingModel(NamedTuple):
    """How often customers buy while they are customers (r, alpha), and how they leave (a, b)."""

    r: float
    alpha: float
    a: float
    b: float

    def alive(self, customers: Customers) -> Array:
        """The probability that each will ever buy again. Who bought once is said to be: 1."""
        return 1 / (1 + self._gone(customers))

    def purchases(self, customers: Customers, time: float) -> Array:
        """The purchases that are to be expected of each within `time` from now."""
        from scipy.special import hyp2f1

        x, _, seen = customers
        r, alpha, a, b = self
        if abs(a - 1) < 1e-6:
            a = 1 + 1e-6  # the formula is 0/0 there
        share = (alpha + seen) / (alpha + seen + time)
        left = hyp2f1(r + x, b + x, a + b + x - 1, 1 - share) * share ** (r + x)
        found: Array = (a + b + x - 1) / (a - 1) * (1 - left) / (1 + self._gone(customers))
        return np.maximum(found, 0.0)

    def _gone(self, customers: Customers) -> Array:
        """The odds that each has left since they bought last."""
        x, last, seen = customers
        again = x > 0
        ratio = np.log(self.alpha + seen) - np.log(self.alpha + last)
        odds = np.where(again, self.a / np.maximum(self.b + x - 1, 1e-12), 0.0)
        found: Array = odds * np.exp(np.minimum((self.r + x) * ratio, 700.0))
        return found


class SpendingModel(NamedTuple):
    """What customers spend on a day on which they buy: shape p, and how they differ (q, gamma)."""

    p: float
    q: float
    gamma: float

    def spend(self, frequency: ArrayLike, average: ArrayLike) -> Array:
        """What is to be expected of each on a day: their own average, pulled to everybody's.

        >>> model = SpendingModel(p=6.25, q=3.74, gamma=15.44)
        >>> [round(float(one), 2) for one in model.spend([0, 1, 7], [0.0, 100.0, 100.0])]
        [35.22, 80.26, 96.18]
        """
        x, each = np.asarray(frequency, np.float64), np.asarray(average, np.float64)
        below = self.p * x + self.q - 1
        found: Array = self.p * (self.gamma + x * each) / below
        return found


def fit_buying(customers: Customers) -> BuyingModel:
    """The BG/NBD model of the greatest likelihood.

    Raises:
        ValueError: fewer than `FEWEST` customers bought again.
    """
    from scipy.special import gammaln

    _enough(customers.frequency)
    rows, counts = np.unique(np.column_stack(customers), axis=0, return_counts=True)
    x, last, seen = rows.T
    unit = float(seen.mean())  # so that alpha is of the size of 1
    last, seen = last / unit, seen / unit
    again = x > 0

    def lost(r: float, alpha: float, a: float, b: float) -> float:
        stays = -(r + x) * np.log(alpha + seen)
        leaves = np.log(a) - np.log(np.maximum(b + x - 1, 1e-12)) - (r + x) * np.log(alpha + last)
        each = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
        each += gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
        each += np.where(again, np.logaddexp(stays, leaves), stays)
        return -float(counts @ each) / float(counts.sum())

    r, alpha, a, b = _best(lost, 4)
    return BuyingModel(r, alpha * unit, a, b)


def fit_spending(frequency: ArrayLike, average: ArrayLike) -> SpendingModel:
    """The Gamma-Gamma model of the greatest likelihood, of those who bought again and spent.

    `average` is what each spent on a day on which they bought again, on average.

    Raises:
        ValueError: fewer than `FEWEST` of them.
    """
    from scipy.special import gammaln

    x, each = np.asarray(frequency, np.float64), np.asarray(average, np.float64)
    own = (x > 0) & (each > 0) & np.isfinite(each)
    x, each = x[own], each[own]
    _enough(x)
    unit = float(each.mean())
    each = each / unit

    def lost(p: float, q: float, gamma: float) -> float:
        px = p * x
        found = gammaln(px + q) - gammaln(px) - gammaln(q) + q * np.log(gamma)
        found += (px - 1) * np.log(each) + px * np.log(x) - (px + q) * np.log(gamma + x * each)
        return -float(found.mean())

    p, q, gamma = _best(lost, 3)
    return SpendingModel(p, q, gamma * unit)


def lifetime_value(
    buying: BuyingModel,
    spend: Array,
    customers: Customers,
    *,
    period: float,
    periods: int,
    discount: float = 0.0,
) -> Array:
    """What each customer is worth from now on: expected purchases × what is spent, discounted.

    `period` is in the models' unit of time; `discount` is for one period: 0.01 is 1 %.

    >>> model = BuyingModel(r=0.243, alpha=4.414, a=0.793, b=2.426)
    >>> one = Customers.of(frequency=[2], recency=[30.43], age=[38.86])
    >>> found = lifetime_value(model, np.array([20.0]), one, period=39.0, periods=1)
    >>> round(float(found[0]), 2)
    24.52
    """
    found = np.zeros(len(customers.frequency))
    before = np.zeros_like(found)
    for number in range(1, periods + 1):
        until = buying.purchases(customers, number * period)
        found += (until - before) * spend / (1 + discount) ** number
        before = until
    return found


def _enough(frequency: Array) -> None:
    if (count := int(np.count_nonzero(frequency > 0))) < FEWEST:
        raise ValueError(
            f"{count} customers bought again; a model is fitted of {FEWEST} or more: take a longer "
            "time, or an event that comes more often"
        )


def _best(lost: Callable[..., float], count: int) -> list[float]:
    """The parameters, all above 0, of the least loss: three starts nearly always agree."""
    from scipy.optimize import minimize

    def of_logarithms(logarithms: Any) -> float:
        found = lost(*np.exp(logarithms))
        return found if np.isfinite(found) else 1e10

    tried = [
        minimize(of_logarithms, [start] * count, method="L-BFGS-B", bounds=[_BOUNDS] * count)
        for start in (-1.0, 0.0, 1.0)
    ]
    best = min(tried, key=lambda one: float(one.fun))
    return [float(one) for one in np.exp(best.x)]
