"""What is known of each file of an archive, made once per file and kept in the folder `_summaries`.

A file of the archive never changes: compaction and erasure put other files in its place, which have
summaries of their own. With a file its summaries go, in the same step (see `Journal`), so what was
erased is in none of them. A summary that is missing or damaged is made again. Where the folder
cannot be written, nothing is kept, and whoever asks keeps the summaries in memory.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Container
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from decision.archive.errors import ArchiveUnavailable
from decision.archive.forgetting import SUFFIX, stem_of
from decision.archive.tables import files
from decision.files import is_remote, write_whole

_TRIES: Final = 3


class FileKey(NamedTuple):
    """A file as it is now; one that was replaced under its name has another key."""

    path: Path
    size: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> FileKey:
        if is_remote(path):  # whose names are never given again
            return cls(path, 0, 0)
        about = path.stat()
        return cls(path, about.st_size, about.st_mtime_ns)

    @property
    def date(self) -> str:
        """The date in UTC of its rows."""
        return self.path.parent.name.removeprefix("date=")

    @property
    def name(self) -> str:
        """A name for what is known of the file."""
        return f"{stem_of(self.path)}-{_digest(f'{self.size} {self.changed}')}"


def keys_of(archive: Path, dataset: str) -> list[FileKey]:
    """The files of a dataset as they are now, by date.

    Raises:
        ArchiveError: a file is missing, or the journal is damaged.
    """
    for _ in range(_TRIES - 1):
        with suppress(FileNotFoundError):  # an erasure put another file in its place
            return [FileKey.of(path) for path in files(archive, dataset)]
    return [FileKey.of(path) for path in files(archive, dataset)]


class Summaries:
    """The summaries of one kind: an Arrow table for each file of a dataset.

    `kind` says all that a summary depends on beside the file: what it is, its format, what was
    asked for. It can be used from several threads and processes: the worst is that two make the
    same one.
    """

    def __init__(self, folder: Path, dataset: str, kind: str) -> None:
        self.dataset = dataset
        self._folder = folder / f"{dataset}-{_digest(kind)}"

    def kept(self, key: FileKey) -> Any:
        """The summary of a file as it is kept; None where it is not there, or damaged."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        with suppress(OSError, pa.ArrowException):
            return pq.read_table(io.BytesIO(self._path(key).read_bytes()))
        return None

    def has(self, key: FileKey) -> bool:
        """Whether there is one, damaged or not."""
        return self._path(key).exists()

    def keep(self, key: FileKey, table: Any) -> None:
        """Keeps the summary of a file, where that is possible and the file is still there."""
        import pyarrow.parquet as pq

        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        path = self._path(key)
        with suppress(OSError, ArchiveUnavailable):
            write_whole(path, buffer.getvalue())
            if not key.path.exists():  # it was replaced meanwhile, and its summaries with it
                path.unlink(missing_ok=True)

    def tidy(self, names: Container[str]) -> None:
        """Removes the summaries of files that are no longer in the archive."""
        with suppress(OSError, ArchiveUnavailable):
            for path in self._folder.glob(f"*{SUFFIX}"):
                if path.stem not in names:
                    path.unlink(missing_ok=True)

    def _path(self, key: FileKey) -> Path:
        return self._folder / f"{key.name}{SUFFIX}"


def release() -> None:
    """Gives memory back that PyArrow keeps for later, after much was read."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


class Job(NamedTuple):
    """A summary that is still to be made."""

    summaries: Summaries
    key: FileKey
    table: Callable[[], Any]

    def done(self) -> bool:
        """Whether it is there by now."""
        return self.summaries.has(self.key)

    def make(self) -> bool:
        """Makes and keeps it; returns whether that was still to be done."""
        if self.done():
            return False
        try:
            self.summaries.keep(self.key, self.table())
        except FileNotFoundError:
            if self.key.path.exists():
                raise
            return False  # it was replaced meanwhile
        return True


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
