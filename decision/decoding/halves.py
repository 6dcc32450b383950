"""What programs write as JSON though no text or number is like it: half a character, `NaN`.

JavaScript's clients cut texts in the middle of an emoji, and write `\\ud83d`; Python's write `NaN`.
One such value must cost one event of a body, not all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from math import isfinite
from typing import Any, Final

import msgspec

STRING: Final = rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)'
"""A text in JSON, or one that is cut off: else each quote in it would be looked at to the end."""

_PLACES: Final = re.compile(STRING + rb"|-?Infinity|NaN", re.DOTALL)
_ESCAPES: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|u([dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_HALF: Final = re.compile("[\ud800-\udfff]")
_HALF_A_CHARACTER: Final = (
    "has half a character (a lone surrogate), as where a text was cut within an emoji; "
    "cut it between characters"
)
_NO_NUMBER: Final = (
    "is NaN or Infinity, which is not JSON, or out of range; send a number of 64 bits, or null"
)


def leave_to_parts(body: bytes) -> bytes:
    """The same text, in which such values are left to whoever decodes the part that they are in.

    A decoder that only cuts out parts (`msgspec.Raw`) takes it; one of the part refuses it.
    """

    def half(found: re.Match[bytes]) -> bytes:
        if found[1] is None:
            return found[0]
        return chr(int(found[1], 16)).encode("utf-8", "surrogatepass")

    return _changed(body, half, b"1e999")


def decode_leniently(body: bytes | str) -> Any:
    """The value of a text that we do not reject for it: half a character is �, `NaN` is null.

    Raises:
        msgspec.DecodeError: it is not JSON for another reason.
        RecursionError: it is nested too deeply.

    >>> decode_leniently(rb'{"name": "Ann \\ud83d", "score": NaN}')
    {'name': 'Ann �', 'score': None}
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raw = body.encode("utf-8", "replace") if isinstance(body, str) else body
        text = raw.decode("utf-8", "replace").encode()
        return msgspec.json.decode(
            _changed(text, lambda found: found[0] if found[1] is None else rb"\ufffd", b"null")
        )


def _changed(body: bytes, half: Callable[[re.Match[bytes]], bytes], number: bytes) -> bytes:
    def change(found: re.Match[bytes]) -> bytes:
        text = found[0]
        if not text.startswith(b'"'):
            return number
        return _ESCAPES.sub(half, text) if b"\\u" in text else text

    return _PLACES.sub(change, body)


def misfit(body: bytes) -> tuple[str, str] | None:
    """(path, what is wrong) of the first text that is none, or number; None where all are.

    >>> misfit(b'{"items": [{"name": "tea", "price": NaN}]}')
    ('items[0].price',
     'is NaN or Infinity, which is not JSON, or out of range; send a number of 64 bits, or null')
    """
    try:
        text, wrong = body.decode("utf-8", "surrogatepass"), _HALF_A_CHARACTER
    except UnicodeDecodeError:
        text, wrong = body.decode("utf-8", "surrogateescape"), "is not UTF-8"
    try:
        return next(_misfits(json.loads(text), "", wrong), None)
    except (ValueError, RecursionError):
        return None


def _misfits(value: Any, path: str, wrong: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        if _HALF.search(value):
            yield path, wrong
    elif isinstance(value, float):
        if not isfinite(value):
            yield path, _NO_NUMBER
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _misfits(item, f"{path}[{index}]", wrong)
    elif isinstance(value, dict):
        for key, item in value.items():
            if _HALF.search(key):
                yield path, f"a key in it {wrong}"
            else:
                yield from _misfits(item, f"{path}.{key}" if path else key, wrong)
