"""Values in Redis that are not what nextbest writes there: said in the log, and never half read.

Each reader says what such a value means: the store is not available for what needs it, the value
counts as the safe side, or it is passed over.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import monotonic
from typing import Final, TypeVar

import msgspec

from decision.core.errors import StoreUnavailable
from decision.observability import named

_SAID_AGAIN: Final = 60.0
"""Seconds after which the damage of a key is logged again: every decision may meet it."""

_MOST_KEYS: Final = 1_000
_OF_A_CUSTOMER: Final = re.compile(r"(\{p\d+\}:(?:[cemorx]:|a:[^:]*:)).*", re.DOTALL)
_INT64: Final = 1 << 63

Entry = TypeVar("Entry")
_log = logging.getLogger(__name__)
_said: dict[str, float] = {}


class DamagedValue(StoreUnavailable):
    """A value in Redis that nextbest did not write, or that is damaged."""


def note(key: str, why: str) -> str:
    """Logs that the value of a key is damaged, at most once a minute per key; returns the text.

    Of a customer's key the id is left out, and of an alias its value: the log holds none.
    """
    name = _OF_A_CUSTOMER.sub(r"\1…", key)
    text = (
        f"the value of {name} in Redis is damaged: {why}; restore it from a backup, or look "
        "whether another program writes under the same key prefix"
    )
    now = monotonic()
    if now - _said.get(key, -_SAID_AGAIN) >= _SAID_AGAIN:
        if len(_said) >= _MOST_KEYS:
            _said.clear()
        _said[key] = now
        _log.error("%s", text, extra=named("value_damaged"))
    return text


def damaged(key: str, why: str) -> DamagedValue:
    """The error for a value without which nothing can be done; it is logged."""
    return DamagedValue(note(key, why))


def text(key: str, value: bytes) -> str:
    """A text.

    Raises:
        DamagedValue: it is not UTF-8.
    """
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise damaged(key, "it is not UTF-8") from None


def fields(key: str, flat: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
    """Names and values of a hash; what has a name that is not UTF-8 is passed over."""
    for name, value in zip(flat[::2], flat[1::2], strict=True):
        try:
            yield name.decode(), value
        except UnicodeDecodeError:
            note(key, "a name in it is not UTF-8; it is passed over")


def counts(key: str, flat: Sequence[bytes]) -> Iterator[tuple[str, int]]:
    """Names and whole numbers of a hash; what has another value is passed over."""
    for name, value in fields(key, flat):
        count = whole(value)
        if count is None:
            note(key, "a count in it is no whole number; it is passed over")
        else:
            yield name, count


def whole(value: bytes) -> int | None:
    """A whole number as Redis counts; None where it could not be counted on."""
    try:
        found = int(value)
    except ValueError:
        return None
    return found if -_INT64 <= found < _INT64 and b"%d" % found == value else None


def readable(name: str, entries: Iterable[bytes], decode: Callable[[bytes], Entry]) -> list[Entry]:
    """The entries of a history that can be read; the others are passed over."""
    found = []
    for entry in entries:
        try:
            found.append(decode(entry))
        except (msgspec.MsgspecError, ValueError):
            note(f"the history {name}", "an entry cannot be read; it is passed over")
    return found


def decoded(key: str, value: bytes, decode: Callable[[bytes], Entry]) -> Entry:
    """What bytes stand for.

    Raises:
        DamagedValue: they cannot be read.
    """
    try:
        return decode(value)
    except (msgspec.MsgspecError, ValueError):
        raise damaged(key, "it cannot be read") from None
