"""What every answer says, and what it is shown as: tables, and charts beside them.

What people read of an answer is in their language: each text that is not data is a `Said`, with
values apart. Numbers in it are texts already, written as `f"{n:,}"`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Literal, NamedTuple, Self

import msgspec

from decision.core import calendar
from decision.core.schema import Moment


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What every report says of itself; each adds its question as `query`, and its figures.

    `from` (included) and `until` (excluded) are the range that counts; null: no bound. With the
    time zone `customer` they are those of customers whose time zone is not known. `customers` and
    `events` are how many it was counted from. `archived_until` is up to when the archive has
    records of anything; `incomplete` says in words what may still change, or could not be counted.
    """

    kind: str
    from_: Moment | None = msgspec.field(name="from")
    until: Moment | None
    timezone: str
    customers: int
    events: int
    archived_from: Moment | None
    archived_until: Moment | None
    incomplete: list[str]


Form = Literal["text", "figure", "number", "share", "seconds"]


class Shaded(str):
    """A text of a table with a share of the most in it, 0 to 1: pages put a shade behind it."""

    __slots__ = ("share",)
    share: float

    def __new__(cls, text: str, share: float) -> Self:
        made = super().__new__(cls, text)
        made.share = share
        return made


class Column(NamedTuple):
    """A column of a table; `share` is of 1, `seconds` is a time, a `figure` one that is a text."""

    name: str
    form: Form = "number"


Row = Sequence[str | float | None]
"""The values of a row of a table."""


class Table(NamedTuple):
    """Rows of values as the columns say; None is nothing to show."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]


class Bars(NamedTuple):
    """A chart: one bar for each name; `most`: what the whole width is, else the longest bar."""

    title: str
    rows: Sequence[tuple[str, float]]
    percent: bool = False
    most: float = 0.0


class OverTime(NamedTuple):
    """A chart: days on which periods begin, and named rows with a value for each of them.

    Rows are lines, or `stacked` as bars that add up. None: there is no value.
    """

    title: str
    days: Sequence[date]
    rows: Sequence[tuple[str, Sequence[float | None]]]
    stacked: bool = False


class Shown(NamedTuple):
    """An answer for people: what they must know before all else, sentences, charts, tables."""

    said: Sequence[str]
    tables: Sequence[Table]
    charts: Sequence[Bars | OverTime] = ()
    warnings: Sequence[str] = ()


def moment_text(at: datetime, timezone: str, *, named: bool = True) -> str:
    """A time as people read it, in a time zone, else in UTC; `named`: it says in which.

    >>> from datetime import UTC
    >>> moment_text(datetime(2026, 11, 20, 16, 5, tzinfo=UTC), "Asia/Shanghai")
    '2026-11-21 00:05 (Asia/Shanghai)'
    """
    zone = calendar.known_zone(timezone)
    name = "UTC" if zone is None else timezone
    text = f"{at.astimezone(calendar.zone(name)):%Y-%m-%d %H:%M}"
    return f"{text} ({name})" if named else text


def local(at: datetime | None, timezone: str) -> str:
    """A bound of a range as people read it: a day where it is midnight there.

    >>> from datetime import UTC
    >>> local(datetime(2026, 11, 20, 16, tzinfo=UTC), "Asia/Shanghai")
    '2026-11-21'
    """
    if at is None:
        return ""
    zone = calendar.known_zone(timezone)
    text = (at if zone is None else at.astimezone(zone)).isoformat(" ")
    return text[:10] if text[10:19] == " 00:00:00" else text
