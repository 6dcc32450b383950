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


async def count_for_others(
    runtime: Runtime, sender: Document, occurrences: Sequence[Occurrence], now: int
) -> None:
    """Counts what is derived from a customer's events for the customers that they name.

    To be called before the events are written; calling it again changes nothing.

    Raises:
        StoreUnavailable: perhaps not everything is counted; the events must not be written.
    """
    derived = _derived(runtime.snapshot.policy, sender, occurrences)
    while some := list(islice(derived, AT_A_TIME)):
        found: defaultdict[str, list[_Named]] = defaultdict(list)
        for customer_id, one in some:
            found[customer_id].append(one)
        for customer_id, own in found.items():
            await _count_for(runtime, sender.customer_id, customer_id, own, now)


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
        ids = [own_id for one in new for own_id in one.ids]
        lasts = runtime.settings.event_ids_last
        # Contacts as well: they say where a customer went who is merged meanwhile.
        commit = commit_of(found, write_id, ("contacts", "events"), (), ids, lasts)
        return None, commit

    ids = tuple(own_id for one in derived for own_id in one.ids)
    read = partial(resolve, runtime, event_ids=ids)
    await update(runtime, read, customer_id, change, runtime.credits)
