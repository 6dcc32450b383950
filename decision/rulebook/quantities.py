"""Reads numbers, shares, durations, times of day and moments from nodes."""

from __future__ import annotations

import re
from calendar import month_name, monthrange
from datetime import UTC, datetime, tzinfo
from math import floor

from decision.core.clock import (
    HOUR,
    MINUTE,
    format_duration,
    from_micros,
    parse_duration,
    to_micros,
)
from decision.core.events import LONGEST_WINDOW
from decision.core.values import in_words
from decision.rulebook import readings
from decision.rulebook.characters import plain
from decision.rulebook.collector import DiagnosticCollector
from decision.rulebook.doubtful import field_in
from decision.rulebook.yaml_source import Node

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)?)?")
_PERCENT_WORD = re.compile(r"([0-9.]+)\s*(?:percent|per cent|prozent|pct|pour cent)", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"([0-9]+),([0-9]+)\s*%")
_THOUSANDS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{3})+(?![0-9.])")
_PERCENT = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)\s*%")


_NO_LIMIT = re.compile("unlimited|no limit|none|infinite|infinity|无限|不限", re.IGNORECASE)


def _last_day(text: str) -> str:
    """How many days the month of a date has; empty where there is no such month."""
    year, month = (int(part) for part in text[:7].split("-"))
    if not 1 <= month <= 12:
        return "months are 01 to 12"
    return f"write {text[:7]}-{monthrange(year, month)[1]}; {month_name[month]} has no more days"


