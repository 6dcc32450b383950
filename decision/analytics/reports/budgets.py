"""Budgets: how fast each budget of the rules is spent, and when it will be, at this rate.

Counted again from the messages that were chosen: what was released is given back. The budgets are
those of the rules in force, whatever they were before. Days are of the calendar; the rate is the
mean of the last seven whole days of the archive.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Final

import msgspec

from decision.analytics.queries import queries
from decision.analytics.reports.answering import (
    Answer,
    Bars,
    Column,
    Row,
    Shown,
    Table,
    local,
)
from decision.analytics.reports.asking import Question
from decision.analytics.reports.contacts import take_contacts
from decision.analytics.reports.kind import Kind
from decision.analytics.reports.periods import date_rows
from decision.analytics.reports.source import PACKAGE, Source
from decision.core import calendar
from decision.core.budgets import MILLION, TIMES, CompiledBudget
from decision.core.clock import DAY, from_micros
from decision.core.definition import CalendarPeriod
from decision.core.local_days import BEGIN, END
from decision.core.policy_builder import compile_policy
from decision.core.said import Said, marked
from decision.core.schema import Moment

_RATE_DAYS: Final = 7
_EPOCH: Final = date(1970, 1, 1)


class BudgetsQuestion(Question, frozen=True, kw_only=True):
    """Budgets are asked about all together."""


class BudgetBurn(msgspec.Struct, frozen=True, kw_only=True):
    """One budget: of a message, or one of `budgets:` (`shared`); in `unit`, a currency or `times`.

    `spent` of `limit` in the period `per` that goes on at the end of the archive (null: ever).
    `per_day` is the rate. `spent_at` is when it is spent at this rate; null: not in its period.
    `days` is what was spent on each day of the answer's `days`.
    """

    name: str
    shared: bool
    unit: str
    per: CalendarPeriod | None
    limit: float
    spent: float
    per_day: float
    spent_at: Moment | None
    days: list[float]


class Budgets(Answer, frozen=True, kw_only=True):
    """`days` are the days of the range on which something was chosen, and those between them."""

    query: BudgetsQuestion
    days: list[date]
    budgets: list[BudgetBurn]


def make(source: Source, question: BudgetsQuestion) -> Budgets:
    """Counts what was spent of each budget."""
    events = take_contacts(source)
    date_rows(source, "contacts", "dated_contacts")
    database, span = source.database, source.span
    releasing = [
        one.name
        for one in (source.policy.channels if source.policy else ())
        if one.reservation.then == "release"
    ]
    taken: defaultdict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for message, channel, day, contacts in database.rows(_query("taken"), {"releasing": releasing}):
        taken[message, channel][day] = contacts
    days = sorted({day for own in taken.values() for day in own})
    shown = list(range(days[0], days[-1] + 1)) if days else []
    burns = []
    if source.policy is not None:
        policy = compile_policy(source.policy)
        pairs = [(one.message, one.channel) for one in policy.candidates]
        burns = [
            _burn(source, budget, _spent(budget, pairs, taken), shown)
            for budget in policy.budgets.all
            if not budget.pool
        ]
    if not burns:
        source.incomplete.append(Said("the rules have no budgets; name their folder with --rules"))
    late = [one.name for one in burns if _began(source, one.per) < span.begin]
    if late:
        source.incomplete.append(
            Said(
                "the range begins within the periods of %(names)s: only what was spent in the "
                "range is told of them",
                names=", ".join(dict.fromkeys(late)),
            )
        )
    return Budgets(
        **source.about("budgets"),
        query=question,
        customers=database.value("SELECT count(DISTINCT customer) FROM contacts"),
        events=events,
        days=[_EPOCH + timedelta(days=day) for day in shown],
        budgets=burns,
    )


def _spent(
    budget: CompiledBudget,
    pairs: list[tuple[str, str]],
    taken: Mapping[tuple[str, str], Mapping[int, int]],
) -> dict[int, int]:
    """Day → what was spent on it."""
    found: defaultdict[int, int] = defaultdict(int)
    for amount, mask in budget.takes:
        for place, pair in enumerate(pairs):
            if mask >> place & 1:
                for day, contacts in taken.get(pair, {}).items():
                    found[day] += amount * contacts
    return found


def _burn(
    source: Source, budget: CompiledBudget, spent: Mapping[int, int], days: list[int]
) -> BudgetBurn:
    assert source.policy is not None
    now = _now(source)
    today = _day(now, source.span.home)
    first, end = 0, END
    if budget.per is not None:
        zone, starts = calendar.zone(source.span.home), source.policy.settings.week_starts
        first = _day(_began(source, budget.per), source.span.home)
        end = calendar.period_end(budget.per, now, zone, starts)
    total = sum(amount for day, amount in spent.items() if first <= day <= today)
    since = max(today - _RATE_DAYS, min(days, default=today))
    whole = max(1, today - since)
    rate = sum(spent.get(day, 0) for day in range(since, max(since + 1, today))) / whole
    at = (
        now + round((budget.amount - total) / rate * DAY) if rate and total < budget.amount else now
    )
    will = (total >= budget.amount or rate > 0) and at < min(end, END)
    scale = 1 if budget.unit == TIMES else MILLION
    return BudgetBurn(
        name=budget.name,
        shared=budget.shared,
        unit=budget.unit,
        per=budget.per,
        limit=budget.amount / scale,
        spent=total / scale,
        per_day=rate / scale,
        spent_at=from_micros(at) if will and at < now + 3650 * DAY else None,
        days=[spent.get(day, 0) / scale for day in days],
    )


def _now(source: Source) -> int:
    """The end of the range, or of the archive."""
    return min(source.span.end - 1, source.reach[1])


def _began(source: Source, per: CalendarPeriod | None) -> int:
    """When the period began that goes on at the end, in microseconds; 0: with the archive."""
    if per is None or source.policy is None:
        return BEGIN
    zone, starts = calendar.zone(source.span.home), source.policy.settings.week_starts
    return calendar.period_start(per, _now(source), zone, starts)


def _day(at: int, zone: str) -> int:
    moment: datetime = from_micros(at).astimezone(calendar.zone(zone))
    return moment.toordinal() - _EPOCH.toordinal()


def show(found: Budgets) -> Shown:
    """Budgets for people."""
    columns = [
        Column(Said("budget"), "text"),
        Column(Said("per"), "text"),
        Column(Said("unit"), "text"),
        Column(Said("spent so far")),
        Column(Said("limit")),
        Column(Said("of the limit"), "share"),
        Column(Said("each day")),
        Column(Said("spent at"), "text"),
    ]
    rows: list[Row] = [
        [
            one.name,
            Said(_PER[one.per]),
            Said(TIMES) if one.unit == TIMES else one.unit,
            one.spent,
            one.limit,
            one.spent / one.limit if one.limit else None,
            round(one.per_day, 2),
            local(one.spent_at, found.timezone)[:16],
        ]
        for one in found.budgets
    ]
    soon = sum(one.spent_at is not None for one in found.budgets)
    said = Said("the rules have no budgets")
    if found.budgets:
        said = Said(
            "%(n)s of %(all)s budgets will be spent before their period is over, at this rate",
            n=f"{soon:,}",
            all=f"{len(found.budgets):,}",
        )
    bars = [(_called(one), one.spent / one.limit) for one in found.budgets if one.limit]
    charts = [Bars(Said("Spent of the limit"), bars, percent=True, most=1.0)]
    daily = [Column(Said("day"), "text"), *(Column(_called(one)) for one in found.budgets)]
    by_day: list[Row] = [
        [f"{day}", *(one.days[place] for one in found.budgets)]
        for place, day in enumerate(found.days)
    ]
    tables = [Table(Said("Budgets"), columns, rows)]
    if found.budgets:
        tables.append(Table(Said("Spent each day"), daily, by_day))
    return Shown([said], tables, charts)


def _called(one: BudgetBurn) -> str:
    """Its name, and its period: a message may have one budget in all and one each day."""
    return Said("%(name)s (%(per)s)", name=one.name, per=Said(_PER[one.per]))


_PER: Final = {
    None: marked("ever"),
    "day": marked("day"),
    "week": marked("week"),
    "month": marked("month"),
}


def _query(name: str) -> str:
    return queries(PACKAGE, "budgets.sql")[name]


BUDGETS: Final = Kind(
    name="budgets",
    summary="How fast each budget is spent, and when it will be.",
    description=__doc__ or "",
    example="--timezone Asia/Shanghai",
    question=BudgetsQuestion,
    answer=Budgets,
    make=make,
    show=show,
)
