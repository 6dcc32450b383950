"""Archives of earlier versions become tables: the same files, which a commit of each table names.

No row is copied. For each dataset a table is made over its files, then `_progress` with the
positions and the digests, and only when every table has the files and rows that the manifest says
is the manifest removed. Until then readers go by it. Whatever dies, the next one to write begins
again where that one came to.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from decision.archive import earlier
from decision.archive.change import added
from decision.archive.earlier import Manifest
from decision.archive.errors import ArchiveError, UnreadableFile
from decision.archive.features import columns_among
from decision.archive.folder import ArchiveFolder
from decision.archive.forgetting import forget
from decision.archive.layout import DATASETS, TIME_OF
from decision.archive.location import parquet_file
from decision.archive.progress import Progress
from decision.archive.table import Table

_MIGRATED: Final = "migrated"
"""The application transaction that says: the files of the manifest are in the table."""


def migrate(folder: ArchiveFolder) -> bool:
    """Makes tables of an archive of an earlier version; returns whether it was one.

    Call it within `ArchiveFolder.writing(exclusive=True)`.

    Raises:
        ArchiveError: its manifest is damaged, or a file is missing or damaged; nothing is lost.
        OSError: a file cannot be read or written.
    """
    path = folder.path
    if folder.is_shared:
        if (path / earlier.FOLDER / "manifest.json").exists():
            raise ArchiveError(
                f"{path} is an archive of an earlier version: it becomes tables in a folder of a "
                "disk only; run `nextbest archive --out FOLDER` there, and copy that folder"
            )
        return False
    if not earlier.is_there(path):
        shutil.rmtree(path / earlier.FOLDER, ignore_errors=True)  # removing it was interrupted
        return False
    manifest = earlier.read(path)
    _finish(path, manifest)
    files = {name: rows for name, rows in manifest.files.items() if (path / name).parent.exists()}
    for dataset in DATASETS:
        own = {name: rows for name, rows in files.items() if name.startswith(f"{dataset}/")}
        if own:
            _make(folder, dataset, own, manifest)
    progress = Progress.make(
        folder, manifest.group, manifest.archive_id, pseudonymous=manifest.pseudonymous
    )
    if progress.table.position(_MIGRATED) is None:
        progress.commit(
            {day: _digests(path, names) for day, names in manifest.known_ids.items()},
            manifest.positions,
            "",
            {_MIGRATED: 1},
        )
    folder.step("before the manifest")
    (path / earlier.FOLDER / "manifest.json").unlink()
    folder.step("after the manifest")
    shutil.rmtree(path / earlier.FOLDER)
    return True


def _finish(path: Path, manifest: Manifest) -> None:
    """Completes the renames of the last change, and removes what was never committed."""
    for name in manifest.added:
        if earlier.hidden(path / name).exists():
            earlier.hidden(path / name).rename(path / name)
    for name in manifest.removed:
        (path / name).unlink(missing_ok=True)
        forget(path, [path / name])
    for dataset in DATASETS:
        for stray in (path / dataset).glob("date=*/.*.tmp"):
            stray.unlink()


def _make(folder: ArchiveFolder, dataset: str, files: dict[str, int], manifest: Manifest) -> None:
    """The table of a dataset, with its files."""
    import pyarrow as pa

    table = Table.make(folder, dataset)
    if table.position(_MIGRATED) is None:
        table.widen(columns_among(manifest.feature_types) if dataset == "decisions" else None)
        actions = []
        for name in sorted(files):
            file = folder.path / name
            try:
                rows = parquet_file(file).read([TIME_OF[dataset]])
            except FileNotFoundError as error:
                raise ArchiveError(
                    f"{file} is missing; restore it from a backup, or remove the folder "
                    f"{file.parent}"
                ) from error
            except pa.ArrowException as error:
                raise UnreadableFile(
                    f"{file} cannot be read: {error}; restore it from a backup"
                ) from error
            if len(rows) != files[name]:
                raise UnreadableFile(
                    f"{file} has {len(rows):,} rows, and the archive wrote {files[name]:,}; "
                    "restore it from a backup"
                )
            day = file.parent.name.removeprefix("date=")
            actions.append(added(table.path, day, file, rows, TIME_OF[dataset]))
        table.commit(actions, transactions={_MIGRATED: 1})
    found, expected = len(table.files), len(files)
    if found != expected:
        raise ArchiveError(
            f"{table.path} has {found:,} files, and the archive of before {expected:,}; remove the "
            f"folder {table.path / '_delta_log'}, and run this again"
        )


def _digests(path: Path, names: Iterable[str]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    parts = [np.fromfile(path / earlier.FOLDER / name, np.uint64) for name in names]
    return np.sort(np.concatenate([np.empty(0, np.uint64), *parts]))
