"""What fields are read from, and what is known of each field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, tzinfo
from typing import Any, Literal

import msgspec

from decision.core.clock import from_micros, parse_duration
from decision.core.document import Document
from decision.core.errors import NextbestError
from decision.core.events import LONGEST_WINDOW, Measure
from decision.core.schema import TriggerEvent
from decision.core.values import MISSING, Value


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
FieldKind = Literal["number", "text", "boolean", "time", "any"]


class Field(msgspec.Struct, frozen=True):
    """A field: its name, how it is read, the kind of its values where it is not missing, and what
    it needs kept: an event measure, the latest time of a type `beside`, or contacts for a time in
    microseconds. `attribute` is the customer's attribute that it is, where it is just that, and
    `counted` the window, in microseconds, in which it only counts the events of its type.

    A time is a text: UTC, always with six decimals, so that the order of texts is that of times.
    """

    name: str
    read: Read
    kind: FieldKind = "any"
    event_type: str | None = None
    beside: str | None = None
    measure: Measure = Measure()
    experiment: str | None = None
    attribute: str | None = None
    counted: int = 0
    channel: str | None = None
    contacts_window: int = 0
    score: str | None = None
    calendar: str | None = None
    journey: str | None = None


class UnknownField(NextbestError, ValueError):
    """A field name that leads nowhere; the text says why and names the nearest valid form."""


def at_path(root: Mapping[str, Any], name: str) -> Value:
    """A value by its name, or by a path through nested objects; null reads as missing."""
    found = root.get(name, MISSING)
    if found is MISSING and "." in name:
        first, *rest = name.split(".")
        node: Any = root.get(first, MISSING)
        for part in rest:
            if not isinstance(node, dict):
                return MISSING
            node = node.get(part, MISSING)
        found = node
    return MISSING if found is None else found


def window_of(name: str, text: str) -> int:
    """The window, in microseconds, that a field's name ends in.

    Raises:
        UnknownField: it is no duration, or too long.
    """
    try:
        window = parse_duration(text)
    except ValueError as error:
        raise UnknownField(f"{name!r}: {error}") from None
    if window > LONGEST_WINDOW:
        raise UnknownField(f"{name!r}: windows reach 90d at most, {text} is longer")
    return window
