"""Erases customers from an archive of Parquet files on disk.

Files with rows of theirs are rewritten without these rows. If the archive has a journal, all files
change in one commit; without one, the files change one after another, each in one step.
Quarantined records are also removed if the id is in their bytes. Erasing again changes nothing.
Erasure records stay: they say that the customer was erased.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from decision.archive.journal import ArchiveTransaction, Journal, UnreadableFile, read_manifest
from decision.archive.layout import QUARANTINE, write_table
from decision.core.identifiers import partition_of
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
    folder: Path, customer_ids: Collection[str], progress: Progress = SILENT
) -> Erased:
    """Removes every row of these customers from an archive, or from a folder of Parquet files.

    Files without the column `customer_id` are left as they are; a file without any rows left is
    removed.

    Raises:
        UnreadableFile: a file is damaged; fix or remove it, and erase again.
        ArchiveBusy: another process is changing the archive for minutes.
        OSError: a file cannot be written.
    """
    with progress.bar("Files") as move:
        if read_manifest(folder) is None:
            return _erase_one_by_one(folder, customer_ids, move)
        journal = Journal(folder)
        with journal.writing():
            manifest = journal.load()
            assert manifest is not None
            change = ArchiveTransaction(journal, manifest)
            try:
                found = erase_in(change, folder, customer_ids, move)
                if found.rewritten:
                    change.commit()
            except BaseException:
                change.abandon()
                raise
            return found


def erase_in(
    change: ArchiveTransaction,
    folder: Path,
    customer_ids: Collection[str],
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
        kept, gone = _without(folder / name, customer_ids)
        if gone:
            if len(kept):
                dataset, day, _ = name.split("/")
                change.add(dataset, day.removeprefix("date="), kept)
            change.remove(name)
            rewritten += 1
            rows += gone
    for path in sorted((folder / QUARANTINE).glob("*.ndjson")):
        lines = path.read_bytes().splitlines(keepends=True)
        kept_lines = [line for line in lines if not _may_be_of(line, customer_ids)]
        if len(kept_lines) < len(lines):
            name = f"{QUARANTINE}/{path.name}"
            if kept_lines:
                change.attach(name, b"".join(kept_lines))
            else:
                change.remove(name)
            rewritten += 1
            rows += len(lines) - len(kept_lines)
    return Erased(len(names), rewritten, rows)


def _may_be_of(line: bytes, customer_ids: Collection[str]) -> bool:
    """Whether the bytes of a record that cannot be read contain the id of one of them.

    Only records of the customer's own partition are searched: all of theirs are there, and an id of
    one or two letters would be found in almost any bytes.
    """
    try:
        aside = json.loads(line)
        where, body = int(aside["partition"]), base64.b64decode(aside["body"])
        texts = f"{aside['id']} {aside['reason']}".encode()
    except (ValueError, TypeError, KeyError):
        return any(name.encode() in line for name in customer_ids)
    return any(
        where == partition_of(name) and (name.encode() in body or name.encode() in texts)
        for name in customer_ids
    )


def _erase_one_by_one(folder: Path, customer_ids: Collection[str], on_file: Watch) -> Erased:
    paths = sorted(folder.rglob("*.parquet"))
    rewritten = rows = 0
    for number, path in enumerate(paths, 1):
        on_file(number)
        kept, gone = _without(path, customer_ids)
        if not gone:
            continue
        if len(kept):
            with replacing(path) as file:
                write_table(kept, file)
        else:
            path.unlink()
        rewritten += 1
        rows += gone
    return Erased(len(paths), rewritten, rows)


def _without(path: Path, customer_ids: Collection[str]) -> tuple[Any, int]:
    """(the table without rows of these customers, how many they were); None and 0 if none."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            present = file.schema_arrow.names
            if COLUMN not in present:
                return None, 0
            read = [COLUMN, "kind"] if "change_id" in present else [COLUMN]
            columns = file.read(read)
            wanted = pa.array(sorted(customer_ids), pa.string())
            theirs = pc.is_in(columns.column(COLUMN).cast(pa.string()), value_set=wanted)
            if "kind" in read:
                theirs = pc.and_(theirs, pc.not_equal(columns.column("kind"), "erasure"))
            gone = pc.sum(theirs).as_py() or 0
            return (file.read().filter(pc.invert(theirs)), gone) if gone else (None, 0)
    except (pa.ArrowException, OSError) as error:
        problem = f"{path} cannot be read: {error}; fix or remove it, and run this again"
        raise UnreadableFile(problem) from error
