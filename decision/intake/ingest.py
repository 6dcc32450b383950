"""Customers into a store: many rows in flight at once, bad ones reported, the rest going on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import msgspec

from decision.core.clock import SECOND, to_micros
from decision.core.errors import InputError
from decision.engine.loading import CustomerRow, Loaded, Loading
from decision.intake.rows import Read

IN_FLIGHT = 256


class IngestCounts(msgspec.Struct):
    """What a file came to. `known_events` were there before; `partly` of the customers have a
    consent or an alias that was left out.
    """

    customers: int = 0
    events: int = 0
    known_events: int = 0
    bad_rows: int = 0
    partly: int = 0

    @property
    def rows(self) -> int:
        """The rows dealt with so far."""
        return self.customers + self.bad_rows


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

    def refuse(place: str, problem: str) -> None:
        tally.bad_rows += 1
        bad(place, problem)

    async def work() -> None:
        for place, row, problem in rest:
            if row is None:
                refuse(place, problem)
            else:
                try:
                    await one(place, row)
                except InputError as error:
                    refuse(place, str(error))
            if tally.rows % 512 == 0:
                moved(tally.rows)
                await asyncio.sleep(0)

    async def one(place: str, row: CustomerRow) -> None:
        if dry_run:
            loading.check(row)
            loaded = Loaded(events=len(row.events) + len(row.contacts))
        else:
            loaded = await loading.put(row, now=_last_moment(row) if own_time else None)
        tally.customers += 1
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
    moved(tally.rows)
    return tally


def _last_moment(row: CustomerRow) -> int:
    """A moment at which everything in the row has happened, and no more."""
    moments = [event.at for event in row.events] + [contact.at for contact in row.contacts]
    return max(map(to_micros, moments), default=SECOND)
