"""Quiet hours: the windows of a channel, when they hold, and when they let go.

A window belongs to the local day on which it begins, also where it reaches over midnight. Around a
change of the clocks a local time may not exist or exist twice: a window holds at an instant where
it holds at the local time of that instant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, time, tzinfo
from typing import Final

import msgspec

from decision.core import calendar
from decision.core.candidates import CandidateInfo
from decision.core.clock import DAY, from_micros, to_micros
from decision.core.conditions import NEVER_HOLDS, Condition, Test, compile_condition
from decision.core.contact_policy import NEVER
from decision.core.day_sets import DaySet
from decision.core.definition import PolicyDefinition, QuietHours
from decision.core.fields import WEEKDAYS
from decision.core.masks import mask_where
from decision.core.said import Joined, Said
from decision.core.values import Value

WHOLE_DAY: Final = 24 * 60
_MINUTES_OF_WEEK: Final = 7 * WHOLE_DAY
WHOLE_WEEK: Final = (1 << _MINUTES_OF_WEEK) - 1
"""Every minute of a week, see `QuietWindow.week`."""


class QuietWindow(msgspec.Struct, frozen=True):
    """One window of a channel, and the candidates that obey it; `number` counts from 0.

    `days` are those on which it may begin, besides its weekdays; None: all. While `lifted` holds
    for a decision, the window does not.
    """

    channel: str
    number: int
    hours: QuietHours
    mask: int
    days: DaySet | None = None
    lifted: Test | None = None

    def covers(self, local: datetime) -> bool:
        """Whether a local time lies in it; its end is outside."""
        return self.covers_minute(local.hour * 60 + local.minute, local)

    def covers_at(self, now: int, zone: tzinfo) -> bool:
        """Whether it holds at an instant, in microseconds, in a time zone."""
        return self.covers(from_micros(now).astimezone(zone))

    def covers_minute(self, minute: int, local: datetime) -> bool:
        """`covers`, where the minute of the day is known."""
        hours = self.hours
        if hours.start < hours.end:
            if not hours.start <= minute < hours.end:
                return False
            before = 0
        elif minute >= hours.start:
            before = 0
        elif minute < hours.end:
            before = 1
        else:
            return False
        if self.days is None and not hours.weekdays:
            return True
        return self.begins_on(local.toordinal() - before)

    @property
    def week(self) -> int:
        """The mask of the local minutes of every week, from Monday on, that lie in it."""
        if self.days is not None:
            return 0
        hours = self.hours
        minutes = (hours.end - hours.start) % WHOLE_DAY or WHOLE_DAY
        mask = 0
        for day in hours.weekdays or range(7):
            mask |= ((1 << minutes) - 1) << (day * WHOLE_DAY + hours.start)
        return mask & WHOLE_WEEK | mask >> _MINUTES_OF_WEEK

    @property
    def dated(self) -> bool:
        """Whether it holds on some days only."""
        return self.days is not None or bool(self.hours.weekdays)

    def begins_on(self, day: int) -> bool:
        """Whether it begins on a local day."""
        weekdays = self.hours.weekdays
        if weekdays and (day - 1) % 7 not in weekdays:
            return False
        return self.days is None or day in self.days

    def ends(self, now: int, zone: tzinfo) -> int:
        """The earliest instant from `now` on outside it, NEVER where there is none."""
        local = from_micros(now).astimezone(zone)
        if not self.covers(local):
            return now
        hours = self.hours
        whole = hours.end - hours.start == WHOLE_DAY
        day = local.toordinal()
        try:
            while True:
                if whole:
                    day = self._free_from(day)
                    ends = _instants([day], (0,), zone)
                    ends += calendar.changes(zone, max(now, min(ends) - DAY), max(ends) + DAY)
                else:
                    ends = _instants(range(day, day + 3), (0, hours.end % WHOLE_DAY), zone)
                    ends += calendar.changes(zone, now, max(ends))
                for end in sorted(ends):
                    if end > now and not self.covers(from_micros(end).astimezone(zone)):
                        return end
                day += 1
        except (OverflowError, ValueError):  # there is no time after the year 9999
            return NEVER

    def _free_from(self, day: int) -> int:
        """The first day from that one on on which it does not begin.

        Raises:
            OverflowError: it begins on every day.
        """
        if not self.hours.weekdays:
            if self.days is None:
                raise OverflowError
            return self.days.free_from(day)
        while self.begins_on(day):
            day += 1
        return day


def _instants(days: Iterable[int], minutes: Iterable[int], zone: tzinfo) -> list[int]:
    """Those local times as instants; twice where a time exists twice."""
    return [
        to_micros(datetime.combine(date.fromordinal(day), clock, zone).replace(fold=fold))
        for day in days
        for clock in [time(minute // 60, minute % 60) for minute in minutes]
        for fold in (0, 1)
    ]


def obeyed(
    definition: PolicyDefinition, candidates: Sequence[CandidateInfo]
) -> Iterator[tuple[str, int, QuietHours, int]]:
    """(channel, number, window, mask of the candidates that obey it), where there is one."""
    for channel in definition.channels:
        for number, hours in enumerate(channel.quiet_hours):
            mask = mask_where(
                one.channel == channel.name and one.purpose not in hours.except_purposes
                for one in candidates
            )
            if mask:
                yield channel.name, number, hours, mask


class QuietPolicy:
    """The quiet hours of a policy, compiled.

    `windows` are those that hold back a candidate, in the order of the rule files; `tested` are
    those of them that depend on an experiment, `plain` all others.
    """

    def __init__(
        self,
        definition: PolicyDefinition,
        candidates: Sequence[CandidateInfo],
        slot_of: Callable[[str], int],
        varies: Callable[[Condition], bool],
    ) -> None:
        days = {one.name: DaySet(one.dates) for one in definition.calendars}
        found = [
            QuietWindow(
                channel,
                number,
                hours,
                mask,
                None if hours.calendar is None else days[hours.calendar],
                None if hours.unless == NEVER_HOLDS else compile_condition(hours.unless, slot_of),
            )
            for channel, number, hours, mask in obeyed(definition, candidates)
        ]
        self.windows: Final = tuple(found)
        self.plain: Final = tuple(one for one in found if not varies(one.hours.unless))
        self.tested: Final = tuple(one for one in found if varies(one.hours.unless))

    def holding(
        self, candidate: int, now: int, zone: tzinfo, values: Sequence[Value]
    ) -> list[QuietWindow]:
        """The windows that hold a candidate back."""
        local = from_micros(now).astimezone(zone)
        return [
            one
            for one in self.windows
            if one.mask >> candidate & 1
            and one.covers(local)
            and not (one.lifted and one.lifted(values))
        ]


def silenced(
    windows: Sequence[QuietWindow], now: int, zone: tzinfo, values: Sequence[Value], among: int
) -> int:
    """The mask of candidates that windows hold back; what concerns none of `among` is not asked."""
    if not windows:
        return 0
    local = from_micros(now).astimezone(zone)
    minute = local.hour * 60 + local.minute
    mask = 0
    for one in windows:
        if (
            one.mask & among
            and one.covers_minute(minute, local)
            and not (one.lifted and one.lifted(values))
        ):
            mask |= one.mask
    return mask


def in_words(hours: QuietHours) -> str:
    """`22:00 to 08:00 on sat, sun`: when a window holds.

    >>> in_words(QuietHours(start=0, end=1440, weekdays=(5, 6)))
    '00:00 to 24:00 on sat, sun'
    """
    said = Said("%(start)s to %(end)s", start=clock(hours.start), end=clock(hours.end))
    if hours.weekdays:
        days = Joined(", ", [Said(WEEKDAYS[day]) for day in hours.weekdays])
        said = Said("%(when)s on %(days)s", when=said, days=days)
    if hours.calendar is None:
        return said
    return Said("%(when)s in %(calendar)s", when=said, calendar=hours.calendar)


def clock(minutes: int) -> str:
    """`08:00`."""
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
