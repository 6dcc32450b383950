"""Tables of imported decisions into an archive: staged outside of it, then added table by table.

What a table has already, by ids, is left out. An archiver, an erasure or another import may write
the archive meanwhile: each commit is made on the state as it is then, or made anew. Whatever ends
an import, importing the same rows again adds what is missing, and nothing twice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from decision.archive.change import TableChange
from decision.archive.errors import ArchiveError
from decision.archive.folder import ArchiveFolder, Step
from decision.archive.known_ids import ID_OF
from decision.archive.layout import DATASETS, write_table
from decision.archive.location import parquet_file
from decision.archive.migration import migrate
from decision.archive.policies import write_policy
from decision.archive.progress import Progress
from decision.archive.table import Table, retried
from decision.archive.tables import is_archive
from decision.core.errors import NextbestError

GROUP: Final = "archive"
"""The reader of the log for whom a new archive is made: that of `nextbest archive`."""

_IMPORTED: Final = "imported"
"""The application transaction of imports: of two on one state of a table, one looks again."""


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
        ArchiveError: the folder has files of a log, but no tables, so that nothing can be added.
    """
    if is_archive(archive):
        folder = ArchiveFolder(archive)
        with folder.writing(exclusive=True):
            migrate(folder)
        table = Table.find(folder, "decisions")
        return {} if table is None else table.feature_types
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
    """Adds what is staged to an archive, which is made if there is none.

    `policies` is version → rule files. Where all rows are known, nothing is changed.

    Raises:
        TypesChanged: see there; nothing was added.
        ArchiveError, OSError: importing again adds what is missing.
    """
    folder = ArchiveFolder(archive, step)
    written = Written(Counter(), Counter())
    pieces: defaultdict[str, list[Piece]] = defaultdict(list)
    for piece in staged.pieces:
        pieces[piece.dataset].append(piece)
    with folder.writing():
        Progress.make(folder, GROUP)
        for version, files in policies.items():
            write_policy(archive, version, files)
        for dataset in DATASETS:
            if pieces[dataset]:
                table = Table.make(folder, dataset)
                if dataset == "decisions":
                    _learn(table, staged.types)
                _add(table, pieces[dataset], written)
    return written


def _learn(table: Table, types: dict[str, str]) -> None:
    def attempt() -> None:
        kept = table.feature_types
        if any(kept.get(name, kind) != kind for name, kind in types.items()):
            raise TypesChanged(f"{table.path}: the archive has learned other features meanwhile")
        table.widen(types)

    retried(table, attempt)


def _add(table: Table, pieces: Sequence[Piece], written: Written) -> None:
    """Adds the rows of one dataset that are new, in one commit."""

    def attempt() -> list[int]:
        change = TableChange(table)
        try:
            counts = []
            for piece in pieces:
                known = _known(table, piece)
                if known == 0:
                    change.add_file(piece.day, piece.path)
                elif known < piece.rows:
                    change.add(piece.day, _fresh(table, piece))
                counts.append(known)
            if change:
                change.commit({_IMPORTED: (table.position(_IMPORTED) or 0) + 1})
        except BaseException:
            change.abandon()
            raise
        return counts

    known = sum(retried(table, attempt))
    written.known[table.name] += known
    written.new[table.name] += sum(piece.rows for piece in pieces) - known


def _is_known(table: Table, piece: Piece, ids: Any) -> Any:
    """Which of some ids the table has, on the date of a piece."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = []
    for path in table.files:
        if path.parent.name == f"date={piece.day}":
            column = parquet_file(path).read([ID_OF[piece.dataset]]).column(0)
            found += column.cast(pa.string()).chunks
    return pc.is_in(ids, value_set=pa.chunked_array(found, pa.string()))


def _known(table: Table, piece: Piece) -> int:
    """How many rows of a piece the archive has already."""
    import pyarrow.compute as pc

    ids = parquet_file(piece.path).read([ID_OF[piece.dataset]]).column(0)
    return pc.sum(_is_known(table, piece, ids)).as_py() or 0


def _fresh(table: Table, piece: Piece) -> Any:
    """The rows of a piece that the archive does not have."""
    import pyarrow.compute as pc

    rows = parquet_file(piece.path).read()
    return rows.filter(pc.invert(_is_known(table, piece, rows.column(ID_OF[piece.dataset]))))
