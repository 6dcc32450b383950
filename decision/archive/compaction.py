"""Merges small files: a service writes several per minute, and readers want few and large ones."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, Final, NamedTuple

from decision.archive.journal import ArchiveTransaction, Journal

SMALL: Final = 128 << 20
"""Files below this many bytes are merged, up to this size."""

_FEWEST: Final = 8
"""Fewer small files of a date are not merged."""


class Merged(NamedTuple):
    """How many files were merged, and into how many."""

    files: int = 0
    into: int = 0


def compact(journal: Journal, *, small: int = SMALL, fewest: int = _FEWEST) -> Merged:
    """Merges the small files of each dataset and date, in one commit per date.

    A date is skipped while it has fewer than `fewest` small files, and all dates are skipped while
    a process reads (see `journal.reading`). Rows keep their order.

    Raises:
        ArchiveBusy: another process is changing the archive for minutes.
        OSError: a file cannot be read or written; nothing has changed then.
    """
    files = into = 0
    with journal.writing(), journal.without_readers() as free:
        manifest = journal.load() if free else None
        if manifest is None:
            return Merged()
        groups = _groups(journal.folder, manifest.files, small)
        for names in groups:
            if len(names) < fewest:
                continue
            change = ArchiveTransaction(journal, manifest)
            try:
                _merge(change, journal.folder, names)
                manifest = change.commit()
            except BaseException:
                change.abandon()
                raise
            files += len(names)
            into += 1
    return Merged(files, into)


def _groups(folder: Path, files: dict[str, int], small: int) -> list[list[str]]:
    """Files to merge into one: of one dataset and date, in order, `small` bytes at most."""
    days: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(files):
        days[name.rpartition("/")[0]].append(name)
    groups = []
    for names in days.values():
        group: list[str] = []
        size = 0
        for name in names:
            length = (folder / name).stat().st_size
            if length >= small:
                continue
            if size + length > small:
                groups.append(group)
                group, size = [], 0
            group.append(name)
            size += length
        groups.append(group)
    return groups


def _merge(change: ArchiveTransaction, folder: Path, names: list[str]) -> None:
    """Stages one file with the rows of all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schemas = [pq.read_schema(folder / name) for name in names]
    schema = pa.unify_schemas([each.remove_metadata() for each in schemas])

    def tables() -> Any:
        for name in names:
            with pq.ParquetFile(folder / name) as file:
                yield fitted(file.read(), schema)

    dataset, day, _ = names[0].split("/")
    change.add_all(dataset, day.removeprefix("date="), schema, tables())
    for name in names:
        change.remove(name)


def fitted(table: Any, schema: Any) -> Any:
    """The table with all columns of a schema, which has at least those of the table."""
    import pyarrow as pa

    empty = schema.empty_table()
    return pa.concat_tables([empty, table], promote_options="default").cast(schema)
