"""Decodes JSON of one type within limits of depth, size and numbers; errors name the field."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, Generic, TypeVar

import msgspec

from decision.core.errors import InputError
from decision.decoding.explaining import explain
from decision.decoding.halves import STRING, leave_to_parts, misfit

T = TypeVar("T")

DEEPEST: Final = 32
"""How deep a body may be nested."""

MOST_VALUES: Final = 10_000
"""How many values a body may have: decoded, each takes many times the bytes that it was sent in."""

_STRINGS = re.compile(STRING, re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))
_NOT_DIGITS = bytes(set(range(256)) - set(b"0123456789"))
_LONG = 19
_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % _LONG)
_LEAST, _MOST = -(2**63), 2**64 - 1


class JsonDecoder(Generic[T]):
    """Decodes JSON of one type, or raises an error that names the field, the value and the fix.

    With `numbers` false, whole numbers of more than 64 bits are let through, for parts that are
    decoded later. `noun` is what errors call the text that is decoded. `most` is how many values
    it may have.

    >>> JsonDecoder(dict[str, int]).decode(b'{"a": "one"}')
    Traceback (most recent call last):
    decision.core.errors.InputError: a: is "one", must be a whole number
    """

    def __init__(
        self,
        type: type[T] | Any,
        *,
        numbers: bool = True,
        noun: str = "body",
        most: int = MOST_VALUES,
    ) -> None:
        self.type = type
        self.noun = noun
        self._numbers = numbers
        self._most = most
        self._decode = msgspec.json.Decoder(type).decode

    def decode(self, body: bytes) -> T:
        """The value.

        Raises:
            InputError: the text is not JSON, or not of this type.
        """
        self._check_depth(body)
        if len(body) > 2 * self._most:  # no value has less than a digit and a comma
            self._check_values(body)
        try:
            value: T = self._decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            parts = None if isinstance(error, msgspec.ValidationError) else leave_to_parts(body)
            try:
                if parts is None or parts == body:
                    raise error
                value = self._decode(parts)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                raise self.explain(error, body) from None
        if self._numbers and _has_long_number(body):
            _check_numbers(body)
        return value

    def explain(self, error: Exception, body: bytes) -> InputError:
        """A decoder's error in words that a caller can act on."""
        if isinstance(error, RecursionError):
            return self._too_deep()
        plain = isinstance(error, msgspec.ValidationError)
        if plain and "out of range" not in str(error):
            return InputError(*explain(str(error), body, self.type))
        if (found := misfit(body)) is not None:
            path, reason = found
            return InputError(path, reason if path else f"the {self.noun}: {reason}")
        if plain:
            return InputError(*explain(str(error), body, self.type))
        if isinstance(error, UnicodeDecodeError):
            return InputError("", f"the {self.noun} is not UTF-8")
        if not body.strip():
            return InputError("", f"the {self.noun} is empty; send a JSON object")
        reason = str(error).removeprefix("JSON is malformed: ")
        if reason == "Input data was truncated":
            reason = "it ends too early, or has half a character as a \\u escape"
        return InputError("", f"the {self.noun} is not JSON: {reason}")

    def _check_depth(self, body: bytes) -> None:
        """Refuses what is nested too deeply, before any decoder recurses into it."""
        if body.count(b"{") + body.count(b"[") <= DEEPEST:
            return
        depth = 0
        for bracket in _STRINGS.sub(b"", body).translate(None, _NOT_BRACKETS):
            if bracket in b"{[":
                depth += 1
                if depth > DEEPEST:
                    raise self._too_deep()
            else:
                depth -= 1

    def _check_values(self, body: bytes) -> None:
        """Refuses what has too many values, before they become objects."""
        if body.count(b",") < self._most or _STRINGS.sub(b"", body).count(b",") < self._most:
            return
        try:
            parts = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
            path = max(parts, key=lambda name: bytes(parts[name]).count(b","))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            path = ""
        raise InputError(
            path[:100], f"the {self.noun} has more than {self._most} values; send fewer of them"
        )

    def _too_deep(self) -> InputError:
        return InputError("", f"the {self.noun} is nested more than {DEEPEST} levels deep")


def _has_long_number(body: bytes) -> bool:
    """Whether so many digits follow each other; most bodies do not have so many in all."""
    digits = len(body.translate(None, _NOT_DIGITS))
    return digits >= _LONG and _LONG_NUMBER.search(body) is not None


def _check_numbers(body: bytes) -> None:
    """Refuses whole numbers that no store or log can keep."""
    for path, value in _leaves(msgspec.json.decode(body), ""):
        if isinstance(value, int) and not _LEAST <= value <= _MOST:
            raise InputError(
                path, f"{str(value)[:30]} does not fit into 64 bits; send it as text or rounded"
            )


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        yield path, value
