"""Past events, made so that fields have the values that a table asks for.

`events.purchase.days_since: 40` makes a purchase of forty days ago; `count_7d: 3` three, spread
over the week; `active_days_28d: 8` one on each of the last eight days; `since.cart_add: true` a
later one than the last `cart_add`. Values that contradict each other are noticed when the scenario
runs: it expects each field to have its value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, time, timedelta, tzinfo
from typing import Any, Final

import msgspec

from decision.core import calendar
from decision.core.clock import DAY, MINUTE, SECOND, from_micros, parse_duration, to_micros
from decision.core.errors import NextbestError
from decision.core.events import CHANNEL, LONGEST_WINDOW

_MOST: Final = 1_000
_NUMERIC: Final = re.compile(r"count|count_.+|sum_.+|active_days_.+")
_COUNT: Final = re.compile(r"count_([0-9]+[smhd])")
_ON_CHANNEL: Final = re.compile(r"count_([0-9]+[smhd])\.(.+)")
_ACTIVE: Final = re.compile(r"active_days_([0-9]+d)")
_SUM: Final = re.compile(r"sum_(.+)_([0-9]+[smhd])")
_SINCE: Final = "since."


class CannotArrange(NextbestError, ValueError):
    """No events can give a field that value."""


class _Event(msgspec.Struct):
    """One event to be: its age in microseconds, and its properties."""

    age: int
    properties: dict[str, Any] = {}


class Arrangement:
    """The events of one type. Measures are met from the nearest to now to the furthest.

    `wanted` is measure (`days_since` …) → its value.

    Raises:
        CannotArrange: a measure cannot have the value.
        OverflowError: an event would be before the year 1.
    """

    def __init__(self, kind: str, wanted: Mapping[str, Any], now: datetime, zone: tzinfo) -> None:
        self.kind = kind
        self.wanted = wanted
        self.now = to_micros(now)
        self.shown_in = now.tzinfo
        self.zone = zone
        self.events: list[_Event] = []
        self.youngest = 0
        self.inner = 0
        """No event may be added within this age."""
        for name, value in wanted.items():
            if value is None and _NUMERIC.fullmatch(name):
                raise CannotArrange(f"{name} is a number, never missing; write 0")
        self._make()

    def _make(self) -> None:
        since, at = self.wanted.get("days_since"), self.wanted.get("last_at")
        if since is not None or at is not None:
            self.youngest = whole("days_since", since) * DAY if at is None else self._age_at(at)
            self.inner = self.youngest
            self.events.append(_Event(self.youngest))
        for days, count in self._windows(_ACTIVE):
            self._on_days(days // DAY, count)
        counts = self._windows(_COUNT)
        for window, count in counts:
            self._count(window, count)
            self.inner = max(self.inner, window)
        self.inner = self.youngest
        for name, value in sorted(self.wanted.items(), key=_by_window):
            found = _SUM.fullmatch(name)
            if found is not None:
                self._sum(found[1], parse_duration(found[2]), value)
        for name, value in self.wanted.items():
            if name.startswith("last_") and name != "last_at" and value is not None:
                self._latest().properties[name.removeprefix("last_")] = value
        self._on_channels([window for window, _ in counts])
        self._total(self.wanted.get("count"))

    def relate(self, other: Arrangement) -> None:
        """Adds events of either type so that `since.<other type>` has its value.

        Raises:
            CannotArrange: it cannot have the value.
        """
        measure = _SINCE + other.kind
        came_after = self.wanted[measure]
        if came_after is None:
            return
        if not isinstance(came_after, bool):
            raise CannotArrange(f"{measure} is true or false, not {came_after!r}")
        if not (came_after or self.events or other.events):
            other._add(MINUTE)
        elif came_after or self.events:
            newer, older = (self, other) if came_after else (other, self)
            newer._follow(older)

    def _follow(self, older: Arrangement) -> None:
        """Has the latest of the events come after those of another type."""
        if not self.events and not older.events:
            self._add(MINUTE)
        if not older.events:
            older._add(self.age + MINUTE)
        elif not self.events:
            self._add(older.age // 2)
        elif self.age >= older.age and not {"days_since", "last_at"} & self.wanted.keys():
            self._latest().age = self._old_enough(older.age // 2)

    @property
    def age(self) -> int:
        """How long ago the latest of the events was; 0 without any."""
        return min((event.age for event in self.events), default=0)

    def _add(self, age: int) -> None:
        self.events.append(_Event(self._old_enough(age)))

    def _old_enough(self, age: int) -> int:
        """The age, or more where nothing is wanted in a window that it would be in."""
        return max([age, *(window for window, count in self._windows(_COUNT) if not count)])

    def written(self) -> list[dict[str, Any]]:
        """The events as scenarios have them, the earliest first.

        Raises:
            OverflowError: one would be before the year 1.
        """
        found = []
        for event in sorted(self.events, key=lambda event: -event.age):
            at = from_micros(self.now - event.age).astimezone(self.shown_in)
            properties = {"properties": event.properties} if event.properties else {}
            found.append({"type": self.kind, "at": at.isoformat(), **properties})
        return found

    def _age_at(self, text: Any) -> int:
        try:
            age = self.now - to_micros(datetime.fromisoformat(str(text)))
        except ValueError:
            words = f"last_at is a time such as 2026-11-20T10:00:00+08:00, not {text!r}"
            raise CannotArrange(words) from None
        if age < 0:
            raise CannotArrange(f"last_at is not later than now; {text} is")
        return age

    def _windows(self, form: re.Pattern[str]) -> list[tuple[int, int]]:
        """(window, how many) of every measure of a form, the shortest first."""
        return sorted(
            (parse_duration(found[1]), whole(name, value))
            for name, value in self.wanted.items()
            if (found := form.fullmatch(name))
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

    def _on_channels(self, counted: list[int]) -> None:
        """As many events about a channel in a window; `counted` are the windows that are full."""
        wanted = sorted(
            (parse_duration(found[1]), found[2], whole(name, value))
            for name, value in self.wanted.items()
            if (found := _ON_CHANNEL.fullmatch(name))
        )
        for window, channel, count in wanted:
            inner = max([0, *(one for one, of, _ in wanted if of == channel and one < window)])
            within = self._within(window)
            missing = count - sum(one.properties.get(CHANNEL) == channel for one in within)
            free = [one for one in within if CHANNEL not in one.properties and one.age >= inner]
            for event in free[: max(0, missing)]:
                event.properties[CHANNEL] = channel
                missing -= 1
            inner = max([inner, self.youngest, *(one for one in counted if one < window)])
            for number in range(missing):
                age = inner + (window - inner) // (missing + 1) * (number + 1)
                self.events.append(_Event(age, {CHANNEL: channel}))

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
        for number in range(whole("count", count) - len(self.events)):
            self.events.append(_Event(oldest + (number + 1) * DAY))


def _by_window(item: tuple[str, Any]) -> int:
    found = _SUM.fullmatch(item[0])
    return parse_duration(found[2]) if found else 0


def whole(name: str, value: Any) -> int:
    """A count of something that is to be made.

    Raises:
        CannotArrange: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        raise CannotArrange(f"{name} is a whole number from 0 to {_MOST:,}, not {value!r}")
    return value
