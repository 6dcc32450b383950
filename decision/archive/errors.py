"""What can be wrong with an archive."""

from __future__ import annotations

import json
from pathlib import Path

from decision.core.errors import FileError


class ArchiveError(FileError):
    """The archive cannot be used; the text says what to do."""


class UnreadableFile(ArchiveError, ValueError):
    """A file of the archive is damaged; the text names it."""


class ArchiveChanged(ArchiveError):
    """A customer was erased while the archive was read: reading again gives what is there now."""


class ArchiveUnavailable(ArchiveError):
    """The object store of the archive gives no answer, or refuses; nothing is lost."""


class ArchiveBusy(ArchiveError):
    """Another process is writing the archive."""


class ShareTaken(ArchiveBusy):
    """Another process archives this share; `told` says who, without what to do."""

    def __init__(self, told: str, fix: str) -> None:
        super().__init__(f"{told}; {fix}")
        self.told = told


def is_json_lines(path: Path) -> bool:
    """Whether every line of a file is JSON, and there is one."""
    try:
        lines = path.read_bytes().splitlines()
        return bool(lines) and all(isinstance(json.loads(line), dict) for line in lines)
    except (OSError, ValueError):
        return False
