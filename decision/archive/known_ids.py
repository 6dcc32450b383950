"""Which records are archived already: by digests of the ids of the last days, then by the rows.

A record that is logged again while its id is remembered is not archived again. A digest of 8 bytes
per id finds the records that may be known; only these are looked up in the files, so nothing is
lost if two ids have the same digest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from decision.archive.journal import FOLDER, ArchiveManifest, files
from decision.archive.layout import day_of
from decision.archive.rows import DecodedEntry
from decision.core.clock import DAY, MILLISECOND
from decision.core.records import DecisionRecord, EventRecord, JourneyRecord
from decision.files import write_whole

REMEMBERED: Final = 8 * DAY
"""One day longer than the API remembers the id of an event."""

_MOST_FILES: Final = 8
_COLUMNS: Final = {
    "decisions": "decision_id",
    "events": "event_id",
    "changes": "change_id",
    "journeys": "record_id",
}

Digests = np.ndarray[Any, np.dtype[np.uint64]]


def identity(entry: DecodedEntry) -> tuple[str, str, str]:
    """(dataset, customer, id) of a record, which must be in the archive once."""
    record = entry.record
    if isinstance(record, DecisionRecord):
        return "decisions", record.customer_id, record.decision_id
    if isinstance(record, EventRecord):
        return "events", record.customer_id, record.event_id
    if isinstance(record, JourneyRecord):
        return "journeys", record.customer_id, entry.logged.id
    return "changes", record.customer_id, entry.logged.id


def _digests(keys: Iterable[tuple[str, str, str]]) -> Digests:
    parts = [blake2b("\x00".join(key).encode(), digest_size=8).digest() for key in keys]
    return np.frombuffer(b"".join(parts), np.uint64)


class Fresh(NamedTuple):
    """Records to archive, with the digest of each."""

    entries: list[DecodedEntry]
    digests: Digests


class KnownIds:
    """The ids that an archive knows, by the day they were logged."""

    def __init__(self, archive: Path, manifest: ArchiveManifest) -> None:
        self._archive = archive
        self._days = {day: list(names) for day, names in manifest.known_ids.items()}
        self._digests: dict[str, list[Digests]] = {
            day: [self._load(name) for name in names] for day, names in self._days.items()
        }

    def _load(self, name: str) -> Digests:
        return np.fromfile(self._archive / FOLDER / name, np.uint64)

    def fresh(
        self, entries: Sequence[DecodedEntry], erased: Container[str], certain: Collection[int] = ()
    ) -> Fresh:
        """Those that are not archived yet, each once.

        Records of the partitions `certain` are always looked up in the files. Archived rows of
        `erased` customers do not count: they are removed in the same change.
        """
        first = dict(zip(map(identity, reversed(entries)), reversed(entries), strict=True))
        digests = _digests(first)
        known = set()
        maybe = self._maybe(digests)
        if certain:
            maybe |= np.array([entry.partition in certain for entry in first.values()], bool)
        if maybe.any():
            doubtful = [key for key, doubt in zip(first, maybe.tolist(), strict=True) if doubt]
            known = self._archived(
                [key for key in doubtful if first[key].record.customer_id not in erased]
            )
        if known:
            kept = np.array([key not in known for key in first], bool)
            digests = digests[kept]
            for key in known:
                del first[key]
        return Fresh(list(first.values())[::-1], digests[::-1])

    def _maybe(self, digests: Digests) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which of the digests are known."""
        found = np.zeros(len(digests), bool)
        for arrays in self._digests.values():
            for known in arrays:
                places = np.searchsorted(known, digests)
                places[places == len(known)] = 0
                found |= known[places] == digests
        return found

    def _archived(self, keys: Sequence[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
        """The keys that are in the files."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        wanted: defaultdict[str, set[str]] = defaultdict(set)
        for dataset, _, name in keys:
            wanted[dataset].add(name)
        found = set()
        for dataset, names in wanted.items():
            column = _COLUMNS[dataset]
            for path in files(self._archive, dataset):
                table = pq.read_table(
                    path,
                    columns=["customer_id", column],
                    filters=pc.field(column).isin(list(names)),
                )
                pairs = zip(*(each.to_pylist() for each in table.columns), strict=True)
                found |= {(dataset, customer, name) for customer, name in pairs}
        return found.intersection(keys)

    def add(self, fresh: Fresh, number: int, now: int) -> dict[str, list[str]]:
        """Adds the records that the change with this number archives; returns the files by day.

        `now` is in microseconds; days that are too old are dropped.
        """
        oldest = day_of(now - REMEMBERED)
        days = np.array([int(entry.entry_id.partition("-")[0]) for entry in fresh.entries])
        days = days // (DAY // MILLISECOND)
        for number_of_day in np.unique(days).tolist():
            day = day_of(number_of_day * DAY)
            if day >= oldest:
                self._extend(day, fresh.digests[days == number_of_day], number)
        for day in [day for day in self._days if day < oldest]:
            del self._days[day], self._digests[day]
        return {day: list(names) for day, names in self._days.items()}

    def _extend(self, day: str, digests: Digests, number: int) -> None:
        arrays = self._digests.setdefault(day, [])
        names = self._days.setdefault(day, [])
        arrays.append(np.sort(digests))
        if len(arrays) > _MOST_FILES:
            arrays[:] = [np.sort(np.concatenate(arrays))]
            names.clear()
        name = f"ids-{day}-{number:012d}"
        write_whole(self._archive / FOLDER / name, arrays[-1].tobytes())
        names.append(name)
