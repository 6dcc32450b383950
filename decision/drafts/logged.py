"""The latest decisions of the store's log, for a child that decides them again.

It gets them by a pipe: no customer is written to a disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

import msgspec

from decision.archive.replays import ArchivedReplay, document_json
from decision.core import records
from decision.core.identifiers import PARTITIONS
from decision.core.ports import LogRecord, Store
from decision.engine.worker import run_in_worker
from decision.store.codec import UnreadableDocument

_PARTITIONS_AT_ONCE: Final = 16
_FEWEST: Final = 16
"""Records read of each partition's log, at least: they are decisions and events."""

_decode = msgspec.json.Decoder(ArchivedReplay).decode


async def newest_replays(store: Store, newest: int) -> bytes:
    """About `newest` decisions that somebody was given, a line each, oldest first.

    They are the last of each partition of customers. One that cannot be read is left out.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    most = max(_FEWEST, 4 * newest // PARTITIONS)
    found: list[LogRecord] = []
    for first in range(0, PARTITIONS, _PARTITIONS_AT_ONCE):
        partitions = range(first, min(first + _PARTITIONS_AT_ONCE, PARTITIONS))
        found += await store.newest_records(partitions, most)
    return await run_in_worker(partial(_lines, store, found, newest))


def read_replays(lines: bytes) -> Iterator[ArchivedReplay]:
    """The decisions of these lines."""
    yield from map(_decode, lines.splitlines())


def _lines(store: Store, found: list[LogRecord], newest: int) -> bytes:
    withheld, decisions = set(), []
    for record in found:
        try:
            if record.kind == records.NOT_GIVEN:
                withheld.add(record.id)
            elif record.kind == "decision":
                decisions.append(records.decode_decision(record.body))
        except msgspec.MsgspecError:
            continue
    decisions = [
        one
        for one in decisions
        if one.decision_id not in withheld and not records.made_without_store(one)
    ]
    decisions.sort(key=lambda one: (one.decided_at, one.decision_id))
    lines = []
    for one in decisions[-newest:]:
        try:
            document = store.unpack(one.customer_id, one.document)
        except UnreadableDocument:
            continue
        line = {
            "decision_id": one.decision_id,
            "decided_at": one.decided_at,
            "customer_id": one.customer_id,
            "question": one.question,
            "document": msgspec.Raw(document_json(document).encode()),
            "policy_version": one.policy_version,
        }
        lines.append(msgspec.json.encode(line))
    return b"\n".join(lines)
