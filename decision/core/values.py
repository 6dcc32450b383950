"""What a field's value may be, and when two values compare.

A value is text, a number (integer or float), true/false, or a list of those. Values of
different types never compare equal or ordered: `"5"` is not `5`, and `true` is not `1`.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    Value = object
else:
    Value = Any  # msgspec reads annotations, and has nothing to check here
"""A field's value: text, number, true/false, list, dict, or `MISSING`. Code asks which it is before
it uses one.
"""


class _Missing:
    """The value of a field that was not provided; equal to nothing but itself, as a float NaN."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False

    def __float__(self) -> float:
        return math.nan


MISSING: Final = _Missing()


def equal(left: Value, right: Value) -> bool:
    """True where both are of one type and equal; lists compare item by item."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, int | float):
        return isinstance(right, int | float) and left == right
    if isinstance(left, str):
        return isinstance(right, str) and left == right
    if isinstance(left, list | tuple):
        return (
            isinstance(right, list | tuple)
            and len(left) == len(right)
            and all(map(equal, left, right))
        )
    if isinstance(left, dict):
        return (
            isinstance(right, dict)
            and left.keys() == right.keys()
            and all(equal(item, right[key]) for key, item in left.items())
        )
    return False


def comparable(left: Value, right: Value) -> bool:
    """True where the two have an order: two numbers, or two texts."""
    if isinstance(left, bool) or isinstance(right, bool):
        return False
    if isinstance(left, int | float):
        return isinstance(right, int | float)
    return isinstance(left, str) and isinstance(right, str)


_MOST_SHOWN: Final = 20
_DEEPEST_SHOWN: Final = 2
_LONGEST_SHOWN: Final = 80


def in_words(value: Value, depth: int = 0) -> str:
    """The value as an explanation prints it: text in quotes, absent as `missing`.

    Long texts, long lists and deep ones are cut: they may come with a request, and be shown for
    each candidate. `depth` counts the lists and objects around the value.
    """
    if value is MISSING or value is None:
        return "missing"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, list | tuple | dict):
        return _all_in_words(value, depth)
    if isinstance(value, str):
        shown = value if len(value) <= _LONGEST_SHOWN else value[: _LONGEST_SHOWN - 3] + "…"
        return f'"{shown}"'
    return str(value)


def _all_in_words(value: list[Value] | tuple[Value, ...] | dict[str, Value], depth: int) -> str:
    first, last = "{}" if isinstance(value, dict) else "[]"
    if depth >= _DEEPEST_SHOWN and value:
        return f"{first}…{last}"
    if isinstance(value, dict):
        pairs = islice(value.items(), _MOST_SHOWN)
        shown = [f"{in_words(name)}: {in_words(item, depth + 1)}" for name, item in pairs]
    else:
        shown = [in_words(item, depth + 1) for item in value[:_MOST_SHOWN]]
    if len(value) > _MOST_SHOWN:
        shown.append(f"… {len(value) - _MOST_SHOWN:,} more")
    return first + ", ".join(shown) + last
