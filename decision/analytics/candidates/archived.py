"""Counts of an archive: made once per file (see `archive.summaries`), and kept in memory."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any, Final, NamedTuple

from decision.analytics.candidates.counting import Segment, added, batches_of, count, rows_named
from decision.analytics.candidates.facts import Facts, facts_of
from decision.analytics.candidates.segment import seen_on, segment_field, slice_of, value_of
from decision.analytics.candidates.source import THREADS, Counted, CountsDatabase
from decision.archive.damage import naming_damage
from decision.archive.forgetting import FOLDER
from decision.archive.location import parquet_file
from decision.archive.policies import policy_path, read_policy
from decision.archive.summaries import FileKey, Job, Summaries, keys_of, release
from decision.core.clock import from_micros
from decision.core.identifiers import parse_decision_id
from decision.core.records import NOT_GIVEN

_FORMAT: Final = 3
_WITHHELD: Final = b"withheld"
_KEPT: Final = 4
"""Time zones and segments that are kept in memory at once."""


class _Changes(NamedTuple):
    """What one file of changes says: decisions that nobody was given, and erasures."""

    not_given: frozenset[str]
    erasures: int


class _Loaded:
    """The counts for one time zone and segment: which files are in, and what of them is left out.

    `missing` are the policies that a file's counts were made without, `withheld` the decisions that
    were looked for in it because nobody was given them.
    """

    def __init__(self, scratch: Path) -> None:
        self.database = CountsDatabase(scratch)
        self.files: dict[str, FileKey] = {}
        self.missing: dict[str, frozenset[str]] = {}
        self.withheld: dict[str, frozenset[str]] = {}


class ArchivedCandidates:
    """The candidates of all decisions of an archive. It can be used from several threads.

    `folder` is where counts are kept: `_summaries` in the archive where nothing else is said.

    >>> from tempfile import mkdtemp
    >>> with ArchivedCandidates(Path(mkdtemp())).counts("Asia/Shanghai") as found:
    ...     found.database.value("SELECT count(*) FROM totals")
    0
    """

    def __init__(self, archive: Path, folder: Path | None = None) -> None:
        self._archive = archive
        self._folder = archive / FOLDER if folder is None else folder
        self._scratch = TemporaryDirectory(prefix="nextbest-")
        self._lock = Lock()
        self._views: OrderedDict[tuple[str, str | None], _Loaded] = OrderedDict()
        self._policies: dict[tuple[str, bool], Facts | None] = {}
        self._changes: dict[str, _Changes] = {}

    @contextmanager
    def counts(self, timezone: str, segment: str | None = None) -> Iterator[Counted]:
        """See `CandidateSource`; files that are new since the last call are counted first."""
        if segment is not None:
            segment_field(segment)  # refused before anything is read
        with self._lock, naming_damage(self._archive):
            loaded = self._view(timezone, segment)
            erased = self._refreshed(loaded, timezone, segment)
            view = loaded.database.reading()
            database = view.__enter__()
        try:
            yield Counted(database, "archive", timezone, erased=erased)
        finally:
            view.__exit__(None, None, None)

    def jobs(self, timezone: str, segment: str | None = None) -> list[Job]:
        """The counts of files that are still to be made; the newest files first.

        Raises:
            ArchiveError: the archive lacks a file.
            InputError: the segment is no field of customers.
        """
        if segment is not None:
            segment_field(segment)
        summaries = self._summaries(timezone, segment)
        new = [k for k in reversed(keys_of(self._archive, "decisions")) if not summaries.has(k)]
        ungiven = _by_day(self._said()) if new else {}
        return [
            Job(summaries, key, partial(self._counts_of, key, timezone, segment, ungiven))
            for key in new
        ]

    def _view(self, timezone: str, segment: str | None) -> _Loaded:
        key = timezone, segment
        if key not in self._views:
            self._views[key] = _Loaded(Path(self._scratch.name))
        self._views.move_to_end(key)
        while len(self._views) > _KEPT:
            self._views.popitem(last=False)[1].database.close()
        return self._views[key]

    def _refreshed(self, loaded: _Loaded, timezone: str, segment: str | None) -> int:
        """Takes in what changed in the archive; returns how many customers were erased."""
        summaries = self._summaries(timezone, segment)
        keys = {key.name: key for key in keys_of(self._archive, "decisions")}
        changes = self._said()
        ungiven = _by_day(changes)
        gone = [name for name in loaded.files if name not in keys]
        again = [
            name
            for name, versions in loaded.missing.items()
            if any(self._facts(version) is not None for version in versions)
        ]
        new = [name for name in keys if name not in loaded.files or name in again]

        def made(name: str) -> Any:
            return self._summary(summaries, keys[name], timezone, segment, ungiven)

        with loaded.database.changing(), ThreadPoolExecutor(THREADS) as pool:
            for name in (*gone, *again):
                loaded.database.remove(name)
                loaded.files.pop(name, None)
                loaded.missing.pop(name, None)
                loaded.withheld.pop(name, None)
            for name, counts in zip(new, pool.map(made, new), strict=True):
                loaded.database.add(name, counts)
                loaded.files[name] = keys[name]
                loaded.missing[name] = _missing(counts)
                loaded.withheld[name] = _withheld(counts)
            self._withhold(loaded, ungiven, timezone, segment)
        if gone or new:
            summaries.tidy(keys)
            release()
        return sum(one.erasures for one in changes)

    def _summaries(self, timezone: str, segment: str | None) -> Summaries:
        kind = f"candidates {_FORMAT} {timezone} {segment}"
        return Summaries(self._folder, "decisions", kind)

    def _said(self) -> list[_Changes]:
        keys = {key.name: key for key in keys_of(self._archive, "changes")}
        for name, key in keys.items():
            if name not in self._changes:
                self._changes[name] = _changes_in(key.path)
        self._changes = {name: self._changes[name] for name in keys}
        return list(self._changes.values())

    def _facts(self, version: str) -> Facts | None:
        key = version, policy_path(self._archive, version).exists()
        if key not in self._policies:
            definition = read_policy(self._archive, version) if key[1] else None
            self._policies[key] = None if definition is None else facts_of(definition)
        return self._policies[key]

    def _summary(
        self,
        summaries: Summaries,
        key: FileKey,
        timezone: str,
        segment: str | None,
        ungiven: Mapping[str, frozenset[str]],
    ) -> Any:
        """The counts of one file, as they are kept or made now."""
        kept = summaries.kept(key)
        if kept is not None and not any(
            self._facts(version) is not None for version in _missing(kept)
        ):
            return kept
        found = self._counts_of(key, timezone, segment, ungiven)
        summaries.keep(key, found)
        return found

    def _counts_of(
        self,
        key: FileKey,
        timezone: str,
        segment: str | None,
        ungiven: Mapping[str, frozenset[str]],
    ) -> Any:
        """The counts of one file without decisions of which is known that nobody was given them."""
        segments, ids = self._segments(key, segment), ungiven.get(key.date, frozenset())
        taken: list[Any] = []
        batches = _taking(batches_of(key.path), ids, taken)
        found = count(batches, timezone, self._facts, segments)
        less = count(taken, timezone, self._facts, segments, not_given=True)
        return _with_ids(added(found, less), ids)

    def _segments(self, key: FileKey, segment: str | None) -> dict[str, Segment]:
        """What gives decisions of a file their values of a segment."""
        if segment is None:
            return {}
        seen = seen_on(self._archive, key.date)
        return {slice_of(segment): value_of(segment_field(segment), seen)}

    def _withhold(
        self,
        loaded: _Loaded,
        ungiven: Mapping[str, frozenset[str]],
        timezone: str,
        segment: str | None,
    ) -> None:
        """Counts down decisions of which it was said later that nobody was given them."""
        summaries = self._summaries(timezone, segment)
        for name, key in loaded.files.items():
            known = loaded.withheld[name]
            if new := ungiven.get(key.date, frozenset()) - known:
                rows = list(rows_named(key.path, new))
                segments = self._segments(key, segment if rows else None)
                counts = count(rows, timezone, self._facts, segments, not_given=True)
                loaded.database.add(name, counts)
                loaded.withheld[name] = known | new
                if (kept := summaries.kept(key)) is not None and _withheld(kept) == known:
                    summaries.keep(key, _with_ids(added(kept, counts), known | new))


def _by_day(changes: Iterable[_Changes]) -> dict[str, frozenset[str]]:
    """Date → decisions that nobody was given and that may be under it."""
    found: dict[str, set[str]] = {}
    for decision_id in frozenset[str]().union(*(one.not_given for one in changes)):
        for day in _days_near(decision_id):
            found.setdefault(day, set()).add(decision_id)
    return {day: frozenset(ids) for day, ids in found.items()}


def _taking(batches: Iterable[Any], ids: frozenset[str], taken: list[Any]) -> Iterator[Any]:
    """The batches; their rows about these decisions are put into `taken` as well."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pa.array(sorted(ids), pa.string())
    for batch in batches:
        theirs = pc.is_in(batch.column("decision_id"), value_set=wanted)
        if ids and pc.any(theirs).as_py():
            taken.append(batch.filter(theirs))
        yield batch


