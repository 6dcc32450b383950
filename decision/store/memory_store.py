"""The store in this process: for offline decisions, scenario tests and property tests.

It keeps what Redis would keep, in the same encoding, and follows the Lua scripts step by step.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from time import time
from typing import Final

from decision.core.document import ContactKind, Document
from decision.core.identifiers import PARTITIONS, parse_decision_id, partition_of
from decision.core.ports import (
    Commit,
    Committed,
    Conflict,
    LogRecord,
    ReadResult,
)
from decision.store import codec
from decision.store.commits import EncodedCommit, encode_commit
from decision.store.keys import event_digest
from decision.store.log import LogEntry
from decision.store.register import Register

_TOKEN_LASTS: Final = 3_600.0
_PRUNE_EVERY: Final = 64


class MemoryStore:
    """Implements `decision.core.ports.Store`; empty at first, gone with the process.

    `clock` gives the seconds since 1970 by which answers, event ids and tokens end.
    """

    def __init__(self, clock: Callable[[], float] = time) -> None:
        self._clock = clock
        self._register = Register()
        self._documents: dict[str, bytes] = {}
        self._answers: defaultdict[str, dict[str, tuple[float, bytes]]] = defaultdict(dict)
        self._events: defaultdict[str, dict[bytes, float]] = defaultdict(dict)
        self._logs: list[list[LogEntry]] = [[] for _ in range(PARTITIONS)]
        self._logged = 0
        self._readers: list[dict[str, int]] = [{} for _ in range(PARTITIONS)]
        self._aliases: dict[tuple[str, str], str] = {}
        self._spent: defaultdict[str, int] = defaultdict(int)
        self._tokens: dict[str, tuple[float, set[str]]] = {}
        self._blobs: dict[str, bytes] = {}
        self._histories: defaultdict[str, list[bytes]] = defaultdict(list)

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def ping(self) -> None: ...

    async def register_kinds(self, kinds: Sequence[ContactKind]) -> list[int]:
        table = self._register.kinds
        table.learn(len(table.entries), table.missing(kinds))
        return [table.numbers[kind] for kind in kinds]

    async def read(
        self,
        customer_id: str,
        *,
        request_id: str | None = None,
        budgets: Sequence[str] = (),
        event_ids: Sequence[str] = (),
        timeout: float | None = None,
    ) -> ReadResult:
        raw = self._documents.get(customer_id, b"")
        document, version = codec.decode(customer_id, raw, self._register)
        return ReadResult(
            document=document,
            version=version,
            raw=raw,
            answer=self._answer(customer_id, request_id),
            budgets={name: self._spent.get(name, 0) for name in budgets},
            known_events=self._known(customer_id, event_ids),
        )

    async def commit(self, commit: Commit, *, timeout: float | None = None) -> Committed | Conflict:
        encoded = encode_commit(commit, self._register)
        while wanted := self._register.names.take_wanted():
            names = self._register.names
            names.learn(len(names.entries), names.missing(wanted))
            encoded = encode_commit(commit, self._register)
        raw = self._documents.get(commit.customer_id)
        digest, versions, sections = codec.split(commit.customer_id, raw) if raw else codec.NOTHING
        if digest == encoded.digest:
            return Committed()
        if self._conflicts(commit, encoded, versions):
            latest = await self.read(
                commit.customer_id, request_id=commit.request_id, event_ids=commit.event_ids
            )
            return Conflict(latest=latest)
        self._append(partition_of(commit.customer_id), commit.records)
        if encoded.write:
            self._documents[commit.customer_id] = _spliced(encoded, raw, versions, sections)
        self._keep(commit, encoded)
        return Committed()

    def _conflicts(
        self, commit: Commit, encoded: EncodedCommit, versions: tuple[int, int, int]
    ) -> bool:
        if self._answer(commit.customer_id, commit.request_id) is not None:
            return True
        if self._known(commit.customer_id, commit.event_ids):
            return True
        pairs = zip(codec.LETTERS, encoded.versions, versions, strict=True)
        return any(letter in encoded.expect and a != b for letter, a, b in pairs)

    def _keep(self, commit: Commit, encoded: EncodedCommit) -> None:
        """Keeps the answer and the event ids of a commit."""
        now = self._clock()
        if commit.request_id is not None:
            answers = self._answers[commit.customer_id]
            answers[commit.request_id] = (now + encoded.answer_lasts / 1000, encoded.answer)
            if len(answers) % _PRUNE_EVERY == 0:
                for request_id in [name for name, kept in answers.items() if kept[0] <= now]:
                    del answers[request_id]
        if commit.event_ids:
            known = self._events[commit.customer_id]
            known.update(dict.fromkeys(encoded.event_digests, now + encoded.event_ids_last / 1000))
            if len(known) % _PRUNE_EVERY == 0:
                for digest in [name for name, expiry in known.items() if expiry <= now]:
                    del known[digest]

    def _answer(self, customer_id: str, request_id: str | None) -> bytes | None:
        if request_id is None or customer_id not in self._answers:
            return None
        expiry, answer = self._answers[customer_id].get(request_id, (0.0, b""))
        return answer if expiry > self._clock() else None

    def _known(self, customer_id: str, event_ids: Sequence[str]) -> frozenset[str]:
        if not event_ids or customer_id not in self._events:
            return frozenset()
        known, now = self._events[customer_id], self._clock()
        return frozenset(name for name in event_ids if known.get(event_digest(name), 0.0) > now)

    async def erase(self, customer_id: str, record: LogRecord) -> bool:
        raw = self._documents.get(customer_id, b"")
        document, _ = codec.decode(customer_id, raw, self._register)
        for kind, values in document.aliases.items():
            for value in values:
                await self.delete_alias(kind, value, customer_id)
        kept = (self._documents, self._answers, self._events)
        found = [store.pop(customer_id, None) is not None for store in kept]
        self._append(partition_of(customer_id), [record])
        return any(found)

    def pack(self, document: Document) -> bytes:
        return codec.pack_document(document, self._register)

    def unpack(self, customer_id: str, raw: bytes) -> Document:
        return codec.decode_or_refuse(customer_id, raw, self._register)[0]

    async def resolve_alias(
        self, kind: str, value: str, *, timeout: float | None = None
    ) -> str | None:
        return self._aliases.get((kind, value))

    async def set_alias(self, kind: str, value: str, customer_id: str) -> str:
        return self._aliases.setdefault((kind, value), customer_id)

    async def delete_alias(self, kind: str, value: str, customer_id: str) -> None:
        if self._aliases.get((kind, value)) == customer_id:
            del self._aliases[kind, value]

    async def take_budgets(
        self, limits: Mapping[str, int], token: str, *, timeout: float | None = None
    ) -> str | None:
        if self._taken(token) is not None:
            return None
        for name, limit in limits.items():
            if self._spent.get(name, 0) >= limit:
                return name
        for name in limits:
            self._spent[name] += 1
        self._tokens[token] = (self._clock() + _TOKEN_LASTS, set(limits))
        return None

    async def return_budgets(self, names: Sequence[str], token: str) -> None:
        taken = self._taken(token) or set()
        for name in taken.intersection(names):
            self._spent[name] -= 1
        self._tokens[token] = (self._clock() + _TOKEN_LASTS, taken.difference(names))

    def _taken(self, token: str) -> set[str] | None:
        expiry, names = self._tokens.get(token, (0.0, set()))
        return names if expiry > self._clock() else None

    async def find_record(self, decision_id: str) -> LogRecord | None:
        try:
            _, partition, _ = parse_decision_id(decision_id)
        except ValueError:
            return None
        for _, record in reversed(self._logs[partition]):
            if record.id == decision_id and record.kind == "decision":
                return record
        return None

    async def log_records(self, partition: int) -> list[LogRecord]:
        return [record for _, record in self._logs[partition]]

    async def read_log(
        self, partition: int, position: str = "", count: int = 1_000
    ) -> list[LogEntry]:
        """Up to `count` entries of a partition's log after a position, from its start for ""."""
        log = self._logs[partition]
        start = bisect_right(log, _place(position), key=_entry_place) if position else 0
        return log[start : start + count]

    async def read_logs(
        self, positions: Mapping[int, str], count: int = 1_000
    ) -> dict[int, list[LogEntry]]:
        """Up to `count` entries of each partition's log after its position, "" for the start."""
        pages = {
            partition: await self.read_log(partition, position, count)
            for partition, position in positions.items()
        }
        return {partition: page for partition, page in pages.items() if page}

    async def advance_log(self, partition: int, reader: str, position: str, until: int) -> int:
        """Notes how far a reader has come; removes what all are done with and is old enough."""
        readers = self._readers[partition]
        readers[reader] = _place(position)
        log = self._logs[partition]
        end = bisect_right(log, min(readers.values()), key=_entry_place)
        old = next((i for i, entry in enumerate(log[:end]) if _millis(entry) >= until), end)
        del log[:old]
        return old

    async def leave_log(self, reader: str) -> None:
        """Forgets a reader: what it has not read need not be kept for it any more."""
        for readers in self._readers:
            readers.pop(reader, None)

    async def log_lengths(self) -> list[int]:
        """How many entries each partition's log holds."""
        return [len(log) for log in self._logs]

    async def log_ends(self) -> dict[int, str]:
        """The id of the last entry of each partition's log that holds any."""
        return {number: log[-1].entry_id for number, log in enumerate(self._logs) if log}

    def register_entries(self) -> tuple[list[bytes], list[bytes]]:
        """Names and kinds by number."""
        return list(self._register.names.entries), list(self._register.kinds.entries)

    async def forget(self, partition: int, belongs: Callable[[LogRecord], bool]) -> int:
        log = self._logs[partition]
        kept = [entry for entry in log if not belongs(entry.record)]
        forgotten = len(log) - len(kept)
        log[:] = kept
        return forgotten

    def _append(self, partition: int, records: Sequence[LogRecord]) -> None:
        for record in records:
            self._logged += 1
            entry_id = f"{int(self._clock() * 1000)}-{self._logged}"
            self._logs[partition].append(LogEntry(entry_id, record))

    async def put_blob(self, name: str, data: bytes) -> None:
        self._blobs[name] = data

    async def get_blob(self, name: str) -> bytes | None:
        return self._blobs.get(name)

    async def append_history(self, name: str, entry: bytes, keep: int) -> None:
        self._histories[name] = [*self._histories[name], entry][-keep:]

    async def history(self, name: str, last: int | None = None) -> list[bytes]:
        entries = self._histories[name]
        return list(entries if last is None else entries[-last:])


def _spliced(
    encoded: EncodedCommit, raw: bytes | None, versions: Sequence[int], sections: Sequence[bytes]
) -> bytes:
    """The document after a commit: the sections that it writes, and the others as they are."""
    places = range(len(codec.LETTERS))
    written = [letter in encoded.write for letter in codec.LETTERS]
    return codec.join(
        encoded.digest,
        [
            encoded.first_version
            if raw is None
            else versions[place] % 0xFFFF_FFFF + 1
            if written[place]
            else versions[place]
            for place in places
        ],
        [encoded.sections[place] if written[place] else sections[place] for place in places],
    )


def _place(position: str) -> int:
    return int(position.partition("-")[2])


def _millis(entry: LogEntry) -> int:
    return int(entry.entry_id.partition("-")[0])


def _entry_place(entry: LogEntry) -> int:
    return _place(entry.entry_id)
