"""Cells of tables as values: what CSV's texts mean, and Parquet's values as JSON has them."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from decision.core.errors import InputError

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")
_MOST_DIGITS = 15
_EXACT_BELOW = {"halffloat": 2**11, "float": 2**24}
"""Under which a type of Arrow's holds every whole number; all others do under 2^53."""


def exact_below(kind: str) -> int:
    """Under which a type of Arrow's, by its name, holds every whole number."""
    return _EXACT_BELOW.get(kind, 2**53)


def cell_value(cell: str) -> str | int | float | bool | None:
    """What a CSV cell means: nothing, true or false, a number, or text (see `rows`)."""
    if not cell:
        return None
    lower = cell.lower()
    if lower in ("true", "false"):
        return lower == "true"
    found = _NUMBER.fullmatch(cell)
    if found is None or sum(letter.isdigit() for letter in cell) > _MOST_DIGITS:
        return cell
    return float(cell) if found[2] or found[3] else int(cell)


def identifier(name: str, value: Any, exact: float = 2**53) -> str:
    """A cell as an identifier: text letter by letter, a whole number as it is written whole.

    `exact` is below which number the column's type holds every whole number.

    Raises:
        InputError: it is something else, or a number that may have been another one.
    """
    match value:
        case str():
            return value
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                pass
        case UUID():
            return str(value)
        case date() if not isinstance(value, datetime):
            return value.isoformat()
        case int() if not isinstance(value, bool):
            return str(value)
        case Decimal() if value == value.to_integral_value():
            return str(int(value))
        case float() if value.is_integer() and abs(value) < exact:
            return str(int(value))
        case float() if value.is_integer():
            raise InputError(
                "",
                f"{name} is {value:.0f}, which a column of this type does not hold exactly; "
                "store it as text or as a whole number",
            )
        case float() | Decimal():
            raise InputError("", f"{name} is {value}, which is not a whole number")
    shown = f"{value!r}"[:60]
    raise InputError("", f"{name} is {shown}, which is no identifier; store it as text")


def unfolded(value: Any) -> Any:
    """A map, which Arrow gives as a list of pairs, as what it is."""
    pairs = isinstance(value, list) and all(
        isinstance(item, tuple) and len(item) == 2 for item in value
    )
    return dict(value) if pairs and value else value


def json_value(path: str, value: Any) -> Any:
    """A Parquet value as JSON has it; null inside an object is left out.

    Raises:
        InputError: it has no such form.
    """
    value = unfolded(value)
    match value:
        case None | str() | bool() | int():
            return value
        case float():
            if math.isinf(value):
                raise InputError("", f"{path} is {value}, which no attribute can be")
            return None if value != value else value
        case Decimal():
            exact = value == value.to_integral_value() and abs(value) >= 2**53
            return int(value) if exact else float(value)
        case datetime():
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
        case date():
            return value.isoformat()
        case list():
            return [json_value(path, item) for item in value]
        case dict():
            return {
                str(key): json_value(f"{path}.{key}", item)
                for key, item in value.items()
                if item is not None
            }
    raise InputError("", f"{path} holds {type(value).__name__}, which cannot be an attribute")
