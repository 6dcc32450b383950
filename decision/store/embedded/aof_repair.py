"""Repairs the end of the embedded Redis' append-only file before it is started.

A crash or a power failure can leave a part of a command, or zeros, at the end. Redis cuts the
first in silence and refuses the second. Here both are cut, what was cut is kept beside the file,
and it is said. What cannot be cut without losing complete commands is refused.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from decision.core.errors import StoreUnavailable
from decision.files import access_hint, sync_folder
from decision.store.embedded.aof import AofDamaged, Fault, find_fault
from decision.store.embedded.rdb import UnknownSnapshot

_MOST_KEPT: Final = 64 << 20
"""Bytes that are cut and kept at most, zeros at the end left out. More is no torn end."""
_COPIES: Final = 8
"""Copies of cut ends that are kept; the oldest go."""
_MOST_FROM_START: Final = 64 << 10
"""A larger file of which nothing is complete is not emptied."""


class Repair(NamedTuple):
    """What was cut from a file, and where it is kept."""

    file: Path
    offset: int
    dropped: int
    reason: str
    kept_in: Path

    def __str__(self) -> str:
        return (
            f"{self.file} {self.reason}: its last {self.dropped} bytes, from byte {self.offset}, "
            f"were dropped; they are kept in {self.kept_in}"
        )


def repair(folder: Path) -> Repair | None:
    """Cuts what is not complete from the end of the data in a folder that no server uses.

    Raises:
        StoreUnavailable: it is damaged elsewhere, or the repair cannot be written.
    """
    file = _last_file(folder)
    if file is None:
        return None
    try:
        fault = find_fault(file)
        if fault is None:
            return None
        _refuse_loss(fault)
        return _cut(folder, file, fault)
    except UnknownSnapshot:
        return None  # Redis reads it, or says why not
    except AofDamaged as error:
        raise StoreUnavailable(
            f"the data of the embedded Redis is damaged and was left as it is: {file}: {error}; "
            f"restore a backup of {folder}, give up all that follows with `redis-check-aof --fix` "
            "(of the system's package redis-tools), or move the folder elsewhere to start empty"
        ) from None
    except OSError as error:
        hint = access_hint(file) if isinstance(error, PermissionError) else ""
        raise StoreUnavailable(
            f"the end of {file}, the data of the embedded Redis, cannot be checked or repaired: "
            f"{error.strerror}{hint}"
        ) from None


def _last_file(folder: Path) -> Path | None:
    """The file whose end may be cut: the only one, or the last that the manifest names."""
    manifest = folder / "appendonlydir" / "appendonly.aof.manifest"
    if not manifest.exists():
        single = folder / "appendonly.aof"
        return single if single.exists() else None
    found = None
    for line in manifest.read_text("utf-8", "replace").splitlines():
        words = line.split()
        about = dict(zip(words[::2], words[1::2], strict=False))
        if "file" in about and about.get("type") != "h":
            found = manifest.with_name(Path(about["file"]).name)
    return found if found is not None and found.exists() else None


def _refuse_loss(fault: Fault) -> None:
    dropped = fault.zeros_from - fault.keep
    if dropped > _MOST_KEPT:
        raise AofDamaged(
            f"it {fault.reason}, and {dropped} bytes from byte {fault.keep} are not complete"
        )
    if fault.keep == 0 and (fault.size > _MOST_FROM_START or fault.garbage):
        raise AofDamaged(f"it {fault.reason}, and nothing before that is complete")


def _cut(folder: Path, file: Path, fault: Fault) -> Repair:
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    copy = folder / f"cut-{now}-at-{fault.keep}.aof"
    end = max(fault.zeros_from, min(fault.size, fault.keep + _MOST_KEPT))
    with file.open("r+b") as data:
        data.seek(fault.keep)
        with copy.open("wb") as kept:
            while (left := end - data.tell()) > 0:
                kept.write(data.read(min(left, 1 << 20)))
            kept.flush()
            os.fsync(kept.fileno())
        sync_folder(folder)
        data.truncate(fault.keep)
        os.fsync(data.fileno())
    for old in sorted(folder.glob("cut-*.aof"))[:-_COPIES]:
        old.unlink(missing_ok=True)
    return Repair(file, fault.keep, fault.size - fault.keep, fault.reason, copy)