def _with_ids(counts: Any, ids: frozenset[str]) -> Any:
    """Counts that say which decisions are not in them."""
    return counts.replace_schema_metadata({_WITHHELD: json.dumps(sorted(ids))})


def _withheld(counts: Any) -> frozenset[str]:
    return frozenset(json.loads((counts.schema.metadata or {}).get(_WITHHELD, b"[]")))


def _days_near(decision_id: str) -> list[str]:
    """The dates under which a decision may be, by the time in its id."""
    try:
        day = from_micros(parse_decision_id(decision_id)[0] * 1000).date()
    except ValueError:
        return []
    return [(day + timedelta(days=days)).isoformat() for days in (-1, 0, 1)]


def _changes_in(path: Path) -> _Changes:
    import pyarrow.compute as pc

    with parquet_file(path) as file:
        own = [name for name in ("change_id", "kind") if name in file.schema_arrow.names]
        table = file.read(own)
    if len(own) < 2:
        return _Changes(frozenset(), 0)
    kinds = table.column("kind")
    ids = table.column("change_id").filter(pc.equal(kinds, NOT_GIVEN))
    return _Changes(frozenset(ids.to_pylist()), pc.sum(pc.equal(kinds, "erasure")).as_py() or 0)


def _missing(counts: Any) -> frozenset[str]:
    """The policies that counts were made without."""
    import pyarrow.compute as pc

    own = counts.filter(pc.equal(counts.column("kind"), "policy_missing"))
    return frozenset(own.column("name").to_pylist())
