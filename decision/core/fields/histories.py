"""`events.…`: measures of the customer's events, by type."""

from __future__ import annotations

import re

from decision.core import events
from decision.core.clock import DAY
from decision.core.events import LONGEST_WINDOW, Measure
from decision.core.fields.situation import Field, Situation, UnknownField, window_of
from decision.core.values import MISSING, Value

_COUNT = re.compile(r"count_([0-9]+[smhd])")
_ACTIVE = re.compile(r"active_days_([0-9]+)d")
_SUM = re.compile(r"sum_(.+)_([0-9]+[smhd])")


def events_field(name: str, rest: str) -> Field:
    """A measure of the events of one type; the last part of the name says which.

    Raises:
        UnknownField: it is another measure.
    """
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
            Measure(window=window),
        )
    if found := _ACTIVE.fullmatch(measure):
        days = int(found[1])
        if not 1 <= days * DAY <= LONGEST_WINDOW:
            raise UnknownField(f"{name!r}: days from 1 to 90, not {days}")
        return Field(
            name, lambda s: _active_days(s, kind, days), "number", kind, Measure(days=days)
        )
    if found := _SUM.fullmatch(measure):
        window, summed = window_of(name, found[2]), found[1]
        return Field(
            name,
            lambda s: events.sum_within(s.document.events.get(kind), summed, window, s.now),
            "number",
            kind,
            Measure(window=window, sums=(summed,)),
        )
    if measure.startswith("last_") and len(measure) > 5:
        last = measure[5:]
        return Field(
            name, lambda s: _last(s, kind, last), event_type=kind, measure=Measure(last=(last,))
        )
    raise UnknownField(
        f"{name!r} is not a field; the last part is one of count, count_<duration>, "
        "sum_<property>_<duration>, active_days_<n>d, days_since, last_<property>"
    )


def _total(situation: Situation, kind: str) -> int:
    history = situation.document.events.get(kind)
    return history.total if history else 0


def _active_days(situation: Situation, kind: str, days: int) -> int:
    today = situation.local.date().toordinal()
    return events.active_days(situation.document.events.get(kind), days, today)


def _last(situation: Situation, kind: str, name: str) -> Value:
    history = situation.document.events.get(kind)
    return history.last.get(name, MISSING) if history else MISSING
