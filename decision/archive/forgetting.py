"""What is kept beside a file of the archive goes with it: its summaries (see `summaries`)."""

from __future__ import annotations

from contextlib import suppress
from glob import escape
from pathlib import Path
from typing import Final

FOLDER: Final = "_summaries"
SUFFIX: Final = ".summary"


def stem_of(path: Path) -> str:
    """How the summaries of a file are named, but for the state of the file."""
    return f"{path.parent.name}-{path.name.partition('.parquet')[0]}"


def forget(archive: Path, path: Path) -> None:
    """Removes the summaries of a file that is no longer in the archive.

    Raises:
        OSError: one cannot be removed.
    """
    for found in (archive / FOLDER).glob(f"*/{escape(stem_of(path))}-*{SUFFIX}"):
        with suppress(FileNotFoundError):
            found.unlink()
