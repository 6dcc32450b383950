"""What decisions ask of arrays, by as few different functions of numpy as can be.

The code of each other function must be fetched into the processor's caches first, which takes
longer than what it does for the hundred numbers of a decision.
"""

from __future__ import annotations

from math import isfinite, isnan

import numpy as np
from numpy.typing import NDArray


def all_finite(numbers: NDArray[np.float64]) -> bool:
    """Whether no number is infinite or NaN.

    >>> all_finite(np.array([1.0, 2.0])), all_finite(np.array([np.inf, 2.0]))
    (True, False)
    >>> all_finite(np.empty(0))
    True
    """
    if not numbers.size:
        return True
    lowest = numbers.item(numbers.argmin())  # NaN, where there is one
    return isfinite(lowest) and isfinite(numbers.item(numbers.argmax()))


def any_nan(numbers: NDArray[np.float64]) -> bool:
    """Whether a number is NaN.

    >>> any_nan(np.array([1.0, np.nan])), any_nan(np.array([1.0, np.inf])), any_nan(np.empty(0))
    (True, False, False)
    """
    return numbers.size > 0 and isnan(numbers.item(numbers.argmin()))
