"""Read, change, commit; again on the latest state where another write came first.

Every change of a customer's document goes through here; only erasing, which removes it, does not.
Nothing is locked: a commit names the versions that
it was made from, and writes nothing where they are no longer the latest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import msgspec

from decision.core.errors import NextbestError
from decision.core.ports import Commit, Conflict, LogRecord, ReadResult, Section
from decision.engine.runtime import Runtime
from decision.engine.turns import Turns, too_many

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


Attempt = Callable[[ReadResult], Awaitable[Done[T] | TryAgain]]
"""Tries to write on a state."""


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
    read: Read, customer_id: str, attempt: Attempt[T], attempts: int, turns: Turns
) -> Done[T] | GaveUp:
    """Attempts a write on the state read, then on the latest state each time it is to try again.

    The first attempt waits for nobody, unless others of this process try again already.
    """
    if customer_id in turns.queues:
        async with turns.of(customer_id):
            return await _attempts(await read(customer_id), read, customer_id, attempt, attempts)
    found = await read(customer_id)
    outcome = await attempt(found)
    if isinstance(outcome, Done):
        return outcome
    async with turns.of(found.document.customer_id) as waited:
        found = await _next(found, outcome.state, read, customer_id, anew=waited)
        return await _attempts(found, read, customer_id, attempt, attempts - 1)


async def _attempts(
    found: ReadResult, read: Read, customer_id: str, attempt: Attempt[T], attempts: int
) -> Done[T] | GaveUp:
    for _ in range(attempts):
        outcome = await attempt(found)
        if isinstance(outcome, Done):
            return outcome
        found = await _next(found, outcome.state, read, customer_id)
    return GaveUp(found)


async def _next(
    before: ReadResult, latest: ReadResult, read: Read, customer_id: str, *, anew: bool = False
) -> ReadResult:
    """The state for the next attempt, with what was known before; read again if `anew`."""
    known = before.known_events | latest.known_events
    merged, document = before.document.merged, latest.document
    if anew or (
        latest.answer is None and (document.moved_to or len(document.merged) != len(merged))
    ):
        # A merge came in between: answers and event ids may be kept under other ids as well.
        latest = await read(customer_id)
    # A conflict says nothing of budgets, and of event ids only those that it was asked; a
    # state that was read again knows its own.
    return msgspec.structs.replace(
        latest,
        budgets={**before.budgets, **latest.budgets},
        known_events=known | latest.known_events,
    )


async def update(
    runtime: Runtime, read: Read, customer_id: str, change: Change[T], turns: Turns | None = None
) -> T:
    """Changes a customer, however many others write meanwhile; returns the result.

    `turns` are those of merges.

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

    turns = runtime.turns if turns is None else turns
    outcome = await transact(read, customer_id, attempt, runtime.settings.attempts, turns)
    if isinstance(outcome, GaveUp):
        raise too_many(customer_id)
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
