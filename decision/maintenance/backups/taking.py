"""A backup is taken: while servers go on, and without them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final, NamedTuple

from decision import __version__
from decision.core.clock import from_micros
from decision.files import replacing
from decision.maintenance.backups.file import FORMAT, BackupWriter, End, Header
from decision.progress import SILENT, Progress
from decision.store.copying import CopiedKeys, CopyStore
from decision.store.kinds_of_keys import customer_of, kind_of

ENDING: Final = ".backup"


class Taken(NamedTuple):
    """What a backup has: the file, its bytes, customers, keys by kind."""

    path: Path
    size: int
    customers: int
    keys: dict[str, int]


def name_in(folder: Path, now: int) -> Path:
    """The file of a backup that is taken at a time, in a folder.

    >>> name_in(Path("/backups"), 0)
    PosixPath('/backups/nextbest-19700101-000000.backup')
    """
    return folder / f"nextbest-{from_micros(now):%Y%m%d-%H%M%S}{ENDING}"


async def take_backup(
    store: CopyStore, path: Path, prefix: str, progress: Progress = SILENT
) -> Taken:
    """Writes all that the store has under a prefix to a file, which appears when it is complete.

    Each customer is as at one moment, with answers, event ids and deliveries; two customers may be
    as at two moments, up to as far apart as the backup takes. What they may need of others comes
    later than they: the log has every decision that their contacts are of, unless it is archived.

    Raises:
        StoreUnavailable: the store does not answer, or keys may have been missed.
        OSError: the file cannot be written.
    """
    keys: dict[str, int] = {}
    frames = customers = 0
    total = await store.count_keys()
    with replacing(path) as file, progress.bar("Backup", total) as moved:
        path.parent.joinpath(file.name).chmod(0o600)  # it has all that is known of customers
        writer = BackupWriter(file)
        began = _now()
        writer.write(
            Header(nextbest_backup=FORMAT, software=__version__, prefix=prefix, taken=began)
        )
        async for portion in store.copies():
            for copied in portion:
                if copied.keys:
                    writer.write(copied)
                    frames += 1
                    customers += _count(copied, keys)
            moved(sum(keys.values()))
        writer.write(End(frames=frames, customers=customers, ended=_now()))
        writer.close()
        size = file.tell()
    return Taken(path, size, customers, keys)


def _count(copied: CopiedKeys, keys: dict[str, int]) -> int:
    """Counts the keys by kind; returns how many customers are among them."""
    customers = 0
    for one in copied.keys:
        if one.part == 0 and one.type != "ends":
            name = kind_of(one.key).name
            keys[name] = keys.get(name, 0) + 1
            customers += customer_of(one.key) is not None
    return customers


def _now() -> int:
    return time.time_ns() // 1000
