"""Limits of channels as people write them: `50/s`, `600/m`, `1000/h`, `9000/d`."""

from __future__ import annotations

import re
from typing import Final

import msgspec

LIMIT: Final = r"([1-9][0-9]{0,6})\s*/\s*(s|m|min|h|d)"
"""How a limit may be written, as a regular expression."""

_SECONDS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
_MOST: Final = 9_999_999
_EXAMPLES: Final = "write 50/s, 600/m, 1000/h or 9000/d"
_SAID: Final = re.compile(r"([0-9][0-9., _']*)(?:/|per\b|an?\b|each\b|every\b)?\s*([a-z]*)\.?")


class Limit(msgspec.Struct, frozen=True):
    """At most `amount` deliveries in `seconds` seconds, over all processes."""

    amount: int
    seconds: int


def limit_of(text: str) -> Limit | None:
    """The limit that a text says; None where it says none.

    >>> limit_of("600/m")
    Limit(amount=600, seconds=60)
    """
    found = re.fullmatch(LIMIT, text)
    return Limit(int(found[1]), _SECONDS[found[2]]) if found else None


def how_to_write(text: str) -> str:
    """How to write a limit that a text does not say: what was meant, as far as it can be read.

    >>> how_to_write("1,000 per minute"), how_to_write("50")
    ('write 1000/m', 'say in which time: 50/s, 50/m, 50/h or 50/d')
    """
    found = _SAID.fullmatch(text.strip().lower())
    digits = re.sub("[, _']", "", found[1]) if found else ""
    if found is None or not digits.isdigit() or len(digits) > len(str(_MOST)):
        return _EXAMPLES
    amount = int(digits)
    if amount == 0:
        return "it is 1 at least; to send nothing, take the channel out of channels"
    if not found[2]:
        return f"say in which time: {amount}/s, {amount}/m, {amount}/h or {amount}/d"
    unit = found[2] if found[2] == "ms" else found[2][0]
    if unit in _SECONDS and found[2] not in ("mo", "month", "months"):
        return f"write {amount}/{unit}"
    return "the time can be s, m, h or d: a second, minute, hour or day"
