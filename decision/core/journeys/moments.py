"""Moments: patterns of events, recognised one event at a time.

The meaning is that of Flink CEP (`followedBy`, `notFollowedBy`, `times`, `within`) with *relaxed
contiguity*, so that other events may come between, and *skip past the last event*: once a pattern
has happened, no event of it counts for another one. In particular:

- an event `within` after the first one, to the microsecond, is too late;
- an absent element holds from its predecessor's first event until its successor's first one;
- an event that is older than the latest one taken is no successor of it;
- of an element that may come several times as few as are enough are needed, and the next element is
  looked for as soon as they have come.

What has begun is a `Partial`; one is small, and a customer has few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC
from hashlib import blake2b
from typing import Any, Final, cast

import msgspec

from decision.core.conditions import Test, compile_condition, fields_read
from decision.core.document import Document
from decision.core.fields import FieldTable, Situation
from decision.core.journeys.definition import MOMENT, Element, Moment
from decision.core.journeys.state import (
    MOST_KEPT,
    MOST_KEPT_IN_ALL,
    MOST_PARTIALS,
    TOO_LATE,
    Partial,
    kept,
    size_kept,
)
from decision.core.schema import TriggerEvent

_NOBODY = Document(customer_id="")

Partials = dict[str, list[Partial]]
"""Moment → its partial matches, by start: `JourneyState.partials`."""


class Happened(msgspec.Struct, frozen=True):
    """A moment that happened `at` a time (microseconds), with the first event's properties."""

    moment: str
    at: int
    first_id: str
    properties: dict[str, Any]

    @property
    def type(self) -> str:
        """The type of the event that it is."""
        return f"{MOMENT}{self.moment}"

    def id(self, customer_id: str) -> str:
        """The id of that event, the same whoever recognises the moment, and whenever.

        >>> Happened("abandoned", 0, "e-1", {}).id("c-1")
        'moment-f0b7bda7089cf95d2e87f0eb'
        """
        return _digest("moment", [customer_id, self.moment, self.first_id])


Compile = Callable[[Element, Callable[[str], int]], Test]
"""Makes the test of an element's condition, from the slot of each field that it reads."""


class _Element:
    """One element of a pattern, compiled, with the absent ones that follow it."""

    def __init__(self, element: Element, compiled: Compile) -> None:
        self.event: Final = element.event
        self.at_least: Final = element.at_least
        self.at_most: Final = element.at_most
        self.absent: Final = element.absent
        self.guards: tuple[_Element, ...] = ()
        self._table: Final = FieldTable(fields_read(element.when))
        self._test: Final = compiled(element, self._table.slot)

    def matches(self, event_type: str, properties: Mapping[str, Any]) -> bool:
        if event_type != self.event:
            return False
        event = TriggerEvent(event_type, properties=cast(dict[str, Any], properties))
        return self._test(self._table.read(Situation(_NOBODY, "", 0, UTC, event)))


class Pattern:
    """The pattern of one moment, compiled.

    `elements` are those that must come; each has those that must not come after it as `guards`.
    """

    def __init__(self, moment: Moment, compiled: Compile) -> None:
        self.name: Final = moment.name
        self.within: Final = moment.within
        self.elements: Final[list[_Element]] = []
        for element in moment.pattern:
            one = _Element(element, compiled)
            if one.absent:
                before = self.elements[-1]
                before.guards = (*before.guards, one)
            else:
                self.elements.append(one)
        self.events: Final = frozenset(element.event for element in moment.pattern)
        self.ends_absent: Final = moment.pattern[-1].absent

    def begins(self, event_type: str, properties: Mapping[str, Any]) -> bool:
        """Whether an event is the first one of a match."""
        return self.elements[0].matches(event_type, properties)

    def is_complete(self, partial: Partial) -> bool:
        """Whether every element has come; with an absent one at the end, time is still to tell."""
        last = len(self.elements) - 1
        return partial.element == last and partial.times >= self.elements[last].at_least

    def happens_at(self, partial: Partial) -> int | None:
        """When a partial match happens if no event comes; None where it does not.

        Where nothing may be absent at the end, only an edit leaves one that is complete: it waited
        for what the pattern has no more. It has happened by its latest event.
        """
        if not self.is_complete(partial):
            return None
        end = partial.first_at + self.within
        if self.ends_absent:
            return end
        return partial.last_at if partial.last_at < end else None

    def successors(
        self, partial: Partial, event_type: str, properties: Mapping[str, Any], at: int, order: int
    ) -> list[Partial]:
        """What a partial match becomes by an event; nothing where the event ends it.

        `order` is the event's place among those of one time.
        """
        if partial.element >= len(self.elements):  # of a pattern that was longer
            return []
        if at < partial.last_at:
            return [partial]
        if at - partial.first_at >= self.within:  # one that time completes is left to time
            return [partial] if self.ends_absent and self.is_complete(partial) else []
        here = self.elements[partial.element]
        if any(guard.matches(event_type, properties) for guard in here.guards):
            return []
        found = []
        more = here.at_most is None or partial.times < here.at_most
        if more and here.matches(event_type, properties):
            times = min(partial.times + 1, here.at_most or here.at_least)
            found.append(_taken(partial, partial.element, times, at, order))
        if partial.times >= here.at_least and partial.element + 1 < len(self.elements):
            following = self.elements[partial.element + 1]
            if following.matches(event_type, properties):
                found.append(_taken(partial, partial.element + 1, 1, at, order))
        return found or [partial]


def _taken(partial: Partial, element: int, times: int, at: int, order: int) -> Partial:
    return msgspec.structs.replace(partial, element=element, times=times, last_at=at, took=order)


