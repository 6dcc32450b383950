"""Cells of a table of decisions as numbers, times and amounts, with what to do about others."""

from __future__ import annotations

import re
from datetime import date, datetime, time, tzinfo
from decimal import Decimal
from typing import Any, Final

from decision.core.clock import MINUTE, to_micros
from decision.core.errors import InputError

DECIMAL_COMMA: Final = re.compile(r"-?[0-9]+,[0-9]+")
_SHARE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*%")
_BY_HAND: Final = re.compile(r"[0-9]{1,4}[./-][0-9]{1,2}[./-][0-9]{1,4}([ T].*)?")
_AHEAD: Final = 5 * MINUTE
"""How far clocks may be ahead of ours."""
_EXAMPLE: Final = "2026-11-21T10:00:00+08:00"


def number_of(name: str, cell: Any) -> float | None:
    """A number; None for an empty cell.

    Raises:
        InputError: it is none, and how to write it.
    """
    if cell is None:
        return None
    if isinstance(cell, str):
        text = cell.strip()
        if not text:
            return None
        if DECIMAL_COMMA.fullmatch(text):
            raise InputError(
                name, f"{shown(text)} has a decimal comma; write {text.replace(',', '.')}"
            )
        if share := _SHARE.fullmatch(text):
            raise InputError(name, f"{shown(text)} is a share; write {float(share[1]) / 100:g}")
        if "_" in text:
            raise InputError(name, f"{shown(text)} is not a number")
        try:
            cell = float(text)
        except ValueError:
            raise InputError(name, f"{shown(text)} is not a number") from None
    elif isinstance(cell, Decimal):
        cell = float(cell)
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        raise InputError(name, f"is {shown(cell)}, must be a number")
    if cell != cell:
        raise InputError(name, "is NaN, which says nothing; write the number, or leave it empty")
    return float(cell)


def moment_of(name: str, cell: Any, zone: tzinfo, now: int) -> tuple[int, bool]:
    """Microseconds of a time, and whether it has no offset: then it is one of `zone`.

    Raises:
        InputError: it is none, before 1970, or after `now`, and how to write it.
    """
    if cell is None:
        raise InputError(name, "is empty")
    found: Any = cell
    if isinstance(cell, str):
        text = cell.strip()
        try:
            found = None if text.isdigit() else datetime.fromisoformat(text)
        except ValueError:
            found = None
        if found is None:
            what = "is another way to write times" if _BY_HAND.fullmatch(text) else "is no time"
            if text.isdigit():
                what = "is a number, not a time"
            raise InputError(name, f"{shown(text)} {what}; write it as {_EXAMPLE}")
    elif isinstance(cell, date) and not isinstance(cell, datetime):
        found = datetime.combine(cell, time())
    elif not isinstance(cell, datetime):
        raise InputError(name, f"is {shown(cell)}; write it as {_EXAMPLE}, or as a timestamp")
    naive = found.tzinfo is None
    at = to_micros(found.replace(tzinfo=zone) if naive else found)
    if at > now + _AHEAD:
        raise InputError(name, f"{cell} lies in the future")
    if at < 0:
        raise InputError(name, f"{cell} lies before 1970")
    return at, naive


def amount_of(name: str, cell: Any) -> float:
    """An outcome: 0 where nothing happened, 1, or an amount.

    Raises:
        InputError: it is below 0, or no number.
    """
    if cell is None or cell == "" or cell is False:
        return 0.0
    if cell is True:
        return 1.0
    if isinstance(cell, str) and (lower := cell.strip().lower()) in ("true", "false"):
        return float(lower == "true")
    amount = number_of(name, cell) or 0.0
    if amount < 0:
        raise InputError(
            name,
            f"is {amount:g}; must be 0, 1 or an amount (what was returned is an outcome of its "
            "own, or none)",
        )
    if amount == float("inf"):
        raise InputError(name, "is infinite")
    return amount


def shown(value: Any) -> str:
    """A cell as messages show it."""
    return f'"{value[:40]}"' if isinstance(value, str) else f"{value!r}"[:40]
