"""Which file of an archive is damaged, found by reading each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from decision.archive.errors import ArchiveChanged, ArchiveError, UnreadableFile
from decision.archive.layout import DATASETS
from decision.archive.location import parquet_file
from decision.archive.tables import files


def damaged(paths: Iterable[Path]) -> str | None:
    """The first file that cannot be read, with the reason and the fix; None if all can be read."""
    import pyarrow as pa

    for path in paths:
        try:
            with parquet_file(path) as file:
                for _ in file.iter_batches():
                    pass
        except (pa.ArrowException, OSError) as error:
            said = str(error).splitlines()[0]
            return f"{path} cannot be read as Parquet: {said}; restore it from a backup"
    return None


@contextmanager
def naming_damage(archive: Path) -> Iterator[None]:
    """Names the damaged file, if reading the archive fails for that reason.

    Raises:
        ArchiveChanged: an erasure removed a file that was to be read.
        UnreadableFile: a file is damaged, or lacks a column that is needed.
    """
    import duckdb
    import pyarrow as pa

    try:
        yield
    except ArchiveError:
        raise
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        found = damaged(path for dataset in DATASETS for path in files(archive, dataset))
        if found is None and _is_gone(error):
            raise ArchiveChanged(
                f"{archive} changed while it was read: somebody was erased; do it again"
            ) from error
        if found is None and isinstance(error, OSError):
            raise
        reason = str(error).splitlines()[0]
        raise UnreadableFile(found or f"{archive} cannot be read: {reason}") from error


def _is_gone(error: Exception) -> bool:
    """Whether a file was not there any more. DuckDB says so in words only."""
    words = ("No files found that match", "No such file or directory")
    return isinstance(error, FileNotFoundError) or any(one in str(error) for one in words)
