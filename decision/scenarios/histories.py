"""What is kept of a customer's events, turned back into events that give the same.

Buckets know the second of an event up to two days back and the hour beyond; sums, days, the
latest time and values are kept separately. The events made here give the same counts, sums, days
and last values, as exactly as buckets know them. What is remembered is of the latest event; of
events at the same time that is the one written last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, tzinfo
from typing import Any, Final

import msgspec

from decision.core import calendar
from decision.core.clock import DAY, HOUR, SECOND, from_micros
from decision.core.document import Document, EventHistory, Signal
from decision.core.event_effects import CONTACT_EVENTS
from decision.core.events import (
    CHANNEL,
    EXACT_WINDOW,
    LONGEST_WINDOW,
    Measure,
    channel_sum,
    number_of,
)
from decision.scenarios.schema import AT_ONCE, MOST_TIMES, PastEvent

_DENYING: Final = ("message.complained", "message.unsubscribed")
_NO_PURPOSE: Final = "-"
"""The purpose of past unsubscribes: what they denied is in the consents already."""


class _Made(msgspec.Struct, eq=False):
    """An event to be, or several at once."""

    at: int
    times: int = 1
    message: str | None = None
    channel: str | None = None
    properties: dict[str, Any] = {}


def _of_signal(signal: Signal, now: int) -> _Made:
    at = min(signal.at, now)
    return _Made(at, message=signal.message or None, channel=signal.channel or None)


class _Unpacked:
    """The events of one type."""

    def __init__(
        self,
        history: EventHistory,
        measure: Measure,
        signals: list[Signal],
        now: int,
        zone: tzinfo,
        by_channel: bool,
    ) -> None:
        self.by_channel = by_channel
        self.history = history
        self.measure = measure
        self.now = now
        self.zone = zone
        self.latest_at = min(history.last_at, now)
        self.signals = [_of_signal(one, now) for one in signals]
        self.latest: _Made | None = next(
            (one for one in reversed(self.signals) if one.at == self.latest_at), None
        )
        self.made: list[_Made] = list(self.signals)
        self.buckets: list[tuple[list[_Made], list[float]]] = []

    def make(self) -> list[_Made]:
        for bucket in self.history.buckets:
            self._bucket(bucket)
        if self.latest is None:
            self.latest = _Made(self.latest_at)
            self.made.append(self.latest)
        self._last_values()
        self._days_and_rest()
        self._at_the_end(self.latest)
        return [one for one in self.made if one.times]

    def _bucket(self, bucket: list[float]) -> None:
        second, count, amounts = int(bucket[0]), int(bucket[1]), bucket[2:]
        members = [one for one in self.signals if self._holds(second, one.at)]
        if self.latest is None and self._holds(second, self.latest_at) and len(members) < count:
            self.latest = _Made(self.latest_at)
            members.append(self.latest)
            self.made.append(self.latest)
        rest = count - len(members)
        if rest > 0:
            bulk = _Made(self._moment(second), rest)
            members.insert(0, bulk)
            self.made.append(bulk)
        if members and amounts:
            self.buckets.append((members, amounts))

    def _holds(self, second: int, at: int) -> bool:
        """Whether an event at a time was put into the bucket of a second, or of an hour."""
        if at // SECOND == second:
            return True
        hourly = second * SECOND % HOUR == 0 and self.now - second * SECOND > EXACT_WINDOW
        return hourly and at // HOUR == second * SECOND // HOUR

    def _moment(self, second: int) -> int:
        """A time in the bucket: on a local day on which there were events, where days count."""
        first = min(second * SECOND, self.latest_at)
        last = min(first + HOUR - SECOND, self.latest_at)
        if self.measure.days and self._day(first) not in self.history.days:
            hourly = second * SECOND % HOUR == 0 and self.now - first > EXACT_WINDOW
            if hourly and self._day(last) in self.history.days:
                return last
        return first

    def _day(self, at: int) -> int:
        return from_micros(at).astimezone(self.zone).date().toordinal()

    # Sums and last values

    def _last_values(self) -> None:
        assert self.latest is not None
        last = {
            name: value for name, value in self.history.last.items() if name in self.measure.last
        }
        if self.by_channel and isinstance(channel := last.pop(CHANNEL, None), str):
            self.latest.channel = channel
        self.latest.properties |= last
        for column, name in enumerate(self.history.sums):
            if self.by_channel and name.startswith(channel_sum("")):
                self._on_channel(column, name.removeprefix(channel_sum("")))
            elif name in self.measure.sums or name in last:
                self._sum(column, name)

    def _sum(self, column: int, name: str) -> None:
        """Puts a property's sums into the buckets, besides what the latest event has of it."""
        assert self.latest is not None
        remembered = name in self.measure.last
        for members, amounts in self.buckets:
            amount, spared = amounts[column], None
            if remembered and self.latest in members:
                amount -= number_of(self.latest.properties.get(name))
                spared = self.latest
            if amount:
                self._carrier(members, name, spared).properties.setdefault(name, amount)

    def _on_channel(self, column: int, channel: str) -> None:
        """Lets as many events of each bucket be about a channel as were."""
        for members, amounts in self.buckets:
            left = int(amounts[column])
            left -= sum(one.times for one in members if one.channel == channel)
            # The latest event last: its channel is known, where it is remembered.
            others = sorted(members, key=lambda one: one is self.latest)
            for one in [one for one in others if one.channel is None]:
                if left <= 0:
                    break
                taken = min(left, one.times)
                left -= taken
                if taken == one.times:
                    one.channel = channel
                    continue
                one.times -= taken
                members.append(part := _Made(one.at, taken, channel=channel))
                self.made.insert(0, part)

    def _at_the_end(self, one: _Made) -> None:
        """Makes it the last of the events at its time."""
        self.made.remove(one)
        self.made.append(one)

    def _carrier(self, members: list[_Made], name: str, spared: _Made | None) -> _Made:
        """The latest single event of a bucket without the property; made of those at once.

        It is `spared` only where there is no other.
        """
        for one in reversed(members):
            if one.times == 1 and name not in one.properties and one is not spared:
                return one
        bulk = next((one for one in members if one.times > 1), members[-1])
        if bulk.times == 1:
            return bulk
        bulk.times -= 1
        single = _Made(bulk.at)
        members.append(single)
        self.made.insert(0, single)  # of events at one time it is the earliest
        return single

    # Days, and what no window reaches

    def _days_and_rest(self) -> None:
        left = self.history.total - sum(one.times for one in self.made)
        covered = {self._day(one.at) for one in self.made}
        today = self._day(self.now)
        for day in self.history.days:
            if left > 0 and today - self.measure.days < day <= today and day not in covered:
                start = calendar.day_start(datetime.fromordinal(day).date(), self.zone)
                self.made.append(_Made(min(start, self.latest_at)))
                left -= 1
        oldest = min(one.at for one in self.made)
        before = min(oldest, self.now - LONGEST_WINDOW - 2 * DAY) - DAY
        while left > 0:
            self.made.append(_Made(before, min(left, MOST_TIMES)))
            left -= MOST_TIMES


