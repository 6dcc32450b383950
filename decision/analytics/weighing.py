"""Effects of what fell by a known probability: with inverse probability weights.

Where a choice was drawn, with a probability that depends on the customer, who got it differs from
who did not. Weighed by one over the probability of what they got, both are like everybody (Horvitz
and Thompson 1952; Robins, Hernán and Brumback 2000 for several choices in a row). Few with large
weights make it uncertain: the effective sample size says how many customers of equal weight would
say as much (Kish 1965).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from decision.analytics.effects import Effect, effect_from

Array = NDArray[np.float64]


class Weighed(NamedTuple):
    """The effect of one more of `x` (None: it cannot be said), and how much it rests on.

    `effective` is the effective sample size of all rows; of the smaller side, where `x` has two
    values.
    """

    effect: Effect | None
    effective: float
    customers: int


def weighed(y: Array, x: Array, weight: Array, stratum: Any, customer: Any) -> Weighed:
    """Weighted least squares of `y` on `x` within strata; the error is clustered by customer.

    With `x` 0 or 1 it is the difference of weighted means. Strata and customers are any values.

    >>> y, x, weight = np.array([0.0, 1.0, 2.0, 1.0]), np.array([0.0, 0.0, 1.0, 1.0]), np.full(4, 2)
    >>> weighed(y, x, weight, [0] * 4, range(4)).effect.estimate
    1.0
    """
    sides = np.unique(x)
    parts = [x == side for side in sides] if len(sides) == 2 else [np.full(len(x), True)]
    effective = min(_effective(weight[part]) for part in parts)
    if len(x) < 3 or len(sides) < 2:
        return Weighed(None, effective, len(set(customer)))
    groups = np.unique(np.asarray(stratum), return_inverse=True)[1].ravel()
    people = np.unique(np.asarray(customer), return_inverse=True)[1].ravel()
    total = np.bincount(groups, weight)

    def centred(values: Array) -> Array:
        found: Array = values - (np.bincount(groups, weight * values) / total)[groups]
        return found

    own, other = centred(x), centred(y)
    below = float(np.sum(weight * own * own))
    clusters = int(people.max()) + 1
    if below <= 1e-12 or clusters < 3:
        return Weighed(None, effective, clusters)
    slope = float(np.sum(weight * own * other)) / below
    errors = np.bincount(people, weight * own * (other - slope * own)) / below
    variance = float(np.sum(errors**2)) * clusters / (clusters - 1)
    if variance <= 0:
        return Weighed(None, effective, clusters)
    return Weighed(effect_from(slope, variance, clusters, clusters - 1), effective, clusters)


def _effective(weight: Array) -> float:
    squares = float(np.sum(weight**2))
    return float(np.sum(weight)) ** 2 / squares if squares else 0.0
