"""What messages demand by their `when`: conditions, each asked once for all that demand it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from math import inf
from operator import or_
from typing import Any, Final, NamedTuple

from decision.core.conditions import NUMBERS, ORDERED, Clause, Condition, Test, compile_condition
from decision.core.values import Value

Passed = Callable[[Sequence[Any], Any], int]


class Bounds(NamedTuple):
    """Several numbers with which a slot is compared, ascending.

    `passed(bounds, value)` says how many of them a value has passed, and `failing` the mask of the
    candidates that demand otherwise, for 0, 1 … all. Between `low` and `high` nothing fails; what
    is no number, or NaN, fails `all`.
    """

    slot: int
    low: float
    high: float
    passed: Passed
    bounds: tuple[float, ...]
    failing: tuple[int, ...]
    all: int


_PASSED: Final[dict[str, Passed]] = {
    "gte": bisect_right,
    "lt": bisect_right,
    "gt": bisect_left,
    "lte": bisect_left,
}
"""How many bounds a value has passed: those that it reaches, or those that it exceeds."""
_LEAST: Final = ("gte", "gt")


class Requirements:
    """Conditions, and for each the mask of the candidates that demand it. Immutable.

    Comparisons with a number or with texts are most of them. They are rows of a table: a function
    for each would be called for each, and lie in memory of its own. Of all numbers with which a
    slot is compared, one search says which hold.

    >>> adult = Requirements([(Clause("customer.age", "gte", 18), 0b101)], ["customer.age"].index)
    >>> adult.failing([17], among=0b111), adult.failing([18], among=0b111)
    (5, 0)
    """

    __slots__ = ("_bounds", "_numbers", "_others", "_texts")

    def __init__(
        self, demanded: Iterable[tuple[Condition, int]], slot_of: Callable[[str], int]
    ) -> None:
        compared: dict[tuple[int, Passed], list[tuple[str, float, int]]] = {}
        texts: list[tuple[int, frozenset[str], int]] = []
        others: list[tuple[Test, int]] = []
        for condition, mask in demanded:
            match condition:
                case Clause(field, "gt" | "gte" | "lt" | "lte" as op, int() | float() as value) if (
                    type(value) in NUMBERS and value == value
                ):
                    alike = compared.setdefault((slot_of(field), _PASSED[op]), [])
                    alike.append((op, value, mask))
                case Clause(field, "eq", str() as text):
                    texts.append((slot_of(field), frozenset({text}), mask))
                case Clause(field, "in", tuple() as several) if all(
                    isinstance(one, str) for one in several
                ):
                    texts.append((slot_of(field), frozenset(several), mask))
                case _:
                    others.append((compile_condition(condition, slot_of), mask))
        self._numbers: Final = tuple(
            (slot, ORDERED[op], value, mask)
            for (slot, _), alike in compared.items()
            if len(alike) == 1
            for op, value, mask in alike
        )
        self._bounds: Final = tuple(
            _bounds(slot, passed, alike)
            for (slot, passed), alike in compared.items()
            if len(alike) > 1
        )
        self._texts: Final = tuple(texts)
        self._others: Final = tuple(others)

    def __bool__(self) -> bool:
        """Whether anybody demands anything."""
        return bool(self._numbers or self._bounds or self._texts or self._others)

    def failing(self, values: Sequence[Value], among: int) -> int:
        """The candidates that demand what does not hold; exact for those in `among`.

        One that is costly and concerns none of `among` is not asked.
        """
        failed = 0
        numbers = NUMBERS
        for slot, compare, bound, mask in self._numbers:
            if not (type(value := values[slot]) in numbers and compare(value, bound)):
                failed |= mask
        for slot, low, high, passed, bounds, failing, every in self._bounds:
            number: Any = values[slot]
            if type(number) in numbers:
                if low < number < high:
                    continue
                if number == number:
                    failed |= failing[passed(bounds, number)]
                    continue
            failed |= every
        for slot, texts, mask in self._texts:
            if not (isinstance(value := values[slot], str) and value in texts):
                failed |= mask
        for test, mask in self._others:
            if mask & among & ~failed and not test(values):
                failed |= mask
        return failed


def _bounds(slot: int, passed: Passed, compared: Iterable[tuple[str, float, int]]) -> Bounds:
    """Of comparisons that are (operator, number, who demands it)."""
    least: dict[float, int] = {}
    most: dict[float, int] = {}
    for op, bound, mask in compared:
        alike = least if op in _LEAST else most
        alike[bound] = alike.get(bound, 0) | mask
    bounds = sorted({*least, *most})
    exceeded = accumulate((most.get(bound, 0) for bound in bounds), or_, initial=0)
    missed = accumulate((least.get(bound, 0) for bound in reversed(bounds)), or_, initial=0)
    failing = tuple(map(or_, exceeded, reversed(list(missed))))
    low, high = max(least, default=-inf), min(most, default=inf)
    return Bounds(slot, low, high, passed, tuple(bounds), failing, failing[0] | failing[-1])
