"""Which records are archived already: by digests of the ids of the last days, then by the rows.

A record that is logged again while its id is remembered is not archived again. A digest of 8 bytes
per id finds the records that may be known; only these are looked up in the files, so nothing is
lost if two ids have the same digest. Each dataset is asked for itself: after a crash one may have a
record of which another lacks its part.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from decision.archive.layout import day_of
from decision.archive.location import parquet_file
from decision.archive.rows import DecodedEntry, datasets_of
from decision.core.clock import DAY, MILLISECOND
from decision.core.records import DecisionLine, EventRecord, JourneyRecord

REMEMBERED: Final = 8 * DAY
"""One day longer than the API remembers the id of an event."""

ID_OF: Final = {
    "decisions": "decision_id",
    "replays": "decision_id",
    "events": "event_id",
    "outcomes": "event_id",
    "changes": "change_id",
    "journeys": "record_id",
}
"""Dataset → the column that has what identifies a customer's record."""

MADE_OF: Final = {
    "decisions": ("decisions", "replays"),
    "events": ("events", "outcomes"),
    "changes": ("changes",),
    "journeys": ("journeys",),
}
"""The first dataset that has rows of a kind of record → all that may have some."""

Digests = np.ndarray[Any, np.dtype[np.uint64]]
Key = tuple[str, str, str]
Files = Callable[[str], Sequence[Path]]


def identity(entry: DecodedEntry) -> Key:
    """(first dataset, customer, id) of a record, which must be in the archive once."""
    record = entry.record
    if isinstance(record, DecisionLine):
        return "decisions", record.customer_id, record.decision_id
    if isinstance(record, EventRecord):
        return "events", record.customer_id, record.event_id
    if isinstance(record, JourneyRecord):
        return "journeys", record.customer_id, entry.logged.id
    return "changes", record.customer_id, entry.logged.id


def _digests(keys: Iterable[Key]) -> Digests:
    parts = [blake2b("\x00".join(key).encode(), digest_size=8).digest() for key in keys]
    return np.frombuffer(b"".join(parts), np.uint64)


class Fresh(NamedTuple):
    """Records to archive, with the digest of each; and, of each dataset that has its part of some
    already, the numbers of these records."""

    entries: list[DecodedEntry]
    digests: Digests
    has: dict[str, set[int]]


class KnownIds:
    """The ids that an archive knows, by the day they were logged."""

    def __init__(self) -> None:
        self._days: defaultdict[str, list[Digests]] = defaultdict(list)
        self._loaded: set[Path] = set()

    def take_in(self, kept: Sequence[Path]) -> None:
        """Learns what is kept in the files of `_progress`, those that are new here."""
        for path in kept:
            if path not in self._loaded:
                self._load(path)
        self._loaded = set(kept)

    def _load(self, path: Path) -> None:

        day = path.parent.name.removeprefix("date=")
        for raw in parquet_file(path).read().column("digests").to_pylist():
            self._days[day].append(np.sort(np.frombuffer(raw, np.uint64)))
        self._merge(day)

    def _merge(self, day: str) -> None:
        if len(self._days[day]) > _MOST_PARTS:
            self._days[day] = [np.sort(np.concatenate(self._days[day]))]

    def fresh(
        self,
        entries: Sequence[DecodedEntry],
        erased: Container[str],
        files: Files,
        certain: Collection[int] = (),
    ) -> Fresh:
        """Those that are not archived yet, each once.

        Records of the partitions `certain` are always looked up in the `files` of a dataset.
        Archived rows of `erased` customers do not count: they are removed in the same change.
        """
        first = dict(zip(map(identity, reversed(entries)), reversed(entries), strict=True))
        digests = _digests(first)
        known: dict[str, set[Key]] = {}
        maybe = self._maybe(digests)
        if certain:
            maybe |= np.array([entry.partition in certain for entry in first.values()], bool)
        if maybe.any():
            doubtful = [key for key, doubt in zip(first, maybe.tolist(), strict=True) if doubt]
            known = _archived(
                [key for key in doubtful if first[key].record.customer_id not in erased], files
            )
        in_all = {
            key
            for keys in known.values()
            for key in keys
            if all(key in known.get(dataset, ()) for dataset in datasets_of(first[key].record))
        }
        if in_all:
            kept = np.array([key not in in_all for key in first], bool)
            digests = digests[kept]
            for key in in_all:
                del first[key]
        keys = list(first)[::-1]
        has = {
            dataset: {place for place, key in enumerate(keys) if key in own}
            for dataset, own in known.items()
        }
        return Fresh(list(first.values())[::-1], digests[::-1], has)

    def _maybe(self, digests: Digests) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which of the digests are known."""
        found = np.zeros(len(digests), bool)
        for arrays in self._days.values():
            for known in arrays:
                if len(known):
                    places = np.searchsorted(known, digests)
                    places[places == len(known)] = 0
                    found |= known[places] == digests
        return found

    def add(self, new: Mapping[str, Digests], kept: Iterable[Path], oldest: str) -> None:
        """Remembers digests by day, which these files keep; forgets days of before `oldest`."""
        self._loaded.update(kept)
        for day, digests in new.items():
            self._days[day].append(np.sort(digests))
            self._merge(day)
        for day in [day for day in self._days if day < oldest]:
            del self._days[day]


_MOST_PARTS: Final = 8


def oldest_day(now: int) -> str:
    """The first day of which ids are remembered."""
    return day_of(now - REMEMBERED)


def by_day(fresh: Fresh, oldest: str) -> dict[str, Digests]:
    """The digests of records by the day they were logged, without those of before `oldest`."""
    days = np.array([int(entry.entry_id.partition("-")[0]) for entry in fresh.entries], np.int64)
    days = days // (DAY // MILLISECOND)
    found = {
        day_of(number * DAY): fresh.digests[days == number] for number in np.unique(days).tolist()
    }
    return {day: own for day, own in found.items() if day >= oldest}


def _archived(keys: Sequence[Key], files: Files) -> dict[str, set[Key]]:
    """Dataset → the keys that are in its files."""
    import pyarrow.compute as pc

    wanted: defaultdict[str, dict[tuple[str, str], Key]] = defaultdict(dict)
    for key in keys:
        for dataset in MADE_OF[key[0]]:
            wanted[dataset][key[1:]] = key
    found: defaultdict[str, set[Key]] = defaultdict(set)
    for dataset, names in wanted.items():
        column = ID_OF[dataset]
        for path in files(dataset):
            table = parquet_file(path).read(["customer_id", column])
            ids = sorted({name for _, name in names})
            table = table.filter(pc.field(column).isin(ids))
            for pair in zip(*(each.to_pylist() for each in table.columns), strict=True):
                if pair in names:
                    found[dataset].add(names[pair])
    return dict(found)
