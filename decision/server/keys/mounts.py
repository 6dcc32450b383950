"""Files that are mounted alone, as containers do: replaced outside, they stay the old ones here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

MOUNT_THE_FOLDER: Final = (
    "mount its folder instead: a file that is replaced outside stays the old one here, and a "
    "revoked key stays valid until the container is restarted"
)

_MOUNTS: Final = Path("/proc/self/mountinfo")
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


def is_mounted_alone(path: str | Path) -> bool:
    """Whether this very file, and not its folder, is a mount point; false where nothing tells."""
    try:
        mounts = _MOUNTS.read_text(errors="replace").splitlines()
        found = str(Path(path).resolve())
    except (OSError, RuntimeError):
        return False
    places = (_ESCAPED.sub(lambda code: chr(int(code[1], 8)), line.split()[4]) for line in mounts)
    return found in places
