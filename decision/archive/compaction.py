"""Merges small files: a service writes several per minute, and readers want few and large ones.

Delta's own optimizing does it, a date at a time. Files that were merged stay
for an hour, for who is reading them.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final, NamedTuple

from decision.archive.folder import ArchiveFolder
from decision.archive.forgetting import forget
from decision.archive.layout import DATASETS, ROWS_OF_A_GROUP
from decision.archive.progress import TABLE
from decision.archive.table import Table, retried
from decision.archive.tables import sizes_of

SMALL: Final = 128 << 20
"""Files below this many bytes are merged, up to this size."""

KEPT: Final = 1
"""Hours that a file stays after it was merged with others."""

_FEWEST: Final = 8
"""Fewer small files of a date are not merged."""


class Merged(NamedTuple):
    """How many files were merged, and into how many."""

    files: int = 0
    into: int = 0


def compact(
    folder: ArchiveFolder, *, small: int = SMALL, fewest: int = _FEWEST, kept: int = KEPT
) -> Merged:
    """Merges the small files of each dataset and date, in one commit per date, and removes those
    that were merged `kept` hours ago.

    A date is skipped while it has fewer than `fewest` small files.

    Raises:
        ArchiveBusy: another process is changing the archive for minutes.
        ArchiveError: a table is damaged.
        OSError: a file cannot be read or written; nothing has changed then.
    """
    files = into = 0
    for name in (*DATASETS, TABLE):
        table = Table.find(folder, name)
        if table is None:
            continue
        for day in _days(table, small, fewest):
            with folder.writing(exclusive=True):
                found = _merge(table, day, small)
            if name != TABLE:
                files += found.files
                into += found.into
        with folder.writing(exclusive=True):
            table.look()
            table.vacuum(kept)
    return Merged(files, into)


def _days(table: Table, small: int, fewest: int) -> list[str]:
    """The dates that have so many small files, and two at least."""
    found: defaultdict[str, int] = defaultdict(int)
    for day, _, size in sizes_of(table.delta):
        found[day] += size < small
    return sorted(day for day, number in found.items() if number >= max(2, fewest))


def _merge(table: Table, day: str, small: int) -> Merged:
    from deltalake import WriterProperties

    written = WriterProperties(compression="ZSTD", max_row_group_size=ROWS_OF_A_GROUP)

    def attempt() -> Merged:
        table.look()
        before = set(table.files)
        with table.rewriting() as options:
            made = table.delta.optimize.compact(
                partition_filters=[("date", "=", day)],
                target_size=small,
                max_concurrent_tasks=1,
                writer_properties=written,
                commit_properties=options,
            )
        forget(table.folder.path, sorted(before.difference(table.files)))
        return Merged(made["numFilesRemoved"], made["numFilesAdded"])

    return retried(table, attempt)
