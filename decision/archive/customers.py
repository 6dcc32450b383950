"""What an archive has of one customer, day by day: of each file the ids first, and only the parts
that hold rows of theirs in full.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from decision.archive.erased import ErasedCustomers
from decision.archive.erasing import may_be_of
from decision.archive.errors import UnreadableFile
from decision.archive.layout import QUARANTINE
from decision.archive.tables import files
from decision.files import open_regular

_TRIES: Final = 3


def days_of(archive: Path, dataset: str) -> dict[str, list[Path]]:
    """The dates of a dataset, `2026-11-21`, the latest first, with the files of each.

    Raises:
        ArchiveError: a file is missing, or the journal is damaged.
    """
    days: dict[str, list[Path]] = {}
    for path in files(archive, dataset):
        days.setdefault(path.parent.name.removeprefix("date="), []).append(path)
    return dict(sorted(days.items(), reverse=True))


def rows_of(
    archive: Path,
    dataset: str,
    day: str,
    customer_ids: Sequence[str],
    columns: Sequence[str] | None = None,
    paths: Sequence[Path] | None = None,
) -> list[dict[str, Any]]:
    """The rows of these customer ids, of one date, with all columns or some. Needs PyArrow.

    `paths` are the files of the date, or those of them that may have such rows.

    Raises:
        UnreadableFile: a file is damaged; it is named.
        ArchiveError: a file is missing, or the journal is damaged.
    """
    for _ in range(_TRIES):
        try:
            if paths is None:
                paths = [one for one in files(archive, dataset) if one.parent.name == f"date={day}"]
            return [row for path in paths for row in _rows(path, customer_ids, columns)]
        except FileNotFoundError:
            paths = None  # meanwhile a file was merged with others, or got its name
    raise UnreadableFile(f"the files of {archive}/{dataset}/date={day} change all the time; again")


def _rows(
    path: Path, customer_ids: Sequence[str], columns: Sequence[str] | None
) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted = pa.array(customer_ids, pa.string())
    try:
        with open_regular(path) as opened, pq.ParquetFile(opened) as file:
            for number in range(file.num_row_groups):
                owners = file.read_row_group(number, columns=["customer_id"]).column(0)
                theirs = pc.is_in(owners.cast(pa.string()), value_set=wanted)
                if pc.any(theirs).as_py():
                    found = file.read_row_group(number, columns=columns).filter(theirs)
                    yield from found.to_pylist()
    except pa.ArrowException as error:
        raise UnreadableFile(f"{path} cannot be read: {error}") from error


def quarantined(archive: Path, customer_ids: Sequence[str]) -> list[str]:
    """The records that nobody could read and that have one of these ids in their bytes."""
    theirs = ErasedCustomers(customer_ids)
    return [
        line.decode(errors="replace")
        for path in sorted((archive / QUARANTINE).glob("*.ndjson"))
        for line in path.read_bytes().splitlines()
        if may_be_of(line, theirs)
    ]
