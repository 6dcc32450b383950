"""The latest decisions of the store's log, written for a child that decides them again."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
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


async def write_replays(store: Store, path: Path, newest: int) -> None:
    """Writes about `newest` decisions that somebody was given, a line each, oldest first.

    They are the last of each partition of customers. One that cannot be read is left out.

    Raises:
        StoreUnavailable: the store does not answer.
        OSError: the file cannot be written.
    """
    most = max(_FEWEST, 4 * newest // PARTITIONS)
    found: list[LogRecord] = []
    for first in range(0, PARTITIONS, _PARTITIONS_AT_ONCE):
        partitions = range(first, min(first + _PARTITIONS_AT_ONCE, PARTITIONS))
        found += await store.newest_records(partitions, most)
    await run_in_worker(partial(_write, store, found, path, newest))


def read_replays(path: Path) -> Iterator[ArchivedReplay]:
    """The decisions of such a file."""
    with path.open("rb") as file:
        yield from map(_decode, file)


def _write(store: Store, found: list[LogRecord], path: Path, newest: int) -> None:
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
    with path.open("wb") as file:
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
            file.write(msgspec.json.encode(line) + b"\n")
