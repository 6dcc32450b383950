"""Time to convert: how long customers took from the first step of a funnel to its last.

A customer counts with the first chain that came to the last step, from its first step on. Those who
began and can still come there are told beside them: they may turn out to be slow ones.
"""

from __future__ import annotations

import math
from typing import Annotated, Final

import msgspec

from decision.analytics.queries import queries
from decision.analytics.reports.answering import Answer, Bars, Column, Shown, Table
from decision.analytics.reports.asking import about
from decision.analytics.reports.breakdown import Breakdown, breakdown_of, largest, name_of
from decision.analytics.reports.funnel import (
    Asked,
    FunnelQuestion,
    began,
    events_counted,
    follow,
    name_chains,
    steps_of,
)
from decision.analytics.reports.kind import Kind
from decision.analytics.reports.source import PACKAGE, Source
from decision.core.clock import SECOND
from decision.core.said import Said, lasting_about, lasting_in

_SHORTEST: Final = 60 * SECOND
_MOST: Final = 90


class TimeToConvertQuestion(FunnelQuestion, frozen=True, kw_only=True):
    """What may be asked of the time of a funnel."""

    bins: Annotated[
        int,
        about(
            "How many bins the times are put in; 0: as many as suit their number.", "N", ge=0, le=90
        ),
    ] = 0


class TimeBin(msgspec.Struct, frozen=True, kw_only=True):
    """`customers` took at least `from` seconds, and less than the next bin begins."""

    from_: float = msgspec.field(name="from")
    customers: int


class TimeGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The customers of one name, by what the chain began with; null: without a value."""

    name: str | None
    customers: int
    converted: int
    median_seconds: float | None
    average_seconds: float | None
    p10_seconds: float | None
    p90_seconds: float | None


class TimeToConvert(Answer, frozen=True, kw_only=True):
    """`customers` began, `converted` went all the way, `open` can still do so.

    Seconds are of those who converted; null: nobody did. `p10` and `p90`: a tenth was faster, or
    slower. Bins are equally wide; the last one begins at the longest time or before.
    """

    query: TimeToConvertQuestion
    converted: int
    open: int
    median_seconds: float | None
    average_seconds: float | None
    p10_seconds: float | None
    p90_seconds: float | None
    bins: list[TimeBin]
    groups: list[TimeGroup]


def make(source: Source, question: TimeToConvertQuestion) -> TimeToConvert:
    """Counts how long customers took."""
    asked = steps_of(source, question)
    by = breakdown_of(question.by)
    follow(source, asked, times=True)
    count = {"count": len(asked.steps)}
    customers, still = began(source, asked)
    [(converted, least, most, mean, quantiles)] = source.database.rows(_query("taken"), count)
    p10, median, p90 = quantiles or (None, None, None)
    bins = []
    if converted:
        number = question.bins or min(_MOST, math.ceil(converted ** (1 / 3) - 1e-9))
        width = math.ceil((most - least) / number / SECOND) * SECOND or _SHORTEST
        given = {**count, "least": least, "width": width}
        found = dict(source.database.rows(_query("bins"), given))
        bins = [
            TimeBin(from_=(least + place * width) / SECOND, customers=found.get(place, 0))
            for place in range(number + 1)
        ]
    return TimeToConvert(
        **source.about("time-to-convert"),
        query=question,
        customers=customers,
        events=events_counted(source),
        converted=converted,
        open=still,
        median_seconds=_seconds(median),
        average_seconds=_seconds(mean),
        p10_seconds=_seconds(p10),
        p90_seconds=_seconds(p90),
        bins=bins,
        groups=[] if by is None else _groups(source, asked, question, by),
    )


def _groups(
    source: Source, asked: Asked, question: TimeToConvertQuestion, by: Breakdown
) -> list[TimeGroup]:
    name_chains(source, asked, by)
    rows = source.database.rows(_query("groups"), {"count": len(asked.steps)})
    found = {}
    for name, customers, converted, mean, quantiles in rows:
        p10, median, p90 = quantiles or (None, None, None)
        found[name] = TimeGroup(
            name=name,
            customers=customers,
            converted=converted,
            median_seconds=_seconds(median),
            average_seconds=_seconds(mean),
            p10_seconds=_seconds(p10),
            p90_seconds=_seconds(p90),
        )
    sizes = {name: one.customers for name, one in found.items()}
    return [found[name] for name in largest(source, sizes, question.groups)]


def _seconds(micros: float | None) -> float | None:
    return None if micros is None else micros / SECOND


def show(found: TimeToConvert) -> Shown:
    """The time to convert for people."""
    said = [
        Said(
            "%(n)s of %(all)s customers went all the way%(share)s",
            n=f"{found.converted:,}",
            all=f"{found.customers:,}",
            share="",
        )
    ]
    if found.median_seconds is not None and found.p90_seconds is not None:
        half, most = (
            lasting_about(int(one * SECOND)) for one in (found.median_seconds, found.p90_seconds)
        )
        said.append(
            Said("half of them within %(half)s, 90%% within %(most)s", half=half, most=most)
        )
    named = [
        (one, count.customers) for one, count in zip(_starts(found.bins), found.bins, strict=True)
    ]
    table = Table(
        Said("Time from the first step to the last"),
        [Column(Said("from"), "text"), Column(Said("customers"))],
        named,
    )
    tables = [table]
    if found.groups:
        columns = [
            Column(found.query.by, "text"),
            Column(Said("customers")),
            Column(Said("converted")),
            Column(Said("median"), "seconds"),
            Column(Said("mean time"), "seconds"),
            Column("10%", "seconds"),
            Column("90%", "seconds"),
        ]
        rows = [
            (
                name_of(one.name), one.customers, one.converted, one.median_seconds,
                one.average_seconds, one.p10_seconds, one.p90_seconds,
            )
            for one in found.groups
        ]  # fmt: skip
        tables.append(Table(Said("By %(field)s", field=found.query.by), columns, rows))
    return Shown(said, tables, [Bars(Said("Customers by time"), named)])


def _query(name: str) -> str:
    return queries(PACKAGE, "time_to_convert.sql")[name]


TIME_TO_CONVERT: Final = Kind(
    name="time-to-convert",
    summary="How long customers took from the first step of a funnel to its last.",
    description=__doc__ or "",
    example="--steps page_view,cart_add,purchase --within 7d",
    question=TimeToConvertQuestion,
    answer=TimeToConvert,
    make=make,
    show=show,
)


def _starts(bins: list[TimeBin]) -> list[Said]:
    """When each begins, all in the largest unit in which a bin is one or more."""
    width = bins[-1].from_ / max(1, len(bins) - 1) if bins else 0.0
    fits = (one for one in (("d", 86_400), ("h", 3_600), ("m", 60)) if width >= one[1])
    unit, seconds = next(fits, ("s", 1))
    return [lasting_in(unit, one.from_ / seconds) for one in bins]
