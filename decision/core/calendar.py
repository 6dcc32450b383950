"""The customer's local calendar: days, weeks and months, exact across clock changes.

Instants are microseconds since the epoch. Around a change of the clocks a local time may not
exist (a gap) or exist twice (an overlap); every answer here is an instant, so the caller need not
care.

Time zones are those of the IANA database in the package tzdata, whatever the machine has: a name
means the same on every one.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import date, datetime, time, timedelta, tzinfo
from difflib import get_close_matches
from functools import cache, lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from decision.core.clock import DAY, HOUR, from_micros, to_micros
from decision.core.definition import CalendarPeriod
from decision.core.said import Said

WEEKDAY_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@cache
def _names() -> dict[str, str]:
    """Every time zone by its name in lower case; Factory says that none was chosen."""
    names = files("tzdata").joinpath("zones").read_text("utf-8").split()
    return {name.lower(): name for name in names if name != "Factory"}


@lru_cache(maxsize=1024)
def known_zone(name: str) -> ZoneInfo | None:
    """The time zone of an IANA name, None where there is no such zone."""
    if _names().get(name.lower()) != name:
        return None
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, name)


def zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name.

    Raises:
        ValueError: there is no such zone.
    """
    found = known_zone(name)
    if found is None:
        raise ValueError(f"{name[:60]!r} is not a time zone; {zone_hint(name)}")
    return found


def zone_hint(name: str) -> Said:
    """Which time zone was probably meant.

    Of letters and offsets, such as CST and GMT+8, the nearest name is hours away.

    >>> zone_hint("posix/asia/tokyo")
    'did you mean "Asia/Tokyo"?'
    >>> zone_hint("UTC+8")
    'write it as Asia/Shanghai or UTC'
    """
    names, wanted = _names(), name[:200].strip().lower()
    near = [known for known in names if wanted == known or wanted.endswith(f"/{known}")]
    cities = [known for known in names if "/" in known and not known.startswith("etc/")]
    near = [max(near, key=len)] if near else get_close_matches(wanted, cities, 1)
    if not near:
        return Said("write it as Asia/Shanghai or UTC")
    return Said('did you mean "%(name)s"?', name=names[near[0]])


def _transition(zone: tzinfo, low: int, high: int) -> int:
    """The first instant in (low, high] whose offset from UTC differs from that at `low`."""
    before, between = _offset(zone, low), range(low + 1, high)
    return low + 1 + bisect_left(between, True, key=lambda at: _offset(zone, at) != before)


def changes(zone: tzinfo, since: int, until: int) -> list[int]:
    """The instants in (since, until] at which the clocks change."""
    found, at, step = [], since, 12 * HOUR
    while at < until:
        following = min(at + step, until)
        if _offset(zone, at) != _offset(zone, following):
            found.append(_transition(zone, at, following))
        at = following
    return found


def _offset(zone: tzinfo, at: int) -> timedelta | None:
    return from_micros(at).astimezone(zone).utcoffset()


@lru_cache(maxsize=4096)
def day_start(day: date, zone: tzinfo) -> int:
    """The first instant of a local day, also where its midnight does not exist."""
    at = to_micros(datetime.combine(day, time(), zone))
    before = at - DAY // 2
    if _offset(zone, before) != _offset(zone, at):
        change = _transition(zone, before, at)
        if change < at and from_micros(change).astimezone(zone).date() >= day:
            return change
    return at


def period_start(period: CalendarPeriod, now: int, zone: tzinfo, week_starts: str) -> int:
    """The first instant of the local day, week or month that `now` lies in."""
    return day_start(_first_day(period, now, zone, week_starts), zone)


def period_end(period: CalendarPeriod, now: int, zone: tzinfo, week_starts: str) -> int:
    """The first instant after the local day, week or month that `now` lies in."""
    first = _first_day(period, now, zone, week_starts)
    if period == "month":
        following = (first.replace(day=28) + timedelta(days=4)).replace(day=1)
    else:
        following = first + timedelta(days=1 if period == "day" else 7)
    return day_start(following, zone)


def _first_day(period: CalendarPeriod, now: int, zone: tzinfo, week_starts: str) -> date:
    today = from_micros(now).astimezone(zone).date()
    match period:
        case "day":
            return today
        case "week":
            back = (today.weekday() - WEEKDAY_NAMES.index(week_starts)) % 7
            return today - timedelta(days=back)
        case "month":
            return today.replace(day=1)
