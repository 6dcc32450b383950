"""Entries of a partition's log: one record each, in the order in which they were written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from decision.core.ports import LogRecord

_MARGINS: Final = (5_000, 300_000, 18_000_000)


class LogEntry(NamedTuple):
    """A record and the id of its entry, `milliseconds-sequence`; ids of a partition ascend."""

    entry_id: str
    record: LogRecord


def parse_entry(entry: list[Any]) -> LogEntry:
    """An entry as `XRANGE` returns it."""
    entry_id, (_, kind, _, name, _, body, *_) = entry
    return LogEntry(entry_id.decode(), LogRecord(kind=kind.decode(), id=name.decode(), body=body))


def windows(millis: int) -> Iterator[tuple[str, str]]:
    """Ranges of entry ids in which to look for what happened at a time, each wider.

    The last one is everything: clocks of processes and of Redis may differ.
    """
    for margin in _MARGINS:
        yield str(max(0, millis - margin)), str(millis + margin)
    yield "-", "+"


def following(entry_id: str) -> str:
    """The least entry id after this one."""
    millis, _, sequence = entry_id.partition("-")
    return f"{millis}-{int(sequence) + 1}"
