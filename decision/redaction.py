"""URLs as messages may show them: without user and password."""

from __future__ import annotations

import re
from typing import Final

_LOGIN: Final = re.compile(r"(?<=://).*(?=@)", re.DOTALL)
_OPTION: Final = re.compile(r"(?i)([?&][^=&]*(?:pass|secret|token|key)[^=&]*=)[^&]*")


def redacted(url: str) -> str:
    """The URL with `***` for what stands before its last `@`, and for options that are secrets.

    A password that should have been percent-encoded may hold anything, also `/`, `?` and `@`: so
    whatever could belong to it is left out, even where that is more than the login.

    >>> redacted("redis://app:hun/ter@2@cache:6379/0?ssl_password=x")
    'redis://***@cache:6379/0?ssl_password=***'
    """
    return _OPTION.sub(r"\1***", _LOGIN.sub("***", url))
