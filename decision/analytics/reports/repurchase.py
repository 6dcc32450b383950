"""Repurchase: how many customers buy a second and a third time, after how long, and what.

Purchases of one day of the calendar are one. Who bought so lately that the time is not over yet is
left out of a rate within a time, on both sides of it, so that a growing shop looks no worse.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from decision.analytics.queries import queries
from decision.analytics.reports.answering import Answer, Bars, Column, Shown, Table
from decision.analytics.reports.asking import about, duration
from decision.analytics.reports.breakdown import breakdown_of, name_customers, name_of
from decision.analytics.reports.buying import BuyingQuestion, take_purchases
from decision.analytics.reports.kind import Kind
from decision.analytics.reports.source import PACKAGE, Source
from decision.core.clock import DAY
from decision.core.errors import InputError
from decision.core.said import Said

_BINS: Final = (1, 8, 15, 31, 61, 91, 181, 366)
_SHARES: Final = [0.1, 0.5, 0.9]


class RepurchaseQuestion(BuyingQuestion, frozen=True, kw_only=True):
    """What may be asked of buying again."""

    within: Annotated[
        str, about("The time within which the next purchase counts. Default: 90d.", "TIME")
    ] = ""
    purchases: Annotated[int, about("Up to which purchase rates are told.", "N", ge=1, le=50)] = 5
    by: Annotated[
        str,
        about(
            "Broken down by what was bought, or by a field of the customer as logged: "
            "event.category, customer.city.",
            "FIELD",
            of="fields",
        ),
    ] = ""
    groups: Annotated[int, about("How many groups, the largest first.", "N", ge=1, le=1000)] = 25


class Purchase(msgspec.Struct, frozen=True, kw_only=True):
    """`customers` bought so often (`number`) at least; `again` of them did once more, ever.

    `of` are those for whom the time within is over, `within` those of them who bought again in it:
    their `share`. `median_days` is how long the next one took, of those who did.
    """

    number: int
    customers: int
    again: int
    of: int
    within: int
    share: float | None
    median_days: float | None


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """`purchases` came `from_days` after the one before, or later: before the next bin begins."""

    from_days: int
    purchases: int


class RepurchaseGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Who bought something of one name; null: it has none.

    `again` of them bought of the same name on another day, `anything` bought at all on a later day.
    The rate is of the first time to the next of the same name.
    """

    name: str | None
    customers: int
    again: int
    anything: int
    of: int
    within: int
    share: float | None
    median_days: float | None


class Repurchase(Answer, frozen=True, kw_only=True):
    """`within_days` is the time; `purchases` has a row for each number of purchases.

    `intervals` are all times from one purchase to the next, in bins; their quantiles are in days.
    """

    query: RepurchaseQuestion
    within_days: int
    purchases: list[Purchase]
    intervals: list[Interval]
    p10_days: float | None
    median_days: float | None
    p90_days: float | None
    groups: list[RepurchaseGroup]


def make(source: Source, question: RepurchaseQuestion) -> Repurchase:
    """Counts who bought again."""
    by = breakdown_of(question.by)
    days = duration("within", question.within or "90d") // DAY
    if days < 1:
        raise InputError("within", Said("purchases of one day are one; write a day or more: 90d"))
    _, events = take_purchases(source, question)
    database = source.database
    within = {"within": days}
    rows = database.rows(_query("numbered"), {**within, "most": question.purchases})
    [quantiles] = database.rows(_query("quantiles"), {"shares": _SHARES})
    low, middle, high = quantiles[0] or (None, None, None)
    bins = dict(database.rows(_query("intervals"), {"bins": list(_BINS)}))
    customers = rows[0][1] if rows else 0
    once = customers - (rows[0][2] if rows else 0)
    if once:
        source.incomplete.append(
            Said(
                "%(n)s customers bought once so far: they may still come again, and times rise",
                n=f"{once:,}",
            )
        )
    groups: list[RepurchaseGroup] = []
    if by is not None:
        if by.field is not None:
            name_customers(source, by.field, "purchases")
        database.execute(
            _query("named_property" if by.field is None else "named_customer"),
            {"path": by.path} if by.field is None else {},
        )
        found = database.rows(_query("groups"), {**within, "most": question.groups + 1})
        if len(found) > question.groups:
            source.incomplete.append(Said("smaller groups are left out"))
        groups = [_group(*row) for row in found[: question.groups]]
    return Repurchase(
        **source.about("repurchase"),
        query=question,
        customers=customers,
        events=events,
        within_days=days,
        purchases=[_purchase(*row) for row in rows],
        intervals=[
            Interval(from_days=start, purchases=bins.get(place, 0))
            for place, start in enumerate(_BINS, 1)
        ],
        p10_days=low,
        median_days=middle,
        p90_days=high,
        groups=groups,
    )


