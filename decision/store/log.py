"""Entries of a partition's log: one record each, in the order in which they were written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from decision.core.ports import BlobStore, LogRecord

_MARGINS: Final = (5_000, 300_000, 18_000_000)


class LogEntry(NamedTuple):
    """A record and the id of its entry, `milliseconds-sequence`; ids of a partition ascend."""

    entry_id: str
    record: LogRecord


class Log(BlobStore, Protocol):
    """What the archive and rebuilding need of a store. Readers and partitions are independent."""

    async def read_logs(
        self, positions: Mapping[int, str], count: int = ...
    ) -> dict[int, list[LogEntry]]:
        """Up to `count` entries of each partition's log after its position, "" for the start.

        Partitions without any are left out.
        """

    async def advance_log(self, partition: int, reader: str, position: str, until: int) -> int:
        """Notes how far a reader has come, and removes what is not needed any more.

        That is every entry which all readers are done with and which is older than `until`,
        milliseconds since 1970. Returns how many.
        """

    async def claim_share(self, reader: str, share: str, who: bytes, lasts: int) -> bytes | None:
        """Claims a share of the log, such as `1/2`, for one process of a reader, or keeps it.

        The claim ends after `lasts` microseconds, at once where that is 0. Returns who is in the
        way, if somebody is: with the same share, or with one of another number of shares.
        """

    async def leave_log(self, reader: str) -> None:
        """Forgets a reader: what it has not read need not be kept for it any more."""

    async def log_lengths(self) -> list[int]:
        """How many entries each partition's log holds."""

    async def log_ends(self) -> dict[int, str]:
        """The id of the last entry of each partition's log that holds any."""

    def register_entries(self) -> tuple[list[bytes], list[bytes]]:
        """The register's names and kinds by number: see `Register.entries`."""


def parse_entry(entry: list[Any]) -> LogEntry:
    """An entry as `XRANGE` returns it.

    One that no commit wrote becomes a record of its fields, which nothing can decode: a reader of
    the log must be able to go past it, and to keep it.
    """
    entry_id, fields = entry
    place = entry_id.decode()
    if len(fields) < 6 or fields[0] != b"k" or fields[2] != b"id" or fields[4] != b"b":
        body = msgspec.msgpack.encode(fields)
        return LogEntry(place, LogRecord(kind="event", id="", body=body))
    kind, name = fields[1].decode(errors="replace"), fields[3].decode(errors="replace")
    return LogEntry(place, LogRecord(kind=kind, id=name, body=fields[5]))


def until_record(entries: Iterable[LogEntry], record_id: str | None) -> Iterator[LogEntry]:
    """The entries before the record of that id; all where it is None or not among them."""
    return takewhile(lambda entry: entry.record.id != record_id, entries)


def place_of(entry_id: str) -> tuple[int, int]:
    """The order of an entry of the log."""
    millis, _, sequence = entry_id.partition("-")
    return int(millis), int(sequence)


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
