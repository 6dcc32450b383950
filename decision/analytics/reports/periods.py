"""Days, weeks and months of the calendar, as reports count them: by the zone of their range."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final, Literal

from decision.analytics.behaviour import offsets
from decision.analytics.queries import queries
from decision.analytics.reports.asking import CUSTOMER
from decision.analytics.reports.source import PACKAGE, Source
from decision.core import calendar
from decision.core.calendar import WEEKDAY_NAMES
from decision.core.local_days import END
from decision.core.said import marked

Period = Literal["day", "week", "month"]
PERIODS: Final = {"day": marked("day"), "week": marked("week"), "month": marked("month")}
"""What one is called."""
_EPOCH: Final = date(1970, 1, 1)
_THURSDAY: Final = 3


def date_rows(source: Source, view: str, name: str) -> None:
    """Makes a view `name` of another one with a customer and a time `us`.

    It has beside them `day`, in days since 1970 by the customer's calendar, and `counts`: whether
    the time is in the range.
    """
    span, database = source.span, source.database
    if not database.rows("SELECT 1 FROM duckdb_tables() WHERE table_name = 'shifts'"):
        _know_shifts(source)
    home = span.home.replace("'", "''")
    given = {"view": view, "name": name, "home": home, "begin": span.begin, "end": span.end}
    database.execute(_query("dated").format(**given))


def _know_shifts(source: Source) -> None:
    database, span = source.database, source.span
    zones = {span.home, *(zone for (zone,) in database.rows("SELECT DISTINCT zone FROM zoned"))}
    first, last = source.reach
    rows = [
        (zone, since if place else -END, shift)
        for zone in sorted(zones)
        for place, (since, shift) in enumerate(offsets(calendar.zone(zone), max(first, 0), last))
    ]
    database.execute(_query("shifts"))
    database.connection.executemany("INSERT INTO shifts VALUES (?, ?, ?)", rows)
    database.execute(_query("period"))


def week_shift(source: Source) -> int:
    """How many days a week began before 1970-01-01, which was a Thursday."""
    starts = source.policy.settings.week_starts if source.policy else "monday"
    return (_THURSDAY - WEEKDAY_NAMES.index(starts)) % 7


def first_day(source: Source, period: Period, number: int) -> date:
    """The first day of a period, by its number: `period_of` in SQL."""
    if period == "month":
        return date(number // 12, number % 12 + 1, 1)
    if period == "week":
        return _EPOCH + timedelta(days=number * 7 - week_shift(source))
    return _EPOCH + timedelta(days=number)


def has_begun(source: Source, period: Period, number: int) -> bool:
    """Whether the archive reaches a period, for anybody."""
    return _moment(source, period, number) - _late(source) <= source.reach[1]


def is_over(source: Source, period: Period, number: int) -> bool:
    """Whether the archive reaches the end of a period, for everybody."""
    return _moment(source, period, number + 1) + _late(source) <= source.reach[1]


def _moment(source: Source, period: Period, number: int) -> int:
    day = first_day(source, period, number)
    return calendar.day_start(day, calendar.zone(source.span.home))


def _late(source: Source) -> int:
    return source.span.shift if source.span.zone == CUSTOMER else 0


def _query(name: str) -> str:
    return queries(PACKAGE, "periods.sql")[name]
