"""Derived events: what an event counts as besides itself.

They follow from the event alone, never from its customer or the time: so whoever derives them,
and whenever, gets the same.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC
from hashlib import blake2b
from itertools import islice
from typing import Any, Final, cast

import msgspec

from decision.core.conditions import Test, compile_condition, fields_read
from decision.core.definition import DerivedEvent
from decision.core.document import Document
from decision.core.errors import InputError
from decision.core.fields import FieldTable, Situation, at_path
from decision.core.schema import TriggerEvent
from decision.core.values import MISSING, in_words

MOST_ENTRIES: Final = 1_000
"""How many entries of a list are counted; an event with more is refused.

An event is derived from at most one list, so that this bounds the work.
"""

MOST_OTHERS: Final = 100
"""For how many other customers one event counts; an event for more is refused."""

MOST_DERIVED: Final = 2_000
"""As how many derived events one event counts, all types together; one with more is refused."""

MOST_STEPS: Final = 100
"""How many derived events may be made of one another, one after the other."""

_LONGEST_ID: Final = 256
_NOBODY = Document(customer_id="")


class Derived(msgspec.Struct, frozen=True):
    """One derived event. `customer` is whom its event names; None: it counts for the sender.

    `key` tells apart those of one event. The properties of the event are shared, never copied.
    """

    type: str
    properties: Mapping[str, Any]
    key: tuple[str | int, ...]
    customer: str | None = None

    def id(self, sender: str, event_id: str) -> str:
        """Its id among the events of `customer`, the same each time that it is derived.

        `sender` is a customer id: the ids of events are unique for each customer only.
        """
        said = msgspec.json.encode([sender, event_id, *self.key])
        return f"derived-{blake2b(said, digest_size=12).hexdigest()}"


Compile = Callable[[DerivedEvent, Callable[[str], int]], Test]
"""Makes the test of a derived event's condition, from the event and the slot of each field."""


