"""Rows into a store: many in flight at once, bad ones reported, the rest going on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from decision.core.clock import SECOND, to_micros
from decision.core.errors import InputError
from decision.engine.loading import CustomerRow, Loaded, Loading
from decision.intake.rows import Read, RowKind

IN_FLIGHT = 256


class IngestCounts(msgspec.Struct):
    """What a file came to.

    `rows` are those that were read, by what they are, with the bad ones. `customers` are the rows
    of customers that were loaded, `events` theirs and those of rows, `contacts` those of rows.
    `known_events` were there before, as were contacts; `partly` of the customers have a consent or
    an alias that was left out.
    """

    rows: dict[RowKind, int] = {}
    customers: int = 0
    events: int = 0
    contacts: int = 0
    known_events: int = 0
    bad_rows: int = 0
    partly: int = 0


async def ingest(
    loading: Loading,
    reads: Iterable[Read],
    bad: Callable[[str, str], None],
    *,
    dry_run: bool = False,
    own_time: bool = False,
    moved: Callable[[int], None] = lambda rows: None,
) -> IngestCounts:
    """Loads rows; `bad` is told the place and problem of each that cannot be, or not all of it.

    `dry_run` only checks. `own_time` lets each customer's present be their last event, for
    histories that are replayed; `moved` is told the rows done, now and then.

    Raises:
        StoreUnavailable: the store became unavailable; loading the file again is safe.
    """
    tally = IngestCounts()
    # All workers take from one iterator, so rows start in the order of the file.
    rest = iter(reads)

    def refuse(read: Read, problem: str) -> None:
        tally.bad_rows += 1
        bad(read.place, in_words(read.kind, problem))

    async def work() -> None:
        for read in rest:
            tally.rows[read.kind] = tally.rows.get(read.kind, 0) + 1
            if read.row is None:
                refuse(read, read.problem)
            else:
                try:
                    await one(read.place, read.row, read.kind)
                except InputError as error:
                    refuse(read, str(error))
            if (done := sum(tally.rows.values())) % 512 == 0:
                moved(done)
                await asyncio.sleep(0)

    async def one(place: str, row: CustomerRow, kind: RowKind) -> None:
        if dry_run:
            loading.check(row)
            loaded = Loaded(events=len(row.events) + len(row.contacts))
        else:
            loaded = await loading.put(row, now=_last_moment(row) if own_time else None)
        tally.customers += kind == "customer"
        if kind == "contact":
            tally.contacts += loaded.events
        else:
            tally.events += loaded.events
        tally.known_events += loaded.known_events
        tally.partly += bool(loaded.left_out)
        for problem in loaded.left_out:
            bad(place, problem)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(work())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    moved(sum(tally.rows.values()))
    return tally


_THEIR_PLACE: Final = {"customer": None, "event": "events[0]", "contact": "contacts[0]"}


def in_words(kind: RowKind, problem: str) -> str:
    """What is wrong with a row, named by its own columns.

    >>> in_words("event", "events[0].at: 2999-01-01T00:00:00+00:00 lies in the future")
    'at: 2999-01-01T00:00:00+00:00 lies in the future'
    """
    if (place := _THEIR_PLACE[kind]) is None:
        return problem
    return problem.removeprefix(place).lstrip(".:").lstrip()


def _last_moment(row: CustomerRow) -> int:
    """A moment at which everything in the row has happened, and no more."""
    moments = [event.at for event in row.events] + [contact.at for contact in row.contacts]
    return max(map(to_micros, moments), default=SECOND)
