"""The filters of content templates. None of them raises or makes a very long text."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from decision.core.values import MISSING, Value
from decision.rulebook.lengths import cut, letter_start

LONGEST_TEXT: Final = 10_000
"""Characters; a rendered text is cut here."""


def to_text(value: Value) -> str:
    """The value as text: missing is empty, 80.0 is 80, a list has commas."""
    if isinstance(value, str):
        return value[:LONGEST_TEXT]
    if value is MISSING or value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, list | tuple):
        return join(value, ", ")
    if isinstance(value, dict):
        return msgspec.json.encode(value).decode()[:LONGEST_TEXT]
    return str(value)


def to_number(value: Value) -> float | int | None:
    """The value, or its text, as a number; else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value[:50])
        except ValueError:
            return None
    if not isinstance(value, int | float) or value != value or abs(value) > 1e300:
        return None
    return value


def default(value: Value, instead: Any = "", also_empty: bool = False) -> Value:
    """`instead` if the value is missing; with `true`, also if it is empty, 0 or false."""
    if value is MISSING or value is None or (also_empty and not value):
        return instead
    return value


def upper(value: Value) -> str:
    """In capitals."""
    return to_text(value).upper()


def lower(value: Value) -> str:
    """In small letters."""
    return to_text(value).lower()


def capitalize(value: Value) -> str:
    """With a capital first letter, the others small."""
    return to_text(value).capitalize()


def title(value: Value) -> str:
    """Every word with a capital."""
    return re.sub(r"\S+", lambda word: word[0].capitalize(), to_text(value))


def trim(value: Value) -> str:
    """Without spaces at both ends."""
    return to_text(value).strip()


def replace(value: Value, old: str, new: str) -> str:
    """With every `old` replaced by `new`."""
    most = LONGEST_TEXT // max(1, len(new)) + 1
    return to_text(value).replace(old, new, most)[:LONGEST_TEXT]


def truncate(value: Value, length: int = 255, cut_words: bool = False, end: str = "…") -> str:
    """At most `length` characters, `end` included; cut between words unless `cut_words`."""
    text = to_text(value)
    if len(text) <= length:
        return text
    kept = text[: letter_start(text, length - len(end))]
    if not cut_words and " " in kept and text[len(kept)] != " ":
        kept = kept.rsplit(" ", 1)[0]
    return (kept.rstrip() + end)[: max(0, length)]


def shorten(value: Value, length: int) -> str:
    """At most `length` characters: cut between letters, with `…` at the end."""
    return cut(to_text(value), length)


def join(value: Value, between: str = ", ") -> str:
    """The items of a list, with a text between them."""
    if not isinstance(value, list | tuple):
        return to_text(value)
    parts: list[str] = []
    size = 0
    for item in value:
        parts.append(to_text(item))
        size += len(parts[-1]) + len(between)
        if size > LONGEST_TEXT:
            break
    return between.join(parts)[:LONGEST_TEXT]


def first(value: Value) -> Value:
    """The first item of a list; other values stay the same."""
    if isinstance(value, list | tuple):
        return value[0] if value else MISSING
    return value


def whole(value: Value, instead: int = 0) -> int:
    """The whole number, without decimals; `instead` if it is not a number."""
    number = to_number(value)
    return instead if number is None else int(number)


def round_to(value: Value, places: int = 0) -> Value:
    """Rounded to a number of decimals; what is not a number stays the same."""
    number = to_number(value)
    return value if number is None else round(float(number), max(-20, min(20, places)))


def fixed(value: Value, places: int = 2) -> str:
    """With exactly this many decimals, as for prices."""
    number = to_number(value)
    return to_text(value) if number is None else f"{number:.{max(0, min(20, places))}f}"


FILTERS: Final[dict[str, Callable[..., Value]]] = {
    "default": default,
    "upper": upper,
    "lower": lower,
    "capitalize": capitalize,
    "title": title,
    "trim": trim,
    "replace": replace,
    "truncate": truncate,
    "shorten": shorten,
    "join": join,
    "first": first,
    "int": whole,
    "round": round_to,
    "fixed": fixed,
}

SIGNATURES: Final = {
    name: inspect.signature(function, eval_str=True) for name, function in FILTERS.items()
}