class Moments:
    """The moments of a policy. `compiled` makes the tests of their conditions.

    >>> cart = Moment(name="abandoned", within=100, pattern=(
    ...     Element(event="cart_add"), Element(event="purchase", absent=True)))
    >>> moments, partials = Moments([cart]), {}
    >>> moments.observe(partials, "cart_add", "e-1", {"sku": "tea"}, 5, 5)
    []
    >>> moments.next_end(partials)
    105
    >>> [(one.type, one.at, one.properties) for one in moments.expire(partials, 105)]
    [('moment.abandoned', 105, {'sku': 'tea'})]
    """

    def __init__(
        self,
        definitions: Iterable[Moment] = (),
        compiled: Compile = lambda element, slot_of: compile_condition(element.when, slot_of),
    ) -> None:
        self.patterns: Final = {one.name: Pattern(one, compiled) for one in definitions}
        self._by_event: Final[dict[str, list[Pattern]]] = {}
        for pattern in self.patterns.values():
            for event in pattern.events:
                self._by_event.setdefault(event, []).append(pattern)

    def concerns(self, event_type: str) -> bool:
        """Whether a pattern names events of a type."""
        return event_type in self._by_event

    def observe(
        self,
        partials: Partials,
        event_type: str,
        event_id: str,
        properties: Mapping[str, Any],
        at: int,
        now: int,
    ) -> list[Happened]:
        """Takes in one event, and says what happens by it; `partials` are changed.

        An event that comes later than `TOO_LATE` begins nothing.
        """
        happened = []
        for pattern in self._by_event.get(event_type, ()):
            after: list[Partial] = []
            complete: list[Partial] = []
            open_ones = partials.get(pattern.name, ())
            order = max((one.took for one in open_ones), default=-1) + 1
            for partial in open_ones:
                for one in pattern.successors(partial, event_type, properties, at, order):
                    done = one is not partial and self._is_done(pattern, one)
                    (complete if done else after).append(one)
            if now - at <= TOO_LATE and pattern.begins(event_type, properties):
                one = Partial(0, 1, at, at, event_id, kept(properties), order, order)
                (complete if self._is_done(pattern, one) else after).append(one)
            if complete:
                first = min(complete, key=_start)
                happened.append(Happened(pattern.name, at, first.first_id, first.about))
                after = [one for one in after if _start(one) > (at, order)]
            _put(partials, pattern.name, sorted(_distinct(after), key=_start))
        _bound(partials)
        return happened

    def _is_done(self, pattern: Pattern, partial: Partial) -> bool:
        return not pattern.ends_absent and pattern.is_complete(partial)

    def expire(self, partials: Partials, now: int) -> list[Happened]:
        """What happens by time alone, the earliest first; `partials` are changed.

        Of moments that the policy does not have any more, nothing stays.
        """
        found: list[tuple[int, Happened]] = []
        for name, open_ones in list(partials.items()):
            pattern = self.patterns.get(name)
            if pattern is None:
                del partials[name]
                continue
            past_last = (-1, -1)
            after = []
            for one in sorted(open_ones, key=_start):
                end = one.first_at + pattern.within
                if one.element >= len(pattern.elements) or _start(one) <= past_last:
                    continue
                at = pattern.happens_at(one)
                if at is not None and at <= now:
                    found.append((at, Happened(name, at, one.first_id, one.about)))
                    past_last = (one.last_at, one.took)
                elif end > now:
                    after.append(one)
            _put(partials, name, [one for one in after if _start(one) > past_last])
        return [one for _, one in sorted(found, key=lambda pair: pair[0])]

    def next_end(self, partials: Mapping[str, list[Partial]]) -> int | None:
        """When the next moment happens if no event comes; None where none would."""
        ends = [
            at
            for name, open_ones in partials.items()
            if (pattern := self.patterns.get(name)) is not None
            for one in open_ones
            if (at := pattern.happens_at(one)) is not None
        ]
        return min(ends, default=None)


def unite_partials(partials: Partials, others: Partials, customer_id: str) -> None:
    """Takes over those of a customer who is merged into another one.

    Ids of events are unique for each customer only, so theirs get other ones. Of events of one time
    the own came first.
    """
    for name, theirs in others.items():
        own = partials.get(name, [])
        after = max((one.took for one in own), default=-1) + 1
        moved = [
            msgspec.structs.replace(
                one,
                first_id=_digest("merged", [customer_id, one.first_id]),
                began=one.began + after,
                took=one.took + after,
            )
            for one in theirs
        ]
        partials[name] = sorted(_distinct([*own, *moved]), key=_start)
    _bound(partials)


def _digest(what: str, parts: list[str]) -> str:
    said = blake2b(msgspec.json.encode(parts), digest_size=12)
    return f"{what}-{said.hexdigest()}"


def _start(partial: Partial) -> tuple[int, int]:
    return partial.first_at, partial.began


def _distinct(partials: list[Partial]) -> list[Partial]:
    """Without those that can only become what another one becomes."""
    seen: dict[tuple[str, int, int], Partial] = {}
    for one in partials:
        seen.setdefault((one.first_id, one.element, one.times), one)
    return list(seen.values())


def _put(partials: Partials, name: str, open_ones: list[Partial]) -> None:
    if open_ones:
        partials[name] = open_ones
    else:
        partials.pop(name, None)


def _bound(partials: Partials) -> None:
    """Forgets the oldest beyond `MOST_PARTIALS`, and beyond what their properties may take."""
    count = sum(map(len, partials.values()))
    while count > MOST_PARTIALS or (
        count * MOST_KEPT > MOST_KEPT_IN_ALL
        and size_kept(one for ones in partials.values() for one in ones) > MOST_KEPT_IN_ALL
    ):
        oldest = min(partials, key=lambda name: partials[name][0].first_at)
        _put(partials, oldest, partials[oldest][1:])
        count -= 1
