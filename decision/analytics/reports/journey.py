"""Journey: who entered which step, what was asked there, and how runs ended.

A run counts in the range in which it started, with all that it did later. Steps are in the order of
the rules, where these have the journey. Runs of customers who were merged go on as the same runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from decision.analytics.journeys import StepReport, counted, ends_of, known_journeys, seconds_of
from decision.analytics.queries import queries
from decision.analytics.reports.answering import (
    Answer,
    Bars,
    Column,
    Row,
    Shown,
    Table,
    moment_text,
)
from decision.analytics.reports.asking import Question, about
from decision.analytics.reports.kind import Kind
from decision.analytics.reports.source import PACKAGE, Source
from decision.archive.tables import files
from decision.core.clock import SECOND, from_micros
from decision.core.errors import InputError
from decision.core.said import Joined, Said, lasting_about, marked
from decision.core.schema import Moment

_COUNTS: Final = (
    marked("asked"),
    marked("selected"),
    marked("nothing"),
    marked("held"),
    marked("skipped"),
    marked("here"),
)


_ENDS: Final = (
    marked("goal"),
    marked("stopped"),
    marked("finished"),
    marked("step_removed"),
    marked("journey_removed"),
    marked("unreadable_date"),
    marked("no_time"),
    marked("loop"),
    marked("merged"),
    marked("erased"),
    marked("cancelled"),
)
"""Why runs end by themselves; rules name other ends."""


class JourneyQuestion(Question, frozen=True, kw_only=True):
    """What may be asked of a journey."""

    name: Annotated[
        str, about("A journey of the rules.", "NAME", positional=True, of="journeys")
    ] = ""


class Journey(Answer, frozen=True, kw_only=True):
    """`entered` are the runs that started in the range, of `customers`; `under_way` those of them
    that have not ended, `refused` those that were not to start. `ends` is reason → runs.
    `seconds_to_goal` is share of those that reached the goal → how long they took at most; `events`
    are writes to runs. `latest` is when the last run started, `under_way_since` when the oldest did
    that has not ended.
    """

    query: JourneyQuestion
    entered: int
    under_way: int
    refused: int
    ends: dict[str, int]
    steps: list[StepReport]
    seconds_to_goal: dict[str, float] | None
    latest: Moment | None
    under_way_since: Moment | None


def make(source: Source, question: JourneyQuestion) -> Journey:
    """Counts what runs of a journey did."""
    source.need("journeys")
    database, span, name = source.database, source.span, question.name
    database.view_dataset("all_journeys", files(source.archive, "journeys"), "journeys")
    database.execute(_query("own").format(begin=span.begin, end=span.end))
    if not name:
        there = ", ".join(known_journeys(database, "all_journeys")[:8])
        raise InputError("name", Said("name a journey; there are %(names)s", names=there))
    rules = source.policy.journeys if source.policy else ()
    order = [step.name for one in rules if one.name == name for step in one.steps]
    found = counted(database, name, order)
    if found.under_way:
        source.incomplete.append(Said("some runs have not ended: conversions may still rise"))
    [(customers, rows)] = database.rows(_query("totals"), {"journey": name})
    [times] = database.rows(_query("started"))
    latest, since = (None if one is None else from_micros(one) for one in times)
    return Journey(
        **source.about("journey"),
        query=question,
        customers=customers,
        events=rows,
        entered=found.entered,
        under_way=found.under_way,
        refused=found.refused,
        ends=ends_of(database),
        steps=found.steps,
        seconds_to_goal=seconds_of(database),
        latest=latest,
        under_way_since=since,
    )


def show(found: Journey) -> Shown:
    """A journey for people."""
    columns = [
        Column(Said("step"), "text"),
        Column(Said("entered")),
        Column(Said("of all"), "share"),
        Column(Said("goal"), "share"),
        *(Column(Said(one)) for one in _COUNTS),
        Column(Said("ended here"), "text"),
    ]
    rows: list[Row] = []
    for step in found.steps:
        asks = step.kind == "ask"
        counts = (step.asked, step.selected, step.nothing, step.held, step.skipped)
        ended = _ends(step.ended)
        rows.append(
            [
                step.step,
                step.entered,
                step.reached,
                step.conversion,
                *(count if asks else None for count in counts),
                step.here,
                ended,
            ]
        )
    said = [
        Said(
            "%(name)s: %(n)s runs started; under way: %(under_way)s; refused: %(refused)s",
            name=found.query.name,
            n=f"{found.entered:,}",
            under_way=f"{found.under_way:,}",
            refused=f"{found.refused:,}",
        ),
        Said("ended: %(ends)s", ends=_ends(found.ends) if found.ends else Said("none")),
    ]
    if found.latest is not None:
        said.append(
            Said("the latest run started %(time)s", time=moment_text(found.latest, found.timezone))
        )
    if found.under_way_since is not None:
        said.append(
            Said(
                "the oldest that is under way started %(time)s",
                time=moment_text(found.under_way_since, found.timezone),
            )
        )
    if found.seconds_to_goal is not None:
        half, most = (
            lasting_about(int(found.seconds_to_goal[share] * SECOND)) for share in ("p50", "p90")
        )
        said.append(
            Said("time to goal: half within %(half)s, 90%% within %(most)s", half=half, most=most)
        )
    bars = Bars(Said("Runs by step"), [(one.step, one.entered) for one in found.steps])
    return Shown(said, [Table(Said("Steps"), columns, rows)], [bars])


def _ends(counts: Mapping[str, int]) -> str:
    """Reasons with their numbers; names of the rules stay as they are."""
    return Joined(
        ", ",
        [
            Said("%(why)s %(n)s", why=Said(why) if why in _ENDS else why, n=f"{count:,}")
            for why, count in counts.items()
        ],
    )


def _query(name: str) -> str:
    return queries(PACKAGE, "journey.sql")[name]


JOURNEY: Final = Kind(
    name="journey",
    summary="What came of a journey: who entered which step, what was asked, how runs ended.",
    description=__doc__ or "",
    example="welcome",
    question=JourneyQuestion,
    answer=Journey,
    make=make,
    show=show,
)
