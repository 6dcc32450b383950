"""Ranges of local days of a time zone as times."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from decision.core import calendar
from decision.core.clock import to_micros

BEGIN: Final = 0
END: Final = 1 << 62


def bounds(first: date | None, last: date | None, timezone: str) -> tuple[int, int]:
    """From when (included) to when (excluded) these local days are, in microseconds.

    None: no bound; both days are included.

    >>> [at // 3_600_000_000 for at in bounds(date(1970, 1, 2), date(1970, 1, 2), "Asia/Shanghai")]
    [16, 40]
    >>> bounds(date.min, date.max, "Asia/Shanghai") == (BEGIN, END)
    True
    """
    begin, end = BEGIN, END
    if first is not None:
        begin = _midnight(first, timezone, BEGIN)
    if last is not None:
        end = END if last == date.max else _midnight(last + timedelta(days=1), timezone, END)
    return begin, end


def _midnight(day: date, timezone: str, otherwise: int) -> int:
    """When a local day begins; `otherwise` where no time can say it."""
    try:
        return to_micros(datetime.combine(day, time(), calendar.zone(timezone)).astimezone(UTC))
    except OverflowError:
        return otherwise
