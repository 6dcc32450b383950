"""Finds the field of a name, and reads many fields of one situation in one pass.

A `FieldTable` gives every field named by a policy or model a slot; one pass over it turns a
situation into the list of slot values that all conditions and features read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Final

import msgspec

from decision.core.event_columns import count
from decision.core.events import Measure
from decision.core.fields.contacts import contacts_field
from decision.core.fields.customers import customer_field
from decision.core.fields.histories import events_field
from decision.core.fields.journeys import journey_field
from decision.core.fields.requests import (
    context_field,
    event_field,
    experiment_field,
    placement_field,
)
from decision.core.fields.scores import score_field
from decision.core.fields.situation import Field, Read, Situation, UnknownField
from decision.core.fields.times import time_field
from decision.core.values import MISSING, Value

_FAMILIES: Final[dict[str, Callable[[str, str], Field]]] = {
    "customer": customer_field,
    "event": event_field,
    "context": context_field,
    "placement": placement_field,
    "experiment": experiment_field,
    "time": time_field,
    "contacts": contacts_field,
    "events": events_field,
    "score": score_field,
    "journey": journey_field,
}
"""The first part of a field's name → its field, from the name and what follows the first part."""

FAMILIES: Final = tuple(_FAMILIES)
"""The first parts of fields' names."""


def parse_field(name: str) -> Field:
    """The field of that name.

    Raises:
        UnknownField: no such field can exist.

    >>> from datetime import UTC
    >>> from decision.core.document import Document
    >>> anna = Document(customer_id="anna", attributes={"address": {"city": "上海"}})
    >>> parse_field("customer.address.city").read(Situation(anna, "inbox", now=0, zone=UTC))
    '上海'
    """
    family, _, rest = name.partition(".")
    make = _FAMILIES.get(family)
    if make is None:
        near = get_close_matches(family, _FAMILIES, 1)
        hint = f"did you mean {near[0]}.…?" if near else f"fields start with {', '.join(_FAMILIES)}"
        raise UnknownField(f"{name!r} is not a field; {hint}")
    if not rest and name != "placement":
        raise UnknownField(f"{name!r} is not a field; write {family}.<name>")
    return make(name, rest)


Own = Callable[[Field], Read | None]


class FieldTable:
    """Slots for a set of fields, in the order in which the names are given. Immutable.

    `own` says how a field is read that only a policy knows; None: as the field itself says.

    Raises:
        UnknownField: one of the names cannot be a field's.
    """

    __slots__ = (
        "_attributes",
        "_blank",
        "_counted",
        "_others",
        "_own",
        "_slots",
        "_windows",
        "fields",
    )

    def __init__(self, names: Iterable[str] = (), own: Own = lambda field: None) -> None:
        self._own: Final = own
        self._slots: Final = {name: slot for slot, name in enumerate(dict.fromkeys(names))}
        self.fields: Final = tuple(
            msgspec.structs.replace(field, read=found, attribute=None, counted=0)
            if (found := own(field))
            else field
            for field in map(parse_field, self._slots)
        )
        numbered = tuple(enumerate(self.fields))
        self._attributes: Final = tuple(
            (slot, field.attribute) for slot, field in numbered if field.attribute is not None
        )
        self._windows: Final = tuple(
            dict.fromkeys(one.counted for one in self.fields if one.counted)
        )
        self._counted: Final[dict[str, list[tuple[int, int]]]] = {}
        for slot, field in numbered:
            if field.counted and field.event_type is not None:
                slots = self._counted.setdefault(field.event_type, [])
                slots.append((slot, self._windows.index(field.counted)))
        self._others: Final = tuple(
            (slot, field.read)
            for slot, field in numbered
            if field.attribute is None and not field.counted
        )
        self._blank: Final[list[Value]] = [0 if one.counted else MISSING for one in self.fields]

    def including(self, names: Iterable[str]) -> FieldTable:
        """The table with more fields, whose slots follow those that are there."""
        return FieldTable((*self._slots, *names), self._own)

    def slot(self, name: str) -> int:
        """The slot of a field; KeyError where the table does not have it."""
        return self._slots[name]

    def reader(self, name: str) -> Read | None:
        """How a field is read; None where the table does not have it."""
        slot = self._slots.get(name)
        return None if slot is None else self.fields[slot].read

    def names(self) -> list[str]:
        """The fields' names in slot order."""
        return list(self._slots)

    def read(self, situation: Situation) -> list[Value]:
        """The values of all slots."""
        values = self._blank.copy()
        document = situation.document
        known = document.attributes
        for slot, name in self._attributes:  # most are these, and need no call of their own
            if (found := known.get(name)) is not None:
                values[slot] = found
        if self._counted:  # and most others are these
            count(document.events, self._counted, self._windows, situation.now, values)
        for slot, read in self._others:
            values[slot] = read(situation)
        return values

    def measures(self) -> dict[str, Measure]:
        """What must be kept of each event type so that every slot can be read."""
        found: dict[str, Measure] = {}
        for field in self.fields:
            if field.event_type is not None:
                kept = found.get(field.event_type, Measure())
                found[field.event_type] = kept | field.measure
            if field.beside is not None:
                found.setdefault(field.beside, Measure())
        return found
