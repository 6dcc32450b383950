"""The rows of an archive that one customer's timeline needs: the latest days first, and no more of
them than a page needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from decision.archive.customers import rows_of
from decision.archive.layout import day_of
from decision.archive.tables import files
from decision.archive.whereabouts import Whereabouts
from decision.core.clock import to_micros

MOST_DAYS: Final = 92
"""How many dates are looked at for one page."""


_COLUMNS: Final = {
    "decisions": [
        "decision_id",
        "decided_at",
        "placement",
        "outcome",
        "reason",
        "message",
        "channel",
    ],
}


class ArchivedDay(NamedTuple):
    """What a date has of a customer, by dataset, and the time at which the date begins."""

    begins: int
    rows: dict[str, list[dict[str, Any]]]


def archived_days(
    archive: Path,
    datasets: Sequence[str],
    customer_ids: Sequence[str],
    latest: int,
    enough: Callable[[ArchivedDay], bool],
    whereabouts: Whereabouts | None = None,
) -> int | None:
    """Hands each date, from that of `latest` (microseconds) back, to `enough`, until it says so.

    With `whereabouts`, dates that have nothing of the customer are passed over.

    Returns the time before which nothing was looked at; None where there is nothing more.

    Raises:
        ArchiveError: the archive lacks a file, or one is damaged; it is named.
    """
    days: dict[str, dict[str, list[Path]]] = {}
    for name in datasets:
        own = files(archive, name) if whereabouts is None else whereabouts.files(name, customer_ids)
        for path in own:
            day = path.parent.name.removeprefix("date=")
            days.setdefault(day, {}).setdefault(name, []).append(path)
    begins = None
    for number, day in enumerate(_back_from(days, latest)):
        if begins is not None and number == MOST_DAYS:
            return begins
        begins = _begin_of(day)
        rows = {
            name: rows_of(archive, name, day, customer_ids, _COLUMNS.get(name), paths)
            for name, paths in days[day].items()
        }
        if enough(ArchivedDay(begins, rows)):
            return begins
    return None


def _back_from(days: Iterable[str], latest: int) -> Iterator[str]:
    try:
        last = day_of(latest)
    except (ValueError, OverflowError):
        last = "9999-12-31"
    yield from sorted((day for day in days if day <= last), reverse=True)


def _begin_of(day: str) -> int:
    return to_micros(datetime.fromisoformat(day).replace(tzinfo=UTC))
