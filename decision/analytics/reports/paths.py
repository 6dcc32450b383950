"""Paths: which way customers go, from one event to the next.

What a customer does without a long pause is one visit, and a path is what is done in it, one thing
after another; the same thing again at once counts once. Paths may begin with an event, end with
one, or both.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from decision.analytics.queries import queries
from decision.analytics.reports.answering import Answer, Bars, Column, Shown, Table
from decision.analytics.reports.asking import Question, about, duration, property_path
from decision.analytics.reports.kind import Kind
from decision.analytics.reports.source import PACKAGE, Source
from decision.core.clock import SECOND
from decision.core.said import Said

_ARROW: Final = " → "


class PathsQuestion(Question, frozen=True, kw_only=True):
    """What may be asked of paths."""

    types: Annotated[
        list[str],
        about(
            "Which types of events, with commas between. Left out: all but those about messages.",
            of="events",
        ),
    ] = msgspec.field(default_factory=list)
    after: Annotated[
        str, about("Paths begin with the first of this in a visit.", "NAME", of="called")
    ] = ""
    before: Annotated[str, about("Paths end with the first of this.", "NAME", of="called")] = ""
    exclude: Annotated[
        list[str], about("Names that are left out, as if they had not happened.", of="called")
    ] = msgspec.field(default_factory=list)
    by: Annotated[
        str,
        about(
            "Events are called by this property, where they have it: event.page.",
            "FIELD",
            of="fields",
        ),
    ] = ""
    gap: Annotated[str, about("The pause that ends a visit. Default: 30m.", "TIME")] = ""
    steps: Annotated[int, about("The length of a path, at most.", "N", ge=2, le=20)] = 5
    top: Annotated[
        int, about("How many paths and steps, the most frequent.", "N", ge=1, le=1000)
    ] = 20


class PathEdge(msgspec.Struct, frozen=True, kw_only=True):
    """From one thing to the next, as step number `step` of a path; `seconds` is the mean time."""

    step: int
    source: str
    target: str
    paths: int
    customers: int
    seconds: float


class PathWay(msgspec.Struct, frozen=True, kw_only=True):
    """One way, and how often it was gone."""

    names: list[str]
    paths: int
    customers: int


class Paths(Answer, frozen=True, kw_only=True):
    """`paths` were gone in `ways` different ways; `top` and `edges` are the most frequent."""

    query: PathsQuestion
    paths: int
    ways: int
    top: list[PathWay]
    edges: list[PathEdge]


def make(source: Source, question: PathsQuestion) -> Paths:
    """Counts paths."""
    gap = duration("gap", question.gap or "30m")
    source.take(once=question.types)
    database, span = source.database, source.span
    database.execute(
        _query("visits"),
        {
            "gap": gap,
            "path": property_path("by", question.by),
            "types": question.types or None,
            "exclude": question.exclude,
            "begin": span.begin,
            "end": span.end,
        },
    )
    after, before = question.after or None, question.before or None
    database.execute(
        _query("paths"),
        {
            "after": after,
            "before": before,
            "steps": question.steps,
            "backwards": before is not None and after is None,
        },
    )
    top = {"top": question.top}
    [(customers, events, paths, ways)] = database.rows(_query("totals"))
    if not paths:
        source.incomplete.append(Said("no path is like that: look at the names that are asked for"))
    return Paths(
        **source.about("paths"),
        query=question,
        customers=customers,
        events=events,
        paths=paths,
        ways=ways,
        top=[
            PathWay(names=names, paths=count, customers=people)
            for names, count, people in database.rows(_query("whole"), top)
        ],
        edges=[
            PathEdge(
                step=step,
                source=one,
                target=other,
                paths=count,
                customers=people,
                seconds=us / SECOND,
            )
            for step, one, other, count, people, us in database.rows(_query("edges"), top)
        ],
    )


def show(found: Paths) -> Shown:
    """Paths for people."""
    ways = [(_ARROW.join(one.names), one.paths, one.customers) for one in found.top]
    edges = [
        (one.step, one.source, one.target, one.paths, one.customers, one.seconds)
        for one in found.edges
    ]
    counts = [Column(Said("paths")), Column(Said("customers"))]
    tables = [
        Table(Said("Ways"), [Column(Said("way"), "text"), *counts], ways),
        Table(
            Said("Steps"),
            [
                Column(Said("step")),
                Column(Said("from"), "text"),
                Column(Said("to"), "text"),
                *counts,
                Column(Said("mean time"), "seconds"),
            ],
            edges,
        ),
    ]
    said = Said(
        "%(n)s paths in %(ways)s different ways", n=f"{found.paths:,}", ways=f"{found.ways:,}"
    )
    bars = Bars(Said("Paths by way"), [(way, paths) for way, paths, _ in ways])
    return Shown([said], tables, [bars])


def _query(name: str) -> str:
    return queries(PACKAGE, "paths.sql")[name]


PATHS: Final = Kind(
    name="paths",
    summary="Which way customers go, from one event to the next.",
    description=__doc__ or "",
    example="--before purchase",
    question=PathsQuestion,
    answer=Paths,
    make=make,
    show=show,
)
