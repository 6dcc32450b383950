"""Fields: what rule files and models may name, and how each is read from a situation.

A `FieldTable` gives every field named by a policy or model a slot; one pass over it turns a
situation into the list of slot values that all conditions and features read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime, tzinfo
from difflib import get_close_matches
from typing import Any, Final

import msgspec

from decision.core import events
from decision.core.clock import DAY, from_micros, parse_duration
from decision.core.contact_policy import count_on_channel
from decision.core.document import Document
from decision.core.errors import NextbestError
from decision.core.events import LONGEST_WINDOW, Measure
from decision.core.schema import TriggerEvent
from decision.core.values import MISSING, Value

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
STATE_FIELD = "customer.state"


class Situation(msgspec.Struct):
    """One customer at one moment at one placement: what fields are read from.

    `variants` gives the customer's variant by experiment and customer id.
    """

    document: Document
    placement: str
    now: int
    zone: tzinfo
    event: TriggerEvent | None = None
    context: dict[str, Any] = {}
    variants: Callable[[str, str], Value] | None = None
    _local: datetime | None = None

    @property
    def local(self) -> datetime:
        """The customer's local time."""
        if self._local is None:
            self._local = from_micros(self.now).astimezone(self.zone)
        return self._local


Read = Callable[[Situation], Value]


class Field(msgspec.Struct, frozen=True):
    """A field: its name, how it is read, and what it needs kept: an event measure, or contacts for
    a time in microseconds."""

    name: str
    read: Read
    event_type: str | None = None
    measure: Measure = Measure()
    experiment: str | None = None
    channel: str | None = None
    contacts_window: int = 0


class UnknownField(NextbestError, ValueError):
    """A field name that leads nowhere; the text says why and names the nearest valid form."""


def _path(root: dict[str, Any], name: str) -> Value:
    """A value by its name, or by a path through nested objects; null reads as missing."""
    found = root.get(name, MISSING)
    if found is MISSING and "." in name:
        node: Any = root
        for part in name.split("."):
            if not isinstance(node, dict):
                return MISSING
            node = node.get(part, MISSING)
        found = node
    return MISSING if found is None else found


_FAMILIES = (
    "customer",
    "event",
    "context",
    "placement",
    "experiment",
    "time",
    "contacts",
    "events",
)
_COUNT = re.compile(r"count_([0-9]+[smhd])")
_ACTIVE = re.compile(r"active_days_([0-9]+)d")
_SUM = re.compile(r"sum_(.+)_([0-9]+[smhd])")


def parse_field(name: str) -> Field:
    """The field of that name.

    Raises:
        UnknownField: no such field can exist.

    >>> from datetime import UTC
    >>> anna = Document(customer_id="anna", attributes={"address": {"city": "上海"}})
    >>> parse_field("customer.address.city").read(Situation(anna, "inbox", now=0, zone=UTC))
    '上海'
    """
    family, _, rest = name.partition(".")
    if name == "placement":
        return Field(name, lambda s: s.placement)
    if family not in _FAMILIES:
        near = get_close_matches(family, _FAMILIES, 1)
        hint = f"did you mean {near[0]}.…?" if near else f"fields start with {', '.join(_FAMILIES)}"
        raise UnknownField(f"{name!r} is not a field; {hint}")
    if not rest:
        raise UnknownField(f"{name!r} is not a field; write {family}.<name>")
    match family:
        case "customer" if name == STATE_FIELD:
            return Field(name, lambda s: MISSING)
        case "customer":
            return Field(name, lambda s: _path(s.document.attributes, rest))
        case "event":
            return Field(name, lambda s: _event(s, rest))
        case "context":
            return Field(name, lambda s: _path(s.context, rest))
        case "experiment":
            return Field(name, lambda s: _variant(s, rest), experiment=rest)
        case "time":
            return Field(name, _time_reader(name, rest))
        case "contacts":
            return _contacts_field(name, rest)
        case "events":
            return _events_field(name, rest)
    raise UnknownField(f"{name!r} is not a field")


