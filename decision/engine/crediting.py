"""What an event counts as for the customers that it names: once, whatever fails in between.

Those customers live elsewhere, so it takes a write for each of them. They are written before the
event is known to the customer who sent it: if the process dies in between, the event is sent
again, derived again with the same ids, and each customer who knows these ids is left as they are.
A customer knows them as long as any event's id, also after being merged.

What happens by it, as a moment does, counts for others in turn: no type of event is made of itself,
so that comes to an end.

Nobody is created by it: somebody who is not known, or was erased, stays so. (Senders are known by
what they send, and may name themselves.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import count, islice
from typing import Final, NamedTuple, TypeVar

from decision.core import event_effects
from decision.core.document import ContactKind, Document
from decision.core.errors import InputError, NextbestError
from decision.core.event_effects import Occurrence
from decision.core.policy import Policy
from decision.core.ports import Commit, ReadResult
from decision.engine.identity import clean_id, resolve
from decision.engine.journeys.work import JourneyWork, begin
from decision.engine.runtime import Runtime
from decision.engine.transaction import commit_of, update

T = TypeVar("T")

AT_A_TIME: Final = 1_000
"""Derived events that are held, and written, at a time: few bytes may count as one."""


class CountFirst(NextbestError):
    """Nothing was written: what events count as for others is to be counted without a turn, since
    each of those others has turns as well (see `turns`). `round` is that of `count_all`."""

    def __init__(self, sender: Document, occurrences: Sequence[Occurrence], round: int) -> None:
        super().__init__(f"what {sender.customer_id!r} sent is to be counted for others first")
        self.sender = sender
        self.occurrences = occurrences
        self.round = round


class Crediting:
    """What the events of one request count as for the customers that they name.

    It may be asked again, for a later state of the sender: what is counted already is known, so
    that a write which is tried again takes no longer than those that overtook it.

    With `own`, what names the sender is counted with what they sent, a thousand of it at most.
    `redeemed` has the coupon codes that these events have redeemed.
    """

    def __init__(self, runtime: Runtime, now: int, *, own: bool = False) -> None:
        self.runtime = runtime
        self.now = now
        self.most_own = AT_A_TIME if own else 0
        self.redeemed: set[str] = set()
        self._policy = runtime.snapshot.policy
        self._rounds: list[_Round] = []

    async def before(self, write: Callable[[], Awaitable[T]]) -> T:
        """Writes events, again each time that something turns out to be counted first.

        Raises:
            StoreUnavailable: perhaps not everything is counted, and the events are not written.
        """
        while True:
            try:
                return await write()
            except CountFirst as left:
                await self._count(left.sender, left.occurrences, left.round)

    async def count_all(
        self,
        sender: Document,
        occurrences: Sequence[Occurrence],
        known: frozenset[str] = frozenset(),
        journeys: JourneyWork | None = None,
    ) -> list[str]:
        """Counts what a customer's events, which are applied, count as: for the customers that they
        name, and what names the sender in their document. So are the moments that happen by this:
        those of others in the same way, before they are written.

        To be called before the events are written; calling it again changes nothing. `known` are
        the ids that are known of this state. Gives the ids to be written with it.

        Raises:
            StoreUnavailable: perhaps not everything is counted; the events must not be written.
            CountFirst: the caller has a turn; `before` does the rest.
        """
        ids: list[str] = []
        for number in count():
            named = await self._count(sender, occurrences, number)
            if named is None:
                return ids
            before = 0 if journeys is None else len(journeys.moments)
            ids += self._count_own(sender, known, named, journeys)
            occurrences = [] if journeys is None else journeys.moments[before:]
        raise AssertionError

    async def _count(
        self, sender: Document, occurrences: Sequence[Occurrence], number: int
    ) -> _Round | None:
        """Counts what is derived from events for others, unless it is; None: nothing is derived."""
        concerned = [one for one in occurrences if one.type in self._policy.derivations.for_others]
        if not concerned:
            return None
        senders = [sender.customer_id, *sender.merged]
        sent = [(one.id, event_effects.kind_of(sender, one)) for one in concerned]
        if number < len(self._rounds) and self._rounds[number].of == (senders, sent):
            return self._rounds[number]
        if self.runtime.turns.held:
            raise CountFirst(sender, concerned, number)
        own: list[_Named] = []
        derived = _derived(self._policy, sender, concerned)
        while some := list(islice(derived, AT_A_TIME)):
            found: defaultdict[str, list[_Named]] = defaultdict(list)
            for customer_id, one in some:
                if customer_id in senders and len(own) < self.most_own:
                    own.append(one)
                else:
                    found[customer_id].append(one)
            for customer_id, theirs in found.items():
                await _count_for(self.runtime, sender.customer_id, customer_id, theirs, self.now)
        known: frozenset[str] = frozenset()
        if own:
            ids = tuple(_ids(own))
            known = (await resolve(self.runtime, sender.customer_id, event_ids=ids)).known_events
        self._rounds[number:] = [_Round((senders, sent), own, known)]
        return self._rounds[number]

    def _count_own(
        self,
        sender: Document,
        known: frozenset[str],
        named: _Round,
        journeys: JourneyWork | None,
    ) -> list[str]:
        known |= named.known
        new = [one for one in named.own if known.isdisjoint(one.ids)]
        _apply(self.runtime, sender, new, self.now, journeys)
        return _ids(new)


def _apply(
    runtime: Runtime,
    document: Document,
    derived: Iterable[_Named],
    now: int,
    journeys: JourneyWork | None,
) -> None:
    """Counts derived events in the document of whom they name."""
    snapshot = runtime.snapshot
    for one in derived:
        if journeys is not None:
            journeys.look()
        event_effects.count(document, one.occurrence, snapshot.policy, snapshot.measures, now)
        if journeys is not None:
            journeys.applied(one.occurrence, derive=False)


def _derived(
    policy: Policy, sender: Document, occurrences: Sequence[Occurrence]
) -> Iterator[tuple[str, _Named]]:
    """(customer id, event) of what is derived, in order."""
    senders = [sender.customer_id, *sender.merged]
    for occurrence in occurrences:
        sent = event_effects.logged(occurrence, event_effects.kind_of(sender, occurrence))
        for name, one, ids in event_effects.for_others_by_every_id(sent, policy, senders):
            customer_id = customer_named(name)
            if customer_id is not None:
                yield customer_id, _Named(one, ids)


class _Named(NamedTuple):
    """A derived event, and its ids by all names of its sender: they may have changed since it was
    counted."""

    occurrence: Occurrence
    ids: list[str]


class _Round(NamedTuple):
    """What was counted for others. `of` says of which events; `own` is left, which name the sender,
    and `known` are ids of it that were known then."""

    of: tuple[list[str], list[tuple[str, ContactKind | None]]]
    own: list[_Named]
    known: frozenset[str]


def _ids(derived: Sequence[_Named]) -> list[str]:
    return [own_id for one in derived for own_id in one.ids]


def customer_named(name: str) -> str | None:
    """The customer id that a property holds, cleaned; None for a program's word for nothing.

    >>> customer_named(" anna "), customer_named("null")
    ('anna', None)
    """
    try:
        return clean_id("for", name)
    except InputError:
        return None


async def _count_for(
    runtime: Runtime, sender: str, customer_id: str, derived: Sequence[_Named], now: int
) -> None:
    crediting = Crediting(runtime, now, own=True)

    async def change(found: ReadResult) -> tuple[None, Commit | None]:
        document = found.document
        new = [one for one in derived if found.known_events.isdisjoint(one.ids)]
        known = document.exists or document.customer_id == sender
        if not known or not new:
            return None, None
        journeys = begin(runtime.snapshot, document, now, found.known_events)
        _apply(runtime, document, new, now, journeys)
        write_id, ids = runtime.new_id(document.customer_id), _ids(new)
        if journeys is not None:
            moments = list(journeys.moments)
            ids += await crediting.count_all(document, moments, found.known_events, journeys)
        lasts = runtime.settings.event_ids_last
        # Contacts as well: they say where a customer went who is merged meanwhile.
        commit = commit_of(found, write_id, ("contacts", "events"), (), ids, lasts)
        if journeys is not None:
            journeys.write(commit, lasts)
        return None, commit

    read = partial(resolve, runtime, event_ids=tuple(_ids(derived)))
    await crediting.before(partial(update, runtime, read, customer_id, change))
