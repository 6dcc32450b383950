"""Merging two customers, who may live in different partitions, so that no step loses a contact.

Three writes: the other customer is marked as moving, and from then on no contact is added to its
own document; the target takes over everything; the other is emptied and stays as a pointer.
Whoever meets a marked document that is not yet empty completes its merge first (`complete`), so
that a crash between two writes delays a merge and never leaves it half done.

What a merge takes over must not come back by it where the two are erased meanwhile: it is read
anew, and written only if the target was not erased since.

Merges that race in a circle mark each other. Then the smallest id of the circle gives up its
mark: everyone who notices comes to the same choice.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from decision.core.document import Document
from decision.core.errors import InputError, NotFound, StoreUnavailable
from decision.core.ports import Commit, ReadResult, Section, UnlessErased
from decision.core.timers import Wake
from decision.engine.journeys.work import JourneyWork
from decision.engine.log_records import change_record
from decision.engine.runtime import Runtime
from decision.engine.transaction import ErasedMeanwhile, commit_of, update
from decision.engine.uniting import empty_out, is_empty, unite
from decision.store.pseudonyms import pseudonyms
from decision.store.uptime import uptime

ALL_SECTIONS: tuple[Section, ...] = ("profile", "contacts", "events")
Also = Callable[[Commit], None]
"""Adds to a commit."""

LONGEST_CHAIN = 64
"""How many merges in a row are followed from an old customer id to the one in use."""


async def merge(runtime: Runtime, customer_id: str, other_id: str) -> Document:
    """Merges the other customer into this one; doing it again changes nothing.

    Raises:
        NotFound: the other customer is not known.
        InputError: the two are the same, or the other was merged elsewhere.
    """
    other = (await runtime.store.read(other_id)).document
    if other.moved_to is not None:
        await complete(runtime, other)
        end = await _destination(runtime, other_id)
        into = await _destination(runtime, customer_id)
        if end.customer_id != into.customer_id:
            raise InputError(
                "from",
                f"{other_id[:60]!r} was merged into {end.customer_id[:60]!r} before; "
                "merge that one",
            )
        if end.exists and other_id not in end.merged:
            # It was cut off right after the mark, of a customer who had nothing to be taken over.
            await _take_over(runtime, other)
            return await _destination(runtime, customer_id)
        return into
    into = await _destination(runtime, customer_id)
    target = into.customer_id
    if customer_id == other_id:
        raise InputError("from", "a customer cannot be merged into itself")
    if target == other_id:
        return into  # this one was merged into the other before: they are one already
    if not other.exists:
        raise NotFound(f"customer {other_id[:60]!r} is not known")

    def mark(document: Document) -> bool:
        return document.moved_to is None and _point(document, target)

    await _take_over(runtime, await _change(runtime, other_id, mark, ("contacts",)))
    return await _destination(runtime, customer_id)


async def complete(runtime: Runtime, moving: Document) -> None:
    """Completes the merge of a marked document, from wherever it was left."""
    if not is_empty(moving):
        await _take_over(runtime, moving)


async def _take_over(runtime: Runtime, moving: Document) -> None:
    """Unites a marked document with the customer that it leads to, then empties it."""
    names, at = await pseudonyms(runtime.store), runtime.clock()
    for _ in range(LONGEST_CHAIN):
        since = uptime()
        moving = (await runtime.store.read(moving.customer_id)).document
        if moving.moved_to is None:
            return  # it was erased
        target = (await _destination(runtime, moving.moved_to)).customer_id
        if target == moving.customer_id:
            return

        def add(document: Document, moving: Document = moving) -> Also | bool:
            if document.moved_to is not None or moving.customer_id in document.merged:
                return False
            policy = runtime.snapshot.policy
            none = document.journeys is None and moving.journeys is None
            journeys = None if none and policy.journeys is None else work_on(document)
            unite(document, moving, policy.scores.digests)
            if journeys is None:
                return True
            journeys.unite(moving)
            return partial(journeys.write, event_ids_last=runtime.settings.event_ids_last)

        def work_on(document: Document) -> JourneyWork:
            journeys = JourneyWork(runtime.snapshot, document, at)
            journeys.look(profile=True)
            return journeys

        unless = UnlessErased(names.of(target), since)
        with suppress(ErasedMeanwhile):
            taken = await _change(
                runtime, target, add, ALL_SECTIONS, merged=moving.customer_id, unless=unless
            )
            if taken.moved_to is None:
                break
    else:
        raise StoreUnavailable(f"customer {moving.customer_id!r} is in too many merges at once")
    for kind, values in moving.aliases.items():
        for value in values:
            await runtime.store.delete_alias(kind, value, moving.customer_id)
            await runtime.store.set_alias(kind, value, target)

    def leave(document: Document) -> Also | bool:
        if document.moved_to is None or (document.moved_to == target and is_empty(document)):
            return False
        timed = document.journeys is not None
        empty_out(document)
        _point(document, target)
        return _without_timer if timed else True

    await _change(runtime, moving.customer_id, leave, ALL_SECTIONS)


async def _destination(runtime: Runtime, customer_id: str) -> Document:
    """The customer that an id leads to by now; opens a circle of marks where there is one."""
    path: list[str] = []
    while len(path) < LONGEST_CHAIN:
        document = (await runtime.store.read(customer_id)).document
        if document.moved_to is None:
            return document
        if customer_id in path:
            keeper = min(path[path.index(customer_id) :])
            circle = set(path)

            def unmark(document: Document, circle: set[str] = circle) -> bool:
                return document.moved_to in circle and _point(document, None)

            await _change(runtime, keeper, unmark, ("contacts",))
            path = []
            continue
        path.append(customer_id)
        customer_id = document.moved_to
    raise StoreUnavailable(f"customer {customer_id!r} was merged too many times in a row")


def _point(document: Document, target: str | None) -> bool:
    """Makes the id of a document lead to the target, or to itself."""
    document.moved_to = target
    return True


def _without_timer(commit: Commit) -> None:
    commit.wake = Wake(at=None)


async def _change(
    runtime: Runtime,
    customer_id: str,
    change: Callable[[Document], Also | bool],
    sections: tuple[Section, ...],
    *,
    merged: str | None = None,
    unless: UnlessErased | None = None,
) -> Document:
    """Changes the document of this very id; `change` says whether anything is to be written, or
    gives what adds to the commit.

    `merged` is the customer it takes over, for the log.
    """
    at = runtime.clock()

    async def apply(found: ReadResult) -> tuple[Document, Commit | None]:
        changed = change(found.document)
        if not changed:
            return found.document, None
        write_id = runtime.new_id(customer_id)
        log = [change_record("merge", write_id, customer_id, at, {"from": merged})]
        commit = commit_of(found, write_id, sections, log if merged else ())
        commit.unless_erased = unless
        if callable(changed):
            changed(commit)
        return found.document, commit

    return await update(runtime, runtime.store.read, customer_id, apply, runtime.merges)
