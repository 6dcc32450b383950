"""The tables of the archive, for who reads them: each dataset is a Delta table.

`ARCHIVE/<dataset>` is partitioned by `date` (UTC). What its log `_delta_log` names is the table:
files that were replaced, and files that a process wrote and did not commit, lie beside the others
for a while, so whoever lists `*.parquet` reads too much. `files` names those that count.

A list of files is one state of the table, and stays readable while others write: a replaced file is
removed an hour later. Only an erasure removes files at once; who reads them then is told
(`ArchiveChanged`).
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from decision.archive import earlier
from decision.archive.errors import ArchiveError, is_json_lines
from decision.archive.location import present, storage_options, tag_of
from decision.archive.object_store import reached
from decision.files import is_remote

if TYPE_CHECKING:
    from deltalake import DeltaTable

LOG: Final = "_delta_log"
FORMAT: Final = 1
FORMAT_PROPERTY: Final = "nextbest.format"
_READABLE: Final = frozenset({"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"})
"""What a table may ask of its readers: none of it changes how a data file is read."""
_COUNTED: Final = "delta.dataSkippingNumIndexedCols"
_TRIES: Final = 3


class _Opened:
    """The tables that this process reads, each opened once: then only what is new is read."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[Lock, DeltaTable, object]] = {}
        self._lock = Lock()

    def files(self, path: Path) -> list[Path]:
        """The files of the table as it is now; none where it is not there yet."""
        from deltalake.exceptions import DeltaError

        key = path.absolute()
        with self._lock:
            known = self._known.get(key)
        if known is not None:
            lock, table, mark = known
            try:
                with lock, reached(path):
                    if mark is not None and mark == _mark_of(path, table):
                        before = table.version()
                        table.update_incremental()
                        check(path, table)
                        if table.version() != before:
                            self._keep(key, lock, table)
                        return paths_of(path, table)
            except DeltaError:
                pass  # damaged
        found = open_table(path)
        if found is None:
            return []
        self._keep(key, Lock(), found)
        return paths_of(path, found)

    def _keep(self, path: Path, lock: Lock, table: DeltaTable) -> None:
        kept = lock, table, _mark_of(path, table)
        with self._lock:
            self._known.pop(path, None)
            while len(self._known) >= _MOST:
                del self._known[next(iter(self._known))]
            self._known[path] = kept


def _mark_of(path: Path, table: DeltaTable) -> object:
    """What tells a table from another one in its place; None where nothing does."""
    try:
        if is_remote(path):
            return tag_of(path / LOG / f"{table.version():020}.json")
        return (path / LOG).stat().st_ino
    except FileNotFoundError:
        return None


_MOST: Final = 32
"""How many tables are kept open."""
_opened: Final = _Opened()


def files(folder: Path, dataset: str) -> list[Path]:
    """The files of a dataset by date, each row in exactly one.

    A folder of plain Parquet files (`<dataset>/date=…/*.parquet`) has all of them. If the folder of
    a date was removed, the date is no longer part of the archive.

    Raises:
        ArchiveError: a file is missing, or the log of the table is damaged.
    """
    if earlier.is_there(folder):
        return earlier.files(folder, dataset)
    path = folder / dataset
    if not (path / LOG).is_dir():
        return sorted(
            one for one in path.glob("date=*/*.parquet") if not one.name.startswith((".", "_"))
        )
    missing: list[Path] = []
    for _ in range(_TRIES):
        found = present(_opened.files(path))
        missing = [] if is_remote(path) else [one for one in found if not one.exists()]
        if not missing:
            return found
        time.sleep(0.01)  # an erasure has just removed it
    raise ArchiveError(
        f"{missing[0]} is missing; restore it from a backup, or remove the folder "
        f"{missing[0].parent}"
    )


def is_archive(folder: Path) -> bool:
    """Whether there are tables of ours in a folder, or an archive of an earlier version."""
    return earlier.is_there(folder) or any(folder.glob(f"*/{LOG}"))


def open_table(path: Path) -> DeltaTable | None:
    """A table, as it is now; None where there is none.

    Raises:
        ArchiveError: its log is damaged, or a newer version of nextbest has written it.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    try:
        with reached(path):
            table = DeltaTable(str(path), storage_options=storage_options(path))
    except TableNotFoundError:
        return None
    except DeltaError as error:
        raise unusable(path, error) from error
    check(path, table)
    return table


def check(path: Path, table: DeltaTable) -> None:
    """Refuses a table that this version would read or write wrongly.

    Raises:
        ArchiveError: see above.
    """
    protocol = table.protocol()
    unknown = sorted(set(protocol.reader_features or ()) - _READABLE)
    if unknown or protocol.min_reader_version == 2:
        raise ArchiveError(
            f"{path} uses {', '.join(unknown) or 'column mapping'}, with which its Parquet files "
            "do not have what the table says; another program has set that: take it back there, or "
            "write the rows to a table without it"
        )
    written = table.metadata().configuration.get(FORMAT_PROPERTY, str(FORMAT))
    if not written.isdigit() or int(written) > FORMAT:
        raise ArchiveError(
            f"{path} has format {written}, this nextbest reads {FORMAT}; upgrade nextbest"
        )


def paths_of(path: Path, table: DeltaTable) -> list[Path]:
    """The files of the table at a path, named by that path, whatever links lead there."""
    import pyarrow as pa

    found = pa.table(table.get_add_actions(flatten=True)).column("path")
    return [path / unquote(one) for one in found.to_pylist()]


def sizes_of(table: DeltaTable) -> list[tuple[str, str, int]]:
    """(date, path within the table, bytes) of each file."""
    import pyarrow as pa

    found = pa.table(table.get_add_actions(flatten=True)).select(
        ["partition.date", "path", "size_bytes"]
    )
    rows = zip(*(column.to_pylist() for column in found.columns), strict=True)
    return [(day, unquote(path), size) for day, path, size in rows]


def unusable(path: Path, error: Exception) -> ArchiveError:
    """What to do about a table that cannot be opened."""
    said = str(error).splitlines()[0]
    if re.search(r"is not supported|Unsupported minimum", said):
        return ArchiveError(
            f"{path} cannot be read: {said.removeprefix('Kernel error: ')}; a newer version of "
            "nextbest or another program has written it: upgrade nextbest"
        )
    for one in sorted((path / LOG).glob("*.json"), reverse=True):
        if not is_json_lines(one):
            return ArchiveError(f"{one} is damaged: {said}; restore it from a backup")
    return ArchiveError(f"{path / LOG} cannot be read: {said}; restore it from a backup")


def properties(time: str | None, **more: str) -> dict[str, str]:
    """The properties of a new table, whose times are in a column, if it has any.

    Statistics in the log are of times alone: those of texts would name customers.
    """
    kept = {"delta.dataSkippingStatsColumns": time} if time else {_COUNTED: "0"}
    return {
        FORMAT_PROPERTY: str(FORMAT),
        "delta.checkpointInterval": "20",
        "delta.logRetentionDuration": "interval 1 days",
        "delta.deletedFileRetentionDuration": "interval 1 hours",
        **kept,
        **more,
    }


def statistics(rows: int, column: str, times: Any) -> str:
    """What the log says of a file: how many rows, and the least and the greatest time."""
    import pyarrow.compute as pc

    found: dict[str, Any] = {"numRecords": rows}
    ends = pc.min_max(times).as_py() if times is not None else {"min": None}
    if ends["min"] is not None:
        found |= {f"{end}Values": {column: _text(ends[end])} for end in ("min", "max")}
        found["nullCount"] = {column: times.null_count}
    return json.dumps(found)


def _text(moment: Any) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}Z"
