"""Quiet hours that never hold, that others contain, or that leave no time for messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from decision.core.clock import HOUR, MINUTE
from decision.core.conditions import NEVER_HOLDS, Clause
from decision.core.day_sets import DaySet
from decision.core.definition import Channel, Message, QuietHours
from decision.core.quiet_hours import WHOLE_DAY, QuietWindow, clock, in_words
from decision.rulebook.review.context import ReviewContext, listed, reading, size_of

_SHORTEST_OPEN: Final = HOUR // MINUTE
_MOST_DAYS: Final = 20_000
"""Days of a calendar that are looked at one by one."""


def review_quiet_hours(context: ReviewContext) -> None:
    """Reviews the windows of every channel."""
    days = {one.name: DaySet(one.dates) for one in context.definition.calendars}
    for channel in context.definition.channels:
        windows = [
            QuietWindow(channel.name, number, hours, 0, days.get(hours.calendar or ""))
            for number, hours in enumerate(channel.quiet_hours)
        ]
        useless = {one.number for one in windows if _never_begins(context, one)}
        used = [one for one in windows if one.number not in useless]
        for one in used:
            _review_contained(context, one, used)
        _review_day(context, channel)


def _never_begins(context: ReviewContext, window: QuietWindow) -> bool:
    """Warns of a calendar that has none of the weekdays."""
    if window.days is None or not window.hours.weekdays:
        return False
    if any(map(window.begins_on, _days_of(window.days))):
        return False
    place = context.places.key("channels", window.channel, "quiet_hours", window.number, "on")
    message = f"{_named(window)} never hold: {window.hours.calendar} has no such weekday"
    context.report.warn(place, message, 'delete "on", or "in", or correct the calendar')
    return True


def _days_of(days: DaySet) -> list[int]:
    """Its days; of a range longer than a week, which has each weekday, the first seven."""
    return [day for first, last in days.ranges for day in range(first, min(last, first + 6) + 1)]


def _review_contained(
    context: ReviewContext, window: QuietWindow, windows: list[QuietWindow]
) -> None:
    for other in windows:
        if other.number == window.number or not _contains(context, other, window):
            continue
        if window.number < other.number and _contains(context, window, other):
            continue  # of two that are the same, the later one gets the warning
        place = context.places.value("channels", window.channel, "quiet_hours", window.number)
        message = f"{_named(window)} have no effect: {in_words(other.hours)} contains them"
        hint = f"see {other.hours.source}; delete one of the two"
        context.report.warn(place, message, hint)
        return


def _contains(context: ReviewContext, wide: QuietWindow, narrow: QuietWindow) -> bool:
    """Whether one window certainly holds back what another does, whenever the other does."""
    if not set(wide.hours.except_purposes) <= set(narrow.hours.except_purposes):
        return False
    if wide.dated:
        if not _lasts(wide.hours, narrow.hours) or not _begins(wide, narrow):
            return False
    elif not _minutes(narrow.hours) <= _minutes(wide.hours):
        return False
    lifted, other = wide.hours.unless, narrow.hours.unless
    if lifted in (NEVER_HOLDS, other):
        return True
    context.solver.allow(size_of(lifted) + size_of(other))
    return context.solver.implies(lifted, other)


def _lasts(wide: QuietHours, narrow: QuietHours) -> bool:
    """Whether one lies in the other where both begin on one day."""
    return wide.start <= narrow.start and _end(narrow) <= _end(wide)


def _end(hours: QuietHours) -> int:
    return hours.end if hours.start < hours.end else hours.end + WHOLE_DAY


def _begins(wide: QuietWindow, narrow: QuietWindow) -> bool:
    """Whether one certainly begins on every day on which the other does."""
    if narrow.days is not None and narrow.hours.calendar != wide.hours.calendar:
        days = narrow.days.ranges
        if sum(last - first + 1 for first, last in days) <= _MOST_DAYS:
            each = (day for first, last in days for day in range(first, last + 1))
            return all(wide.begins_on(day) for day in each if narrow.begins_on(day))
    weekdays = set(wide.hours.weekdays or range(7))
    same = wide.days is None or wide.hours.calendar == narrow.hours.calendar
    return same and set(narrow.hours.weekdays or range(7)) <= weekdays


def _minutes(hours: QuietHours) -> set[int]:
    """The minutes of the day at which it holds, on the days on which it does."""
    return {minute % WHOLE_DAY for minute in range(hours.start, _end(hours))}


def _named(window: QuietWindow) -> str:
    return f'quiet_hours of channel "{window.channel}" from {in_words(window.hours)}'


def _review_day(context: ReviewContext, channel: Channel) -> None:
    """Warns where every day is quiet, but for a few minutes."""
    purposes = {one.name for one in context.definition.purposes} or {""}
    open_for = min(
        (WHOLE_DAY - len(quiet) for purpose in purposes if (quiet := _every_day(channel, purpose))),
        default=WHOLE_DAY,
    )
    if open_for < _SHORTEST_OPEN:
        left = f" except for {open_for} minutes" if open_for else ""
        text = f'channel "{channel.name}" is quiet all day{left}'
        place = context.places.key("channels", channel.name, "quiet_hours")
        hint = 'quiet hours start at "from" and end at "to"; did you swap them?'
        if any(hours.end - hours.start == WHOLE_DAY for hours in channel.quiet_hours):
            hint = "for some days only, add on: [sat, sun], or in: with the name of a calendar"
        context.report.warn(place, text, hint, "always-quiet")


def _every_day(channel: Channel, purpose: str) -> set[int]:
    """The minutes that are quiet for a purpose every day."""
    found: set[int] = set()
    for hours in channel.quiet_hours:
        if (
            purpose not in hours.except_purposes
            and not hours.weekdays
            and hours.calendar is None
            and hours.unless == NEVER_HOLDS
        ):
            found |= _minutes(hours)
    return found


def review_hours(context: ReviewContext, message: Message, channels: Mapping[str, Channel]) -> None:
    """Warns of a `when` that allows only hours in which a channel is quiet."""
    solver = context.solver
    solver.allow(2 * size_of(message.when))  # a question for each hour
    asked = [
        hour for hour in range(24) if solver.can_hold(message.when, Clause("time.hour", "eq", hour))
    ]
    if not asked or len(asked) == 24:
        return
    wanted = {hour * 60 + minute for hour in asked for minute in range(60)}
    silent = [
        name for name in message.channels if wanted <= _every_day(channels[name], message.purpose)
    ]
    if not silent:
        return
    asks = reading(message.when, "time.hour")
    text = (
        f'message "{message.name}" can never be chosen on {listed(silent)}: '
        '"when" allows only quiet hours'
    )
    name = silent[0]
    spans = [
        f"from {clock(hours.start)} to {clock(hours.end)}"
        for hours in channels[name].quiet_hours
        if message.purpose not in hours.except_purposes and wanted & _minutes(hours)
    ]
    hint = f"change the hours; {name} is quiet {listed(spans)}"
    place = context.places.condition(asks, "messages", message.name)
    context.report.warn(place, text, hint, "always-quiet")
