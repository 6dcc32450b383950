"""`calendars:`: named sets of days."""

from __future__ import annotations

import re
from calendar import month_name, monthrange
from datetime import date
from typing import Final

from decision.core.day_sets import DayRange
from decision.core.definition import Calendar
from decision.rulebook import readings
from decision.rulebook.checker import Checker
from decision.rulebook.yaml_source import Node

_DATE: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_LOOSE: Final = re.compile(r"([0-9]{4})\s*[-./年]?\s*([0-9]{1,2})\s*[-./月]?\s*([0-9]{1,2})日?")
_BETWEEN: Final = re.compile(
    r"\s*(?:\.{2,}|…|[-‐‑‒–—−~～〜/→至到]+|->|\b(?:to|until|till|through|and)\b)\s*"
)
_YEARLY: Final = re.compile(
    r"(?:\*+|y+|every year|每年)?\s*[-/.]?\s*"
    r"(0?[1-9]|1[0-2])\s*[-/.月]\s*([0-2]?[0-9]|3[01])日?",
    re.IGNORECASE,
)
"""A day without a year: `11-11`, `*-11-11`."""
_WITH_TIME: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ][0-9:.]+(?:Z|[+-][0-9:]+)?")
_WRITE: Final = "write 2027-05-01, or 2027-02-05..2027-02-12 for all days from one to another"
_MOST_REPORTED: Final = 20


def read_calendar(checker: Checker, name: str, node: Node) -> Calendar:
    """One of `calendars:`."""
    with checker.entry(node, f'calendar "{name}"') as entry:
        dates = entry.require("dates", _dates, ())
        return Calendar(name=name, source=node.key.label, dates=dates)


def _dates(checker: Checker, node: Node, what: str) -> tuple[DayRange, ...]:
    value = node.value
    items = value if isinstance(value, list) else [node]
    if value is None or (isinstance(value, list) and not value):
        message = f"{what} has no date"
        checker.error("bad-value", node.at, message, f"{_WRITE}, or delete the calendar")
        return ()
    found = [(days, item) for item in items if (days := _days(checker, item, what)) is not None]
    _overlaps(checker, found, what)
    return tuple(days for days, _ in found)


def _overlaps(checker: Checker, found: list[tuple[DayRange, Node]], what: str) -> None:
    """Warns of days that are given twice, where they are given again."""
    before: tuple[DayRange, Node] | None = None
    reported = 0
    for days, item in sorted(found, key=lambda one: (one[0], one[1].line, one[1].column)):
        if before is not None and days[0] <= before[0][1] and reported < _MOST_REPORTED:
            reported += 1
            later, first = (item, before[1])
            if (later.line, later.column) < (first.line, first.column):
                later, first = first, later
            both = max(days[0], before[0][0]), min(days[1], before[0][1])
            message = f"{what} has {_written(both)} twice; first at {first.at.label}"
            checker.warn(later.at, message, "delete one of them")
        if before is None or days[1] > before[0][1]:
            before = (days, item)


def _written(days: DayRange) -> str:
    first, last = map(date.fromordinal, days)
    return f"{first}" if first == last else f"{first}..{last}"


def _days(checker: Checker, node: Node, what: str) -> DayRange | None:
    """The days of a date, or of a range."""
    value = node.value
    if isinstance(value, dict) and {"from", "to"} <= value.keys():
        first, last = (value[key].value for key in ("from", "to"))
        checker.wrong_type(node, f"a date in {what}", "a text", f"write {first}..{last}")
        return None
    if not isinstance(value, str):
        hint = _WRITE
        if isinstance(value, int) and (found := _LOOSE.fullmatch(str(value))):
            hint = f"write {_dashed(found)}"
        checker.wrong_type(node, f"a date in {what}", "a date such as 2027-05-01", hint)
        return None
    first, dots, last = value.partition("..")
    ends = (first, last) if dots else (value,)
    if not all(map(_DATE.fullmatch, ends)):
        message = f'{what} cannot have "{value[:60]}", which is not a date'
        checker.error("bad-value", node.at, message, _meant(value))
        return None
    days = [_day(checker, node, text, what) for text in ends]
    if None in days:
        return None
    start, end = days[0], days[-1]
    assert start is not None and end is not None
    if end < start:
        message = f"{what} has {value}, which ends before it starts"
        checker.error("bad-value", node.at, message, f"write {last}..{first}")
        return None
    if dots and start == end:
        checker.warn(node.at, f"{what} has {value}, which is one day", f"write {first}")
    return start, end


def _day(checker: Checker, node: Node, text: str, what: str) -> int | None:
    try:
        return date.fromisoformat(text).toordinal()
    except ValueError:
        year, month, _ = map(int, text.split("-"))
        hint = "months are 01 to 12" if year else "write a year such as 2027"
        if year and 1 <= month <= 12:
            hint = f"{month_name[month]} {year} has {monthrange(year, month)[1]} days"
        message = f'{what} cannot have "{text}", which is not a date'
        checker.error("bad-value", node.at, message, hint)
        return None


def _meant(text: str) -> str:
    """How to write what was probably meant."""
    text = text.strip()
    if found := _YEARLY.fullmatch(text):
        month, day = f"{found[1]:0>2}", f"{found[2]:0>2}"
        return (
            f"each year is written out: write [2027-{month}-{day}, 2028-{month}-{day}]; without a "
            f'calendar, time.date: {{matches: "-{month}-{day}$"}} is that day of every year'
        )
    if found := _WITH_TIME.fullmatch(text):
        return f"write {found[1]}; hours are asked by time.hour"
    if day := readings.weekday(text):
        return f"a calendar has dates; weekdays are asked by time.weekday: {day}"
    if found := _LOOSE.fullmatch(text):
        return f"write {_dashed(found)}"
    start, _, end = text.partition("..")
    if (first := _LOOSE.fullmatch(start)) and re.fullmatch("[0-9]{1,2}-[0-9]{1,2}", end):
        last = _LOOSE.fullmatch(f"{first[1]}-{end}")
        return f"write {_dashed(first)}..{_dashed(last)}" if last else _WRITE
    for between in _BETWEEN.finditer(text):
        first, last = (
            _LOOSE.fullmatch(part) for part in (text[: between.start()], text[between.end() :])
        )
        if first and last:
            return f"write {_dashed(first)}..{_dashed(last)}"
    return _WRITE


def _dashed(found: re.Match[str]) -> str:
    return f"{found[1]}-{found[2]:0>2}-{found[3]:0>2}"
