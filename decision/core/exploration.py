"""Exploration with probabilities in closed form: inverse-gap weighting.

Foster & Rakhlin 2020, "Beyond UCB: Optimal and Efficient Contextual Bandits with Regression
Oracles" (https://arxiv.org/abs/2002.04926): SquareCB.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import numpy as np
from numpy.typing import NDArray

from decision.core.arrays import all_finite

Floats = NDArray[np.float64]


def inverse_gap_weights(scores: Sequence[float], gamma: float | None) -> list[float]:
    """The probability with which each candidate is chosen, in the order of the scores.

    p(a) = 1 / (K + γ · (best − score(a))) for all but the best, which takes the rest. The first
    of equal bests counts as the best. γ ≥ 0 weighs a gap of 1, so give scores divided by the
    largest |score|; γ None always takes the best. No scores give no probabilities.

    Raises:
        ValueError: a score is not finite, or γ is negative or not finite.

    >>> inverse_gap_weights([1.0, 0.5], gamma=4)
    [0.75, 0.25]
    """
    if gamma is not None and not (math.isfinite(gamma) and gamma >= 0):
        raise ValueError(f"gamma is {gamma}; must be a finite number of at least 0, or None")
    if not all(map(math.isfinite, scores)):
        raise ValueError(f"scores are {list(scores)}; each must be finite")
    if not scores:
        return []
    top = max(scores)
    best = scores.index(top)
    if gamma is None:
        weights = [0.0] * len(scores)
        weights[best] = 1.0
        return weights
    count = len(scores)
    weights = [1 / (count + gamma * (top - score)) for score in scores]
    weights[best] = 0.0
    weights[best] = 1.0 - math.fsum(weights)
    return weights


def inverse_gap_weights_of_many(scores: Floats, gamma: float | None) -> Floats:
    """`inverse_gap_weights` by arrays: the same to the last bit, and faster for thirty and more.

    Raises:
        ValueError: as it does.
    """
    if gamma is None or not (0 <= gamma < math.inf and all_finite(scores)):
        return np.array(inverse_gap_weights(scores.tolist(), gamma))
    best = int(scores.argmax())
    weights: Floats = 1 / (len(scores) + gamma * (scores.item(best) - scores))
    weights[best] = 0.0
    weights[best] = 1.0 - math.fsum(weights.tolist())
    return weights


LARGEST_FLOOR: Final = 0.5
"""The most probability that floors take together: the rest is for what is known to be good."""


def with_floors(weights: Sequence[float], groups: Sequence[int], floor: float) -> list[float]:
    """The weights mixed with an equal share for each group that is to be tried, of `floor` each.

    `groups` gives each candidate's group (such as its message), -1 for none; a group's share is
    split evenly among its candidates. Where the floors of all groups together exceed
    `LARGEST_FLOOR`, they share that. With F for the sum of floors,
    p(a) = floor(a) + (1 − F) · weight(a): a distribution in which none has less than its floor.

    >>> with_floors([1.0, 0.0], groups=[-1, 7], floor=0.1)
    [0.9, 0.1]
    """
    sizes = Counter(group for group in groups if group >= 0)
    if not sizes:
        return list(weights)
    share = min(floor, LARGEST_FLOOR / len(sizes))
    rest = 1.0 - share * len(sizes)
    return [
        rest * weight + (share / sizes[group] if group >= 0 else 0.0)
        for weight, group in zip(weights, groups, strict=True)
    ]


def choose(probabilities: Sequence[float], u: float) -> int:
    """The index that `u` in [0, 1) falls on by inverse CDF; never one of probability zero.

    Raises:
        ValueError: no probability is above zero.

    >>> choose([0.75, 0.25], 0.8)
    1
    """
    total = 0.0
    last = -1
    for index, probability in enumerate(probabilities):
        if probability > 0:
            last = index
            total += probability
            if u < total:
                return index
    if last < 0:
        raise ValueError(f"no probability of {list(probabilities)} is above zero")
    return last  # rounding left the sum a little below `u`


def choose_of_many(probabilities: Floats, u: float) -> int:
    """`choose` by arrays: the same index.

    Raises:
        ValueError: no probability is above zero.
    """
    plain = probabilities.tolist()
    found = bisect_right(list(accumulate(plain)), u)
    return found if found < len(plain) else choose(plain, u)
