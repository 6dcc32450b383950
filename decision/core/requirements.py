"""What messages demand by their `when`: conditions, each asked once for all that demand it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from decision.core.conditions import NUMBERS, ORDERED, Clause, Condition, Test, compile_condition
from decision.core.values import Value


class Requirements:
    """Conditions, and for each the mask of the candidates that demand it. Immutable.

    Comparisons with a number or with texts are most of them. They are rows of a table: a function
    for each would be called for each, and lie in memory of its own.

    >>> adult = Requirements([(Clause("customer.age", "gte", 18), 0b101)], ["customer.age"].index)
    >>> adult.failing([17], among=0b111), adult.failing([18], among=0b111)
    (5, 0)
    """

    __slots__ = ("_numbers", "_others", "_texts")

    def __init__(
        self, demanded: Iterable[tuple[Condition, int]], slot_of: Callable[[str], int]
    ) -> None:
        numbers: list[tuple[int, Callable[[Any, Any], bool], float, int]] = []
        texts: list[tuple[int, frozenset[str], int]] = []
        others: list[tuple[Test, int]] = []
        for condition, mask in demanded:
            match condition:
                case Clause(field, "gt" | "gte" | "lt" | "lte" as op, int() | float() as value) if (
                    type(value) in NUMBERS
                ):
                    numbers.append((slot_of(field), ORDERED[op], value, mask))
                case Clause(field, "eq", str() as text):
                    texts.append((slot_of(field), frozenset({text}), mask))
                case Clause(field, "in", tuple() as several) if all(
                    isinstance(one, str) for one in several
                ):
                    texts.append((slot_of(field), frozenset(several), mask))
                case _:
                    others.append((compile_condition(condition, slot_of), mask))
        self._numbers: Final = tuple(numbers)
        self._texts: Final = tuple(texts)
        self._others: Final = tuple(others)

    def failing(self, values: Sequence[Value], among: int) -> int:
        """The candidates that demand what does not hold; exact for those in `among`.

        One that is costly and concerns none of `among` is not asked.
        """
        failed = 0
        numbers = NUMBERS
        for slot, compare, bound, mask in self._numbers:
            if not (type(value := values[slot]) in numbers and compare(value, bound)):
                failed |= mask
        for slot, texts, mask in self._texts:
            if not (isinstance(value := values[slot], str) and value in texts):
                failed |= mask
        for test, mask in self._others:
            if mask & among & ~failed and not test(values):
                failed |= mask
        return failed
