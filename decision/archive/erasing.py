"""Erases customers from an archive on disk.

Files with rows of theirs are replaced by files without these rows, in one commit per table; then
every replaced file is removed, and with it what is left of it in versions before. Nothing that a
commit says names a customer: it has names of files, and statistics of times. A folder of plain
Parquet files is rewritten file by file. Quarantined records are also removed if the id is in their
bytes. Erasing again changes nothing, and completes what was interrupted. Erasure records stay: they
say that somebody was erased, by pseudonym. Those by which earlier versions named the customer go.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from decision.archive.change import TableChange
from decision.archive.erased import ErasedCustomers
from decision.archive.errors import UnreadableFile
from decision.archive.folder import ArchiveFolder
from decision.archive.forgetting import forget
from decision.archive.layout import DATASETS, QUARANTINE, write_table
from decision.archive.location import parquet_file
from decision.archive.migration import migrate
from decision.archive.table import Table, retried
from decision.archive.tables import is_archive
from decision.files import replacing, write_whole
from decision.progress import SILENT, Progress

COLUMN: Final = "customer_id"
Watch = Callable[[float], None]


class Erased(NamedTuple):
    """How many files were read and how many rewritten, and how many rows were removed."""

    files: int = 0
    rewritten: int = 0
    rows: int = 0

    def plus(self, other: Erased) -> Erased:
        """Both together."""
        return Erased(*(own + more for own, more in zip(self, other, strict=True)))


def erase_from_archive(
    folder: Path, customer_ids: Iterable[str], progress: Progress = SILENT
) -> Erased:
    """Removes every row of these customers from an archive, or from a folder of Parquet files.

    Files without the column `customer_id` are left as they are; a file without any rows left is
    removed.

    Raises:
        UnreadableFile: a file is damaged; fix or remove it, and erase again.
        ArchiveBusy: another process is changing the archive for minutes.
        OSError: a file cannot be written.
    """
    erased = ErasedCustomers(customer_ids)
    with progress.bar("Files") as move:
        if not is_archive(folder):
            return _erase_one_by_one(folder, erased, move)
        own, done = ArchiveFolder(folder), Erased()
        with own.writing(exclusive=True):
            migrate(own)
            for dataset in DATASETS:
                before = done.files

                def moved(number: float, before: int = before) -> None:
                    move(before + number)

                done = done.plus(_erase_from(own, dataset, erased, moved))
            return done.plus(erase_quarantined(folder, erased))


def _erase_from(
    folder: ArchiveFolder, dataset: str, erased: ErasedCustomers, on_file: Watch
) -> Erased:
    table = Table.find(folder, dataset)
    if table is None:
        return Erased()

    def attempt() -> Erased:
        change = TableChange(table)
        try:
            found = erase_in(change, erased, on_file)
            if found.rewritten:
                change.commit()
        except BaseException:
            change.abandon()
            raise
        return found

    found = retried(table, attempt)
    table.vacuum()
    return found


def erase_in(
    change: TableChange, erased: ErasedCustomers, on_file: Watch = lambda done: None
) -> Erased:
    """Makes an erasure part of a change: every file with rows of theirs is replaced.

    Raises:
        UnreadableFile: a file is damaged.
        OSError: a file cannot be written.
    """
    paths = change.table.files
    rewritten = rows = 0
    for number, path in enumerate(paths, 1):
        on_file(number)
        kept, gone = _without(path, erased)
        if gone:
            if len(kept):
                change.add(path.parent.name.removeprefix("date="), kept)
            change.remove(path)
            rewritten += 1
            rows += gone
    return Erased(len(paths), rewritten, rows)


def erase_quarantined(folder: Path, erased: ErasedCustomers) -> Erased:
    """Removes the records that cannot be read and have the id of one of them in their bytes."""
    rewritten = rows = 0
    for path in sorted((folder / QUARANTINE).glob("*.ndjson")):
        lines = path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if not may_be_of(line, erased)]
        if len(kept) < len(lines):
            if kept:
                write_whole(path, b"".join(kept))
            else:
                path.unlink()
            rewritten += 1
            rows += len(lines) - len(kept)
    return Erased(0, rewritten, rows)


def may_be_of(line: bytes, erased: ErasedCustomers) -> bool:
    """Whether a record that cannot be read has the id of one of them in its bytes."""
    try:
        aside = json.loads(line)
        where, body = int(aside["partition"]), base64.b64decode(aside["body"])
        texts = f"{aside['id']} {aside['reason']}".encode()
    except (ValueError, TypeError, KeyError):
        return erased.may_be_in(line)
    return erased.may_be_in(body, where) or erased.may_be_in(texts, where)


def _erase_one_by_one(folder: Path, erased: ErasedCustomers, on_file: Watch) -> Erased:
    paths = sorted(folder.rglob("*.parquet"))
    rewritten = rows = 0
    for number, path in enumerate(paths, 1):
        on_file(number)
        kept, gone = _without(path, erased)
        if not gone:
            continue
        if len(kept):
            with replacing(path) as file:
                write_table(kept, file)
        else:
            path.unlink()
        forget(folder, [path])
        rewritten += 1
        rows += gone
    return Erased(len(paths), rewritten, rows)


def _without(path: Path, erased: ErasedCustomers) -> tuple[Any, int]:
    """(the table without rows of these customers, how many they were); None and 0 if none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        with parquet_file(path) as file:
            if COLUMN not in file.schema_arrow.names:
                return None, 0
            owners = file.read([COLUMN]).column(0).cast(pa.string())
            found = erased.among(owners)
            if not found:
                return None, 0
            theirs = pc.is_in(owners, value_set=pa.array(found, pa.string()))
            counts = pc.value_counts(owners.filter(theirs)).to_pylist()
            erased.count({one["values"]: one["counts"] for one in counts})
            return file.read().filter(pc.invert(theirs)), pc.sum(theirs).as_py()
    except (pa.ArrowException, OSError) as error:
        problem = f"{path} cannot be read: {error}; fix or remove it, and run this again"
        raise UnreadableFile(problem) from error
