"""The journal: the files of the archive, and how much of the log is in them.

`_journal/manifest.json` names every file and, for each partition, the last entry of the log that is
archived. It is replaced in one rename, and that rename is the commit. A change has these steps:

1. New files are written under hidden names (`.part-….parquet.tmp`) and synced.
2. The manifest that names them is put in place: from now on they count.
3. They get their real names, and files that they replace are removed.
4. Only then the log may be trimmed.

After a crash before step 2 nothing has changed, and the next run removes the hidden files. After a
crash later on, the next run completes the steps. So every record is in the archive exactly once,
whenever a process dies.

Readers that use `files` see exactly what a manifest names. Readers that list `*.parquet` see only
committed files; while small files are merged or a customer is erased, they may miss rows for the
moment between two renames, but they never see rows twice.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from decision.archive.forgetting import forget
from decision.archive.layout import DATASETS, POLICIES, QUARANTINE, REGISTERS, write_tables
from decision.core.errors import FileError
from decision.files import read_regular, sync_file, sync_folder, write_whole

FOLDER: Final = "_journal"
FORMAT: Final = 1
_PATIENCE: Final = 2.0
"""Seconds to wait for a rename in progress."""

Step = Callable[[str], None]
"""Called with the name of every step; tests end the process there."""


class ArchiveError(FileError):
    """The archive cannot be used; the text says what to do."""


class UnreadableFile(ArchiveError, ValueError):
    """A file of the archive is damaged; the text names it."""


class ArchiveChanged(ArchiveError):
    """A customer was erased while the archive was read: reading again gives what is there now."""


class ArchiveBusy(ArchiveError):
    """Another process is writing the archive."""


class ArchiveManifest(msgspec.Struct, kw_only=True):
    """One state of the archive.

    `positions`: partition → last archived entry of the log. `files`: path → number of rows.
    `added` and `removed`: what the latest change had to rename and remove after the manifest was
    written. `feature_types`: see `features`. `known_ids`: day → files of digests. `pseudonymous`:
    no erasure has the customer's id (see `pseudonymous`).
    """

    archive_id: str
    group: str
    format: int = FORMAT
    number: int = 0
    positions: dict[int, str] = {}
    files: dict[str, int] = {}
    added: list[str] = []
    removed: list[str] = []
    feature_types: dict[str, str] = {}
    known_ids: dict[str, list[str]] = {}
    pseudonymous: bool = False


_decode = msgspec.json.Decoder(ArchiveManifest).decode


def read_manifest(folder: Path) -> ArchiveManifest | None:
    """The manifest of an archive; None if the folder has none.

    Raises:
        ArchiveError: it is damaged, or has another format.
    """
    path = folder / FOLDER / "manifest.json"
    try:
        found = _decode(read_regular(path))
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise ArchiveError(f"{path} is damaged: {error}; restore it from a backup") from error
    if found.format != FORMAT:
        raise ArchiveError(
            f"{path} has format {found.format}, this nextbest reads {FORMAT}; upgrade nextbest"
        )
    return found


def hidden(path: Path) -> Path:
    """The name of a file before its commit: no pattern for Parquet files matches it."""
    return path.with_name(f".{path.name}.tmp")


def files(folder: Path, dataset: str) -> list[Path]:
    """The files of a dataset by date, each row in exactly one; all files if there is no journal.

    If the folder of a date was removed, the date is no longer part of the archive. A file may be
    replaced (by merging or erasing) between this call and opening it: see `reading`.

    Raises:
        ArchiveError: a file is missing, or the journal is damaged.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        manifest = read_manifest(folder)
        if manifest is None:
            return sorted(
                path
                for path in (folder / dataset).glob("date=*/*.parquet")
                if not path.name.startswith((".", "_"))
            )
        own = sorted(name for name in manifest.files if name.startswith(f"{dataset}/"))
        found = [folder / name for name in own]
        missing = [path for path in found if not path.exists()]
        if not missing:
            return found
        if time.monotonic() < deadline and any(path.parent.exists() for path in missing):
            time.sleep(0.005)  # a change is in progress
            continue
        return _as_it_stands(found)


def _as_it_stands(found: list[Path]) -> list[Path]:
    """The files, with hidden names if their commit was interrupted, and without removed dates."""
    paths = []
    for path in found:
        if path.exists():
            paths.append(path)
        elif hidden(path).exists():
            paths.append(hidden(path))
        elif path.parent.exists():
            raise ArchiveError(
                f"{path} is missing; restore it from a backup, or remove the folder {path.parent}"
            )
    return paths


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """While this is open, small files are not merged; an erasure still removes rows at once."""
    path = folder / FOLDER / "readers"
    try:
        lock = path.open("rb")
    except OSError:
        yield  # without a journal nothing is merged; one that we may not open is not ours to hold
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