class QuantityReader(DiagnosticCollector):
    """A collector that reads quantities; `zone` is the time zone of dates without a time."""

    def __init__(self) -> None:
        super().__init__()
        self.zone: tzinfo = UTC

    def number(
        self,
        node: Node,
        what: str,
        least: float | None = None,
        above: float | None = None,
        most: float | None = None,
    ) -> float | None:
        """A number within bounds (`above` is not included)."""
        value = node.value
        if not isinstance(value, int | float) or isinstance(value, bool):
            meant = readings.number(value) if isinstance(value, str) else ""
            hint = "write digits such as 2 or 12.5, without quotes"
            if meant:
                hint = f"write {meant}, without quotes and units"
            elif field_in(value) or (isinstance(value, dict) and "field" in value):
                hint = "it cannot come from a field; write a number such as 2 or 12.5"
            elif isinstance(value, str) and _NO_LIMIT.fullmatch(value):
                hint = "a number is needed here; without a limit, delete the line"
            self.wrong_type(node, what, "a number", hint)
            return None
        if least is not None and value < least:
            bound, hint = f"at least {in_words(least)}", f"write {in_words(least)} or more"
        elif above is not None and value <= above:
            bound, hint = f"more than {in_words(above)}", f"write a number above {in_words(above)}"
        elif most is not None and value > most:
            bound, hint = f"at most {in_words(most)}", f"write {in_words(most)} or less"
        else:
            return value
        message = f"{what} is {in_words(value)}; it must be {bound}"
        self.error("bad-value", node.at, message, hint)
        return None

    def whole(self, node: Node, what: str, least: int = 1, most: int | None = None) -> int | None:
        """A whole number, `least` or more, `most` or less."""
        value = self.number(node, what, least=least, most=most)
        if value is None or isinstance(value, int):
            return value
        message = f"{what} is {in_words(value)}; it must be a whole number"
        thousands = _THOUSANDS.match(self.written(node))
        hint = "write a number such as 1 or 20"
        if thousands:
            hint = f"write {thousands[0].replace('.', '')}; a point is not for thousands"
        self.error("bad-value", node.at, message, hint)
        return None

    @staticmethod
    def written(node: Node) -> str:
        """The line from where the value starts."""
        return node.source.line(node.line)[node.column - 1 :]

    def duration(self, node: Node, what: str, longest: int = LONGEST_WINDOW) -> int | None:
        """Microseconds of a duration such as `7d`."""
        value = node.value
        if not isinstance(value, str):
            hint = ""
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                hint = f"write {value}d for days, {value}h for hours, {value}m for minutes"
            self.wrong_type(node, what, "a duration such as 30s, 15m, 48h or 7d", hint)
            return None
        try:
            micros = parse_duration(value)
        except ValueError as error:
            message, _, hint = str(error).partition("; ")
            message = message.replace(repr(value), f'"{value}"')
            meant = readings.duration(value)
            if meant and parse_duration(meant) <= longest:
                hint = f"write {meant}"
            elif meant:
                hint = f"write {format_duration(longest)}; it can be no more"
            self.error("bad-value", node.at, f"{what}: {message}", hint)
            return None
        if micros > longest:
            most = format_duration(longest)
            message = f"{what} is {value}; it can be at most {most}"
            self.error("bad-value", node.at, message, f"write {most} or less")
            return None
        return micros

    def share(self, node: Node, what: str) -> float | None:
        """A share of all, from 0 to 1, written as `2%` or 0.02."""
        value = node.value
        if isinstance(value, str) and (found := _PERCENT.fullmatch(value)):
            percent = float(found[1])
            if percent > 100:
                message = f"{what} is {value}; it can be at most 100%"
                self.error("bad-value", node.at, message, "write a share from 0% to 100%")
                return None
            return percent / 100
        if isinstance(value, bool) or not isinstance(value, int | float):
            meant = readings.number(value) if isinstance(value, str) else ""
            if isinstance(value, str) and "%" in plain(value):
                meant = f"{readings.number(plain(value).replace('%', ''))}%"
            if isinstance(value, str) and (found := _PERCENT_WORD.fullmatch(value)):
                meant = f"{found[1]}%"
            if isinstance(value, str) and (
                part := re.fullmatch(r"([0-9]{1,3})\s*/\s*([1-9][0-9]{0,2})", value)
            ):
                meant = f"{floor(10_000 * int(part[1]) / int(part[2])) / 100:g}%"
            hint = f"write {meant}" if len(meant) > 1 else "write it like 50% or 0.5"
            self.wrong_type(node, what, "a share such as 2%", hint)
            return None
        if not 0 <= value <= 1:
            hint = f"write {in_words(value)}%" if 0 < value <= 100 else "write 2% or 0.02"
            if comma := _DECIMAL_COMMA.match(self.written(node)):
                hint = f"write {comma[1]}.{comma[2]}%, with a point"
            message = f"{what} is {in_words(value)}; without %, a share is from 0 to 1"
            self.error("bad-value", node.at, message, hint)
            return None
        return float(value)

    def moment(self, node: Node, what: str) -> int | None:
        """Microseconds of an RFC 3339 time, or of a date: its midnight in `settings.timezone`."""
        value = node.value
        if not isinstance(value, str):
            self.wrong_type(node, what, "a date such as 2026-11-01")
            return None
        found = _MOMENT.fullmatch(value)
        try:
            if found is None:
                raise ValueError("write 2026-11-01 or 2026-11-01T10:00:00+08:00")
            moment = datetime.fromisoformat(value.upper())
            if found[1] is None:
                moment = moment.replace(tzinfo=self.zone)
            if moment.tzinfo is None:
                raise ValueError("add the offset from UTC, such as +08:00 or Z")
            if moment.year < 1970:
                raise ValueError("write a date in 1970 or later")
            micros = to_micros(moment)
            from_micros(micros)
            return micros
        except (ValueError, OverflowError) as error:
            meant = readings.moment(value, self.zone)
            hint = f"write {meant}" if meant and meant != value else str(error)
            if "out of range" in hint:
                hint = _last_day(value) or "write 2026-11-01 or 2026-11-01T10:00:00+08:00"
            if len(meant) > len("2026-11-01"):
                hint += "; add the offset from UTC to each time"
            self.error("bad-value", node.at, f'{what}: "{value}" is not a date or time', hint)
            return None

    def clock(self, node: Node, what: str, *, end: bool = False) -> int | None:
        """Minutes of the day of a time such as 22:00; where it is an `end`, 24:00 is one, too."""
        value = node.value
        if end and value == "24:00":
            return 24 * (HOUR // MINUTE)
        found = _CLOCK.fullmatch(value) if isinstance(value, str) else None
        if found is not None:
            return int(found[1]) * (HOUR // MINUTE) + int(found[2])
        if not isinstance(value, str):
            hour = type(value) is int and 0 <= value <= 23
            hint = f'write "{value:02}:00"' if hour else ""
            self.wrong_type(node, what, "a time of day such as 22:00", hint)
        else:
            hint = "write it like 09:30 or 22:00"
            if value == "24:00":
                hint = "write 00:00 for midnight"
            elif meant := readings.clock(value):
                hint = f'write "{meant}"'
            self.error("bad-value", node.at, f'{what}: "{value}" is not a time of day', hint)
        return None
