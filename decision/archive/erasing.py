"""Erases customers from an archive of Parquet files on disk.

Files with rows of theirs are rewritten without these rows. If the archive has a journal, all files
change in one commit; without one, the files change one after another, each in one step.
Quarantined records are also removed if the id is in their bytes. Erasing again changes nothing.
Erasure records stay: they say that somebody was erased, by pseudonym. Those by which earlier
versions named the customer go.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from decision.archive.erased import ErasedCustomers
from decision.archive.forgetting import forget
from decision.archive.journal import ArchiveTransaction, Journal, UnreadableFile, read_manifest
from decision.archive.layout import QUARANTINE, write_table
from decision.files import replacing
from decision.progress import SILENT, Progress

COLUMN: Final = "customer_id"
Watch = Callable[[float], None]


class Erased(NamedTuple):
    """How many files were read and how many rewritten, and how many rows were removed."""

    files: int = 0
    rewritten: int = 0
    rows: int = 0


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
        if read_manifest(folder) is None:
            return _erase_one_by_one(folder, erased, move)
        journal = Journal(folder)
        with journal.writing():
            manifest = journal.load()
            assert manifest is not None
            change = ArchiveTransaction(journal, manifest)
            try:
                found = erase_in(change, folder, erased, move)
                if found.rewritten:
                    change.commit()
            except BaseException:
                change.abandon()
                raise
            return found


def erase_in(
    change: ArchiveTransaction,
    folder: Path,
    erased: ErasedCustomers,
    on_file: Watch = lambda done: None,
) -> Erased:
    """Makes an erasure part of a change: every file with rows of theirs is replaced.

    Raises:
        UnreadableFile: a file is damaged.
        OSError: a file cannot be written.
    """
    names: Sequence[str] = sorted(change.before.files)
    rewritten = rows = 0
    for number, name in enumerate(names, 1):
        on_file(number)
        kept, gone = _without(folder / name, erased)
        if gone:
            if len(kept):
                dataset, day, _ = name.split("/")
                change.add(dataset, day.removeprefix("date="), kept)
            change.remove(name)
            rewritten += 1
            rows += gone
    for path in sorted((folder / QUARANTINE).glob("*.ndjson")):
        lines = path.read_bytes().splitlines(keepends=True)
        kept_lines = [line for line in lines if not may_be_of(line, erased)]
        if len(kept_lines) < len(lines):
            name = f"{QUARANTINE}/{path.name}"
            if kept_lines:
                change.attach(name, b"".join(kept_lines))
            else:
                change.remove(name)
            rewritten += 1
            rows += len(lines) - len(kept_lines)
    return Erased(len(names), rewritten, rows)


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
        forget(folder, path)
        rewritten += 1
        rows += gone
    return Erased(len(paths), rewritten, rows)


def _without(path: Path, erased: ErasedCustomers) -> tuple[Any, int]:
    """(the table without rows of these customers, how many they were); None and 0 if none."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
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
