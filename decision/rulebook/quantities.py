"""Reads numbers, shares, durations, times of day and moments from nodes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo

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
from decision.rulebook.collector import DiagnosticCollector
from decision.rulebook.yaml_source import Node

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)?)?")
_PERCENT = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)\s*%")


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
            hint = "write digits such as 2 or 12.5, without quotes"
            self.wrong_type(node, what, "a number", hint)
            return None
        if least is not None and value < least:
            bound = f"at least {in_words(least)}"
        elif above is not None and value <= above:
            bound = f"more than {in_words(above)}"
        elif most is not None and value > most:
            bound = f"at most {in_words(most)}"
        else:
            return value
        message = f"{what} is {in_words(value)}; it must be {bound}"
        self.error("bad-value", node.at, message, "change the number")
        return None

    def whole(self, node: Node, what: str, least: int = 1, most: int | None = None) -> int | None:
        """A whole number, `least` or more, `most` or less."""
        value = self.number(node, what, least=least, most=most)
        if value is None or isinstance(value, int):
            return value
        message = f"{what} is {in_words(value)}; it must be a whole number"
        self.error("bad-value", node.at, message, "write a number such as 1 or 20")
        return None

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
            self.wrong_type(node, what, "a share such as 2%")
            return None
        if not 0 <= value <= 1:
            hint = f"write {in_words(value)}%" if 0 < value <= 100 else "write 2% or 0.02"
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
            self.error("bad-value", node.at, f'{what}: "{value}" is not a date or time', str(error))
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
            self.wrong_type(node, what, "a time of day such as 22:00")
        else:
            hint = (
                "write 00:00 for midnight" if value == "24:00" else "write it like 09:30 or 22:00"
            )
            self.error("bad-value", node.at, f'{what}: "{value}" is not a time of day', hint)
        return None
