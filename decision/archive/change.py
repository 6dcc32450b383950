"""A change of one table: files to add and to remove, in one commit."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote
from uuid import uuid4

from decision.archive.errors import ArchiveError
from decision.archive.layout import TIME_OF, write_tables
from decision.archive.location import parquet_file
from decision.archive.table import Table, TableChanged
from decision.archive.tables import paths_of, statistics
from decision.files import copy_file, new_file, sync_folder


class TableChange:
    """Files to add to one table and to remove from it, in one commit."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.rows = 0
        self._added: list[Any] = []
        self._staged: list[Path] = []
        self._removed: list[Path] = []
        self._sent = False
        self._name = f"part-{time.time_ns() // 1_000_000:013d}-{uuid4().hex[:12]}"

    def __bool__(self) -> bool:
        return bool(self._staged or self._removed)

    def add(self, day: str, table: Any) -> None:
        """Stages rows as a new file of a day."""
        with self._stage(day) as file:
            write_tables(file, table.schema, [table])
        self._note(day, table)

    def add_file(self, day: str, source: Path) -> None:
        """Stages a copy of a Parquet file as a new file of a day."""

        with self._stage(day) as file:
            copy_file(source, file)
        self._note(day, parquet_file(source).read([TIME_OF[self.table.name]]))

    @contextmanager
    def _stage(self, day: str) -> Iterator[Path | IO[bytes]]:
        path = self.table.path / f"date={day}" / f"{self._name}-{len(self._staged)}.parquet"
        self.table.folder.step("before a file")
        self._staged.append(path)
        with new_file(path) as file:
            yield file
        self.table.folder.step("after a file")

    def _note(self, day: str, rows: Any) -> None:
        column = TIME_OF.get(self.table.name)
        self._added.append(added(self.table.path, day, self._staged[-1], rows, column))
        self.rows += len(rows)

    def remove(self, path: Path) -> None:
        """Removes a file from the table."""
        self._removed.append(path)

    def commit(self, transactions: Mapping[str, int] | None = None) -> list[Path]:
        """Commits, with these application transactions; returns the files that were added.

        Raises:
            TableChanged: another process was faster; what was staged is gone.
        """
        for folder in {path.parent for path in self._staged}:
            sync_folder(folder)
        self._sent = True
        try:
            self.table.commit(self._added, self._removed, transactions)
        except TableChanged:
            self._sent = False
            self.abandon()
            raise
        return self._staged

    def abandon(self) -> None:
        """Removes what was staged, unless it was committed all the same; what cannot be removed
        goes with the next `vacuum`.

        Where a commit was sent and no answer came, nothing is removed: it may still take effect.
        """
        if self._sent:
            return
        with suppress(OSError, ArchiveError):
            self.table.look()
            for path in set(self._staged).difference(paths_of(self.table.path, self.table.delta)):
                path.unlink(missing_ok=True)


def added(table: Path, day: str, path: Path, rows: Any, column: str | None) -> Any:
    """What a commit says of a file that it adds."""
    from deltalake.transaction import AddAction

    about = path.stat()
    times = None if column is None else rows.column(column)
    return AddAction(
        quote(str(path.relative_to(table)), safe="/=-_.~"),
        about.st_size,
        {"date": day},
        int(about.st_mtime * 1000),
        True,
        statistics(len(rows), column or "", times),
    )