def events_of(
    document: Document, measures: Mapping[str, Measure], now: int, zone: tzinfo, shown_in: tzinfo
) -> list[PastEvent]:
    """Past events that give `document.events` and `document.signals` again.

    `zone` is the customer's, for days; times are written in `shown_in`.
    """
    made: list[tuple[str, _Made]] = []
    kinds = dict.fromkeys([*document.events, *(signal.type for signal in document.signals)])
    for kind in kinds:
        history = document.events.get(kind)
        signals = [signal for signal in document.signals if signal.type == kind]
        if history is not None and history.total and kind in measures:
            unpacked = _Unpacked(
                history, measures[kind], signals, now, zone, kind in CONTACT_EVENTS
            )
            made += [(kind, one) for one in unpacked.make()]
        else:
            made += [(kind, _of_signal(one, now)) for one in signals]
    made.sort(key=lambda pair: pair[1].at)
    return list(_written(made, shown_in))


def _written(made: list[tuple[str, _Made]], zone: tzinfo) -> Iterator[PastEvent]:
    for kind, one in made:
        properties = one.properties
        if kind in _DENYING:
            properties = {**properties, "purpose": _NO_PURPOSE}
        yield PastEvent(
            type=kind,
            at=from_micros(one.at).astimezone(zone),
            properties=properties,
            message=one.message,
            channel=one.channel,
            times=one.times,
            every=AT_ONCE if one.times > 1 else "1d",
        )
