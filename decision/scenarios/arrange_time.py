"""Dates and moments, made so that fields have the values that a table asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any, Final

from decision.core.clock import to_micros
from decision.core.document import Document
from decision.core.fields import DATE_MEASURES, Situation
from decision.core.fields.dates import in_year
from decision.core.policy import Policy
from decision.core.values import equal
from decision.scenarios.arrange import CannotArrange

_DAYS_AHEAD: Final = 3 * 366
_NOBODY: Final = Document(customer_id="")


def date_for(measure: str, value: Any, today: date) -> str:
    """A date of which a measure (`days_until` …) has this value today.

    Raises:
        CannotArrange: the measure cannot have the value.

    >>> date_for("anniversary_in", 3, date(2026, 11, 21))
    '1998-11-24'
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise CannotArrange(f"{measure} is a whole number, not {value!r}")
    try:
        if measure == "years_since":
            day = in_year(today, today.year - value)
        elif measure == "anniversary_in":  # 28 years earlier there is the same day, in most cases
            coming = today + timedelta(days=value)
            day = in_year(coming, coming.year - 28)
        else:
            day = today + timedelta(days=value if measure == "days_until" else -value)
    except (OverflowError, ValueError):
        raise CannotArrange(f"there is no date with {measure}: {value}") from None
    if DATE_MEASURES[measure](day, today) != value:
        raise CannotArrange(f"no date has {measure}: {value} on {today}")
    return day.isoformat()


def moment_for(policy: Policy, wanted: Mapping[str, Any], now: datetime, zone: tzinfo) -> datetime:
    """The first moment from `now` on at which `time.…` fields have these values.

    It is `now` itself, the same time of day on a later day, or the start of an hour; with
    `time.date`, on that day, even where it is before.

    Raises:
        CannotArrange: there is none within three years.
        OverflowError: it would be after the year 9999.
    """
    fields = policy.reading(wanted).fields
    read = {name: fields.reader(name) for name in wanted}
    for moment in _moments(wanted, now.astimezone(zone)):
        at = Situation(_NOBODY, "", to_micros(moment), zone)
        if all(made and equal(wanted[name], made(at)) for name, made in read.items()):
            return moment.astimezone(now.tzinfo)
    said = ", ".join(f"{name}: {value}" for name, value in wanted.items())
    raise CannotArrange(f"within three years after {now.isoformat()} there is no time with {said}")


def _moments(wanted: Mapping[str, Any], now: datetime) -> Iterator[datetime]:
    yield now
    day, days, at = now.date(), range(_DAYS_AHEAD), now.timetz()
    hour = wanted.get("time.hour")
    if isinstance(hour, int) and 0 <= hour < 24:
        at = time(hour, tzinfo=now.tzinfo)
    if "time.date" in wanted:
        try:
            day, days = date.fromisoformat(str(wanted["time.date"])), range(1)
        except ValueError:
            return
    for number in days:
        moment = datetime.combine(day + timedelta(days=number), at)
        if moment >= now or "time.date" in wanted:
            yield moment
