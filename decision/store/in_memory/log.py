"""The log in memory: a list per partition."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from decision.core.clock import SECOND
from decision.core.identifiers import PARTITIONS, parse_decision_id
from decision.core.ports import LogRecord
from decision.store.in_memory.base import Clock, Expiring, MemoryBase
from decision.store.log import LogEntry, place_of, until_record


class MemoryLog(MemoryBase):
    """Implements `LogStore` and what `store.log.Log` adds. Entries are numbered over all logs."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._logs: list[list[LogEntry]] = [[] for _ in range(PARTITIONS)]
        self._logged = 0
        self._last: dict[int, int] = {}
        self._readers: list[dict[str, int]] = [{} for _ in range(PARTITIONS)]
        self._shares: defaultdict[str, Expiring[str, bytes]] = defaultdict(Expiring)

    def _append(self, partition: int, records: Sequence[LogRecord]) -> None:
        for record in records:
            self._logged += 1
            self._last[partition] = now = int(self._clock() * 1000)
            entry_id = f"{now}-{self._logged}"
            self._logs[partition].append(LogEntry(entry_id, record))

    def _done(self, partition: int, sequence: int) -> int:
        """How many entries a reader is done with that has come to one of this number."""
        return bisect_right(
            self._logs[partition], sequence, key=lambda entry: _sequence(entry.entry_id)
        )

    async def find_record(self, decision_id: str) -> LogRecord | None:
        try:
            _, partition, _ = parse_decision_id(decision_id)
        except ValueError:
            return None
        for _, record in reversed(self._logs[partition]):
            if record.id == decision_id and record.kind == "decision":
                return record
        return None

    async def log_begins(self, partition: int) -> int | None:
        log = self._logs[partition]
        return place_of(log[0].entry_id)[0] if log else self._last.get(partition)

    async def log_records(self, partition: int) -> list[LogRecord]:
        return [record for _, record in self._logs[partition]]

    async def newest_records(self, partitions: Sequence[int], most: int) -> list[LogRecord]:
        return [entry.record for each in partitions for entry in self._logs[each][-most:]]

    async def forget(
        self, partition: int, belongs: Callable[[LogRecord], bool], before: str | None = None
    ) -> int:
        log = self._logs[partition]
        earlier = list(until_record(log, before))
        kept = [entry for entry in earlier if not belongs(entry.record)]
        log[: len(earlier)] = kept
        return len(earlier) - len(kept)

    async def read_logs(
        self, positions: Mapping[int, str], count: int = 1_000
    ) -> dict[int, list[LogEntry]]:
        pages = {}
        for partition, position in positions.items():
            start = self._done(partition, _sequence(position)) if position else 0
            if page := self._logs[partition][start : start + count]:
                pages[partition] = page
        return pages

    async def advance_log(self, partition: int, reader: str, position: str, until: int) -> int:
        readers = self._readers[partition]
        readers[reader] = _sequence(position)
        log = self._logs[partition][: self._done(partition, min(readers.values()))]
        end = next((i for i, (name, _) in enumerate(log) if place_of(name)[0] >= until), len(log))
        del self._logs[partition][:end]
        return end

    async def claim_share(self, reader: str, share: str, who: bytes, lasts: int) -> bytes | None:
        now, shares = self._clock(), self._shares[reader]
        for other in list(shares):
            held = shares.live(other, now)
            same = other == share or other.partition("/")[2] != share.partition("/")[2]
            if held is not None and held != who and same:
                return held
        shares[share] = now + lasts / SECOND, who
        return None

    async def leave_log(self, reader: str) -> None:
        for readers in self._readers:
            readers.pop(reader, None)

    async def log_lengths(self) -> list[int]:
        return [len(log) for log in self._logs]

    async def log_ends(self) -> dict[int, str]:
        return {number: log[-1].entry_id for number, log in enumerate(self._logs) if log}


def _sequence(entry_id: str) -> int:
    return place_of(entry_id)[1]
