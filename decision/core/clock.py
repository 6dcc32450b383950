"""Times are whole microseconds since 1970-01-01 UTC; durations are whole microseconds.

Nothing here reads a clock: the present is always passed in.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo

MILLISECOND = 1_000
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}
_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhd])")


def to_micros(moment: datetime) -> int:
    """Microseconds since the epoch of a time with an offset; exact.

    Raises:
        ValueError: the time has no offset.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no offset; write it as 2026-11-21T10:00:00Z")
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The time in UTC of microseconds since the epoch; exact."""
    return _EPOCH + micros * _MICROSECOND


def time_in_zone(micros: int, zone: tzinfo) -> str:
    """A time as people read it in a time zone; in UTC where that has no such year.

    >>> from zoneinfo import ZoneInfo
    >>> time_in_zone(1_795_226_400_000_000, ZoneInfo("Asia/Shanghai"))
    '2026-11-21 10:00:00+08:00'
    """
    moment = from_micros(micros)
    with suppress(OverflowError):
        moment = moment.astimezone(zone)
    return moment.isoformat(" ")


def time_text(micros: int) -> str:
    """A time as fields have it: in UTC, with six decimals.

    >>> time_text(0)
    '1970-01-01T00:00:00.000000Z'
    """
    return f"{from_micros(micros):%Y-%m-%dT%H:%M:%S.%f}Z".rjust(27, "0")


def parse_duration(text: str) -> int:
    """Microseconds of `30s`, `15m`, `48h` or `7d`.

    Raises:
        ValueError: the text is not a whole positive number followed by one of s, m, h, d.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a duration; write it as 30s, 15m, 48h or 7d")
    return int(found[1]) * _UNITS[found[2]]


def rough_duration(micros: int) -> str:
    """A time in whole units of the largest that fits, at least in seconds.

    >>> rough_duration(61 * SECOND), rough_duration(3 * HOUR + MINUTE), rough_duration(7)
    ('1m', '3h', '0s')
    """
    name = next((name for name in ("d", "h", "m") if micros >= _UNITS[name]), "s")
    return f"{micros // _UNITS[name]}{name}"


def format_duration(micros: int) -> str:
    """The shortest of `7d`, `48h`, `15m`, `30s` that is exact; days only from 72 hours on.

    >>> format_duration(2 * DAY), format_duration(parse_duration("72h"))
    ('48h', '3d')
    """
    for name in ("d", "h", "m"):
        unit = _UNITS[name]
        if micros % unit == 0 and (name != "d" or micros >= 3 * DAY or micros == DAY):
            return f"{micros // unit}{name}"
    return f"{micros / SECOND:g}s"
