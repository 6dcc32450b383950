"""How much each cap allows in one decision: where it has a condition, or takes its number from a
field, that depends on the values that the decision read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from decision.core.conditions import ALWAYS, Test, compile_condition, fields_read
from decision.core.definition import Cap, FieldLimit
from decision.core.values import Value

UNLIMITED: Final = 1 << 62
"""What a cap allows where its condition does not hold."""


def fields_of(cap: Cap) -> Iterator[str]:
    """Every field that a cap reads: in its condition, and for its number."""
    yield from fields_read(cap.when)
    if isinstance(cap.at_most, FieldLimit):
        yield cap.at_most.field


def number_of(value: Value) -> int | None:
    """The limit that a field's value gives; None where it is no whole number of at least 0.

    >>> [number_of(value) for value in (3, 3.0, 0, -1, 2.5, "3", True)]
    [3, 3, 0, None, None, None, None]
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        return None
    return int(value) if isinstance(value, int) or value.is_integer() else None


class Varying(NamedTuple):
    """A cap that does not always allow the same: when it applies, and where its number is from."""

    cap: int
    test: Test
    slot: int | None
    at_most: int

    def allows(self, values: Sequence[Value]) -> int:
        """How many contacts it allows, given the slot values of a decision."""
        return self.limit(values) if self.test(values) else UNLIMITED

    def limit(self, values: Sequence[Value]) -> int:
        """How many contacts it allows where it applies."""
        found = None if self.slot is None else number_of(values[self.slot])
        return self.at_most if found is None else found


def varying(caps: Sequence[Cap], slot_of: Callable[[str], int]) -> list[Varying]:
    """The caps that do not always allow the same."""
    return [
        Varying(
            number,
            compile_condition(cap.when, slot_of),
            slot_of(cap.at_most.field) if isinstance(cap.at_most, FieldLimit) else None,
            cap.at_most.default if isinstance(cap.at_most, FieldLimit) else cap.at_most,
        )
        for number, cap in enumerate(caps)
        if cap.when != ALWAYS or isinstance(cap.at_most, FieldLimit)
    ]
