"""Stable buckets for experiments: GrowthBook's hash, versions 1 and 2.

Follows the reference JavaScript SDK (https://docs.growthbook.io/lib/build-your-own), so that a
customer falls into the same bucket here and in any app that uses one of GrowthBook's SDKs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Range = tuple[float, float]
"""From (inclusive) and to (exclusive), both in [0, 1]."""

_OFFSET_BASIS = 0x811C9DC5
_PRIME = 0x01000193


BUCKETS = 10_000
"""Customers are divided into so many parts, by version 2."""


def fnv1a32(text: str) -> int:
    """The 32-bit FNV-1a hash over the text's UTF-16 code units, as JavaScript sees a text."""
    found = _OFFSET_BASIS
    if text.isascii():
        for byte in text.encode():
            found = (found ^ byte) * _PRIME & 0xFFFFFFFF
        return found
    data = text.encode("utf-16-le", "surrogatepass")
    for low, high in zip(data[::2], data[1::2], strict=True):
        found = (found ^ (low | high << 8)) * _PRIME & 0xFFFFFFFF
    return found


def hash_v1(seed: str, value: str) -> float:
    """A number in {0, 0.001 … 0.999}; biased where experiments run in parallel, so prefer 2."""
    return fnv1a32(value + seed) % 1000 / 1000


def hash_v2(seed: str, value: str) -> float:
    """A number in {0, 0.0001 … 0.9999}.

    >>> hash_v2("copy", "customer-1")
    0.5649
    """
    return fnv1a32(str(fnv1a32(seed + value))) % BUCKETS / BUCKETS


def bucket(seed: str, value: str, version: int = 2) -> float | None:
    """The hash of that version, in [0, 1); None for a version that does not exist."""
    match version:
        case 1:
            return hash_v1(seed, value)
        case 2:
            return hash_v2(seed, value)
    return None


def get_equal_weights(variations: int) -> list[float]:
    """The same share for each of that many variations."""
    return [1 / variations] * variations if variations > 0 else []


def get_bucket_ranges(
    variations: int, coverage: float = 1.0, weights: Sequence[float] | None = None
) -> list[Range]:
    """The range of each variation. Coverage shrinks every range at its upper end.

    Coverage is limited to [0, 1]. Where the number of weights is wrong, or their sum is not about 1
    (0.99 to 1.01), equal weights are used.

    >>> get_bucket_ranges(2, weights=[0.25, 0.75])
    [(0.0, 0.25), (0.25, 1.0)]
    """
    coverage = min(1.0, max(0.0, coverage))
    if weights is None or len(weights) != variations or not 0.99 <= math.fsum(weights) <= 1.01:
        weights = get_equal_weights(variations)
    ranges: list[Range] = []
    start = 0.0
    for weight in weights:
        ranges.append((start, start + coverage * weight))
        start += weight
    return ranges


def choose_variation(number: float, ranges: Sequence[Range]) -> int:
    """The index of the first range that holds the number; -1 where none does.

    >>> choose_variation(0.7, [(0.0, 0.25), (0.25, 1.0)])
    1
    """
    holding = (index for index, (start, end) in enumerate(ranges) if start <= number < end)
    return next(holding, -1)


def in_namespace(value: str, namespace: tuple[str, float, float]) -> bool:
    """Whether the value falls into `(name, from, to)`, by which experiments are kept apart."""
    name, start, end = namespace
    return start <= hash_v1(f"__{name}", value) < end
