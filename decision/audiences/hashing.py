"""Hashes of e-mail addresses and telephone numbers, in the form in which advertisers compare them.

Google: https://support.google.com/google-ads/answer/7659867, Meta:
https://developers.facebook.com/docs/marketing-api/audiences/guides/custom-audiences. Google's
libphonenumber knows how numbers are written in each country: the zero in front, which Italy keeps,
and what is dialled before numbers abroad.
"""

from __future__ import annotations

import re
import unicodedata
from hashlib import sha256
from typing import Final, Literal

Platform = Literal["google", "meta"]

_GOOGLE_MAIL: Final = ("gmail.com", "googlemail.com")
_NOT_IN_ADDRESS: Final = re.compile(r"[\s,;:<>()\[\]\\\"\x00-\x1f\x7f\ud800-\udfff]")
_EXTENSION: Final = re.compile(r"[\s;,]*(extension|ext|x|#)[\s.:=]*[0-9]{1,7}$", re.IGNORECASE)
_LONGEST: Final = 250
_E164: Final = range(7, 16)


def hashed(normal: str | None) -> str | None:
    """SHA-256 of a normal form, in lower-case hexadecimal digits.

    >>> hashed(normal_email(" John_Smith@gmail.com", "meta"))
    '62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f'
    """
    return None if normal is None else sha256(normal.encode()).hexdigest()


def normal_email(text: str, platform: Platform) -> str | None:
    """An e-mail address as a platform hashes it; None where it is none.

    Google leaves out the points before `@gmail.com` and `@googlemail.com`.

    >>> normal_email(" Li.Mei@GMail.com ", "google"), normal_email("Li.Mei@GMail.com", "meta")
    ('limei@gmail.com', 'li.mei@gmail.com')
    """
    address = _shown(text).lower().removeprefix("mailto:")
    name, at, host = address.partition("@")
    host = host.removesuffix(".")
    if not at or "@" in host or not all(host.split(".")) or "." not in host:
        return None
    if not name.strip(".") or _NOT_IN_ADDRESS.search(name + host):
        return None
    if platform == "google" and host in _GOOGLE_MAIL:
        name = name.replace(".", "")
    return f"{name}@{host}"


def normal_phone(text: str, platform: Platform, calling_code: str = "") -> str | None:
    """A telephone number as a platform hashes it; None where it has no calling code, or is none.

    Google takes E.164 with `+`, Meta its digits. An extension is left out.

    >>> normal_phone("(650) 555-1212", "google", "1"), normal_phone("+1 650-555-1212", "meta")
    ('+16505551212', '16505551212')
    >>> normal_phone("06 1234 5678", "google", "39"), normal_phone("020 7946 0958", "google", "44")
    ('+390612345678', '+442079460958')
    >>> normal_phone("0650 555", "google") is None
    True
    """
    import phonenumbers  # its tables are read where they are needed

    given = re.sub(r"^tel:", "", _shown(text), flags=re.IGNORECASE)
    given = re.sub(r"^[\s(]*00", "+", _EXTENSION.sub("", given))
    if len(given) > _LONGEST or any(sign.isalpha() or not sign.isprintable() for sign in given):
        return None
    try:
        number = phonenumbers.parse(given, _region(calling_code))
    except phonenumbers.NumberParseException:
        return None
    normal = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    if not phonenumbers.is_possible_number(number) or len(normal) - 1 not in _E164:
        return None
    return normal.removeprefix("+") if platform == "meta" else normal


def is_calling_code(digits: str) -> bool:
    """Whether a country has this calling code.

    >>> is_calling_code("86"), is_calling_code("999")
    (True, False)
    """
    return digits.isdecimal() and _region(digits) not in (None, "ZZ", "001")


def _region(calling_code: str) -> str | None:
    import phonenumbers

    if not calling_code:
        return None
    region: str = phonenumbers.region_code_for_country_code(int(calling_code))
    return region


def _shown(text: str) -> str:
    """The text as people see it: no blanks around, nothing invisible, and half-width signs."""
    seen = "".join(sign for sign in text if unicodedata.category(sign) != "Cf")
    return unicodedata.normalize("NFKC", seen).strip()
