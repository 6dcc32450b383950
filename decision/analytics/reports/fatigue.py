"""Fatigue: what one more contact in the last days does to responses and unsubscribes.

Who gets more contacts is keener, or is decided on more often: counts alone say that contacts make
customers respond. Where silence was drawn, with a logged probability, contacts of like customers
differ by chance. So each contact is compared among those who were decided on as often in the time
before, weighed by one over the probability of what came of these decisions (a marginal structural
model; Robins, Hernán and Brumback 2000). What was counted stands beside it, and is called raw.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
import numpy as np

from decision.analytics.effects import Effect
from decision.analytics.queries import queries
from decision.analytics.reports.answering import Answer, Bars, Column, Shown, Table
from decision.analytics.reports.asking import about, duration
from decision.analytics.reports.exposed import open_decisions
from decision.analytics.reports.figures import figure, interval
from decision.analytics.reports.kind import Kind
from decision.analytics.reports.source import PACKAGE, Source
from decision.analytics.reports.unit_metrics import (
    Measures,
    known_until,
    measure,
    metrics_of,
    take_events,
)
from decision.analytics.weighing import Weighed, weighed
from decision.core.definition import Metric
from decision.core.errors import InputError
from decision.core.said import Said

UNSUBSCRIBED: Final = "message.unsubscribed"
FEW: Final = 50
"""An effective sample below this is too small to lean on."""
_MOST: Final = 6
"""So many contacts and more are one line."""
_FIXED: Final = 0.2
"""From this share of contacts without a drawn history on, the answer warns."""


class FatigueQuestion(Measures, frozen=True, kw_only=True):
    """What may be asked of fatigue."""

    windows: Annotated[
        list[str], about("In how long before contacts are counted. Default: 7d,30d.", "TIME,…")
    ] = msgspec.field(default_factory=lambda: ["7d", "30d"])


class FatigueLine(msgspec.Struct, frozen=True, kw_only=True):
    """Contacts of customers with `earlier` ones in the window (six: or more).

    `raw_response` and `raw_unsubscribed` are means as counted: they say nothing of what contacts
    do. `response` and `unsubscribed` are what this many do more than one fewer, with the
    `effective` sample size; null: it cannot be said.
    """

    earlier: int
    contacts: int
    raw_response: float
    raw_unsubscribed: float
    response: Effect | None
    unsubscribed: Effect | None
    effective: float


class FatigueWindow(msgspec.Struct, frozen=True, kw_only=True):
    """One time before. `response` and `unsubscribed` are what one more contact in it adds.

    Of `contacts`, `identified` had a history in which every silence was possible; the others have
    no part in effects. `effective` is their effective sample size.
    """

    window: str
    contacts: int
    identified: int
    response: Effect | None
    unsubscribed: Effect | None
    effective: float
    lines: list[FatigueLine]


class Fatigue(Answer, frozen=True, kw_only=True):
    """`metric` is the response; `drawn` in how many decisions silence was drawn."""

    query: FatigueQuestion
    metric: str
    drawn: int
    windows: list[FatigueWindow]


def make(source: Source, question: FatigueQuestion) -> Fatigue:
    """Counts what contacts do."""
    metric = metrics_of(source, question)[0]
    if not question.windows:
        raise InputError("windows", Said("write how long before, such as 7d,30d"))
    spans = [duration("windows", one) for one in question.windows]
    away = Metric(
        name=UNSUBSCRIBED, source="", event=UNSUBSCRIBED, measure="share", within=metric.within
    )
    open_decisions(source)
    take_events(source, [metric, away])
    database = source.database
    database.execute(_query("chances"))
    [(drawn, often, known)] = database.rows(_query("drawn"))
    database.execute(_query("units"), {"begin": source.span.begin, "end": source.span.end})
    measure(source, away)
    database.execute("CREATE TEMP TABLE away AS SELECT unit, y FROM measured")
    measure(source, metric)
    given = {"often": often or 0.5, "known": known or 0, "within": metric.within or 0}
    given["until"] = known_until(source)
    windows = [
        _window(name, database.table(_query("history"), {**given, "window": span}))
        for name, span in zip(question.windows, spans, strict=True)
    ]
    _say(source, drawn, windows)
    [(customers, contacts)] = database.rows("SELECT count(DISTINCT customer), count(*) FROM units")
    return Fatigue(
        **source.about("fatigue"),
        query=question,
        customers=customers,
        events=contacts,
        metric=metric.name,
        drawn=drawn,
        windows=windows,
    )


def _window(name: str, table: Any) -> FatigueWindow:
    names = ("y", "away", "asked", "contacts", "weight", "fixed")
    y, away, asked, contacts, weight, fixed = (table.column(one).to_numpy() for one in names)
    people = np.array(table.column("customer").to_pylist(), dtype=object)
    own = fixed == 0

    def effects(rows: Any) -> tuple[Weighed, Weighed]:
        first, second = (
            weighed(one[rows], contacts[rows], weight[rows], asked[rows], people[rows])
            for one in (y, away)
        )
        return first, second

    response, gone = effects(own)
    lines = []
    counts = np.minimum(contacts, _MOST)
    for count in sorted(set(counts.tolist())):
        here = counts == count
        more, left = effects(own & ((contacts == count) | (contacts == count - 1)))
        lines.append(
            FatigueLine(
                earlier=int(count),
                contacts=int(np.count_nonzero(here)),
                raw_response=float(y[here].mean()),
                raw_unsubscribed=float(away[here].mean()),
                response=more.effect if count and count < _MOST else None,
                unsubscribed=left.effect if count and count < _MOST else None,
                effective=more.effective if count and count < _MOST else 0.0,
            )
        )
    return FatigueWindow(
        window=name,
        contacts=len(y),
        identified=int(np.count_nonzero(own & (asked > 0))),
        response=response.effect,
        unsubscribed=gone.effect,
        effective=response.effective,
        lines=lines,
    )


def _say(source: Source, drawn: int, windows: list[FatigueWindow]) -> None:
    if not drawn:
        source.incomplete.append(
            Said(
                "silence was drawn in no decision: what contacts do is not known, and what was "
                "counted (raw) does not say it; write a test that changes a cap"
            )
        )
        return
    for one in windows:
        if one.response is not None and one.effective < FEW:
            source.incomplete.append(
                Said(
                    "%(window)s: little overlap: the effective sample is %(n)s, and the interval "
                    "may be too narrow",
                    window=one.window,
                    n=f"{one.effective:,.0f}",
                )
            )
        fixed = one.contacts - one.identified
        if one.contacts and fixed > _FIXED * one.contacts:
            source.incomplete.append(
                Said(
                    "%(window)s: %(n)s of %(all)s contacts have no part in effects: nothing was "
                    "drawn before them",
                    window=one.window,
                    n=f"{fixed:,}",
                    all=f"{one.contacts:,}",
                )
            )


def show(found: Fatigue) -> Shown:
    """Fatigue for people."""
    said: list[Said] = []
    tables: list[Table] = []
    bars: list[Bars] = []
    for one in found.windows:
        if one.response is None:
            said.append(Said("%(window)s: what one more contact does is not known.", **_at(one)))
        else:
            low, high = one.response.always
            said.append(
                Said(
                    "%(window)s: one more contact before changes %(metric)s of a contact by "
                    "%(value)s (%(low)s to %(high)s), and unsubscribes by %(away)s.",
                    metric=found.metric,
                    value=figure(one.response.estimate),
                    low=figure(low),
                    high=figure(high),
                    away=interval(one.unsubscribed.always if one.unsubscribed else None) or "?",
                    **_at(one),
                )
            )
        tables.append(_table(one))
        if not bars:
            rows = [(_earlier(line), float(line.contacts)) for line in one.lines]
            bars.append(Bars(Said("Contacts by those in the last %(window)s", **_at(one)), rows))
    return Shown(said, tables, bars)


def _earlier(line: FatigueLine) -> str:
    return f"{line.earlier}{'+' if line.earlier == _MOST else ''}"


def _at(one: FatigueWindow) -> dict[str, str]:
    return {"window": one.window}


def _table(one: FatigueWindow) -> Table:
    columns = [
        Column(Said("contacts before"), "text"),
        Column(Said("contacts")),
        Column(Said("response (raw)"), "figure"),
        Column(Said("unsubscribed (raw)"), "figure"),
        Column(Said("one more changes the response by"), "figure"),
        Column(Said("unsubscribes by"), "figure"),
        Column(Said("effective sample")),
    ]
    rows = [
        (
            _earlier(line),
            line.contacts,
            figure(line.raw_response),
            figure(line.raw_unsubscribed),
            interval(line.response.always if line.response else None),
            interval(line.unsubscribed.always if line.unsubscribed else None),
            round(line.effective) if line.response else None,
        )
        for line in one.lines
    ]
    return Table(Said("In the last %(window)s; raw is as counted", **_at(one)), columns, rows)


def _query(name: str) -> str:
    return queries(PACKAGE, "fatigue.sql")[name]


FATIGUE: Final = Kind(
    name="fatigue",
    summary="What one more contact in the last days does to responses and unsubscribes.",
    description=__doc__ or "",
    example="--event purchase --within 2d",
    question=FatigueQuestion,
    answer=Fatigue,
    make=make,
    show=show,
)
