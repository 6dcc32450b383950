"""Counts of the newest decisions of a store's log, for where there is no archive.

They become rows as they would in the archive, and are counted as those are.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from threading import Lock
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from decision.analytics.candidates.counting import Segment, count
from decision.analytics.candidates.facts import Facts, facts_of
from decision.analytics.candidates.segment import Seen, segment_field, slice_of, value_of
from decision.analytics.candidates.source import Counted, CountsDatabase
from decision.archive.decision_rows import decisions_table
from decision.archive.policies import candidates_of
from decision.core import records
from decision.core.candidates import CandidateInfo
from decision.core.definition import PolicyDefinition
from decision.core.document import Document
from decision.core.identifiers import PARTITIONS
from decision.core.records import DecisionLine
from decision.engine.snapshot import policy_blob
from decision.engine.worker import run_in_worker
from decision.rulebook.reader import load_files
from decision.store.log import Log, LogEntry, place_of

MOST: Final = 10_000
"""How many decisions are taken from a log, where nothing else is said."""
_PAGE: Final = 32
_PARTITIONS_AT_ONCE: Final = 8
"""So the event loop takes in some 250 records at once, about a megabyte, between other work."""
_SECOND: Final = 1_000
_WIDER: Final = 4
_files: Final = msgspec.msgpack.Decoder(dict[str, str]).decode


class RecentLog(Log, Protocol):
    """A log whose documents can be unpacked; every store is one."""

    def unpack(self, customer_id: str, raw: bytes) -> Document: ...


class _Newest(NamedTuple):
    bodies: list[bytes]
    not_given: frozenset[str]
    erasures: int


async def read_recent(
    log: RecentLog, most: int = MOST, known: Mapping[str, PolicyDefinition] | None = None
) -> RecentCandidates:
    """The newest decisions of a log, `most` at most, with the policies that made them.

    `known` are policies by version that need not be read again.
    It looks at longer and longer times before the newest entry, until there are enough.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    ends = await log.log_ends()
    newest = max((place_of(end)[0] for end in ends.values()), default=0)
    span = _SECOND
    while True:
        begin = newest - span
        found = await _since(log, f"{begin}-0" if begin > 0 else "", most)
        if len(found.bodies) >= most or begin <= 0:
            break
        span *= _WIDER
    decided = _Bodies(found.bodies)
    versions, damaged = await run_in_worker(decided.versions)
    files: dict[str, dict[str, str]] = {}
    for version in versions:
        if known and version in known:
            continue
        with suppress(msgspec.MsgspecError):
            if kept := await log.get_blob(policy_blob(version)):
                files[version] = _files(kept)
    return RecentCandidates(
        decided,
        files,
        limit=most,
        not_given=found.not_given,
        erasures=found.erasures,
        damaged=damaged,
        unpack=log.unpack,
        known=known,
    )


class _Bodies:
    """Records that are decoded each time they are gone through, so that no objects of theirs stay,
    which the collector of garbage would have to look at."""

    def __init__(self, bodies: Sequence[bytes]) -> None:
        self._bodies = bodies

    def __len__(self) -> int:
        return len(self._bodies)

    def __iter__(self) -> Iterator[DecisionLine]:
        for body in self._bodies:
            with suppress(msgspec.MsgspecError):
                yield records.decode_line(body)

    def versions(self) -> tuple[list[str], int]:
        """The policies that made them, and how many cannot be read."""
        made = Counter(one.policy_version for one in self)
        return list(made), len(self) - made.total()


async def _since(log: Log, position: str, most: int) -> _Newest:
    """The newest decisions after a position, the oldest first, and what is said of them."""
    positions = dict.fromkeys(range(PARTITIONS), position)
    newest: list[tuple[tuple[int, int], int, bytes]] = []
    not_given: set[str] = set()
    erasures = 0
    while positions:
        some = dict(islice(positions.items(), _PARTITIONS_AT_ONCE))
        pages: dict[int, list[LogEntry]] = await log.read_logs(some, _PAGE)
        for partition in some:
            page = pages.get(partition, [])
            del positions[partition]
            if len(page) == _PAGE:
                positions[partition] = page[-1].entry_id
        for partition, page in pages.items():
            for entry_id, record in page:
                if record.kind == "decision":
                    one = place_of(entry_id), partition, record.body
                    if len(newest) < most:
                        heapq.heappush(newest, one)
                    else:
                        heapq.heappushpop(newest, one)
                elif record.kind == records.NOT_GIVEN:
                    not_given.add(record.id)
                erasures += record.kind == "erasure"
    return _Newest([body for *_, body in sorted(newest)], frozenset(not_given), erasures)