class Journal:
    """The archive of one folder, for the process that writes it."""

    def __init__(self, folder: Path, step: Step = lambda name: None) -> None:
        self.folder = folder
        self.step = step

    @contextmanager
    def alone(self) -> Iterator[None]:
        """For the lifetime of an archiver: a second one for the folder is refused.

        Raises:
            ArchiveBusy: there is one already.
            OSError: the folder cannot be written.
        """
        self._prepare()
        with self._open("archiver") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                pid = lock.read().decode(errors="replace").strip()
                raise ArchiveBusy(
                    f"{self.folder} is being written by another nextbest archive"
                    f"{f' (process {pid})' if pid else ''}; stop that one first"
                ) from None
            lock.truncate(0)
            lock.write(f"{os.getpid()}".encode())
            lock.flush()
            yield

    @contextmanager
    def writing(self, *, patience: float = 300.0) -> Iterator[None]:
        """For one change: waits while another process makes one.

        Raises:
            ArchiveBusy: that takes longer than `patience`, in seconds.
            OSError: the folder cannot be written.
        """
        self._prepare()
        deadline = time.monotonic() + patience
        with self._open("lock") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise ArchiveBusy(
                            f"{self.folder}: another process is still writing; try again later"
                        ) from None
                    time.sleep(0.02)
            yield

    @contextmanager
    def without_readers(self) -> Iterator[bool]:
        """Whether no process holds `reading`; if true, new readers wait."""
        with self._open("readers") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def load(self) -> ArchiveManifest | None:
        """The manifest, after completing or removing what a crash has left.

        Call it within `writing`.
        """
        manifest = read_manifest(self.folder)
        if manifest is not None:
            self._finish(manifest)
            manifest.files = {
                name: rows
                for name, rows in manifest.files.items()
                if (self.folder / name).parent.exists()
            }
        for dataset in DATASETS:
            for stray in (self.folder / dataset).glob("date=*/.*.tmp"):
                stray.unlink()
        for name in (FOLDER, POLICIES, REGISTERS, QUARANTINE):
            for stray in (self.folder / name).glob(".*.tmp"):
                stray.unlink()
        used = {name for names in manifest.known_ids.values() for name in names} if manifest else ()
        for ids in (self.folder / FOLDER).glob("ids-*"):
            if ids.name not in used:
                ids.unlink()
        return manifest

    def commit(self, manifest: ArchiveManifest) -> None:
        """Puts a manifest in place, with its `added` files staged, and carries it out."""
        self.step("before the manifest")
        write_whole(self.folder / FOLDER / "manifest.json", msgspec.json.encode(manifest))
        self.step("after the manifest")
        self._finish(manifest)

    def _finish(self, manifest: ArchiveManifest) -> None:
        """Gives added files their names and removes what they replace. Can be repeated.

        Until the next change is committed, a crash of the machine may undo this: then the next run
        does it again from the manifest.
        """
        for name in manifest.added:
            path = self.folder / name
            with suppress(FileNotFoundError):
                hidden(path).rename(path)
                self.step("after a rename")
        for name in manifest.removed:
            (self.folder / name).unlink(missing_ok=True)
            forget(self.folder, self.folder / name)
            self.step("after a removal")

    def _prepare(self) -> None:
        (self.folder / FOLDER).mkdir(parents=True, exist_ok=True)
        self._open("readers").close()

    def _open(self, name: str) -> IO[bytes]:
        return (self.folder / FOLDER / name).open("a+b")


class ArchiveTransaction:
    """Files to add to the archive and to remove from it, in one commit."""

    def __init__(self, journal: Journal, manifest: ArchiveManifest) -> None:
        self._journal = journal
        self.before = manifest
        self.number = manifest.number + 1
        self.added: dict[str, int] = {}
        self.removed: list[str] = []
        self._attached: list[str] = []

    def add(self, dataset: str, day: str, table: Any) -> str:
        """Stages a table as a new file of a day; returns its path in the archive."""
        return self.add_all(dataset, day, table.schema, [table])

    def add_all(self, dataset: str, day: str, schema: Any, tables: Iterable[Any]) -> str:
        """Stages tables of one schema, one after another, as one new file of a day."""
        path, name = self._stage(dataset, day)
        self._staged(path, name, write_tables(hidden(path), schema, tables))
        return name

    def add_file(self, dataset: str, day: str, source: Path, rows: int) -> None:
        """Stages a copy of a Parquet file, which has so many rows, as a new file of a day."""
        path, name = self._stage(dataset, day)
        shutil.copyfile(source, hidden(path))
        self._staged(path, name, rows)

    def _stage(self, dataset: str, day: str) -> tuple[Path, str]:
        """The path and name of a new file of a day, whose folder is there."""
        name = f"{dataset}/date={day}/part-{self.number:012d}-{len(self.added)}.parquet"
        path = self._journal.folder / name
        if not path.parent.exists():
            path.parent.mkdir(parents=True)
            sync_folder(path.parent.parent)
        self._journal.step("before a file")
        self.added[name] = 0
        return path, name

    def _staged(self, path: Path, name: str, rows: int) -> None:
        self.added[name] = rows
        sync_file(hidden(path))
        self._journal.step("after a file")

    def attach(self, name: str, data: bytes) -> None:
        """Stages a file of the archive that is not part of a dataset."""
        path = self._journal.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._attached.append(name)
        hidden(path).write_bytes(data)
        sync_file(hidden(path))

    def remove(self, name: str) -> None:
        """Removes a file from the archive."""
        self.removed.append(name)

    def commit(self, **changed: Any) -> ArchiveManifest:
        """Commits; `changed` are further fields of the manifest."""
        staged = [*self.added, *self._attached]
        # Also sync the names given by the change before: no later manifest knows them.
        for folder in {
            (self._journal.folder / name).parent for name in [*self.before.added, *staged]
        }:
            if folder.exists():
                sync_folder(folder)
        kept = {name: n for name, n in self.before.files.items() if name not in self.removed}
        after = msgspec.structs.replace(
            self.before,
            number=self.number,
            files={**kept, **self.added},
            added=staged,
            removed=self.removed,
            **changed,
        )
        self._journal.commit(after)
        return after

    def abandon(self) -> None:
        """Removes what was staged, if possible; the next run removes the rest.

        If the manifest is in place already, the change is committed, and the next run completes it.
        """
        try:
            manifest = read_manifest(self._journal.folder)
        except (OSError, ArchiveError):
            return
        if manifest is not None and manifest.number >= self.number:
            return
        for name in [*self.added, *self._attached]:
            with suppress(OSError):
                hidden(self._journal.folder / name).unlink(missing_ok=True)
