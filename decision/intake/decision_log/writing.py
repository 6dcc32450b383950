"""Tables of imported decisions into an archive: staged outside of it, then added in one commit.

What the archive has already, by ids, is left out. An archiver or an erasure may write the archive
meanwhile: the change is made under the journal's lock, on the state as it is then.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import uuid4

from decision.archive.journal import (
    ArchiveError,
    ArchiveManifest,
    ArchiveTransaction,
    Journal,
    Step,
    read_manifest,
)
from decision.archive.layout import DATASETS, write_table
from decision.archive.policies import write_policy
from decision.core.errors import NextbestError

GROUP: Final = "archive"
"""The reader of the log for whom a new archive is made: that of `nextbest archive`."""

_ID: Final = {
    "decisions": "decision_id",
    "replays": "decision_id",
    "events": "event_id",
    "outcomes": "event_id",
}


class TypesChanged(NextbestError):
    """The archive has learned a feature meanwhile, with another type: make the tables again."""


class Piece(NamedTuple):
    """One staged file: rows of a dataset and a day."""

    dataset: str
    day: str
    path: Path
    rows: int


class StagedTables:
    """Tables on disk that are not part of the archive yet. `types` are those of their features."""

    def __init__(self, folder: Path, types: dict[str, str]) -> None:
        self.types = types
        self.pieces: list[Piece] = []
        self._folder = folder
        folder.mkdir(parents=True)

    def add(self, dataset: str, day: str, table: Any) -> None:
        """Adds rows of one day."""
        path = self._folder / f"{len(self.pieces)}.parquet"
        write_table(table, path)
        self.pieces.append(Piece(dataset, day, path, len(table)))


class Written(NamedTuple):
    """Rows by dataset: those that are new, and those that the archive had already."""

    new: Counter[str]
    known: Counter[str]


def feature_types(archive: Path) -> dict[str, str]:
    """The types of features in an archive; a new one has none.

    Raises:
        ArchiveError: the folder has files of a log, but no journal, so that nothing can be added.
    """
    manifest = read_manifest(archive)
    if manifest is not None:
        return dict(manifest.feature_types)
    for dataset in DATASETS:
        if any((archive / dataset).glob("date=*/*.parquet")):
            raise ArchiveError(
                f"{archive} has Parquet files, but `nextbest archive` did not write them, so "
                "nothing can be added safely; import into another folder"
            )
    return {}


def write(
    archive: Path,
    staged: StagedTables,
    policies: dict[str, dict[str, str]],
    step: Step = lambda name: None,
) -> Written:
    """Adds what is staged to an archive, which is made if there is none, in one commit.

    `policies` is version → rule files. Where all rows are known, nothing is changed.

    Raises:
        TypesChanged: see there.
        ArchiveError, OSError: nothing was added.
    """
    journal = Journal(archive, step)
    written = Written(Counter(), Counter())
    with journal.writing():
        manifest = journal.load() or ArchiveManifest(
            archive_id=uuid4().hex, group=GROUP, pseudonymous=True
        )
        kept = manifest.feature_types
        if any(kept.get(name, kind) != kind for name, kind in staged.types.items()):
            raise TypesChanged(f"{archive}: the archive has learned other features meanwhile")
        change = ArchiveTransaction(journal, manifest)
        try:
            for piece in staged.pieces:
                known = _known(archive, manifest, piece)
                if known == 0:
                    change.add_file(piece.dataset, piece.day, piece.path, piece.rows)
                elif known < piece.rows:
                    change.add(piece.dataset, piece.day, _fresh(archive, manifest, piece))
                written.new[piece.dataset] += piece.rows - known
                written.known[piece.dataset] += known
            if written.new.total() == 0:
                return written
            for version, files in policies.items():
                write_policy(archive, version, files)
            change.commit(feature_types={**kept, **staged.types})
        except BaseException:
            change.abandon()
            raise
    return written


def _ids(archive: Path, manifest: ArchiveManifest, piece: Piece) -> list[Any]:
    """The ids that the archive has of a piece's dataset and day, as Arrow arrays."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    start = f"{piece.dataset}/date={piece.day}/"
    found = []
    for name in manifest.files:
        if name.startswith(start):
            column = pq.read_table(archive / name, columns=[_ID[piece.dataset]]).column(0)
            found += column.cast(pa.string()).chunks
    return found


def _is_known(archive: Path, manifest: ArchiveManifest, piece: Piece, ids: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pa.chunked_array(_ids(archive, manifest, piece), pa.string())
    return pc.is_in(ids, value_set=known)


def _known(archive: Path, manifest: ArchiveManifest, piece: Piece) -> int:
    """How many rows of a piece the archive has already."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    start = f"{piece.dataset}/date={piece.day}/"
    if not any(name.startswith(start) for name in manifest.files):
        return 0
    ids = pq.read_table(piece.path, columns=[_ID[piece.dataset]]).column(0)
    return pc.sum(_is_known(archive, manifest, piece, ids)).as_py() or 0


def _fresh(archive: Path, manifest: ArchiveManifest, piece: Piece) -> Any:
    """The rows of a piece that the archive does not have."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(piece.path, partitioning=None)
    ids = table.column(_ID[piece.dataset])
    return table.filter(pc.invert(_is_known(archive, manifest, piece, ids)))
