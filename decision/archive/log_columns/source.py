"""The columns of one archive, kept in memory and brought up to date at each look."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Final

from decision.archive.damage import naming_damage
from decision.archive.forgetting import FOLDER
from decision.archive.log_columns.made import (
    FORMAT,
    Amount,
    amounts_of,
    changes_of,
    decisions_of,
    events_of,
    nothing_of,
    once_of,
)
from decision.archive.log_columns.state import Amounts, LogState
from decision.archive.query import Database, OpenedLater, open_database
from decision.archive.summaries import FileKey, Job, Summaries, keys_of, release

THREADS: Final = 2
_TRIES: Final = 3
_KEPT: Final = 4
"""Properties with amounts that are kept in memory at once."""

Tables = dict[FileKey, Any]


class LogColumns:
    """What reports on customers need of an archive. It can be used from several threads.

    Of several that ask at once, one brings it up to date. `folder` is where the summaries of files
    are kept: `_summaries` in the archive where nothing else is said.

    >>> from tempfile import mkdtemp
    >>> state = LogColumns(Path(mkdtemp())).state()
    >>> len(state.decided.at), state.people
    (0, 0)
    """

    def __init__(self, archive: Path, folder: Path | None = None) -> None:
        self.archive = archive
        kept = archive / FOLDER if folder is None else folder
        self._folder = kept
        self._decisions = _Dataset(kept, "decisions", "columns", decisions_of)
        self._events = _Dataset(kept, "events", "columns", events_of)
        self._changes = _Dataset(None, "changes", "said", changes_of)
        self._amounts: dict[Amount, tuple[LogState, Amounts]] = {}
        self._of_amounts: dict[Amount, _Dataset] = {}
        self._state: LogState | None = None
        self._doubtful: Any = None
        self._until = 0.0
        self._lock = Lock()

    def state(self) -> LogState:
        """The columns as the archive is now.

        Raises:
            ArchiveError: the archive lacks a file, or one is damaged.
        """
        state = self._state
        if state is not None and self._fresh():
            return state
        with self._looking() as later:
            return self._refreshed(later)

    def with_amounts(self, amount: Amount) -> tuple[LogState, Amounts]:
        """The columns, and the amounts of the events of one type.

        Raises:
            ArchiveError: the archive lacks a file, or one is damaged.
        """
        known = self._amounts.get(amount)
        if known is not None and self._fresh():
            return known
        with self._looking() as later:
            return self._amounts_of(amount, self._refreshed(later), later)

    def follow(self, patience: float) -> None:
        """Brings everything up to date, so that for so many seconds nobody else has to.

        Raises:
            ArchiveError: the archive lacks a file, or one is damaged.
        """
        with self._looking() as later:
            state = self._refreshed(later)
            for amount in list(self._of_amounts):
                self._amounts_of(amount, state, later)
            self._until = time.monotonic() + patience

    def _fresh(self) -> bool:
        return time.monotonic() < self._until

    def _amounts_of(
        self, amount: Amount, state: LogState, later: OpenedLater
    ) -> tuple[LogState, Amounts]:
        known = self._amounts.get(amount)
        if known is None or known[0] is not state:
            dataset = self._of_amounts.pop(amount, None) or self._dataset_of(amount)
            self._of_amounts[amount] = dataset  # the last one that was asked for
            dataset.refresh(self._events.keys, later)
            tables = self._each_once(dataset.tables, amount, later)
            known = self._amounts[amount] = state, state.amounts(tables)
            for name in list(self._of_amounts)[:-_KEPT]:
                del self._of_amounts[name]
                self._amounts.pop(name, None)
        return known

    def jobs(self, amount: Amount | None = None) -> list[Job]:
        """The summaries that are still to be made, also of these amounts; the newest files first.

        Raises:
            ArchiveError: the archive lacks a file.
        """
        datasets = [self._decisions, self._events]
        if amount is not None:
            datasets.append(self._dataset_of(amount))
        return [job for one in datasets for job in one.jobs(keys_of(self.archive, one.dataset))]

    @contextmanager
    def _looking(self) -> Iterator[OpenedLater]:
        with self._lock, naming_damage(self.archive), OpenedLater() as later:
            yield later

    def _dataset_of(self, amount: Amount) -> _Dataset:
        kind = f"amounts {[*amount]!r}"
        return _Dataset(self._folder, "events", kind, partial(amounts_of, amount=amount))

    def _refreshed(self, later: OpenedLater) -> LogState:
        changed = [
            self._taken_in(one, later) for one in (self._decisions, self._events, self._changes)
        ]
        if self._state is None or any(changed):
            self._doubtful = _twice(self._events.tables)
            self._state = LogState(
                [nothing_of("decisions"), *self._decisions.tables.values()],
                self._each_once(self._events.tables, None, later),
                [nothing_of("changes"), *self._changes.tables.values()],
            )
            release()
        return self._state

    def _taken_in(self, dataset: _Dataset, later: OpenedLater) -> bool:
        for _ in range(_TRIES - 1):
            with suppress(FileNotFoundError):  # an erasure put another file in its place
                return dataset.refresh(keys_of(self.archive, dataset.dataset), later)
        return dataset.refresh(keys_of(self.archive, dataset.dataset), later)

    def _each_once(
        self, tables: Tables, amount: Amount | None, later: OpenedLater
    ) -> Sequence[Any]:
        """The tables without events that are logged more than once, and one that has each once."""
        import pyarrow.compute as pc

        doubtful, nothing = self._doubtful, nothing_of("amounts" if amount else "events")
        if not len(doubtful):
            return [nothing, *tables.values()]
        within = {
            key: pc.is_in(table.column("digest"), value_set=doubtful)
            for key, table in self._events.tables.items()
        }
        paths = [key.path for key, theirs in within.items() if pc.any(theirs).as_py()]
        once = once_of(later.get(), paths, doubtful, amount)
        found = [
            table.filter(pc.invert(pc.is_in(table.column("digest"), value_set=doubtful)))
            for table in tables.values()
        ]
        return [once, *found]


class _Dataset:
    """The summaries of one kind of the files of a dataset, in memory."""

    def __init__(
        self, folder: Path | None, dataset: str, kind: str, make: Callable[[Database, Path], Any]
    ) -> None:
        self.dataset = dataset
        self.tables: Tables = {}
        self._make = make
        self._summaries = None if folder is None else Summaries(folder, dataset, f"{FORMAT} {kind}")

    @property
    def keys(self) -> list[FileKey]:
        """The files that are in."""
        return list(self.tables)

    def jobs(self, keys: Sequence[FileKey]) -> list[Job]:
        """The summaries of files that are neither in nor kept."""
        kept = self._summaries
        if kept is None:
            return []
        new = [key for key in reversed(keys) if key not in self.tables and not kept.has(key)]
        return [Job(kept, key, partial(self._table, key)) for key in new]

    def _table(self, key: FileKey) -> Any:
        with open_database() as database:
            return self._make(database, key.path)

    def refresh(self, keys: Sequence[FileKey], later: OpenedLater) -> bool:
        """Takes in new files and drops those that are gone; returns whether there were any."""
        new = [key for key in keys if key not in self.tables]
        if not new and len(keys) == len(self.tables):
            return False
        with ThreadPoolExecutor(THREADS) as pool:
            made = dict(zip(new, pool.map(self._kept, new), strict=True))
        missing = [key for key, table in made.items() if table is None]
        if missing:
            database = later.get()
            with ThreadPoolExecutor(THREADS) as pool:
                made |= dict(pool.map(partial(self._made, database), missing))
        known = {**self.tables, **made}
        self.tables = {key: known[key] for key in keys}
        if self._summaries is not None:
            self._summaries.tidy({key.name for key in keys})
        return True

    def _kept(self, key: FileKey) -> Any:
        return None if self._summaries is None else self._summaries.kept(key)

    def _made(self, database: Database, key: FileKey) -> tuple[FileKey, Any]:
        with database.beside() as own:
            table = self._make(own, key.path)
        if self._summaries is not None:
            self._summaries.keep(key, table)
        return key, table


def _twice(tables: Tables) -> Any:
    """The digests that several rows have."""
    import numpy as np
    import pyarrow as pa

    parts = [one.column("digest").to_numpy() for one in tables.values()]
    every = np.sort(np.concatenate([np.empty(0, np.uint64), *parts]))
    return pa.array(np.unique(every[1:][every[1:] == every[:-1]]), pa.uint64())
