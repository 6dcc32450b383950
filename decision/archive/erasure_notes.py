"""Notes that an archive has followed erasures, for their certificates (see `store.erasures`)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from decision.archive.errors import UnreadableFile
from decision.archive.location import parquet_file
from decision.archive.tables import files
from decision.core.clock import from_micros, to_micros
from decision.core.ports import BlobStore
from decision.store.erasures import ArchiveRemoval, Note, note, notes


class ArchiveNote(NamedTuple):
    """An archive, and what an erasure removed from it; see `ArchiveRemoval`."""

    folder: Path
    group: str
    ids: int
    rows: int | None = None
    files: int | None = None


async def note_archive(blobs: BlobStore, erasure: str, about: ArchiveNote, now: int) -> None:
    """Notes what an erasure removed from an archive; one of an earlier version has no id."""
    if not erasure:
        return
    removed = ArchiveRemoval(
        group=about.group,
        folder=str(about.folder.absolute()),
        at=from_micros(now),
        ids=about.ids,
        rows=about.rows,
        files=about.files,
    )
    await note(blobs, Note(erasure=erasure, at=now, archive=removed))


async def note_missed(blobs: BlobStore, folder: Path, group: str, now: int) -> None:
    """Notes erasures that the archive has committed without noting them: the process died."""
    steps = await notes(blobs)
    noted = {step.erasure for step in steps if step.archive and step.archive.group == group}
    missed = {step.erasure for step in steps if step.store} - noted
    if not missed:
        return
    for erasure, ids in _archived(folder).items():
        if erasure in missed:
            await note_archive(blobs, erasure, ArchiveNote(folder, group, ids), now)


def erasures_in(folder: Path) -> dict[str, int]:
    """Pseudonym → when customers were erased last (microseconds), by an archive.

    Raises:
        UnreadableFile: one of its files is damaged.
    """
    found: dict[str, int] = {}
    for row in _rows(folder, ["customer_id", "at"]):
        at = to_micros(row["at"])
        found[row["customer_id"]] = max(at, found.get(row["customer_id"], at))
    return found


def _archived(folder: Path) -> Counter[str]:
    """How many records of each erasure are in the archive."""
    details = (json.loads(row["detail"]) for row in _rows(folder, ["detail"]))
    return Counter(str(detail.get("erasure", "")) for detail in details)


def _rows(folder: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The records of erasures in the archive."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for path in files(folder, "changes"):
        try:
            table = parquet_file(path).read(["kind", *columns])
            table = table.filter(pc.equal(table.column("kind"), "erasure"))
        except (pa.ArrowException, OSError) as error:
            raise UnreadableFile(f"{path} cannot be read: {error}") from error
        yield from table.to_pylist()
