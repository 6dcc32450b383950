"""RFM: customers by how lately, how often and for how much they bought.

Recency, frequency and monetary value are scored 1 to 5 by quintiles over all who bought, 5 is best,
and equal values have equal scores: as `nextbest segments` does, whose attributes this writes. The
bins are those of recency and frequency; ten names stand for the usual parts of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec
import numpy as np

from decision.analytics.reports.answering import (
    Answer,
    Bars,
    Column,
    Row,
    Shown,
    Table,
    moment_text,
)
from decision.analytics.reports.buying import Buyers, BuyingQuestion, buyers, take_purchases
from decision.analytics.reports.kind import Attributes, Kind
from decision.analytics.reports.source import Source
from decision.analytics.segments import Ints, quintiles, score, segment_name
from decision.core.clock import from_micros
from decision.core.said import Said
from decision.core.schema import Moment

_SCORES: Final = range(5, 0, -1)


class RfmSegment(msgspec.Struct, frozen=True, kw_only=True):
    """The customers of one name; days and purchases are means, `total` is of all their amounts."""

    name: str
    customers: int
    share: float
    days_since: float
    days: float
    total: float
    share_of_total: float | None


class RfmBin(msgspec.Struct, frozen=True, kw_only=True):
    """The customers with one score of recency and one of frequency."""

    recency: int
    frequency: int
    segment: str
    customers: int
    total: float


class Rfm(Answer, frozen=True, kw_only=True):
    """As of `moment`. `thresholds` are what the scores 1 to 4 reach at most: of recency (days since
    the last purchase, negative), frequency (days with one) and monetary (amounts). `scores` is name
    → score → customers.
    """

    query: BuyingQuestion
    moment: Moment
    thresholds: dict[str, list[float]]
    scores: dict[str, dict[str, int]]
    segments: list[RfmSegment]
    bins: list[RfmBin]


def make(source: Source, question: BuyingQuestion) -> Rfm:
    """Scores all who bought."""
    moment, events = take_purchases(source, question)
    found = buyers(source)
    thresholds, scores = _scored(found)
    recency, frequency = scores["recency"], scores["frequency"]
    names = np.array([segment_name(*pair) for pair in zip(recency, frequency, strict=True)])
    everything = float(found.total.sum())
    groups = []
    for name in dict.fromkeys(segment_name(r, f) for r in _SCORES for f in _SCORES):
        own = names == name if len(names) else np.zeros(0, np.bool_)
        if customers := int(np.count_nonzero(own)):
            total = float(found.total[own].sum())
            groups.append(
                RfmSegment(
                    name=name,
                    customers=customers,
                    share=customers / len(names),
                    days_since=float((found.age - found.recency)[own].mean()),
                    days=float(found.days[own].mean()),
                    total=total,
                    share_of_total=total / everything if everything else None,
                )
            )
    return Rfm(
        **source.about("rfm"),
        query=question,
        customers=len(found.customer_id),
        events=events,
        moment=from_micros(moment),
        thresholds=thresholds,
        scores={
            name: {
                str(one): int(n) for one, n in zip(*np.unique(own, return_counts=True), strict=True)
            }
            for name, own in scores.items()
        },
        segments=groups,
        bins=[_bin(found, recency, frequency, r, f) for r in _SCORES for f in _SCORES],
    )


def _scored(found: Buyers) -> tuple[dict[str, list[float]], dict[str, Ints]]:
    values: dict[str, Any] = {
        "recency": found.recency - found.age,
        "frequency": found.days,
        "monetary": found.total,
    }
    if not found.customer_id:
        return {name: [] for name in values}, {
            name: one.astype(int) for name, one in values.items()
        }
    thresholds = {name: quintiles(each) for name, each in values.items()}
    return thresholds, {name: score(each, thresholds[name]) for name, each in values.items()}


def _bin(found: Buyers, recency: Ints, frequency: Ints, r: int, f: int) -> RfmBin:
    own = (recency == r) & (frequency == f)
    return RfmBin(
        recency=r,
        frequency=f,
        segment=segment_name(r, f),
        customers=int(np.count_nonzero(own)),
        total=float(found.total[own].sum()),
    )


def attributes(source: Source, _: Rfm) -> Iterator[Attributes]:
    """What `nextbest segments` stores of RFM, for each customer."""
    found = buyers(source)
    scores = _scored(found)[1]
    columns = {name: own.tolist() for name, own in scores.items()}
    columns["score"] = ["".join(map(str, each)) for each in zip(*columns.values(), strict=True)]
    columns |= {
        "segment": list(map(segment_name, columns["recency"], columns["frequency"])),
        "days_since": (found.age - found.recency).tolist(),
        "days": found.days.tolist(),
        "total": found.total.tolist(),
        "repeat": (found.days - 1).tolist(),
        "recency_days": found.recency.tolist(),
        "age_days": found.age.tolist(),
    }
    for customer, *row in zip(found.customer_id, *columns.values(), strict=True):
        yield customer, {"rfm": dict(zip(columns, row, strict=True))}


def show(found: Rfm) -> Shown:
    """RFM for people: the segments, and a table of the bins."""
    columns = [
        Column(Said("segment"), "text"),
        Column(Said("customers")),
        Column(Said("of all"), "share"),
        Column(Said("days since the last")),
        Column(Said("days with a purchase")),
        Column(Said("amounts")),
        Column(Said("of all amounts"), "share"),
    ]
    rows = [
        (
            Said(one.name),
            one.customers,
            one.share,
            round(one.days_since, 1),
            round(one.days, 1),
            one.total,
            one.share_of_total,
        )
        for one in found.segments
    ]
    grid: list[Row] = [
        [
            Said("recency %(n)s", n=r),
            *(one.customers for one in found.bins if one.recency == r),
        ]
        for r in _SCORES
    ]
    named = [Column(Said("customers"), "text")]
    named += [Column(Said("frequency %(n)s", n=f)) for f in _SCORES]
    bars = [(Said(one.name), one.customers) for one in found.segments]
    said = Said(
        "%(n)s customers, as of %(time)s",
        n=f"{found.customers:,}",
        time=moment_text(found.moment, found.timezone),
    )
    tables = [Table(Said("Segments"), columns, rows), Table(Said("Bins"), named, grid)]
    return Shown([said], tables, [Bars(Said("Customers by segment"), bars)])


RFM: Final = Kind(
    name="rfm",
    summary="Customers by how lately, how often and for how much they bought.",
    description=__doc__ or "",
    example="--event purchase --amount amount",
    question=BuyingQuestion,
    answer=Rfm,
    make=make,
    show=show,
    customers=attributes,
)
