"""What an earlier process decided, by what is logged: in the store, then in an archive."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Final

from decision.core import records
from decision.core.clock import MILLISECOND, MINUTE, from_micros, to_micros
from decision.core.identifiers import partition_of
from decision.store.log import Log

_SKEW: Final = 5 * MINUTE
"""By how much the clock of the store and that of the process may differ."""

_COLUMNS: Final = ("customer_id", "decision_id", "request_id", "decided_at")


class Gone(Enum):
    """That nobody can tell any more."""

    GONE = 1


async def earlier_decision(
    log: Log, archive: Path | None, customer_id: str, request_id: str, since: int
) -> str | Gone | None:
    """The id of the decision that a request made since a time (\u00b5s); None where it made none.

    `Gone`: the log does not reach back so far, and there is no archive.

    Raises:
        StoreUnavailable: the store does not answer.
        ArchiveError: the archive lacks a file, or one is damaged.
    """
    since -= _SKEW
    partition = partition_of(customer_id)
    first = (await log.read_logs({partition: ""}, 1)).get(partition)
    position = f"{since // MILLISECOND}-0"
    while page := (await log.read_logs({partition: position})).get(partition):
        position = page[-1].entry_id
        for _, record in page:
            if record.kind != "decision":
                continue
            found = records.decode_decision(record.body)
            if found.customer_id == customer_id and found.request_id == request_id:
                return found.decision_id
    if first and int(first[0].entry_id.partition("-")[0]) * MILLISECOND <= since:
        return None  # nothing of that time was trimmed
    if archive is None:
        return Gone.GONE
    return await asyncio.to_thread(_archived, archive, customer_id, request_id, since)


def _archived(archive: Path, customer_id: str, request_id: str, since: int) -> str | None:
    from decision.archive.customers import days_of, rows_of

    first = (from_micros(since) - timedelta(days=1)).date().isoformat()
    for day, paths in days_of(archive, "decisions").items():
        if day < first:
            break
        for row in rows_of(archive, "decisions", day, [customer_id], _COLUMNS, paths):
            if row["request_id"] == request_id and to_micros(row["decided_at"]) >= since:
                found: str = row["decision_id"]
                return found
    return None
