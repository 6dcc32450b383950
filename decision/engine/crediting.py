"""What an event counts as for the customers that it names: once, whatever fails in between.

Those customers live elsewhere, so it takes a write for each of them. They are written before the
event is known to the customer who sent it: if the process dies in between, the event is sent
again, derived again with the same ids, and each customer who knows these ids is left as they are.
A customer knows them as long as any event's id, also after being merged.

Nobody is created by it: somebody who is not known, or was erased, stays so. (Senders are known by
what they send, and may name themselves.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

from decision.core import event_effects
from decision.core.document import Document
from decision.core.errors import InputError
from decision.core.event_effects import Occurrence
from decision.core.policy import Policy
from decision.core.ports import Commit, ReadResult
from decision.engine.identity import clean_id, resolve
from decision.engine.runtime import Runtime
from decision.engine.transaction import commit_of, update

AT_A_TIME: Final = 1_000
"""Derived events that are held, and written, at a time: few bytes may count as one."""


class Crediting:
    """What the events of one request count as for the customers that they name.

    It may be asked again, for a later state of the sender: what is counted already is known.
    """

    def __init__(self, runtime: Runtime, now: int) -> None:
        self.runtime = runtime
        self.now = now
        self._counted: set[str] = set()

    async def count(
        self, sender: Document, occurrences: Sequence[Occurrence], *, own: bool = False
    ) -> list[str]:
        """Counts what is derived from a customer's events for the customers that they name.

        To be called before the events are written; calling it again changes nothing. With `own`,
        what names the sender is counted in their document; its ids are to be written with it.

        Raises:
            StoreUnavailable: perhaps not everything is counted; the events must not be written.
        """
        senders, mine = {sender.customer_id, *sender.merged}, list[_Named]()
        derived = _derived(self.runtime.snapshot.policy, sender, occurrences)
        while some := list(islice(derived, AT_A_TIME)):
            found: defaultdict[str, list[_Named]] = defaultdict(list)
            for customer_id, one in some:
                if own and customer_id in senders and len(mine) < AT_A_TIME:
                    mine.append(one)
                elif self._counted.isdisjoint(one.ids):
                    found[customer_id].append(one)
            for customer_id, theirs in found.items():
                await _count_for(self.runtime, sender.customer_id, customer_id, theirs, self.now)
                if len(self._counted) < AT_A_TIME:
                    self._counted.update(_ids(theirs))
        return await self._count_own(sender, mine) if mine else []

    async def _count_own(self, sender: Document, derived: Sequence[_Named]) -> list[str]:
        snapshot, ids = self.runtime.snapshot, tuple(_ids(derived))
        known = (await resolve(self.runtime, sender.customer_id, event_ids=ids)).known_events
        new = [one for one in derived if known.isdisjoint(one.ids)]
        for one in new:
            event_effects.count(
                sender, one.occurrence, snapshot.policy, snapshot.measures, self.now
            )
        return _ids(new)


def _derived(
    policy: Policy, sender: Document, occurrences: Sequence[Occurrence]
) -> Iterator[tuple[str, _Named]]:
    """(customer id, event) of what is derived, in order."""
    senders = [sender.customer_id, *sender.merged]
    for occurrence in occurrences:
        if not policy.derivations.concerns(occurrence.type):
            continue
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
    snapshot = runtime.snapshot

    async def change(found: ReadResult) -> tuple[None, Commit | None]:
        document = found.document
        new = [one for one in derived if found.known_events.isdisjoint(one.ids)]
        known = document.exists or document.customer_id == sender
        if not known or not new:
            return None, None
        for one in new:
            event_effects.count(document, one.occurrence, snapshot.policy, snapshot.measures, now)
        write_id = runtime.new_id(document.customer_id)
        ids = _ids(new)
        lasts = runtime.settings.event_ids_last
        # Contacts as well: they say where a customer went who is merged meanwhile.
        commit = commit_of(found, write_id, ("contacts", "events"), (), ids, lasts)
        return None, commit

    read = partial(resolve, runtime, event_ids=tuple(_ids(derived)))
    await update(runtime, read, customer_id, change, runtime.credits)
