"""Versions (`2.10.0`, `v1.4.2-beta.1+build7`) as texts whose order is theirs.

GrowthBook's semantics: a leading `v` and the build (from `+` on) do not count; `-` and `.` separate
parts, of which numbers (up to 99999) are compared as numbers and come before words; of three parts
without a pre-release, the version comes after all its pre-releases.
"""

from __future__ import annotations

import functools
import math
import re
from typing import Final

from decision.core.values import Value

LONGEST_VERSION: Final = 256
"""Characters of a version; a longer text is none."""

_IGNORED: Final = re.compile(r"\Av|\+[^\n\r\u2028\u2029]*\Z")
_LIKE_A_VERSION: Final = re.compile(r"v?[0-9][0-9A-Za-z.-]*(\+.*)?")
_SEPARATORS: Final = re.compile("[-.]")
_DIGITS: Final = re.compile("[0-9]+")
_PADDED: Final = 5
_LARGEST: Final = 10**LONGEST_VERSION


def version_key(value: Value) -> str | None:
    """A text that is ordered as the version is; None where the value is no version.

    A number counts as the text that it is written as, as it does in GrowthBook.

    >>> version_key("2.9.0") < version_key("v2.10.0-beta") < version_key("2.10.0+build7")
    True
    >>> version_key(True)
    """
    if isinstance(value, str):
        return _key(value) if len(value) <= LONGEST_VERSION else None
    if isinstance(value, float):
        value = int(value) if value.is_integer() and abs(value) < 1e21 else value
        return _key(str(value)) if math.isfinite(value) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return _key(str(value)) if abs(value) < _LARGEST else None
    return None


def is_version(value: Value) -> bool:
    """Whether a value looks like a version, or is a whole number.

    Other texts are compared as well: letter by letter, where letters come after digits. A number
    with decimals is no version, because 3.10 and 3.1 are one number.

    >>> is_version("v2.10.0-beta.1"), is_version("iOS 3.9.0"), is_version("unknown")
    (True, False, False)
    >>> is_version(3), is_version(3.1)
    (True, False)
    """
    if isinstance(value, str):
        return len(value) <= LONGEST_VERSION and _LIKE_A_VERSION.fullmatch(value) is not None
    return isinstance(value, int) and not isinstance(value, bool)


@functools.lru_cache(4096)
def _key(text: str) -> str:
    parts = _SEPARATORS.split(_IGNORED.sub("", text or "0"))
    if len(parts) == 3:
        parts.append("~")
    return "-".join(part.rjust(_PADDED) if _DIGITS.fullmatch(part) else part for part in parts)
