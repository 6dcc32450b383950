"""Fields of content that are URLs: what is printed in them is encoded, and where they may lead.

A value inside a URL is a part of it: everything in it but letters, digits and `-._~` is encoded, so
it can neither end the part nor begin another one. A value at the start is a URL itself; it stays as
it is, and the URL may not have a scheme that runs code or opens files.
"""

from __future__ import annotations

import re
from typing import Final

from decision.core.values import Value
from decision.rulebook.filters import Encoded, encode

ENDINGS: Final = ("url", "uri", "link", "href")
"""How the names of fields end that hold a URL."""
FORBIDDEN: Final = frozenset(
    {"javascript", "vbscript", "data", "file", "blob", "about", "view-source", "filesystem", "jar"}
)
"""Schemes that run code, or show what is not on the web."""

_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_BEGINS: Final = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*://|mailto:|tel:|sms:)", re.IGNORECASE)
_TAG: Final = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200b\u2028\u2029\ufeff]")
_NOT_IN_URLS: Final = {ord(letter): f"%{ord(letter):02X}" for letter in ' "<>\\^`{|}'}


def is_url(field: str, text: str) -> bool:
    """Whether a field is a URL: by its name, or because its text begins as one, without blanks."""
    if field.lower().endswith(ENDINGS):
        return True
    return _BEGINS.match(text) is not None and not re.search(r"\s", _TAG.sub("", text).strip())


def fixed_scheme(text: object) -> str | None:
    """The scheme that a text begins with, in small letters; None where it is not written out."""
    found = _SCHEME.match(text.lstrip()) if isinstance(text, str) else None
    return found[1].lower() if found else None


def safe_in(text: str) -> str:
    """Signs that stay as they are in a URL that begins so: addresses and phone numbers."""
    return "@+" if fixed_scheme(text) in ("mailto", "tel", "sms") else ""


def in_url(value: Value, safe: str) -> str:
    """A value as a part of a URL."""
    return value if isinstance(value, Encoded) else encode(value, safe)


def start_of_url(text: str) -> str:
    """A value at the start of a URL: without what no URL holds."""
    return _CONTROLS.sub("", text).strip().translate(_NOT_IN_URLS)


def checked_url(text: str) -> str:
    """The URL; nothing where its scheme is forbidden."""
    return "" if fixed_scheme(_CONTROLS.sub("", text)) in FORBIDDEN else text
