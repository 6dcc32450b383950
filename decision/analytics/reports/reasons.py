"""Reasons: why nothing was said, over time.

Each decision in the range counts once: it selected a message, it gave the placement's fallback, or
it gave nothing. The reason of the last two is the one that removed the last candidates.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date
from typing import Annotated, Final

import msgspec

from decision.analytics.queries import queries
from decision.analytics.reports.answering import (
    Answer,
    Bars,
    Column,
    Row,
    Shown,
    Table,
)
from decision.analytics.reports.asking import Question, about
from decision.analytics.reports.kind import Kind
from decision.analytics.reports.periods import (
    PERIODS,
    Period,
    date_rows,
    first_day,
    is_over,
    week_shift,
)
from decision.analytics.reports.source import PACKAGE, Source
from decision.core.said import Said, marked

_CODES: Final = (
    marked("inactive"),
    marked("not_in_placement"),
    marked("not_eligible"),
    marked("no_consent"),
    marked("suppressed"),
    marked("unreachable"),
    marked("quiet_hours"),
    marked("reply_window_closed"),
    marked("rule_excluded"),
    marked("capped"),
    marked("budget_spent"),
    marked("too_long"),
    marked("holdout"),
    marked("below_threshold"),
    marked("outranked"),
)
"""The reason codes, which are also keys of catalogues: pages say them in the reader's language."""


def reason_text(code: str | None) -> str:
    """A reason code as people read it, or what a provider wrote."""
    if not code:
        return Said("not told")
    return Said(code) if code in _CODES else code


class ReasonsQuestion(Question, frozen=True, kw_only=True):
    """What may be asked of reasons."""

    placement: Annotated[
        str, about("Decisions of this placement alone.", "NAME", of="placements")
    ] = ""
    period: Annotated[Period, about("How long a period is, by the calendar. Default: day.")] = "day"


class ReasonsPeriod(msgspec.Struct, frozen=True, kw_only=True):
    """The `decisions` of the period that starts on `begins`: `selected`, `fallback` and `none`.

    `reasons` is reason code → decisions that said nothing or fell back for it. `complete`: the
    period is over.
    """

    begins: date
    decisions: int
    selected: int
    fallback: int
    none: int
    reasons: dict[str, int]
    complete: bool


class ReasonsPlacement(msgspec.Struct, frozen=True, kw_only=True):
    """The `decisions` at one placement, and for what most of those without a message had none."""

    placement: str
    decisions: int
    selected: int
    fallback: int
    none: int
    reason: str | None


class Reasons(Answer, frozen=True, kw_only=True):
    """`reasons` are those of all periods together, the most frequent first.

    `degraded` is what decisions were made without → how many.
    """

    query: ReasonsQuestion
    decisions: int
    selected: int
    fallback: int
    none: int
    reasons: dict[str, int]
    degraded: dict[str, int]
    periods: list[ReasonsPeriod]
    placements: list[ReasonsPlacement]


def make(source: Source, question: ReasonsQuestion) -> Reasons:
    """Counts why nothing was said."""
    source.take_decisions()
    date_rows(source, "decided", "dated_decisions")
    database, period = source.database, question.period
    given = {"placement": question.placement or None}
    rows = database.rows(
        _query("reasons"), {**given, "period": period, "week_shift": week_shift(source)}
    )
    outcomes: defaultdict[int, Counter[str]] = defaultdict(Counter)
    reasons: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for number, outcome, reason, decisions in rows:
        outcomes[number][outcome] += decisions
        if outcome != "selected":
            reasons[number][reason or ""] += decisions
    whole, why = sum(outcomes.values(), Counter()), sum(reasons.values(), Counter())
    periods = [
        ReasonsPeriod(
            begins=first_day(source, period, number),
            decisions=sum(outcomes[number].values()),
            selected=outcomes[number]["selected"],
            fallback=outcomes[number]["fallback"],
            none=outcomes[number]["none"],
            reasons=_sorted(reasons[number]),
            complete=is_over(source, period, number),
        )
        for number in range(min(outcomes), max(outcomes) + 1)
    ] if outcomes else []  # fmt: skip
    degraded = dict(database.rows(_query("degraded"), given))
    for part, decisions in degraded.items():
        source.note(
            Said(
                "%(n)s decisions were made without %(part)s: look at the server's health",
                n=f"{decisions:,}", part=part,
            )
        )  # fmt: skip
    return Reasons(
        **source.about("reasons"),
        query=question,
        customers=database.value(_query("customers"), given),
        events=0,
        decisions=sum(whole.values()),
        selected=whole["selected"],
        fallback=whole["fallback"],
        none=whole["none"],
        reasons=_sorted(why),
        degraded=degraded,
        periods=periods,
        placements=_placements(database.rows(_query("placements"), given)),
    )


