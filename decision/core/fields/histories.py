"""`events.…`: measures of the customer's events, by type."""

from __future__ import annotations

import re

from decision.core import events
from decision.core.clock import DAY, MILLISECOND, time_text
from decision.core.events import LONGEST_WINDOW, Measure, channel_sum
from decision.core.fields.situation import Field, Situation, UnknownField, window_of
from decision.core.values import MISSING, Value

_COUNT = re.compile(r"count_([0-9]+[smhd])")
_ACTIVE = re.compile(r"active_days_([0-9]+)d")
_ON_CHANNEL = re.compile(r"(message\.[^.]+)\.count_([0-9]+[smhd])\.(.+)")
_SINCE = ".since."
_SUM = re.compile(r"sum_(.+)_([0-9]+[smhd])")


def events_field(name: str, rest: str) -> Field:
    """A measure of the events of one type; the last part of the name says which.

    Raises:
        UnknownField: it is another measure.
    """
    if found := _ON_CHANNEL.fullmatch(rest):
        return _count_on_channel(name, *found.groups())
    kind, _, measure = rest.rpartition(".")
    if not kind:
        raise UnknownField(f"{name!r} is not a field; write events.<type>.count_7d")
    if measure == "count":
        return Field(name, lambda s: _total(s, kind), "number", kind)
    if measure == "days_since":
        return Field(
            name,
            lambda s: events.days_since(s.document.events.get(kind), s.now),
            "number",
            kind,
        )
    if found := _COUNT.fullmatch(measure):
        window = window_of(name, found[1])
        return Field(
            name,
            lambda s: events.count_within(s.document.events.get(kind), window, s.now),
            "number",
            kind,
            measure=Measure(window=window),
            counted=window,
        )
    if found := _ACTIVE.fullmatch(measure):
        days = int(found[1])
        if not 1 <= days * DAY <= LONGEST_WINDOW:
            raise UnknownField(f"{name!r}: days from 1 to 90, not {days}")
        return Field(
            name, lambda s: _active_days(s, kind, days), "number", kind, measure=Measure(days=days)
        )
    if found := _SUM.fullmatch(measure):
        window, summed = window_of(name, found[2]), found[1]
        return Field(
            name,
            lambda s: events.sum_within(s.document.events.get(kind), summed, window, s.now),
            "number",
            kind,
            measure=Measure(window=window, sums=(summed,)),
        )
    if measure == "last_at":
        return Field(name, lambda s: _last_at(s, kind), "time", kind)
    if measure.startswith("last_") and len(measure) > 5:
        last = measure[5:]
        return Field(
            name, lambda s: _last(s, kind, last), event_type=kind, measure=Measure(last=(last,))
        )
    if _SINCE in f".{rest}" or rest.endswith(".since"):
        return _since_field(name, rest)
    if _COUNT.fullmatch(kind.rpartition(".")[2]):
        raise UnknownField(
            f"{name!r} is not a field; only events of the types message.… are counted by channel"
        )
    raise UnknownField(
        f"{name!r} is not a field; the last part is one of count, count_<duration>, "
        "sum_<property>_<duration>, active_days_<n>d, days_since, last_at, last_<property>, "
        "since.<event>"
    )


def _since_field(name: str, rest: str) -> Field:
    """Whether an event of one type came after the last one of another."""
    kind, since, other = rest.partition(_SINCE)
    if not since or not kind or not other:
        raise UnknownField(f"{name!r} is not a field; write events.<type>.since.<other type>")
    if _SINCE in f"{other}.":
        raise UnknownField(
            f"{name!r} can be read in two ways, because of two .since. in it; give the event a "
            "name without since"
        )
    return Field(name, lambda s: _since(s, kind, other), "boolean", kind, other)


def _count_on_channel(name: str, kind: str, length: str, channel: str) -> Field:
    window, summed = window_of(name, length), channel_sum(channel)
    return Field(
        name,
        lambda s: events.sum_within(s.document.events.get(kind), summed, window, s.now),
        "number",
        kind,
        measure=Measure(window=window, sums=(summed,)),
        channel=channel,
    )


def _last_at(situation: Situation, kind: str) -> Value:
    history = situation.document.events.get(kind)
    if history is None or not history.total:
        return MISSING
    # Times of clocks that are ahead keep their order, to the millisecond.
    return time_text(history.last_at + events.ahead_of(history) // MILLISECOND)


def _since(situation: Situation, kind: str, other: str) -> Value:
    histories = situation.document.events
    last, before = histories.get(kind), histories.get(other)
    if before is None or not before.total:
        return MISSING
    if last is None or not last.total:
        return False
    mine, other_ahead = events.ahead_of(last), events.ahead_of(before)
    return (last.last_at, mine) > (before.last_at, other_ahead)


def _total(situation: Situation, kind: str) -> int:
    history = situation.document.events.get(kind)
    return history.total if history else 0


def _active_days(situation: Situation, kind: str, days: int) -> int:
    today = situation.local.date().toordinal()
    return events.active_days(situation.document.events.get(kind), days, today)


def _last(situation: Situation, kind: str, name: str) -> Value:
    history = situation.document.events.get(kind)
    return history.last.get(name, MISSING) if history else MISSING
