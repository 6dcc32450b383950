"""Queries over an archive: DuckDB in memory, which reads the Parquet files and is closed again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from decision.archive.layout import schema_of
from decision.archive.location import let_read, parquet_dataset, parquet_file

_LEAST_MEMORY: Final = 256 << 20
Parameters = Sequence[Any] | Mapping[str, Any]


class Database:
    """Views of the archive's files, and tables made from them. Values are bound as parameters."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    @contextmanager
    def beside(self) -> Iterator[Database]:
        """Another connection to the same database, with views of its own, for another thread."""
        cursor = self.connection.cursor()
        try:
            _prepare(cursor)
            yield Database(cursor)
        finally:
            cursor.close()

    def execute(self, query: str, parameters: Parameters = ()) -> Any:
        """Runs a query; its result can be fetched."""
        return self.connection.execute(query, parameters)

    def rows(self, query: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """All rows of a result."""
        found: list[tuple[Any, ...]] = self.execute(query, parameters).fetchall()
        return found

    def table(self, query: str, parameters: Parameters = ()) -> Any:
        """All rows of a result, as an Arrow table."""
        return self.connection.sql(query, params=parameters or None).to_arrow_table()

    def value(self, query: str, parameters: Parameters = ()) -> Any:
        """The first column of the only row."""
        return self.rows(query, parameters)[0][0]

    def view_files(
        self, name: str, paths: Sequence[Path], columns: str = "*", *, union: bool = False
    ) -> None:
        """Makes a view of Parquet files with the columns that they have, whoever wrote them.

        `union`: a column that some files lack is null there; else all must have the first file's.
        """
        let_read(self.connection, paths)
        found = self.connection.read_parquet(
            [str(path) for path in paths], hive_partitioning=False, union_by_name=union
        )
        found.project(columns).create_view(name)

    def view_dataset(self, name: str, paths: Sequence[Path], dataset: str = "") -> None:
        """Makes a view with all columns of a dataset; by default the dataset of the same name.

        A column that a file lacks is null; without files there are no rows.
        """
        schema = schema_of(dataset or name)
        data = parquet_dataset(paths, schema) if paths else schema.empty_table()
        self.connection.register(name, data)

    def scan_dataset(self, name: str, paths: Sequence[Path], dataset: str = "") -> None:
        """As `view_dataset`, read by DuckDB itself: in less time, and in bounded memory.

        Its comparisons trust the files' statistics, which know of no NaN: test for it with `isnan`.
        """

        schema = schema_of(dataset or name)
        self.connection.register(f"{name}_empty", schema.empty_table())
        parts = [f'SELECT * FROM "{name}_empty"']
        groups = groupby(
            paths, lambda path: _known(parquet_file(path).schema_arrow.names, schema.names)
        )
        for number, (columns, group) in enumerate(groups):
            self.view_files(f"{name}_{number}", list(group), columns or "NULL AS nothing")
            parts.append(f'SELECT * FROM "{name}_{number}"')
        listed = ", ".join(f'"{column}"' for column in schema.names)
        query = " UNION ALL BY NAME ".join(parts)
        self.execute(f'CREATE OR REPLACE TEMP VIEW "{name}" AS SELECT {listed} FROM ({query})')


def _known(columns: Sequence[str], dataset: Sequence[str]) -> str:
    """Which columns of a dataset there are, as SQL."""
    return ", ".join(f'"{name}"' for name in dataset if name in columns)


class OpenedLater:
    """A database that is opened where it is needed, and closed at the end of the context."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._database: Database | None = None

    def __enter__(self) -> OpenedLater:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def get(self) -> Database:
        """The database. One thread asks for it first."""
        if self._database is None:
            self._database = self._stack.enter_context(open_database())
        return self._database


@contextmanager
def open_database(memory: int | None = None, scratch: Path | None = None) -> Iterator[Database]:
    """A database, closed at the end of the context.

    `memory` (bytes) limits what DuckDB uses, but not below 256 MiB; the rest spills to `scratch`.
    With a limit, rows come in any order.
    """
    import duckdb

    limits: dict[str, Any] = {}
    if memory is not None:
        limits = {
            "memory_limit": f"{max(memory, _LEAST_MEMORY) >> 20}MiB",
            "temp_directory": str(scratch),
            "preserve_insertion_order": False,
        }
    connection = duckdb.connect(config=limits)
    try:
        _prepare(connection)
        yield Database(connection)
    finally:
        connection.close()


def _prepare(connection: Any) -> None:
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")  # stdout is not DuckDB's to write to
    connection.execute("SET parquet_metadata_cache = true")  # several queries read a file
