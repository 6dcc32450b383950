"""The filters of content templates that depend on language, currency and time zone.

What is no number, or no date, counts as missing. None of them raises: Babel's data (CLDR) says how
numbers, money and dates are written (https://babel.pocoo.org).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from decision.core.values import MISSING, Value
from decision.rulebook.diagnostics import hint_for
from decision.rulebook.lengths import LONGEST_DATE, LONGEST_NUMBER
from decision.rulebook.template_syntax import TemplateError

if TYPE_CHECKING:
    from babel import Locale

    from decision.core.texts import Rendering

NAMED: Final = ("short", "medium", "long", "full")
"""Formats of dates that have a name."""
_LARGEST: Final = 1e15
_LONGEST_PATTERN: Final = 60
_LONGEST_TAG: Final = 35  # of a language: BCP 47 says how much room to keep
_MOST_PLACES: Final = 20
_MOST_KEPT: Final = 4_096  # prices and points repeat; Babel takes 40 µs for one
_FAILS: Final = (ArithmeticError, AttributeError, LookupError, ValueError)
"""What Babel raises where its data has no word for something."""


class Local(NamedTuple):
    """For whom a text is written: the customer's language and time zone, the policy's currency."""

    locale: Locale
    currency: str
    zone: tzinfo

    @classmethod
    def of(cls, namespaces: Mapping[str, Any]) -> Local:
        """The customer's, as the namespaces have it."""
        rendering: Rendering | None = namespaces.get("rendering")
        customer = namespaces.get("customer")
        own = customer.get("language") if isinstance(customer, Mapping) else None
        if rendering is None:
            return cls(locale_of(own, "en"), "EUR", UTC)
        settings = rendering.settings
        found = locale_of(own, settings.language)
        return cls(found, settings.currency, rendering.situation.zone)


def load() -> None:
    """Loads Babel and what all languages share, so that no customer waits for it."""
    nothing = Local(locale_of("en", "en"), "EUR", UTC)
    for value, write in ((1, number), (1, money), ("2026-11-21", date)):
        write(value, nothing)


def locale_of(language: Value, instead: str) -> Locale:
    """How a language writes: `zh`, `en-GB`, `zh_Hant_TW`; `instead` where it is not known."""
    known = isinstance(language, str) and len(language) <= _LONGEST_TAG
    return _locale(language if known else instead, instead)


def is_language(text: str) -> bool:
    """Whether Babel knows a language by exactly that name."""
    return _parsed(text.replace("-", "_")) is not None


@lru_cache(maxsize=500)
def _locale(language: str, instead: str) -> Locale:
    """The locale of the longest beginning that is known: zh_CN of `zh-CN-x-shop`."""
    parts = [part for part in re.split("[-_]", language.strip().partition(".")[0]) if part]
    for count in range(len(parts), 0, -1):
        found = _parsed("_".join(parts[:count]))
        if found is not None:
            return found
    return _locale(instead if language != instead else "en", "en")


def _parsed(text: str) -> Locale | None:
    from babel import Locale, UnknownLocaleError  # late: commands without templates start sooner

    try:
        return Locale.parse(text)
    except (ValueError, TypeError, UnknownLocaleError):
        return None


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


def _decimal(value: Value) -> Decimal | None:
    """The value as a number that people read; None where it is none, or has over 15 digits."""
    if isinstance(value, str) and len(value) > _LONGEST_PATTERN:
        return None
    found = to_number(value)
    return None if found is None or abs(found) >= _LARGEST else Decimal(str(found))


def number(value: Value, local: Local, places: int = -1) -> Value:
    """As the customer's language writes numbers; with `places` decimals, else up to three."""
    found = _decimal(value)
    return MISSING if found is None else _number(found, local.locale, min(places, _MOST_PLACES))


@lru_cache(maxsize=_MOST_KEPT)
def _number(found: Decimal, locale: Locale, places: int) -> Value:
    from babel.numbers import format_decimal

    try:
        pattern = None
        if places >= 0:
            grouped = locale.decimal_formats[None].pattern.partition(".")[0]
            pattern = f"{grouped}.{'0' * places}" if places else grouped
        return _short(format_decimal(found, pattern, locale), LONGEST_NUMBER)
    except _FAILS:
        return MISSING


