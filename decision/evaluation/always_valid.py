"""A lower bound of a mean that holds at all times at once, so that it may be looked at every day.

Waudby-Smith, Wu, Ramdas, Karampatziakis & Mineiro 2022, "Anytime-valid off-policy inference for
contextual bandits" (https://arxiv.org/abs/2210.10768): the empirical-Bernstein confidence sequence
for values that change with time. What is averaged are increments x₁, x₂, … in order of time, each
at least −b for certain; nothing else is assumed of them, not even that they are independent of the
policy that learned from those before. With a centre c that was known before x, and B above c + b,

    exp(λ · Σ (x − its expectation) / B − ψ(λ) · Σ (x − c)² / B²),   ψ(λ) = −log(1 − λ) − λ

is a supermartingale for every λ in [0, 1), and so is a mixture of several λ. By Ville's inequality
it is never above 1/α, at any time, with a probability of 1 − α.
"""

from __future__ import annotations

from math import log
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_STEPS: Final = 24
_LAMBDAS: Final[Array] = 0.9 * 1.6 ** -np.arange(float(_STEPS))
"""Large ones are best with little evidence, small ones with much."""
_PSI: Final[Array] = -np.log1p(-_LAMBDAS) - _LAMBDAS
_LOG_SHARE: Final = -log(_STEPS)


def lower_bound(increments: Array, least: float, alpha: float) -> float:
    """The bound after all increments, of the mean of what each was expected to be.

    `least` is b: no increment can be below −b. If bounds are computed of more and more increments,
    the probability that any of them is above the mean is at most `alpha`.

    >>> round(lower_bound(np.tile([-1.0, 1.0], 500), least=1.0, alpha=0.05), 2)
    -0.11

    Raises:
        ValueError: an increment is below −b, b is not above 0, or alpha is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; must be between 0 and 1")
    count = len(increments)
    if not count:
        return -np.inf
    if not least > 0 or increments.min() < -least:
        raise ValueError(f"an increment is {increments.min():g}; none may be below {-least:g}")
    scale, spread = scale_and_spread(increments, least)
    return float(increments.mean()) - scale * deviation(spread, alpha) / count


def scale_and_spread(increments: Array, least: float) -> tuple[float, float]:
    """B, and Σ (x − c)² / B²: c is the mean of the increments before, at most b / 4; 0 at first."""
    count = len(increments)
    before = np.concatenate(([0.0], increments.cumsum()[:-1])) / np.maximum(1, np.arange(count))
    highest = least / 4
    centre = np.minimum(before, highest)
    scale = least + highest
    return scale, float(np.sum(((increments - centre) / scale) ** 2))


def deviation(spread: float, alpha: float) -> float:
    """How far the sum may be above what was expected, in units of B: where the mixture is 1/α."""
    target = log(1 / alpha)
    fixed = _LOG_SHARE - _PSI * spread
    low = 0.0
    high = float(((target - fixed) / _LAMBDAS).min())  # one of them alone is 1/α there
    for _ in range(60):
        middle = (low + high) / 2
        exponents = fixed + _LAMBDAS * middle
        top = float(exponents.max())
        if top + log(float(np.exp(exponents - top).sum())) < target:
            low = middle
        else:
            high = middle
    return high
