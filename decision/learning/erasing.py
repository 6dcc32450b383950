"""Erasing customers from an archive of Parquet files that is already on disk.

A file that holds rows of theirs is written anew without them and takes the old one's place in one
step, so that whoever reads meanwhile sees the one or the other. Doing it again changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final, NamedTuple

COLUMN: Final = "customer_id"


class Erased(NamedTuple):
    """How many files were read, how many were written anew, and how many rows are gone."""

    files: int = 0
    rewritten: int = 0
    rows: int = 0


class UnreadableFile(ValueError):
    """A file of the archive cannot be read; those before it are done."""


def erase_from_archive(
    folder: Path,
    customer_ids: Collection[str],
    on_file: Callable[[float], None] = lambda done: None,
) -> Erased:
    """Rewrites every Parquet file below a folder without the rows of these customers.

    Files without the column `customer_id` are left as they are; a file of which nothing is left
    is removed. `on_file` is told how many files have been looked at.

    Raises:
        UnreadableFile: a file is damaged; mend or remove it, and erase again.
        OSError: a file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted = pa.array(sorted(customer_ids), pa.string())
    paths = sorted(folder.rglob("*.parquet"))
    rewritten = rows = 0
    for number, path in enumerate(paths, 1):
        on_file(number)
        try:
            file = pq.ParquetFile(path)
            if COLUMN not in file.schema_arrow.names:
                continue
            column = file.read([COLUMN]).column(COLUMN).cast(pa.string())
            theirs = pc.is_in(column, value_set=wanted)
            gone = pc.sum(theirs).as_py() or 0
            if not gone:
                continue
            kept = file.read().filter(pc.invert(theirs))
        except (pa.ArrowException, OSError) as error:
            raise UnreadableFile(f"{path} cannot be read: {error}") from error
        _replace(path, kept, pq.write_table)
        rewritten += 1
        rows += gone
    return Erased(len(paths), rewritten, rows)


def _replace(path: Path, kept: object, write: Callable[..., object]) -> None:
    """Puts a table in a file's place; removes the file where the table is empty."""
    if not len(kept):  # type: ignore[arg-type]
        path.unlink()
        return
    aside = path.with_name(f".{path.name}.erasing")
    write(kept, aside)
    with aside.open("rb") as file:
        os.fsync(file.fileno())
    aside.replace(path)
