"""When a local time comes next: for waits, for starts by date, and for schedules.

Instants are microseconds since the epoch. Around a change of the clocks a local time that does not
exist is the first one that does, and of one that exists twice the first counts. A day that a zone
left out is not a day; a date that falls on it is kept on the next one.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from calendar import monthrange
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta, tzinfo
from functools import partial
from typing import Final

import msgspec

from decision.core import calendar
from decision.core.clock import DAY, MINUTE, from_micros, to_micros
from decision.core.day_sets import DaySet
from decision.core.fields.dates import in_year
from decision.core.fields.times import WEEKDAYS


def at_local(zone: tzinfo, day: date, minute: int) -> int:
    """The instant of a local minute of a day.

    Raises:
        OverflowError: it is outside the years that can be.
    """
    if not _exists(zone, day):
        day += timedelta(days=1)
    wanted = datetime.combine(day, time(minute // 60, minute % 60))
    at = to_micros(wanted.replace(tzinfo=zone))
    if from_micros(at).astimezone(zone).replace(tzinfo=None) == wanted:
        return at
    low = to_micros(wanted.replace(tzinfo=zone, fold=1))
    return calendar.changes(zone, low, at)[0]


def _exists(zone: tzinfo, day: date) -> bool:
    """Whether a zone has that day."""
    return from_micros(calendar.day_start(day, zone)).astimezone(zone).date() == day


def next_local(
    zone: tzinfo,
    after: int,
    minute: int,
    weekdays: Sequence[int] = (),
    days: DaySet | None = None,
    passed: int | None = None,
) -> int | None:
    """When a local minute comes on one of some weekdays and days; `after` itself within it.

    In the minute of `passed` it has been waited for already: the next one counts. None: never.

    >>> from zoneinfo import ZoneInfo
    >>> sunday = to_micros(datetime.fromisoformat("2026-11-22T23:30:00+00:00"))
    >>> monday = next_local(ZoneInfo("Asia/Tokyo"), sunday, 8 * 60, [0])
    >>> from_micros(monday - sunday).time()
    datetime.time(23, 30)
    """
    try:  # from the day before on: its last minutes may not exist, and so be of today
        first = from_micros(after).astimezone(zone).date() - timedelta(days=1)
        for day in _days_from(first, weekdays, days):
            if not _exists(zone, day):
                continue
            at = at_local(zone, day, minute)
            if at + MINUTE <= after or (passed is not None and at <= passed < at + MINUTE):
                continue
            return max(at, after)
    except OverflowError:  # there is no time after the year 9999
        pass
    return None


def _days_from(first: date, weekdays: Sequence[int], days: DaySet | None) -> Iterator[date]:
    """The days from one on that are of these weekdays, and in the set."""
    ranges = ((first.toordinal(), date.max.toordinal()),) if days is None else days.ranges
    for low, high in ranges:
        for day in range(max(low, first.toordinal()), high + 1):
            if not weekdays or (day - 1) % 7 in weekdays:
                yield date.fromordinal(day)


def on_date(zone: tzinfo, day: date, minute: int, shift: int = 0) -> int | None:
    """The instant of a local minute on a day, `shift` µs later; whole days of it are days of the
    calendar. None where there is no such time.
    """
    days = abs(shift) // DAY * (1 if shift > 0 else -1)
    try:
        return at_local(zone, day + timedelta(days=days), minute) + shift - days * DAY
    except OverflowError:
        return None


def next_date(zone: tzinfo, after: int, day: date, minute: int, shift: int = 0) -> int | None:
    """The first anniversary of a day after an instant, from that day on; 29 February is the 28th
    in other years.
    """
    year = from_micros(after).year
    around = abs(shift) // (365 * DAY) + 1
    first = max(day.year, year - around)
    for each in range(first, first + 2 * around + 2):
        if each > 9999:
            break
        at = on_date(zone, in_year(day, each), minute, shift)
        if at is not None and at > after:
            return at
    return None


class Cron(msgspec.Struct, frozen=True):
    """The five fields of a schedule. A day is one of `days` and of `weekdays` (0 is Monday), or of
    either where `either`.
    """

    minutes: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool

    def days_from(self, first: date) -> Iterator[date]:
        """The days it falls on from one on, for as long as any schedule must come again."""
        months, days = sorted(self.months), range(1, 32) if self.either else sorted(self.days)
        for year in range(first.year, min(first.year + _FARTHEST, date.max.year) + 1):
            for month in months:
                if (year, month) < (first.year, first.month):
                    continue
                before, last = monthrange(year, month)
                for day in days:
                    of_week = (before + day - 1) % 7 in self.weekdays
                    wanted = of_week or (self.either and day in self.days)
                    if wanted and day <= last and (each := date(year, month, day)) >= first:
                        yield each


_MONTHS: Final = (
    *("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
)
_FARTHEST: Final = 41
"""Years: a 29 February that is a Monday may be so far off, around a year like 2100."""

_PART: Final = re.compile(r"(?:(\*)|([0-9]+|[a-z]{3})(?:-([0-9]+|[a-z]{3}))?)(?:/([0-9]+))?")


def parse_cron(text: str) -> Cron:
    """The schedule of `minute hour day month weekday`: lists, ranges, steps, names.

    As in cron, a day must be of both, days and weekdays, unless neither begins with `*`.

    >>> parse_cron("0 9 * * mon-fri").minutes, parse_cron("0 9 * * mon-fri").weekdays
    ((540,), frozenset({0, 1, 2, 3, 4}))

    Raises:
        ValueError: it is none, or never comes.
    """
    fields = text.lower().split()
    if len(fields) != 5:
        raise ValueError(
            f"{text[:60]!r} has {len(fields)} fields, a schedule has five: minute hour day month "
            'weekday, as "0 9 * * mon"'
        )
    sunday_first = ("sun", *WEEKDAYS[:-1])
    minutes = _numbers("minute", fields[0], 0, 59)
    hours = _numbers("hour", fields[1], 0, 23)
    days = _numbers("day", fields[2], 1, 31)
    months = _numbers("month", fields[3], 1, 12, _MONTHS)
    weekdays = _numbers("weekday", fields[4], 0, 7, sunday_first)
    found = Cron(
        tuple(sorted(hour * 60 + minute for hour in hours for minute in minutes)),
        frozenset(days),
        frozenset(months),
        frozenset((day - 1) % 7 for day in weekdays),
        not (fields[2].startswith("*") or fields[4].startswith("*")),
    )
    if next(found.days_from(date(2024, 1, 1)), None) is None:
        raise ValueError(f"{text[:60]!r} never comes: no such month has that day")
    return found


def _numbers(what: str, text: str, low: int, high: int, names: Sequence[str] = ()) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            meant = part[:3] if part[:3] in names else f"{low}-{high}, a list, or */2"
            raise ValueError(f"{part[:20]!r} is no {what}; write {meant}")
        star, first, last, step = match.groups()
        since = low if star else _number(what, first, low, high, names)
        until = since
        if last is not None:
            until = _number(what, last, low, high, names)
        elif star or step is not None:
            until = high - (what == "weekday")
        if until < since and what == "weekday":
            until += 7  # fri-mon
        if until < since or step == "0":
            raise ValueError(f"{part[:20]!r} is no {what}: it has nothing in it")
        found.update(range(since, until + 1, int(step or 1)))
    return found


def _number(what: str, text: str, low: int, high: int, names: Sequence[str]) -> int:
    if text in names:
        return names.index(text) + low
    if not text.isdecimal() or not low <= int(text) <= high:
        name = f", or a name such as {names[-1]}" if names else ""
        raise ValueError(f"{text[:20]!r} is no {what}; write {low} to {high}{name}")
    return int(text)


def next_cron(zone: tzinfo, after: int, cron: Cron) -> int | None:
    """The first time of a schedule after an instant; None where none comes any more."""
    try:
        local = from_micros(after).astimezone(zone)
        for day in cron.days_from(local.date()):
            if not _exists(zone, day):
                continue
            today = day == local.date()
            # what the clock shows, or has shown, has been; while it shows an hour again, more has
            first = bisect_right(cron.minutes, local.hour * 60 + local.minute) if today else 0
            if first == len(cron.minutes):
                continue
            at = at_local(zone, day, cron.minutes[first])
            if at > after:
                return at
            key = partial(at_local, zone, day)
            later = bisect_right(cron.minutes, after, first, key=key)
            if later < len(cron.minutes):
                return key(cron.minutes[later])
    except OverflowError:  # there is no time after the year 9999
        pass
    return None
