"""What a field's value may be, and when two values compare.

A value is text, a number (integer or float), true/false, or a list of those. Values of
different types never compare equal or ordered: `"5"` is not `5`, and `true` is not `1`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    Value = object
else:
    Value = Any  # msgspec reads annotations, and has nothing to check here
"""A field's value: text, number, true/false, list, dict, or `MISSING`. Code asks which it is before
it uses one.
"""


class _Missing:
    """The value of a field that was not provided; equal to nothing but itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


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


def in_words(value: Value) -> str:
    """The value as an explanation prints it: text in quotes, absent as `missing`."""
    if value is MISSING or value is None:
        return "missing"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(in_words, value)) + "]"
    if isinstance(value, str):
        shown = value if len(value) <= 80 else value[:77] + "…"
        return f'"{shown}"'
    return str(value)