def _placements(rows: Iterable[tuple[str, str, str | None, int]]) -> list[ReasonsPlacement]:
    """The placements with most decisions first, of rows (placement, outcome, reason, decisions)."""
    outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    reasons: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for placement, outcome, reason, decisions in rows:
        outcomes[placement][outcome] += decisions
        if outcome != "selected" and reason:
            reasons[placement][reason] += decisions
    found = [
        ReasonsPlacement(
            placement=placement,
            decisions=sum(own.values()),
            selected=own["selected"],
            fallback=own["fallback"],
            none=own["none"],
            reason=next(iter(_sorted(reasons[placement])), None),
        )
        for placement, own in outcomes.items()
    ]
    return sorted(found, key=lambda one: (-one.decisions, one.placement))


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))


def show(found: Reasons) -> Shown:
    """Reasons for people."""
    named = list(found.reasons)
    columns = [Column(Said(PERIODS[found.query.period]), "text"), Column(Said("decisions"))]
    columns += [Column(Said("selected")), Column(Said("fallback")), Column(Said("none"))]
    columns += [Column(reason_text(name)) for name in named]
    rows: list[Row] = [
        [
            f"{one.begins}{'' if one.complete else '*'}",
            one.decisions,
            one.selected,
            one.fallback,
            one.none,
            *(one.reasons.get(name, 0) for name in named),
        ]
        for one in found.periods
    ]
    silent = found.decisions - found.selected
    whole = [
        (reason_text(name), count, count / silent if silent else None)
        for name, count in found.reasons.items()
    ]
    why = [
        Column(Said("reason"), "text"),
        Column(Said("decisions")),
        Column(Said("of those without a message"), "share"),
    ]
    said = Said(
        "%(n)s of %(all)s decisions selected no message",
        n=f"{silent:,}",
        all=f"{found.decisions:,}",
    )
    tables = [
        Table(Said("Reasons"), why, whole),
        Table(Said("Over time; * is not over yet"), columns, rows),
    ]
    where = [Column(Said("placement"), "text"), Column(Said("decisions"))]
    where += [Column(Said("selected"), "share"), Column(Said("most often for"), "text")]
    by_placement = [
        (
            one.placement,
            one.decisions,
            one.selected / one.decisions,
            "" if one.reason is None else reason_text(one.reason),
        )
        for one in found.placements
    ]
    tables.append(Table(Said("By placement"), where, by_placement))
    if found.degraded:
        lacked = [Column(Said("made without"), "text"), Column(Said("decisions"))]
        tables.append(Table(Said("Made without"), lacked, list(found.degraded.items())))
    bars = Bars(Said("Decisions by reason"), [(name, count) for name, count, _ in whole])
    return Shown([said], tables, [bars])


def _query(name: str) -> str:
    return queries(PACKAGE, "reasons.sql")[name]


REASONS: Final = Kind(
    name="reasons",
    summary="Why decisions selected no message, over time.",
    description=__doc__ or "",
    example="--period week",
    question=ReasonsQuestion,
    answer=Reasons,
    make=make,
    show=show,
)