class _Derivation:
    """One of `events:`, compiled."""

    def __init__(self, definition: DerivedEvent, compiled: Compile) -> None:
        self.definition: Final = definition
        self._table: Final = FieldTable(fields_read(definition.when))
        self._test: Final = compiled(definition, self._table.slot)

    def counted(self, source: Derived) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """(index, properties) of each that counts, of an event that was sent or itself derived."""
        for index, properties in self._entries(source.properties):
            event = TriggerEvent(source.type, properties=cast(dict[str, Any], properties))
            if self._test(self._table.read(Situation(_NOBODY, "", 0, UTC, event))):
                yield index, properties

    def of(self, source: Derived) -> Iterator[Derived]:
        """What it makes of an event."""
        one = self.definition
        for index, properties in self.counted(source):
            customer = source.customer
            if one.for_customer is not None:
                customer = customer_of(at_path(properties, one.for_customer))
                if customer is None:
                    continue
            yield Derived(one.name, properties, (*source.key, one.name, index), customer)

    def _entries(self, properties: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """(index, properties) of each: an entry's own keys go before those of the event."""
        name = self.definition.each
        if name is None:
            yield 0, properties
            return
        entries = at_path(properties, name)
        if not isinstance(entries, list | tuple):
            return
        for index, entry in enumerate(islice(entries, MOST_ENTRIES)):
            if isinstance(entry, dict):
                yield index, _with(entry, properties)
            elif entry is not None and not isinstance(entry, list | tuple):
                yield index, _with({"value": entry}, properties)


def _with(own: dict[str, Any], properties: Mapping[str, Any]) -> Mapping[str, Any]:
    """An entry's own properties before those of its event, without copying either."""
    return ChainMap(own, cast(dict[str, Any], properties))  # which is only read


def customer_of(value: Any) -> str | None:
    """The customer id that a property holds; None where it names nobody."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST_ID else None


def naming_customers(events: Iterable[DerivedEvent]) -> frozenset[str]:
    """The properties by which events count for other customers: each is the id of one."""
    return frozenset(one.for_customer for one in events if one.for_customer is not None)


class Derivations:
    """The derived events of a policy. `compiled` makes the tests of their conditions.

    >>> tea = DerivedEvent(name="line", of="purchase", each="items")
    >>> order = {"items": [{"price": 3}, {"price": 4}], "shop": "north"}
    >>> [one.properties["price"] for one in Derivations([tea]).of("purchase", order)]
    [3, 4]
    """

    def __init__(
        self,
        definitions: Iterable[DerivedEvent] = (),
        compiled: Compile = lambda one, slot_of: compile_condition(one.when, slot_of),
    ) -> None:
        self.definitions: Final = {one.name: one for one in definitions}
        self._by_type: Final[dict[str, list[_Derivation]]] = {}
        for one in self.definitions.values():
            self._by_type.setdefault(one.of, []).append(_Derivation(one, compiled))
        named = (one.name for one in self.definitions.values() if one.for_customer is not None)
        self.for_others: Final = frozenset(map(self.root, named))
        """The types of events, of those that are sent, that count for other customers."""

    def __contains__(self, name: object) -> bool:
        """Whether a type of event is derived."""
        return name in self.definitions

    def concerns(self, event_type: str) -> bool:
        """Whether anything is derived from events of a type."""
        return event_type in self._by_type

    def root(self, name: str) -> str:
        """The type of the events that are sent, of which a type is made in the end."""
        while name in self.definitions:
            name = self.definitions[name].of
        return name

    def of(self, event_type: str, properties: Mapping[str, Any]) -> Iterator[Derived]:
        """What an event counts as besides itself, in the order of the rule files.

        `properties` are as measures see them: the event's value is one of them.
        """
        return self._of(Derived(event_type, properties, ()))

    def _of(self, source: Derived) -> Iterator[Derived]:
        for derivation in self._by_type.get(source.type, ()):
            for one in derivation.of(source):
                yield one
                yield from self._of(one)

    def check(self, event_type: str, properties: dict[str, Any], path: str = "properties") -> None:
        """Refuses an event of a derived type, and one that counts for more than can be counted.

        So is one with something else than a list for `each`: it would count for nothing.

        Raises:
            InputError: it is such an event.
        """
        if event_type in self:
            one = self.definitions[event_type]
            root = self.root(event_type)
            raise InputError(
                f"{path.removesuffix('properties')}type",
                f'"{event_type}" is made from "{root}" by the rule files ({one.source}), so nobody '
                f'can send it; send "{root}", or rename the one in the rule files',
            )
        if event_type not in self._by_type:
            return
        for derivation in self._below(event_type):
            name = derivation.definition.each
            entries = at_path(properties, name) if name is not None else ()
            if entries is None or entries is MISSING:
                continue
            if not isinstance(entries, list | tuple):
                one = derivation.definition
                raise InputError(
                    f"{path}.{name}",
                    f"must be a list, as {one.name} ({one.source}) counts each of its entries; "
                    f"it is {in_words(entries)}",
                )
            if len(entries) > MOST_ENTRIES:
                raise InputError(
                    f"{path}.{name}",
                    f"has {len(entries):,} entries; {derivation.definition.name} counts "
                    f"{MOST_ENTRIES:,} at most; send several events",
                )
        others: set[str] = set()
        for number, derived in enumerate(self.of(event_type, properties)):
            if number == MOST_DERIVED:
                raise InputError(
                    path,
                    f"this event counts as more than {MOST_DERIVED:,} derived events; send several "
                    "events",
                )
            if derived.customer is not None:
                others.add(derived.customer)
        if len(others) > MOST_OTHERS:
            raise InputError(
                path,
                f"this event counts for {len(others):,} other customers, {MOST_OTHERS} at most; "
                "send several events",
            )

    def counts_for_nobody(self, event_type: str, properties: Mapping[str, Any]) -> Iterator[str]:
        """In words, each property that should name a customer and has what cannot be an id."""
        yield from self._for_nobody(Derived(event_type, properties, ()))

    def _for_nobody(self, source: Derived) -> Iterator[str]:
        for derivation in self._by_type.get(source.type, ()):
            one = derivation.definition
            for _, properties in derivation.counted(source):
                if one.for_customer is not None:
                    value = at_path(properties, one.for_customer)
                    if value not in (MISSING, "") and customer_of(value) is None:
                        yield (
                            f"properties.{one.for_customer}: {one.name} ({one.source}) counts for "
                            f"the customer with this id; it is {in_words(value)}, so nobody"
                        )
                yield from self._for_nobody(Derived(one.name, properties, ()))

    def _below(self, event_type: str) -> Iterator[_Derivation]:
        for derivation in self._by_type.get(event_type, ()):
            yield derivation
            yield from self._below(derivation.definition.name)
