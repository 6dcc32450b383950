"""The value of a plain scalar: the core schema of YAML 1.2, without what is easily mistaken.

https://yaml.org/spec/1.2.2/#103-core-schema: `no`, `12:30` and dates are text.
"""

from __future__ import annotations

import re
from typing import Final

from decision.core.errors import NextbestError

LARGEST_WHOLE: Final = 1 << 53
_LARGEST_FLOAT = 1e300

_CONSTANTS: Final = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]")


class ScalarError(NextbestError, ValueError):
    """A scalar that is refused; `hint` says what to write."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def resolve(text: str) -> str | int | float | bool | None:
    """The value of a plain scalar.

    Raises:
        ScalarError: it starts with 0 like `012`, or is a number that cannot be exact.
    """
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in "0123456789+-.":
        return text
    if _NOT_FINITE.fullmatch(text):
        raise _too_large(text)
    if _BASED.fullmatch(text):
        return _bounded(text, int(text, 0))
    if not _FLOAT.fullmatch(text):
        return text
    if _LEADING_ZERO.match(text):
        number = text.lstrip("+-0") or "0"
        raise ScalarError(
            f"{_short(text)} starts with 0, so it could be a number or text",
            f'write {_short(number)} for the number, or "{_short(text)}" for the text',
        )
    if _INTEGER.fullmatch(text):
        if len(text) > 20:  # Python refuses to read thousands of digits
            raise _too_large(text)
        return _bounded(text, int(text))
    value = float(text)
    if abs(value) > _LARGEST_FLOAT:
        raise _too_large(text)
    return value


def join_surrogates(text: str) -> str:
    r"""Joins the halves of characters as JSON writes them, `"\ud83d\ude00"`.

    Raises:
        ScalarError: a half has no other half.
    """
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise ScalarError(
            r"the text contains half a character, such as \ud83d",
            "write the character itself",
        ) from None


def _bounded(text: str, value: int) -> int:
    if abs(value) > LARGEST_WHOLE:
        raise _too_large(text)
    return value


def _too_large(text: str) -> ScalarError:
    return ScalarError(
        f"{_short(text)} cannot be stored exactly as a number",
        f"write a number up to {LARGEST_WHOLE}; put quotes around an identifier",
    )


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"
