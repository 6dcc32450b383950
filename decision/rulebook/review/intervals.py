"""Sets of numbers or of texts as unions of intervals, exact at every end.

A *cut* is a place between values: `(1, v, 0)` just before v, `(1, v, 1)` just after it, `BOTTOM`
before and `TOP` after everything. An interval is a pair of cuts; a set is an ascending tuple of
intervals that do not touch. So open and closed ends, numbers and texts need no special cases.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, floor, isinf
from typing import Any, Final

Cut = tuple[Any, ...]
Intervals = tuple[tuple[Cut, Cut], ...]

BOTTOM: Final[Cut] = (0,)
TOP: Final[Cut] = (2,)
NOTHING: Final[Intervals] = ()
EVERYTHING: Final[Intervals] = ((BOTTOM, TOP),)


def points(values: Iterable[Any]) -> Intervals:
    """The set of exactly these values, without NaN, which is equal to nothing."""
    found = sorted({value for value in values if value == value})
    return tuple(((1, value, 0), (1, value, 1)) for value in found)


def ordered(operator: str, bound: Any) -> Intervals:
    """The values that are `gt`, `gte`, `lt` or `lte` a bound."""
    if bound != bound:  # NaN has no order
        return NOTHING
    match operator:
        case "gt":
            return (((1, bound, 1), TOP),)
        case "gte":
            return (((1, bound, 0), TOP),)
        case "lt":
            return ((BOTTOM, (1, bound, 0)),)
    return ((BOTTOM, (1, bound, 1)),)


def intersect(left: Intervals, right: Intervals) -> Intervals:
    """The values in both."""
    if left is EVERYTHING or not right:
        return right
    if right is EVERYTHING or not left:
        return left
    found = []
    i = j = 0
    while i < len(left) and j < len(right):
        low = max(left[i][0], right[j][0])
        high = min(left[i][1], right[j][1])
        if low < high:
            found.append((low, high))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return tuple(found)


def complement(intervals: Intervals) -> Intervals:
    """The values that are not in it."""
    if not intervals:
        return EVERYTHING
    found = []
    low = BOTTOM
    for start, end in intervals:
        if low < start:
            found.append((low, start))
        low = end
    if low < TOP:
        found.append((low, TOP))
    return tuple(found)


def values_of(intervals: Intervals) -> list[Any] | None:
    """The values if there are only single ones; None if there is a real interval."""
    found = []
    for low, high in intervals:
        if len(low) == 1 or len(high) == 1 or low[1] != high[1]:
            return None
        found.append(low[1])
    return found


def whole_numbers(intervals: Intervals) -> Intervals:
    """The intervals narrowed to the whole numbers in them; those without any are left out."""
    found = []
    for low, high in intervals:
        if len(low) > 1 and not isinf(low[1]):
            low = (1, ceil(low[1]) if low[2] == 0 else floor(low[1]) + 1, 0)
        if len(high) > 1 and not isinf(high[1]):
            high = (1, floor(high[1]) if high[2] == 1 else ceil(high[1]) - 1, 1)
        if low < high:
            found.append((low, high))
    return tuple(found)
