"""The filters of content templates. None of them raises or makes a very long text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec

from decision.core.values import MISSING, Value
from decision.rulebook.lengths import cut, letter_start
from decision.rulebook.local_filters import (
    check_currency,
    check_format,
    date,
    money,
    number,
    to_number,
)
from decision.rulebook.template_syntax import LONGEST_TEXT

_MOST: Final = LONGEST_TEXT + 1
"""Characters that a filter makes at most: one more than a text may have, so that it is noticed."""
_MOST_JOINED: Final = 1_000


class Filter(NamedTuple):
    """A filter: what it does, how it is written, and what checks its arguments beforehand."""

    apply: Callable[..., Value]
    example: str
    check: Callable[..., None] | None = None


class Encoded(str):
    """A text that is encoded for a URL already."""

    __slots__ = ()


def to_text(value: Value) -> str:
    """The value as text: missing is empty, 80.0 is 80, a list has commas."""
    if isinstance(value, str):
        return value if len(value) <= _MOST else value[:_MOST]
    if value is MISSING or value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, list | tuple):
        return join(value, ", ")
    if isinstance(value, dict):
        return msgspec.json.encode(value).decode()[:_MOST]
    return str(value)


def default(value: Value, instead: Any = "", also_empty: bool = False) -> Value:
    """`instead` if the value is missing, or an empty text or list; with `true`, also for 0, false.

    A text of blanks alone is empty.
    """
    if value is MISSING or value is None or (also_empty and not value):
        return instead
    if isinstance(value, str):
        return instead if not value or value.isspace() else value
    return instead if isinstance(value, list | tuple) and not value else value


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
    most = _MOST // max(1, len(new)) + 1
    return to_text(value).replace(old, new, most)[:_MOST]


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
    if len(value) > _MOST_JOINED:
        return "…" * _MOST  # nobody reads that: the text counts as too long
    parts: list[str] = []
    size = 0
    for item in value:
        parts.append(to_text(item))
        size += len(parts[-1]) + len(between)
        if size > _MOST:
            break
    return between.join(parts)[:_MOST]


def first(value: Value, count: int = 0) -> Value:
    """The first item of a list, or a list of its first `count`; other values stay the same."""
    if isinstance(value, list | tuple):
        if count > 0:
            return value[:count]
        return value[0] if value else MISSING
    return value


def length(value: Value) -> int:
    """How many items a list has, or characters a text; 0 where there is neither."""
    return len(value) if isinstance(value, list | tuple | dict | str) else 0


def urlencode(value: Value) -> str:
    """Encoded for a part of a URL: a blank becomes %20, & becomes %26."""
    return value if isinstance(value, Encoded) else Encoded(encode(value))


def encode(value: Value, safe: str = "") -> str:
    """The value as text, with everything but letters, digits, `-._~` and `safe` encoded."""
    return quote(to_text(value), safe=safe, errors="replace")


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


FILTERS: Final[dict[str, Filter]] = {
    "default": Filter(default, "default('there')"),
    "upper": Filter(upper, "upper"),
    "lower": Filter(lower, "lower"),
    "capitalize": Filter(capitalize, "capitalize"),
    "title": Filter(title, "title"),
    "trim": Filter(trim, "trim"),
    "replace": Filter(replace, "replace('old', 'new')"),
    "truncate": Filter(truncate, "truncate(20)"),
    "shorten": Filter(shorten, "shorten(20)"),
    "join": Filter(join, "join(', ')"),
    "first": Filter(first, "first(3)"),
    "length": Filter(length, "length"),
    "int": Filter(whole, "int"),
    "round": Filter(round_to, "round(1)"),
    "fixed": Filter(fixed, "fixed(2)"),
    "number": Filter(number, "number(2)"),
    "money": Filter(money, "money('EUR')", check_currency),
    "date": Filter(date, "date('long')", check_format),
    "urlencode": Filter(urlencode, "urlencode"),
}