def _purchase(
    number: int, customers: int, again: int, of: int, within: int, median: float | None
) -> Purchase:
    return Purchase(
        number=number,
        customers=customers,
        again=again,
        of=of,
        within=within,
        share=within / of if of else None,
        median_days=median,
    )


def _group(
    name: str | None,
    customers: int,
    again: int,
    anything: int,
    of: int,
    within: int,
    median: float | None,
) -> RepurchaseGroup:
    return RepurchaseGroup(
        name=name,
        customers=customers,
        again=again,
        anything=anything,
        of=of,
        within=within,
        share=within / of if of else None,
        median_days=median,
    )


def show(found: Repurchase) -> Shown:
    """Repurchase for people."""
    rate = Column(Said("again within %(n)s days", n=found.within_days), "share")
    over, median = Column(Said("time over for")), Column(Said("median days"))
    columns = [
        Column(Said("purchase"), "text"),
        Column(Said("customers")),
        Column(Said("bought again")),
        over,
        rate,
        median,
    ]
    rows = [
        (f"{one.number}", one.customers, one.again, one.of, one.share, one.median_days)
        for one in found.purchases
    ]
    tables = [Table(Said("After each purchase"), columns, rows)]
    times = [
        (name, one.purchases) for name, one in zip(_bins_in_words(), found.intervals, strict=True)
    ]
    counted = [Column(Said("from one purchase to the next"), "text"), Column(Said("purchases"))]
    tables.append(Table(Said("Intervals"), counted, times))
    if found.groups:
        named = [
            Column(found.query.by, "text"),
            Column(Said("customers")),
            Column(Said("the same again")),
            Column(Said("anything again")),
            over,
            rate,
            median,
        ]
        groups = [
            (
                name_of(one.name),
                one.customers,
                one.again,
                one.anything,
                one.of,
                one.share,
                one.median_days,
            )
            for one in found.groups
        ]
        tables.append(Table(Said("By %(field)s", field=found.query.by), named, groups))
    again = found.purchases[0].again if found.purchases else 0
    said = [
        Said(
            "%(n)s of %(all)s customers bought again on another day",
            n=f"{again:,}",
            all=f"{found.customers:,}",
        )
    ]
    if found.median_days is not None:
        median_days = f"{found.median_days:g}"
        said.append(Said("half of the next purchases came within %(n)s days", n=median_days))
    return Shown(said, tables, [Bars(Said("Purchases by time since the one before"), times)])


def _bins_in_words() -> list[str]:
    return [
        Said("%(first)s-%(last)s days", first=start, last=after - 1)
        if after
        else Said("%(first)s days or more", first=start)
        for start, after in zip(_BINS, (*_BINS[1:], 0), strict=True)
    ]


def _query(name: str) -> str:
    return queries(PACKAGE, "repurchase.sql")[name]


REPURCHASE: Final = Kind(
    name="repurchase",
    summary="How many customers buy a second and a third time, after how long, and what.",
    description=__doc__ or "",
    example="--event purchase --within 90d",
    question=RepurchaseQuestion,
    answer=Repurchase,
    make=make,
    show=show,
)
