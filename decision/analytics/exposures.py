"""How many customers and decisions each variant of a test had, and the control groups."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Final

import msgspec

from decision.analytics.segments import NothingFound
from decision.archive.damage import naming_damage
from decision.archive.given import WITHOUT_STORE
from decision.archive.journal import files, reading
from decision.archive.merges import follow_merges, merged_view
from decision.archive.query import open_database
from decision.core import calendar
from decision.core.clock import from_micros, to_micros
from decision.core.schema import Moment

_BEGIN: Final = 0
_END: Final = 1 << 62


class Exposure(msgspec.Struct, frozen=True, kw_only=True):
    """One variant: customers with a decision on which the test had an effect, and those decisions.

    `selected` of the decisions got a message.
    """

    experiment: str
    variant: str
    customers: int
    decisions: int
    selected: int


class ExposureReport(msgspec.Struct, frozen=True, kw_only=True):
    """The variants of all tests of a range, by name, and all decisions beside them.

    `first` and `last` are local days of `timezone`, both included; None: no bound. Of all
    `decisions` of `customers`, `held_out` are of customers in a control group, `held_customers` of
    them. `until` is when the last decision of the archive was made.
    """

    first: date | None
    last: date | None
    timezone: str
    customers: int
    decisions: int
    held_customers: int
    held_out: int
    until: Moment
    exposures: list[Exposure]


def report_exposures(
    archive: Path, *, first: date | None = None, last: date | None = None, timezone: str = "UTC"
) -> ExposureReport:
    """The exposures in an archive. Decisions made without the store do not count.

    A customer who was merged into another counts as that one.

    Raises:
        NothingFound: the archive has no decisions.
        ArchiveError: the archive lacks a file, or one is damaged.
    """
    begin = _BEGIN if first is None else _midnight(first, timezone)
    end = _END if last is None else _midnight(last + timedelta(days=1), timezone)
    if not files(archive, "decisions"):
        raise NothingFound(f"{archive} has no decisions; archive some first: nextbest archive")
    with reading(archive), naming_damage(archive), open_database() as database:
        for name in ("changes", "decisions"):
            database.view_dataset(name, files(archive, name))
        follow_merges(database.execute, "changes")
        until = int(database.value("SELECT max(epoch_us(decided_at)) FROM decisions"))
        database.execute(
            "CREATE TEMP TABLE own AS SELECT customer_id, outcome, experiments, "
            f"coalesce(holdout, false) AS held FROM {merged_view('decisions')} "
            f"WHERE NOT {WITHOUT_STORE} AND epoch_us(decided_at) >= $begin "
            "AND epoch_us(decided_at) < $end",
            {"begin": begin, "end": end},
        )
        [totals] = database.rows(
            "SELECT count(DISTINCT customer_id), count(*), "
            "count(DISTINCT customer_id) FILTER (held), count(*) FILTER (held) FROM own"
        )
        rows = database.rows(
            "SELECT one.key, one.value, count(DISTINCT customer_id), count(*), "
            "count(*) FILTER (outcome = 'selected') "
            "FROM own, unnest(map_entries(experiments)) AS entry(one) GROUP BY ALL ORDER BY 1, 2"
        )
    customers, decisions, held_customers, held_out = totals
    return ExposureReport(
        first=first,
        last=last,
        timezone=timezone,
        customers=customers,
        decisions=decisions,
        held_customers=held_customers,
        held_out=held_out,
        until=from_micros(until),
        exposures=[
            Exposure(experiment=test, variant=variant, customers=people, decisions=n, selected=got)
            for test, variant, people, n, got in rows
        ],
    )


def _midnight(day: date, timezone: str) -> int:
    return to_micros(datetime.combine(day, time(), calendar.zone(timezone)).astimezone(UTC))