def _event(situation: Situation, rest: str) -> Value:
    event = situation.event
    if event is None:
        return MISSING
    return event.type if rest == "type" else _path(event.properties, rest)


def _variant(situation: Situation, experiment: str) -> Value:
    variants = situation.variants
    return variants(experiment, situation.document.customer_id) if variants else MISSING


def _time_reader(name: str, rest: str) -> Read:
    match rest:
        case "hour":
            return lambda s: s.local.hour
        case "weekday":
            return lambda s: WEEKDAYS[s.local.weekday()]
        case "date":
            return lambda s: s.local.date().isoformat()
    raise UnknownField(f"{name!r} is not a field; one of time.hour, time.weekday, time.date")


def _window(name: str, text: str) -> int:
    try:
        window = parse_duration(text)
    except ValueError as error:
        raise UnknownField(f"{name!r}: {error}") from None
    if window > LONGEST_WINDOW:
        raise UnknownField(f"{name!r}: windows reach 90d at most, {text} is longer")
    return window


def _contacts_field(name: str, rest: str) -> Field:
    channel, _, measure = rest.rpartition(".")
    found = _COUNT.fullmatch(measure)
    if not channel or found is None:
        raise UnknownField(f"{name!r} is not a field; write contacts.<channel>.count_7d")
    window = _window(name, found[1])
    return Field(
        name,
        lambda s: count_on_channel(s.document, channel, s.now - window + 1, s.now),
        channel=channel,
        contacts_window=window,
    )


def _events_field(name: str, rest: str) -> Field:
    kind, _, measure = rest.rpartition(".")
    if not kind:
        raise UnknownField(f"{name!r} is not a field; write events.<type>.count_7d")
    if measure == "count":
        return Field(name, lambda s: _total(s, kind), kind)
    if measure == "days_since":
        return Field(name, lambda s: events.days_since(s.document.events.get(kind), s.now), kind)
    if found := _COUNT.fullmatch(measure):
        window = _window(name, found[1])
        return Field(
            name,
            lambda s: events.count_within(s.document.events.get(kind), window, s.now),
            kind,
            Measure(window=window),
        )
    if found := _ACTIVE.fullmatch(measure):
        days = int(found[1])
        if not 1 <= days * DAY <= LONGEST_WINDOW:
            raise UnknownField(f"{name!r}: days from 1 to 90, not {days}")
        return Field(name, lambda s: _active_days(s, kind, days), kind, Measure(days=days))
    if found := _SUM.fullmatch(measure):
        window, summed = _window(name, found[2]), found[1]
        return Field(
            name,
            lambda s: events.sum_within(s.document.events.get(kind), summed, window, s.now),
            kind,
            Measure(window=window, sums=(summed,)),
        )
    if measure.startswith("last_") and len(measure) > 5:
        last = measure[5:]
        return Field(name, lambda s: _last(s, kind, last), kind, Measure(last=(last,)))
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


class FieldTable:
    """Slots for a set of fields, in the order in which the names are given. Immutable.

    Raises:
        UnknownField: one of the names cannot be a field's.
    """

    __slots__ = ("_reads", "_slots", "fields")

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._slots: Final = {name: slot for slot, name in enumerate(dict.fromkeys(names))}
        self.fields: Final = tuple(map(parse_field, self._slots))
        self._reads: Final = tuple(field.read for field in self.fields)

    def including(self, names: Iterable[str]) -> FieldTable:
        """The table with more fields, whose slots follow those that are there."""
        return FieldTable((*self._slots, *names))

    def slot(self, name: str) -> int:
        """The slot of a field; KeyError where the table does not have it."""
        return self._slots[name]

    def names(self) -> list[str]:
        """The fields' names in slot order."""
        return list(self._slots)

    def read(self, situation: Situation) -> list[Value]:
        """The values of all slots."""
        return [read(situation) for read in self._reads]

    def measures(self) -> dict[str, Measure]:
        """What must be kept of each event type so that every slot can be read."""
        found: dict[str, Measure] = {}
        for field in self.fields:
            if field.event_type is not None:
                kept = found.get(field.event_type, Measure())
                found[field.event_type] = kept | field.measure
        return found
