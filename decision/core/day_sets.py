"""Sets of days: those of `calendars:`, as ranges, so that ten thousand cost no more than ten.

A day is the ordinal of a date: 1 is 1 January of the year 1.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

DayRange = tuple[int, int]
"""The first day and the last, both included."""


class DaySet:
    """A set of days. Immutable.

    >>> festival = DaySet([(5, 7), (8, 9), (20, 20)])
    >>> 9 in festival, 10 in festival, festival.ranges
    (True, False, ((5, 9), (20, 20)))
    """

    __slots__ = ("_starts", "ranges")

    def __init__(self, ranges: Iterable[DayRange]) -> None:
        found: list[DayRange] = []
        for first, last in sorted(ranges):
            if found and first <= found[-1][1] + 1:
                found[-1] = (found[-1][0], max(found[-1][1], last))
            else:
                found.append((first, last))
        self.ranges: Final = tuple(found)
        """In order, none of them touching the next."""
        self._starts: Final = [first for first, _ in found]

    def __contains__(self, day: int) -> bool:
        return self.free_from(day) != day

    def free_from(self, day: int) -> int:
        """The first day from that one on that is not in the set."""
        at = bisect_right(self._starts, day)
        return max(day, self.ranges[at - 1][1] + 1) if at else day
