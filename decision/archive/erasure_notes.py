"""Notes that an archive has followed erasures, for their certificates (see `store.erasures`)."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from decision.archive.journal import UnreadableFile, files
from decision.core.clock import from_micros
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


def _archived(folder: Path) -> Counter[str]:
    """How many records of each erasure are in the archive."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found: Counter[str] = Counter()
    for path in files(folder, "changes"):
        try:
            table = pq.read_table(path, columns=["detail"], filters=pc.field("kind") == "erasure")
        except (pa.ArrowException, OSError) as error:
            raise UnreadableFile(f"{path} cannot be read: {error}") from error
        for detail in table.column(0).to_pylist():
            found[str(json.loads(detail).get("erasure", ""))] += 1
    return found
