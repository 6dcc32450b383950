"""What came of a journey, from the archive: who entered which step, what was asked, how runs ended.

A run counts in the range in which it started, with all that it did later. Customers who were erased
are no longer in it; runs of customers who were merged go on as the same runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from decision.analytics.queries import queries
from decision.analytics.segments import NothingFound
from decision.archive.damage import naming_damage
from decision.archive.query import Database, open_database
from decision.archive.tables import files
from decision.core.clock import SECOND, from_micros
from decision.core.errors import meant
from decision.core.local_days import BEGIN, END, bounds
from decision.core.schema import Moment

_SHARES: Final = ("p10", "p25", "p50", "p75", "p90")


class StepReport(msgspec.Struct, frozen=True, kw_only=True):
    """One step. `entered` are runs, `visits` how often they did; `goal` are those of them that
    reached the goal afterwards; `here` those that are in it.

    `asked` are decisions: `selected` a message was given, `held` time alone was in the way, so that
    it asked again, `nothing` any other answer. `skipped`: it was too late to ask.
    `reached` is the share of all runs that entered it, `conversion` the share of those that entered
    it for whom the goal came. `ended` is reason → runs that ended in it.
    """

    step: str
    kind: str
    entered: int = 0
    visits: int = 0
    goal: int = 0
    here: int = 0
    asked: int = 0
    selected: int = 0
    held: int = 0
    nothing: int = 0
    skipped: int = 0
    reached: float | None = None
    conversion: float | None = None
    ended: dict[str, int] = {}


class JourneyReport(msgspec.Struct, frozen=True, kw_only=True):
    """`first` and `last` are local days, both included; None: no bound. `entered` are the runs that
    started then; `under_way` those of them that have not ended, `refused` those that were not to
    start. `seconds_to_goal` is share of those that reached the goal → how long they took at most.
    `incomplete` says in words what may still change.
    """

    journey: str
    first: date | None
    last: date | None
    timezone: str
    entered: int
    under_way: int
    refused: int
    ends: dict[str, int]
    steps: list[StepReport]
    seconds_to_goal: dict[str, float] | None
    archived_from: Moment
    archived_until: Moment
    incomplete: list[str]


def report_journey(
    archive: Path,
    journey: str,
    *,
    first: date | None = None,
    last: date | None = None,
    timezone: str = "UTC",
    order: Sequence[str] = (),
) -> JourneyReport:
    """Reports on the runs of a journey that started on these local days.

    `order` are the steps as the rules have them: they come first, in this order, also where nobody
    entered them; without it, steps come as runs mostly enter them.

    Raises:
        NothingFound: the archive has no such journey.
        ArchiveError: the archive lacks a file, or one is damaged.
    """
    begin, end = bounds(first, last, timezone)
    with naming_damage(archive), open_database() as database:
        database.view_dataset("journeys", files(archive, "journeys"))
        for dataset in ("events", "decisions"):  # for the query `reach` alone
            database.view_dataset(dataset, _first_and_last(files(archive, dataset)))
        known = known_journeys(database)
        if journey not in known:
            there = f"it has {', '.join(known[:8])}" if known else "it has none yet"
            raise NothingFound(
                f"{archive} has no journey {journey}; {there}{meant(journey, known)}"
            )
        found = counted(database, journey, order, begin, end)
        [(since, until)] = database.rows(_query("reach"))
        return JourneyReport(
            journey=journey,
            first=first,
            last=last,
            timezone=timezone,
            entered=found.entered,
            under_way=found.under_way,
            refused=found.refused,
            ends=ends_of(database),
            steps=found.steps,
            seconds_to_goal=seconds_of(database),
            archived_from=from_micros(since),
            archived_until=from_micros(until),
            incomplete=_incomplete(found.under_way, begin, end, since, until),
        )


class RunCounts(NamedTuple):
    """How many runs started, have not ended, and were refused; and what came of each step."""

    entered: int
    under_way: int
    refused: int
    steps: list[StepReport]


def counted(
    database: Database, journey: str, order: Sequence[str], begin: int = BEGIN, end: int = END
) -> RunCounts:
    """Counts the runs of the view `journeys` that started in a range."""
    database.execute(_query("did"), {"journey": journey, "begin": begin, "end": end})
    database.execute(_query("runs"))
    database.execute(_query("visits"))
    [(entered, under_way, refused)] = database.rows(_query("totals"))
    return RunCounts(entered, under_way, refused, _steps(database, entered, order))


def known_journeys(database: Database, view: str = "journeys") -> list[str]:
    """The names of all journeys that ever ran, those with most records first."""
    return [name for (name,) in database.rows(_query("known").format(journeys=view))]


def ends_of(database: Database) -> dict[str, int]:
    """Reason → how many of the runs that were `counted` ended for it."""
    return dict(database.rows(_query("ends")))


def seconds_of(database: Database) -> dict[str, float] | None:
    """Share of the runs that reached the goal → how long they took at most."""
    return _seconds(database.value(_query("time_to_goal")))


def _first_and_last(paths: Sequence[Path]) -> list[Path]:
    """The files of the first date and of the last one, which have the first row and the last."""
    dates = sorted({path.parent.name for path in paths})
    return [path for path in paths if path.parent.name in (*dates[:1], *dates[-1:])]


def _steps(database: Database, entered: int, order: Sequence[str]) -> list[StepReport]:
    ended: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for step, reason, count in database.rows(_query("step_ends")):
        ended[step][reason] = count
    found = {}
    for step, kind, runs, visits, goal, here, asked, selected, held, skipped in database.rows(
        _query("steps")
    ):
        found[step] = StepReport(
            step=step,
            kind=kind,
            entered=runs,
            visits=visits,
            goal=goal,
            here=here,
            asked=asked,
            selected=selected,
            held=held,
            nothing=asked - selected - held,
            skipped=skipped,
            reached=runs / entered,
            conversion=goal / runs,
            ended=ended[step],
        )
    names = dict.fromkeys((*order, *found))
    return [found.get(name) or StepReport(step=name, kind="") for name in names]


def _seconds(quantiles: Sequence[float] | None) -> dict[str, float] | None:
    if quantiles is None:
        return None
    return {name: at / SECOND for name, at in zip(_SHARES, quantiles, strict=True)}


def _incomplete(under_way: int, begin: int, end: int, since: int, until: int) -> list[str]:
    found = []
    if under_way:
        found.append("some runs have not ended: conversions may still rise")
    if BEGIN < begin < since:
        found.append("the archive begins later than the range: earlier runs are not in it")
    if until < end < END:
        found.append("the archive ends earlier than the range: archive again, later")
    return found


def _query(name: str) -> str:
    return queries("decision.analytics", "journeys.sql")[name]
