"""What the log has of one customer, page by page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final, cast

import msgspec

from decision.core import records
from decision.core.identifiers import partition_of
from decision.core.ports import LogRecord
from decision.engine.runtime import Runtime
from decision.store.log import Log
from decision.store.pseudonyms import pseudonyms

_PAGE: Final = 200
"""Entries of the log that are read at once."""

_AT_ONCE: Final = 20
"""Records that are given before the event loop goes on; to read one takes up to 0.1 ms."""


class OwnLog:
    """The log of a customer with these ids.

    Once it is read, `erased` has those ids of which it says that they were erased: what an archive
    has of them is not removed yet, or was a moment ago. What came after the erasure is in the log.
    """

    def __init__(self, runtime: Runtime, ids: Sequence[str]) -> None:
        self._runtime = runtime
        self._ids = ids
        self.erased: set[str] = set()

    async def records(self) -> AsyncIterator[tuple[str | None, LogRecord]]:
        """(entry id, record), oldest first for each id, then those that are not written yet."""
        runtime, names = self._runtime, await pseudonyms(self._runtime.store)
        log = cast(Log, runtime.store)  # every store is one
        for one in self._ids:
            theirs, partition, position = records.about(one), partition_of(one), ""
            given = 0
            erasure = names.of(one).encode()
            while page := (await log.read_logs({partition: position}, _PAGE)).get(partition):
                position = page[-1].entry_id
                for entry_id, record in page:
                    if theirs(record):
                        yield entry_id, record
                        given += 1
                        if given % _AT_ONCE == 0:
                            await asyncio.sleep(0)
                    elif record.kind == "erasure" and erasure in record.body:
                        self.erased.add(one)
            for record in [one for one in runtime.unlogged.values() if theirs(one)]:
                yield None, record


def read_record(record: LogRecord) -> msgspec.Struct:
    """A record of the log.

    Raises:
        MsgspecError: it cannot be read.
    """
    if record.kind == "decision":
        return records.decode_decision(record.body)
    if record.kind == "event":
        return records.decode_event(record.body)
    if record.kind == "journey":
        return records.decode_journey(record.body)
    return records.decode_change(record.body)
