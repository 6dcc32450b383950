"""What is kept beside a file of the archive goes with it: its summaries (see `summaries`)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

FOLDER: Final = "_summaries"
SUFFIX: Final = ".summary"


def stem_of(path: Path) -> str:
    """How the summaries of a file are named, but for the state of the file."""
    return f"{path.parent.name}-{path.name.partition('.parquet')[0]}"


def forget(archive: Path, paths: Sequence[Path]) -> None:
    """Removes the summaries of files that are no longer in the archive.

    Raises:
        OSError: one cannot be removed.
    """
    stems = {stem_of(path) for path in paths}
    for found in (archive / FOLDER).glob(f"*/*{SUFFIX}") if stems else ():
        if found.name.removesuffix(SUFFIX).rpartition("-")[0] in stems:
            with suppress(FileNotFoundError):
                found.unlink()
