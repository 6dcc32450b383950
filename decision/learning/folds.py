"""The fold of a customer: the same for all versions, so that they can be compared on it."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import md5

import numpy as np
from numpy.typing import NDArray

Folds = NDArray[np.int8]


def fold_of(customer_id: str, folds: int) -> int:
    """The fold of a customer: the first 8 hexadecimal digits of MD5, modulo the number of folds.

    >>> [fold_of(f"customer-{number}", 3) for number in range(6)]
    [2, 2, 2, 0, 1, 0]
    """
    digest = md5(customer_id.encode("utf-8", "surrogatepass"), usedforsecurity=False)
    return int(digest.hexdigest()[:8], 16) % folds


def folds_of(customers: Iterable[str], folds: int) -> Folds:
    """The fold of each row's customer."""
    return np.array([fold_of(each, folds) for each in customers], dtype=np.int8)