def money(value: Value, local: Local, currency: str = "") -> Value:
    """An amount in `settings.currency`, or another, as the customer's language writes it."""
    found = _decimal(value)
    return MISSING if found is None else _money(found, local.locale, currency or local.currency)


@lru_cache(maxsize=_MOST_KEPT)
def _money(found: Decimal, locale: Locale, currency: str) -> Value:
    from babel.numbers import format_currency

    try:
        return _short(format_currency(found, currency, locale=locale), LONGEST_NUMBER)
    except _FAILS:
        return MISSING


def check_currency(currency: str = "") -> None:
    """Checks the argument of `money`.

    Raises:
        TemplateError: there is no such currency.
    """
    from babel.numbers import list_currencies

    if currency and currency not in list_currencies():
        known = currency.upper() if currency.upper() in list_currencies() else "EUR"
        raise TemplateError(f'there is no currency "{currency}"', hint=f"write money('{known}')")


def date(value: Value, local: Local, format: str = "medium") -> Value:
    """A date, or a time in the customer's zone: short, medium, long, full, or a CLDR pattern."""
    found = _moment(value, local.zone)
    return MISSING if found is None else _date(found, local.locale, format)


def _date(found: datetime, locale: Locale, format: str) -> Value:
    from babel.dates import format_date, format_datetime

    try:
        if format in NAMED:
            return _short(format_date(found, format, locale), LONGEST_DATE)
        return _short(format_datetime(found, format, found.tzinfo, locale), LONGEST_DATE)
    except _FAILS:
        return MISSING


def is_date(value: Value) -> bool:
    """Whether `date` can write it."""
    return _moment(value, UTC) is not None


def _moment(value: Value, zone: tzinfo) -> datetime | None:
    """A date as its midnight, a time in the zone; None where the value is neither."""
    if not isinstance(value, str) or len(value) > _LONGEST_PATTERN:
        return None
    text = value.strip().upper()
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.,+Z-]+)?", text):
        return None
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=zone) if found.tzinfo is None else found.astimezone(zone)
    except (ValueError, OverflowError):
        return None


_TRAPS: Final = (
    ("%", "", "CLDR's letters stand alone", "date('yyyy-MM-dd')"),
    ("Y", "w", "Y is the year of weeks, which differs around New Year", "date('yyyy-MM-dd')"),
    ("D", "", "D is the day of the year", "date('yyyy-MM-dd')"),
    ("m", "hHkK", "m is minutes; months are M", "date('yyyy-MM-dd')"),
)
"""A letter that means something else unless others are there, what it means, what to write."""


def check_format(format: str = "medium") -> None:
    """Checks the argument of `date`.

    Raises:
        TemplateError: it is neither a name nor a pattern.
    """
    if format in NAMED:
        return
    letters = re.sub("'[^']*'", "", format)
    for letter, beside, meaning, fix in _TRAPS:
        if letter in letters and not any(other in letters for other in beside):
            raise TemplateError(f'"{format}" is not what it seems: {meaning}', hint=f"write {fix}")
    known = set(re.findall("[a-zA-Z]", letters)) <= set("GyYuUQqMLwWdDFEecahHkKmsSzZvVOxX")
    sample = Local(locale_of("en", "en"), "EUR", UTC)
    day = "2026-11-21T10:00:00Z"
    if not (
        letters.strip()
        and known
        and len(format) <= _LONGEST_PATTERN
        and re.search("[a-zA-Z]", letters)
        and date(day, sample, format) is not MISSING
    ):
        hint = hint_for(format, NAMED)
        if not hint.startswith("did"):
            hint = f"write {', '.join(NAMED)}, or a pattern such as date('d MMMM yyyy, HH:mm')"
        raise TemplateError(f'"{format}" is no format of dates', hint=hint)


def _short(text: str, most: int) -> Value:
    """The text; missing where it is longer than it is counted on to be."""
    return text if len(text) <= most else MISSING
