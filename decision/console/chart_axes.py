"""Axes of charts: round numbers, and dates in a zone."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Final

from babel import Locale
from babel.dates import format_date, format_time

from decision.console.language import zone_of

_MOST: Final = 8
_HOURS: Final = (1, 2, 3, 6, 12)
_DAYS: Final = (1, 2, 7, 14, 30, 61, 91, 182, 365)


def number_ticks(most: float) -> list[float]:
    """Round numbers from 0 to at least `most`, at most six.

    >>> number_ticks(7), number_ticks(0), number_ticks(0.031)
    ([0, 2, 4, 6, 8], [0, 1], [0.0, 0.01, 0.02, 0.03, 0.04])
    """
    if most <= 0 or not math.isfinite(most):
        return [0, 1]
    rough = most / 4
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * n for n in (1, 2, 5, 10) if unit * n >= rough * 0.999)
    count = math.ceil(most / step - 1e-9)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    if step >= 1:
        return [round(step) * n for n in range(count + 1)]
    return [round(step * n, digits) for n in range(count + 1)]


def date_ticks(
    begin: datetime, end: datetime, zone: str, locale: Locale
) -> list[tuple[datetime, str]]:
    """Full hours, or midnights, of a zone between two times, with their texts.

    >>> from datetime import UTC
    >>> begin = datetime(2026, 11, 21, tzinfo=UTC)
    >>> [text for _, text in date_ticks(begin, begin + timedelta(hours=20), "UTC", Locale("en"))]
    ['Nov 21', '03:00', '06:00', '09:00', '12:00', '15:00', '18:00']
    """
    own = zone_of(zone)
    hours = (end - begin).total_seconds() / 3600
    by_hour = next((n for n in _HOURS if hours / n <= _MOST), None)
    at = begin.astimezone(own).replace(minute=0, second=0, microsecond=0)
    if by_hour is None:
        at = at.replace(hour=0)
    every = next((n for n in _DAYS if hours / 24 / n <= _MOST), _DAYS[-1])
    found: list[tuple[datetime, str]] = []
    for _ in range(24 * 20):
        if at > end:
            break
        midnight = at.hour == 0
        if at >= begin and (by_hour is None or at.hour % by_hour == 0):
            text = (
                format_date(at, "MMMd日" if locale.language == "zh" else "MMM d", locale=locale)
                if midnight
                else format_time(at, "HH:mm", locale=locale, tzinfo=own)
            )
            found.append((at, text))
        # Steps of the wall clock: a day may have 23 hours.
        at = at + timedelta(hours=1) if by_hour else at + timedelta(days=every)
    return found
