"""Read, change, commit; again on the latest state where another write came first.

Every change of a customer's document goes through here; only erasing, which removes it, does not.
Nothing is locked: a commit names the versions that
it was made from, and writes nothing where they are no longer the latest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import msgspec

from decision.core.errors import NextbestError, StoreUnavailable
from decision.core.ports import Commit, Conflict, LogRecord, ReadResult, Section
from decision.engine.runtime import Runtime

T = TypeVar("T")

Read = Callable[[str], Awaitable[ReadResult]]
"""Reads the document of this very id, or of the customer that the id leads to by now."""

Change = Callable[[ReadResult], Awaitable[tuple[T, Commit | None]]]
"""Changes a state; gives the result, and what is to be written for it, if anything."""


class Done(msgspec.Struct, Generic[T], frozen=True):
    """It is written, or there was nothing to write: an earlier answer, a dry run, no change."""

    result: T


class TryAgain(msgspec.Struct, frozen=True):
    """Nothing was written: try again on this state, because another write came first.

    A decision also tries again, on the same state, when a budget has run out.
    """

    state: ReadResult


class ErasedMeanwhile(NextbestError):
    """Nothing was written: the customer was erased since (see `ports.UnlessErased`)."""


class NotAsSaid(NextbestError):
    """Nothing was written: deliveries, with these ids, are not as `Commit.settled` says."""

    def __init__(self, ids: Sequence[str]) -> None:
        super().__init__(f"deliveries are not as they were: {', '.join(ids)}")
        self.ids = ids


class Moved(NextbestError):
    """Nothing was written: the customer was merged into another one, and the change does not fit
    there."""


class GaveUp(msgspec.Struct, frozen=True):
    """Nothing was written in any attempt; `state` is the latest."""

    state: ReadResult


async def transact(
    read: Read,
    customer_id: str,
    attempt: Callable[[ReadResult], Awaitable[Done[T] | TryAgain]],
    attempts: int,
) -> Done[T] | GaveUp:
    """Attempts a write on the state read, then on the latest state each time it is to try again."""
    found = await read(customer_id)
    for _ in range(attempts):
        merged = len(found.document.merged)
        outcome = await attempt(found)
        if isinstance(outcome, Done):
            return outcome
        latest = outcome.state
        known = found.known_events | latest.known_events
        document = latest.document
        if latest.answer is None and (document.moved_to or len(document.merged) != merged):
            # A merge came in between: answers and event ids may be kept under other ids as well.
            latest = await read(customer_id)
        # A conflict says nothing of budgets, and of event ids only those that it was asked; a
        # state that was read again knows its own.
        found = msgspec.structs.replace(
            latest,
            budgets={**found.budgets, **latest.budgets},
            known_events=known | latest.known_events,
        )
    return GaveUp(found)


async def update(runtime: Runtime, read: Read, customer_id: str, change: Change[T]) -> T:
    """Changes a customer, however many others write meanwhile; returns the result.

    Raises:
        StoreUnavailable: every attempt was overtaken.
        ErasedMeanwhile: the change is not to be written after an erasure, and there was one.
        NotAsSaid: a delivery that the change takes out is not as it says.
    """

    async def attempt(found: ReadResult) -> Done[T] | TryAgain:
        result, commit = await change(found)
        if commit is not None:
            reply = await runtime.store.commit(commit)
            if isinstance(reply, Conflict):
                if reply.erased:
                    raise ErasedMeanwhile
                if reply.unsettled:
                    raise NotAsSaid(reply.unsettled)
                return TryAgain(reply.latest)
        return Done(result)

    outcome = await transact(read, customer_id, attempt, runtime.settings.attempts)
    if isinstance(outcome, GaveUp):
        raise StoreUnavailable(
            f"too many writes at once for customer {customer_id!r}; try again", code="contention"
        )
    return outcome.result


def commit_of(
    found: ReadResult,
    commit_id: str,
    sections: tuple[Section, ...],
    records: Sequence[LogRecord] = (),
    event_ids: Sequence[str] = (),
    event_ids_last: int = 0,
    also_expected: tuple[Section, ...] = (),
) -> Commit:
    """A commit of sections of the document; all or none of it is written.

    It is a conflict where one of the sections, or of those `also_expected`, has changed meanwhile.
    """
    return Commit(
        id=commit_id,
        customer_id=found.document.customer_id,
        document=found.document,
        version=found.version,
        expect=(*also_expected, *sections),
        write=sections,
        records=records,
        event_ids=event_ids,
        event_ids_last=event_ids_last,
    )
