"""Where reports take their counts from: an archive, or the newest decisions of a store's log."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from decision.analytics.candidates.counting import query
from decision.archive.query import Database

MEMORY: Final = 512 << 20
"""Bytes that DuckDB may use for the counts of one view; what is beyond goes to a folder."""
THREADS: Final = 2


TABLES: Final = ("ended", "ranked", "won", "best", "totals")


class Counted(NamedTuple):
    """The counts in one database, and what they are of.

    `source` is `archive` or `log`. `limit`: the counts are of the newest so many decisions at most.
    `erased` is how many customers were erased: nothing of theirs is counted. `notes` say in words
    what is not complete.
    """

    database: Database
    source: str
    timezone: str
    limit: int | None = None
    erased: int = 0
    notes: tuple[str, ...] = ()


class CandidateSource(Protocol):
    """Gives the counts of all decisions that it knows, by local days of a time zone."""

    def counts(self, timezone: str, segment: str | None = None) -> AbstractContextManager[Counted]:
        """The counts, for as long as the context is open. `segment` is a field of customers.

        Raises:
            ArchiveError: the archive lacks a file, or one is damaged.
        """


class CountsDatabase:
    """Tables of counts in a database of their own, to which those of files come and go."""

    def __init__(self, scratch: Path | None) -> None:
        import duckdb

        config: dict[str, Any] = {
            "memory_limit": f"{MEMORY >> 20}MiB",
            "threads": THREADS,
            "preserve_insertion_order": False,
        }
        if scratch is not None:
            config["temp_directory"] = str(scratch)
        self._connection = duckdb.connect(config=config)
        self._connection.execute("SET enable_progress_bar = false")
        for table in TABLES:
            self._connection.execute(query("table_of_counts", table))
        atexit.register(_close, weakref.ref(self))  # else DuckDB tells of leaks at the end

    def add(self, name: str, counts: Any) -> None:
        """Adds the counts of one file."""
        self._connection.register("added", counts)
        for table in TABLES:
            self._connection.execute(query("add_counts", table), {"file": name})
        self._connection.unregister("added")

    def remove(self, name: str) -> None:
        """Removes the counts of one file."""
        for table in TABLES:
            self._connection.execute(query("remove_counts", table), {"file": name})

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Changes that are seen together, or not at all."""
        self._connection.begin()
        try:
            yield
        except BaseException:
            self._connection.rollback()
            raise
        self._connection.commit()

    @contextmanager
    def reading(self) -> Iterator[Database]:
        """A cursor, which sees one state of the counts; many threads may have one."""
        cursor = self._connection.cursor()
        try:
            cursor.execute("BEGIN TRANSACTION")
            yield Database(cursor)
        finally:
            cursor.close()

    def close(self) -> None:
        """Closes the database; nothing can be done with it any more."""
        self._connection.close()
        del self._connection


def _close(known: weakref.ref[CountsDatabase]) -> None:
    """Closes a database that is still there, and open."""
    with suppress(AttributeError):
        if (database := known()) is not None:
            database.close()
