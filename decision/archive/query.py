"""Queries over an archive: DuckDB in memory, which reads the Parquet files and is closed again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from decision.archive.layout import schema_of

_LEAST_MEMORY: Final = 256 << 20
Parameters = Sequence[Any] | Mapping[str, Any]


class Database:
    """Views of the archive's files, and tables made of them. Values are bound as parameters."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def execute(self, query: str, parameters: Parameters = ()) -> Any:
        """The result of a query, to be fetched."""
        return self.connection.execute(query, parameters)

    def rows(self, query: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """All rows of a result."""
        found: list[tuple[Any, ...]] = self.execute(query, parameters).fetchall()
        return found

    def value(self, query: str, parameters: Parameters = ()) -> Any:
        """The first column of the only row."""
        return self.rows(query, parameters)[0][0]

    def view_files(
        self, name: str, paths: Sequence[Path], columns: str = "*", *, union: bool = False
    ) -> None:
        """Makes a view of Parquet files by whichever writer, with the columns that they have.

        `union`: columns that some files lack are null there; else the first file's hold for all.
        """
        found = self.connection.read_parquet(
            [str(path) for path in paths], hive_partitioning=False, union_by_name=union
        )
        found.project(columns).create_view(name)

    def view_dataset(self, name: str, paths: Sequence[Path], dataset: str = "") -> None:
        """Makes a view with the columns of a dataset (named like the view if not given).

        What a file lacks is null; without files there are no rows.
        """
        import pyarrow.dataset as ds

        schema = schema_of(dataset or name)
        data = ds.dataset([str(path) for path in paths], schema=schema, format="parquet")
        self.connection.register(name, data if paths else schema.empty_table())


@contextmanager
def open_database(memory: int | None = None, scratch: Path | None = None) -> Iterator[Database]:
    """A database for as long as the context is open.

    `memory` (bytes) bounds what DuckDB uses, 256 MiB at least; what does not fit goes to `scratch`.
    With these, rows come in any order.
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
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")  # stdout is not DuckDB's to write to
        yield Database(connection)
    finally:
        connection.close()
