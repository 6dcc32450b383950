"""Some columns of one Parquet file in batches, their texts as dictionaries where that is possible.

A text that repeats is then read once per group of rows, and looked up by number. Columns are named
by their paths within the file, such as `candidates.list.element.message`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from decision.archive.location import parquet_file


def column_batches(
    path: Path, columns: Sequence[str], texts: Sequence[str], rows: int, metadata: Any = None
) -> Iterator[Any]:
    """The columns, in batches of up to so many rows, in order; `texts` are those to look up.

    `metadata` is that of the file, where it has been read already.

    Raises:
        ArrowException, OSError: the file cannot be read.
    """
    import pyarrow as pa

    with parquet_file(path, read_dictionary=list(texts), metadata=metadata) as file:
        for group in range(file.num_row_groups):
            options: dict[str, Any] = {"row_groups": [group], "columns": list(columns)}
            done = 0
            try:
                for batch in file.iter_batches(rows, **options):
                    done += len(batch)
                    yield batch
            except pa.ArrowNotImplementedError:
                # A column has several dictionaries, or its dictionary ends part-way.
                with parquet_file(path) as plain:
                    for batch in plain.iter_batches(rows, **options):
                        again = min(done, len(batch))
                        done -= again
                        if again < len(batch):
                            yield batch.slice(again)


def leaves(path: Path) -> dict[str, bool]:
    """The paths of all columns of a file, those within lists and structs included, and whether
    each has texts.

    Raises:
        ArrowException, OSError: the file cannot be read.
    """
    return leaves_of(metadata_of(path))


def leaves_of(metadata: Any) -> dict[str, bool]:
    """As `leaves`, of a file's metadata."""
    columns = [metadata.schema.column(number) for number in range(len(metadata.schema))]
    return {one.path: one.physical_type == "BYTE_ARRAY" for one in columns}


def metadata_of(path: Path) -> Any:
    """What a file says of itself.

    Raises:
        ArrowException, OSError: the file cannot be read.
    """
    with parquet_file(path) as file:
        return file.metadata


def rows_with(path: Path, column: str, values: int) -> int:
    """So many rows of a file have about this number of values in a column of lists, at least 1."""

    with parquet_file(path) as file:
        if not file.num_row_groups:
            return values
        group = file.metadata.row_group(0)
        own = [group.column(number) for number in range(group.num_columns)]
        held = next((one.num_values for one in own if one.path_in_schema == column), 0)
        return max(1, int(values * group.num_rows // max(1, held)))
