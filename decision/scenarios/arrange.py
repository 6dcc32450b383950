"""Past events, made so that fields have the values that a table asks for.

`events.purchase.days_since: 40` makes a purchase of forty days ago; `count_7d: 3` three, spread
over the week; `active_days_28d: 8` one on each of the last eight days. Values that
contradict each other are noticed when the scenario runs: it expects each field to have its value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any, Final

import msgspec

from decision.core import calendar
from decision.core.clock import DAY, SECOND, from_micros, parse_duration, to_micros
from decision.core.conditions import All, AnyOf, Clause, Condition
from decision.core.errors import NextbestError
from decision.core.events import LONGEST_WINDOW
from decision.core.fields import DATE_MEASURES
from decision.core.fields.dates import in_year
from decision.core.policy import Policy

_MOST: Final = 1_000
_NUMERIC: Final = re.compile(r"count|days_since|count_.+|sum_.+|active_days_.+")
_SUM: Final = re.compile(r"sum_(.+)_([0-9]+[smhd])")
_KNOWN: Final = re.compile(
    r"count|days_since|(count|active_days)_[0-9]+[smhd]|sum_.+_[0-9]+[smhd]|last_(?!at$).+"
)


class CannotArrange(NextbestError, ValueError):
    """No events can give a field that value."""


class _Event(msgspec.Struct):
    """One event to be: its age in microseconds, and its properties."""

    age: int
    properties: dict[str, Any] = {}


class _Arrangement:
    """The events of one type. Measures are met from the nearest to now to the furthest."""

    def __init__(self, wanted: Mapping[str, Any], now: int, zone: tzinfo) -> None:
        self.wanted = wanted
        self.now = now
        self.zone = zone
        self.events: list[_Event] = []
        self.youngest = 0
        self.inner = 0
        """No event may be added within this age."""

    def make(self) -> list[_Event]:
        since = self.wanted.get("days_since")
        if since is not None:
            self.youngest = self.inner = _whole("days_since", since) * DAY
            self.events.append(_Event(self.youngest))
        for days, count in self._windows("active_days_", ("d",)):
            self._on_days(days // DAY, count)
        for window, count in self._windows("count_", ("s", "m", "h", "d")):
            self._count(window, count)
            self.inner = max(self.inner, window)
        self.inner = self.youngest
        for name, value in sorted(self.wanted.items(), key=_by_window):
            found = _SUM.fullmatch(name)
            if found is not None:
                self._sum(found[1], parse_duration(found[2]), value)
        for name, value in self.wanted.items():
            if name.startswith("last_") and value is not None:
                self._latest().properties[name.removeprefix("last_")] = value
        self._total(self.wanted.get("count"))
        return sorted(self.events, key=lambda event: -event.age)

    def _windows(self, prefix: str, units: tuple[str, ...]) -> list[tuple[int, int]]:
        """(window, how many) of every measure that starts so, the shortest first."""
        return sorted(
            (parse_duration(name.removeprefix(prefix)), _whole(name, value))
            for name, value in self.wanted.items()
            if name.startswith(prefix) and name.endswith(units) and value is not None
        )

    def _within(self, window: int) -> list[_Event]:
        return [event for event in self.events if event.age < window]

    def _on_days(self, days: int, count: int) -> None:
        """Events on that many of the last local days, the latest first."""
        today = self._day(0)
        taken = {self._day(event.age) for event in self.events}
        day = self._day(self.youngest)
        have = sum(1 for one in taken if today - one < timedelta(days=days))
        while have < count and today - day < timedelta(days=days):
            if day not in taken:
                self.events.append(_Event(self._age_on(day)))
                have += 1
            day -= timedelta(days=1)

    def _day(self, age: int) -> Any:
        return from_micros(self.now - age).astimezone(self.zone).date()

    def _age_on(self, day: Any) -> int:
        if day == self._day(self.youngest):
            return self.youngest
        noon = to_micros(datetime.combine(day, time(12), self.zone))
        return self.now - max(noon, calendar.day_start(day, self.zone))

    def _count(self, window: int, count: int) -> None:
        """This many in the window: beside others where days are counted, else spread over it."""
        missing = count - len(self._within(window))
        days = any(name.startswith("active_days_") for name in self.wanted)
        beside = (
            [event for event in self._within(window) if event.age >= self.inner] if days else []
        )
        for number in range(missing):
            step = (window - self.inner) // (missing + 1)
            age = beside[0].age if beside else self.inner + step * (number + 1)
            self.events.append(_Event(age - age % SECOND))

    def _sum(self, name: str, window: int, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise CannotArrange(f"a sum is a number, not {value!r}")
        inside = self._within(window)
        rest = value - sum(event.properties.get(name, 0) for event in inside)
        if not rest:
            return
        free = [event for event in inside if name not in event.properties]
        if not free:
            free = [_Event((self.youngest + window) // 2)]
            self.events += free
        min(free, key=lambda event: event.age).properties[name] = rest

    def _latest(self) -> _Event:
        if not self.events:
            self.events.append(_Event(60 * SECOND))
        return min(self.events, key=lambda event: event.age)

    def _total(self, count: Any) -> None:
        """This many in all: those that are missing happened before any window."""
        if count is None:
            return
        oldest = max([LONGEST_WINDOW, *(event.age for event in self.events)])
        for number in range(_whole("count", count) - len(self.events)):
            self.events.append(_Event(oldest + (number + 1) * DAY))


def _by_window(item: tuple[str, Any]) -> int:
    found = _SUM.fullmatch(item[0])
    return parse_duration(found[2]) if found else 0


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        raise CannotArrange(f"{name} is a whole number from 0 to {_MOST:,}, not {value!r}")
    return value


def events_for(kind: str, wanted: Mapping[str, Any], now: datetime, zone: tzinfo) -> list[Any]:
    """Past events of one type that give its measures (`days_since` …) these values.

    Raises:
        CannotArrange: a measure cannot have the value.
    """
    for name, value in wanted.items():
        if value is None and _NUMERIC.fullmatch(name) and name != "days_since":
            raise CannotArrange(f"{name} is a number, never missing; write 0")
        if not _KNOWN.fullmatch(name):
            raise CannotArrange(f"{name} cannot be made up; give customer.events instead")
    at = to_micros(now)
    found = []
    try:
        for event in _Arrangement(wanted, at, zone).make():
            moment = from_micros(at - event.age).astimezone(now.tzinfo).isoformat()
            properties = {"properties": event.properties} if event.properties else {}
            found.append({"type": kind, "at": moment, **properties})
    except OverflowError:
        raise CannotArrange(f"so long before {now.isoformat()} there is no time") from None
    return found


def date_for(measure: str, value: Any, today: date) -> str:
    """A date of which a measure (`days_until` …) has this value today.

    Raises:
        CannotArrange: the measure cannot have the value.

    >>> date_for("anniversary_in", 3, date(2026, 11, 21))
    '1998-11-24'
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise CannotArrange(f"{measure} is a whole number, not {value!r}")
    try:
        if measure == "years_since":
            day = in_year(today, today.year - value)
        elif measure == "anniversary_in":  # 28 years earlier there is the same day, in most cases
            coming = today + timedelta(days=value)
            day = in_year(coming, coming.year - 28)
        else:
            day = today + timedelta(days=value if measure == "days_until" else -value)
    except (OverflowError, ValueError):
        raise CannotArrange(f"there is no date with {measure}: {value}") from None
    if DATE_MEASURES[measure](day, today) != value:
        raise CannotArrange(f"no date has {measure}: {value} on {today}")
    return day.isoformat()


def fields_of_state(policy: Policy, name: str) -> dict[str, Any]:
    """Values of fields that put a customer into a state, as far as its own condition says.

    Raises:
        CannotArrange: no values can be read from such a condition.
    """
    state = next((one for one in policy.definition.states if one.name == name), None)
    if state is None:
        raise CannotArrange(f'there is no state "{name}"')
    return dict(_values(state.when, name))


def _values(condition: Condition, state: str) -> list[tuple[str, Any]]:
    match condition:
        case All(parts):
            return [pair for part in parts for pair in _values(part, state)]
        case AnyOf(parts) if parts:
            return _values(parts[0], state)
        case Clause() if condition.operand is not None:
            pass
        case Clause(field, "eq" | "gte", value):
            return [(field, value)]
        case Clause(field, "gt", int(value)):
            return [(field, value + 1)]
        case Clause(_, "lt" | "lte" | "ne" | "not_in", _):
            return []
    raise CannotArrange(
        f"no customer in state {state} can be made up; give events and attributes instead"
    )
