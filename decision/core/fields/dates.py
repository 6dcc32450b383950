"""`customer.<attribute>.days_until` and the like: how far a date is from the customer's today.

A date is a text such as `2026-11-21`, or an RFC 3339 time with its offset, of which the date in the
customer's own time zone counts. Everything else has no measure: other texts, times without an
offset, numbers, days that do not exist, years before 1 and after 9999.
"""

from __future__ import annotations

from calendar import isleap
from collections.abc import Callable
from datetime import date, datetime, tzinfo
from functools import lru_cache
from typing import Final

import msgspec

from decision.core.fields.situation import Field, Situation, at_path
from decision.core.values import MISSING, Value

_LONGEST: Final = 40


def in_year(day: date, year: int) -> date:
    """The day in another year: 29 February is the 28th in years without it."""
    if (day.month, day.day) == (2, 29) and not isleap(year):
        return date(year, 2, 28)
    return day.replace(year=year)


def anniversary_in(day: date, today: date) -> int:
    """Days until month and day come round: 0 today, 365 at most.

    >>> anniversary_in(date(2000, 2, 29), date(2027, 2, 26))
    2
    """
    coming = in_year(day, today.year)
    if coming < today:
        coming = in_year(day, today.year + 1)
    return (coming - today).days


def years_since(day: date, today: date) -> int:
    """Whole years, rounded down: the age of who was born that day; negative before it.

    >>> born = date(2000, 2, 29)
    >>> years_since(born, date(2027, 2, 27)), years_since(born, date(2027, 2, 28))
    (26, 27)
    """
    return today.year - day.year - (today < in_year(day, today.year))


DATE_MEASURES: Final[dict[str, Callable[[date, date], int]]] = {
    "days_until": lambda day, today: (day - today).days,
    "days_since": lambda day, today: (today - day).days,
    "anniversary_in": anniversary_in,
    "years_since": years_since,
}
"""The last part of a field's name → its value, from the stored day and the customer's today."""


def measured_date(name: str) -> tuple[str, str] | None:
    """(attribute, measure) of `customer.<attribute>.<measure>`; None for other fields.

    >>> measured_date("customer.birthday.anniversary_in"), measured_date("customer.city")
    (('birthday', 'anniversary_in'), None)
    """
    family, _, rest = name.partition(".")
    attribute, _, measure = rest.rpartition(".")
    if family != "customer" or not attribute or measure not in DATE_MEASURES:
        return None
    if attribute.partition(".")[0] == "segment":
        return None
    return attribute, measure


def date_field(name: str, attribute: str, measure: str) -> Field:
    """A measure of the date in an attribute.

    An attribute that is an object may have a part of that name, which is then the value.
    """
    count, path, nested = DATE_MEASURES[measure], f"{attribute}.{measure}", "." in attribute

    def read(situation: Situation) -> Value:
        attributes = situation.document.attributes
        value = attributes.get(attribute)
        if nested or path in attributes or not isinstance(value, str):  # seldom
            stored = at_path(attributes, path)
            if stored is not MISSING:
                return stored
            value = at_path(attributes, attribute)
        day = local_date(value, situation.zone)
        if day is None:
            return MISSING
        try:
            return count(day, situation.local.date())
        except ValueError:  # the anniversary after today is in the year 10000
            return MISSING

    return Field(name, read, "number")


def local_date(value: Value, zone: tzinfo) -> date | None:
    """The local date of a stored date or time; None where it is neither.

    >>> from datetime import UTC
    >>> local_date("2026-11-21T23:30:00-05:00", UTC)
    datetime.date(2026, 11, 22)
    """
    found = parsed_date(value)
    if not isinstance(found, datetime):
        return found
    try:
        return found.astimezone(zone).date()
    except OverflowError:
        return None


def parsed_date(value: Value) -> date | datetime | None:
    """The date, or the time with its offset, that a value is; None where it is neither.

    >>> parsed_date("2026-11-21"), parsed_date("tomorrow"), parsed_date(3)
    (datetime.date(2026, 11, 21), None, None)
    """
    return _parsed(value) if isinstance(value, str) and len(value) <= _LONGEST else None


@lru_cache(4096)
def _parsed(text: str) -> date | datetime | None:
    kind = date if len(text) == len("2026-11-21") else datetime
    try:
        found: date | datetime = msgspec.convert(text, kind)
    except msgspec.ValidationError:
        return None
    return None if isinstance(found, datetime) and found.tzinfo is None else found