class RecentCandidates:
    """The candidates of some records of decisions. It can be used from several threads.

    `files` are the rule files of their policies by version; `limit` is how many records were asked
    for at most, `not_given` are ids of decisions that nobody was given.
    """

    def __init__(
        self,
        decided: Collection[DecisionLine] | _Bodies,
        files: dict[str, dict[str, str]],
        *,
        limit: int | None = None,
        not_given: frozenset[str] = frozenset(),
        erasures: int = 0,
        damaged: int = 0,
        unpack: Callable[[str, bytes], Document] | None = None,
        known: Mapping[str, PolicyDefinition] | None = None,
    ) -> None:
        self._records = decided
        self._files = files
        self._not_given = not_given
        self._limit = limit if limit is not None and len(decided) >= limit else None
        self._erasures = erasures
        self._damaged = damaged
        self._unpack = unpack
        self._lock = Lock()
        self._policies: dict[str, PolicyDefinition | None] = dict(known or {})
        self._views: dict[tuple[str, str | None], CountsDatabase] = {}

    @contextmanager
    def counts(self, timezone: str, segment: str | None = None) -> Iterator[Counted]:
        """See `CandidateSource`."""
        key = timezone, segment
        with self._lock:
            if key not in self._views:
                self._views[key] = self._counted(timezone, segment)
        with self._views[key].reading() as database:
            notes = (f"{self._damaged:,} records cannot be read",) if self._damaged else ()
            yield Counted(database, "log", timezone, self._limit, self._erasures, notes)

    def _counted(self, timezone: str, segment: str | None) -> CountsDatabase:
        given: list[Any] = []
        withheld: list[Any] = []
        for one in self._tables():
            given.append(one)
            ids = one.column("decision_id").to_pylist()
            own = [place for place, one_id in enumerate(ids) if one_id in self._not_given]
            if own:
                withheld.append(one.take(own))
        database = CountsDatabase(None)
        facts, segments = self._facts, self._segments(segment)
        database.add("given", count(_batches(given), timezone, facts, segments))
        taken_back = count(_batches(withheld), timezone, facts, segments, not_given=True)
        database.add("withheld", taken_back)
        return database

    def _segments(self, segment: str | None) -> dict[str, Segment]:
        if segment is None:
            return {}
        field, unpack = segment_field(segment), self._unpack
        seen = (
            Seen(one.decision_id, one.decided_at, unpack(one.customer_id, one.document))
            for one in self._records
            if unpack is not None and one.document
        )
        return {slice_of(segment): value_of(field, seen)}

    def _tables(self) -> Iterator[Any]:
        """The records as rows of the archive, by policy."""
        by_policy: defaultdict[tuple[str, bool], list[DecisionLine]] = defaultdict(list)
        for record in self._records:
            key = record.policy_version, records.made_without_store(record)
            by_policy[key].append(record)
        for (version, without_store), own in by_policy.items():
            yield from self._tried(own, None if without_store else self._candidates(version))

    def _tried(
        self, own: list[DecisionLine], candidates: Sequence[CandidateInfo] | None
    ) -> Iterator[Any]:
        """The rows of all; where that fails, of each half, so that only damaged ones are left."""
        try:
            yield decisions_table(own, candidates, {})
        except (ValueError, OverflowError, TypeError, KeyError):
            if len(own) == 1:
                self._damaged += 1
                return
            half = len(own) // 2
            yield from self._tried(own[:half], candidates)
            yield from self._tried(own[half:], candidates)

    def _candidates(self, version: str) -> Sequence[CandidateInfo] | None:
        return candidates_of(self._definition(version))

    def _facts(self, version: str) -> Facts | None:
        definition = self._definition(version)
        return None if definition is None else facts_of(definition)

    def _definition(self, version: str) -> PolicyDefinition | None:
        if version not in self._policies:
            files = self._files.get(version)
            definition = None if files is None else load_files(files, again=True).definition
            self._policies[version] = (
                definition if isinstance(definition, PolicyDefinition) else None
            )
        return self._policies[version]


def _batches(tables: Sequence[Any]) -> Iterator[Any]:
    for table in tables:
        yield from table.to_batches()
