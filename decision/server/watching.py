"""Notices that a folder of rules or models has changed, and that the change is complete.

Folders are looked at and not subscribed to: that also sees one that vanishes and comes back, a
mounted volume, a link that is turned, an editor that renames. A look costs a `stat` a file.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_PATIENCE = 8
"""How many looks may find a folder in change before it is read anyway."""


class Watch:
    """Tells a change that is under way from one that is complete: two looks find the same.

    A folder that never rests counts as complete after some looks.
    """

    def __init__(self) -> None:
        self._last: str | None = None
        self._looks = 0

    def settled(self, now: str, known: str | None) -> bool:
        """Whether what is there now differs from what is known, and has come to rest."""
        before, self._last = self._last, now
        self._looks = 0 if now == known else self._looks + 1
        if now != known and (now == before or self._looks > _PATIENCE):
            self._looks = 0
            return True
        return False


def fingerprint(*parts: object) -> str:
    """One short text for all of these; the same for the same parts."""
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def folder_fingerprint(folder: str) -> str:
    """What the rule files below a folder look like: names, inodes, sizes, times. Never raises."""
    found: list[object] = []
    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        try:
            here = Path(place).stat()
        except OSError:
            continue
        if (here.st_dev, here.st_ino) in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        folders[:] = sorted(name for name in folders if name != "tests" and name[0] != ".")
        found.append(place)
        found += [
            file_fingerprint(Path(place, name))
            for name in sorted(files)
            if name.lower().endswith((".yaml", ".yml")) and name[0] != "."
        ]
    return fingerprint(found)


def file_fingerprint(file: Path) -> str:
    """What one file looks like, or that it is not there."""
    try:
        about = file.stat()
    except OSError as error:
        return fingerprint(file, error.errno)
    return fingerprint(file, about.st_ino, about.st_size, about.st_mtime_ns)
