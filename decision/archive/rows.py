"""Records of the log as rows of the archive, by dataset and day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from decision.archive import columns
from decision.archive.decision_rows import decisions_table, replays_table
from decision.archive.layout import day_of, schema_of
from decision.core import records
from decision.core.candidates import CandidateInfo
from decision.core.machines import by_machine
from decision.core.ports import LogRecord
from decision.core.records import ChangeRecord, DecisionLine, EventRecord, JourneyRecord

_WRONG: Final = (msgspec.MsgspecError, ValueError, OverflowError, TypeError, LookupError)
"""What a damaged record may raise; Arrow's errors are among them."""

Record = DecisionLine | EventRecord | ChangeRecord | JourneyRecord
Candidates = Callable[[str], Sequence[CandidateInfo] | None]


class DecodedEntry(msgspec.Struct, frozen=True, gc=False):
    """One record of the log: where it was, what is in it, and the day it belongs to."""

    partition: int
    entry_id: str
    logged: LogRecord
    record: Record
    day: str


class DamagedRecord(NamedTuple):
    """A record that cannot be archived, with the reason."""

    partition: int
    entry_id: str
    logged: LogRecord
    why: str


class Piece(NamedTuple):
    """Rows of one dataset and day."""

    dataset: str
    day: str
    table: Any


def decode(partition: int, entry_id: str, logged: LogRecord) -> DecodedEntry | DamagedRecord:
    """The record of an entry of the log, checked on its own."""
    try:
        record: Record
        match logged.kind:
            case "decision":
                record = records.decode_line(logged.body)
                day = day_of(record.decided_at)
            case "event":
                record = records.decode_event(logged.body)
                day = day_of(record.at)
            case "erasure" | "consent" | "merge" | "not_given":
                record = records.decode_change(logged.body)
                day = day_of(record.at)
            case "journey":
                record = records.decode_journey(logged.body)
                day = day_of(record.at)
            case _:
                raise ValueError(f"a record of kind {logged.kind!r} is not known")
    except _WRONG as error:
        return DamagedRecord(partition, entry_id, logged, str(error))
    return DecodedEntry(partition, entry_id, logged, record, day)


def datasets_of(record: Record) -> tuple[str, ...]:
    """The datasets that have rows of a record."""
    match record:
        case DecisionLine():
            replayed = not records.made_without_store(record)
            return ("decisions", "replays") if replayed else ("decisions",)
        case EventRecord():
            return ("events", "outcomes") if _is_outcome(record) else ("events",)
        case JourneyRecord():
            return ("journeys",)
    return ("changes",)


def _is_outcome(record: EventRecord) -> bool:
    return record.decision_id is not None and not by_machine(record.type, record.properties)


class Rows:
    """Makes tables of entries. `feature_types` grows with every new feature.

    Entries that do not fit into a table are in `damaged` afterwards.
    """

    def __init__(
        self, candidates: Candidates, register: str, feature_types: dict[str, str]
    ) -> None:
        self._candidates = candidates
        self._register = register
        self._types = feature_types
        self.damaged: list[DamagedRecord] = []

    def tables(self, entries: Sequence[DecodedEntry]) -> list[Piece]:
        """The tables of these entries."""
        decided: defaultdict[tuple[str, str, bool], list[DecodedEntry]] = defaultdict(list)
        happened: defaultdict[str, list[DecodedEntry]] = defaultdict(list)
        changed: defaultdict[str, list[DecodedEntry]] = defaultdict(list)
        stepped: defaultdict[str, list[DecodedEntry]] = defaultdict(list)
        for entry in entries:
            match entry.record:
                case DecisionLine() as record:
                    without_store = records.made_without_store(record)
                    decided[entry.day, record.policy_version, without_store].append(entry)
                case EventRecord():
                    happened[entry.day].append(entry)
                case ChangeRecord():
                    changed[entry.day].append(entry)
                case JourneyRecord():
                    stepped[entry.day].append(entry)
        found: list[Piece] = []
        for (day, _version, without_store), own in decided.items():
            make = self._given_without_store if without_store else self._decisions
            found += self._tried(own, partial(make, day))
        for day, own in happened.items():
            found += self._tried(own, partial(_events, day))
        for day, own in changed.items():
            found += self._tried(own, partial(_changes, day))
        for day, own in stepped.items():
            found += self._tried(own, partial(_journeys, day))
        return list(_united(found))

    def _tried(
        self, entries: list[DecodedEntry], make: Callable[[list[DecodedEntry]], list[Piece]]
    ) -> list[Piece]:
        """The tables of all; if that fails, of each half, so that only damaged entries fail."""
        try:
            return make(entries)
        except _WRONG as error:
            if len(entries) == 1:
                one = entries[0]
                why = str(error)
                self.damaged.append(DamagedRecord(one.partition, one.entry_id, one.logged, why))
                return []
            half = len(entries) // 2
            return self._tried(entries[:half], make) + self._tried(entries[half:], make)

    def _decisions(self, day: str, entries: list[DecodedEntry]) -> list[Piece]:
        own = [entry.record for entry in entries if isinstance(entry.record, DecisionLine)]
        candidates = self._candidates(own[0].policy_version)
        types = dict(self._types)
        rows = decisions_table(own, candidates, types)
        replays = replays_table(own, candidates, self._register, rows)
        self._types.update(types)
        return [Piece("decisions", day, rows), Piece("replays", day, replays)]

    def _given_without_store(self, day: str, entries: list[DecodedEntry]) -> list[Piece]:
        """They have no candidates, and saw nothing that could be decided again."""
        own = [entry.record for entry in entries if isinstance(entry.record, DecisionLine)]
        return [Piece("decisions", day, decisions_table(own, None, self._types))]


def _events(day: str, entries: list[DecodedEntry]) -> list[Piece]:
    rows = [entry.record for entry in entries if isinstance(entry.record, EventRecord)]
    about = [row for row in rows if _is_outcome(row)]
    own = {
        "properties": columns.json_texts([row.properties for row in rows]),
        "entry_id": [entry.entry_id for entry in entries],
    }
    events = columns.table(schema_of("events"), rows, own)
    if not about:
        return [Piece("events", day, events)]
    outcomes = columns.table(schema_of("outcomes"), about, {})
    return [Piece("events", day, events), Piece("outcomes", day, outcomes)]


def _changes(day: str, entries: list[DecodedEntry]) -> list[Piece]:
    rows = [entry.record for entry in entries if isinstance(entry.record, ChangeRecord)]
    own = {
        "change_id": [entry.logged.id for entry in entries],
        "kind": [entry.logged.kind for entry in entries],
        "detail": columns.json_texts([row.change for row in rows]),
    }
    return [Piece("changes", day, columns.table(schema_of("changes"), rows, own))]


def _journeys(day: str, entries: list[DecodedEntry]) -> list[Piece]:
    rows = [entry.record for entry in entries if isinstance(entry.record, JourneyRecord)]
    own = {
        "record_id": [entry.logged.id for entry in entries],
        "started": [row.started or None for row in rows],  # 0 where none was
    }
    return [Piece("journeys", day, columns.table(schema_of("journeys"), rows, own))]


def _united(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """One table per dataset and day; those of an earlier policy may lack a feature."""
    found: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
    for piece in pieces:
        found[piece.dataset, piece.day].append(piece.table)
    for (dataset, day), tables in found.items():
        yield Piece(dataset, day, unite(tables) if len(tables) > 1 else tables[0])


def unite(tables: Sequence[Any]) -> Any:
    """Tables of one dataset as one, with every column and feature that any of them has."""
    import pyarrow as pa

    return pa.concat_tables(tables, promote_options="default")
