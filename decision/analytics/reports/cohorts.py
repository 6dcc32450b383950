"""Cohorts: what customers did in the periods after they began, by when it was or who they are.

A customer begins with their first such event ever. Cohorts are the days, weeks or months in which
they began, or, with `by`, what that event says (`event.source`) or what the customer is
(`customer.city`). Cells are the periods from the first one on, which is number 0: how many of the
cohort did it, how often, and with what amount. One that is not over is marked, and left out where
cohorts are put together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Annotated, Final, NamedTuple

import msgspec

from decision.analytics.queries import queries
from decision.analytics.reports.answering import Answer, Bars, Column, Row, Shown, Table
from decision.analytics.reports.asking import ANY, about
from decision.analytics.reports.breakdown import breakdown_of, largest, name_customers, name_of
from decision.analytics.reports.event_amounts import Measure, MetricQuestion, measure, only_one
from decision.analytics.reports.kind import Kind
from decision.analytics.reports.naming import check, check_property
from decision.analytics.reports.periods import (
    PERIODS,
    Period,
    date_rows,
    first_day,
    has_begun,
    is_over,
    week_shift,
)
from decision.analytics.reports.source import PACKAGE, Source
from decision.core.local_days import END
from decision.core.said import Said


class CohortsQuestion(MetricQuestion, frozen=True, kw_only=True):
    """What may be asked of cohorts."""

    event: Annotated[
        str,
        about(
            "What begins: a type of event, or any but those about messages.", "TYPE", of="events"
        ),
    ] = ANY
    does: Annotated[
        str,
        about(
            "What is counted afterwards. Left out: the same as --event.",
            "TYPE",
            of="events",
            afterwards=True,
        ),
    ] = ""
    amount: Annotated[
        str,
        about(
            "A property of what is counted, whose numbers are added: amount.",
            "PROPERTY",
            of="properties",
        ),
    ] = ""
    by: Annotated[
        str,
        about(
            "Cohorts by a property of the event that began, or by a field of the customer as "
            "logged: event.source, customer.city. Left out: by when they began.",
            "FIELD",
            of="fields",
        ),
    ] = ""
    period: Annotated[Period, about("How long a period is, by the calendar. Default: week.")] = (
        "week"
    )
    periods: Annotated[int, about("How many periods after the first.", "N", ge=1, le=366)] = 8
    cumulative: Annotated[bool, about("Each cell has the periods before it as well.")] = False
    groups: Annotated[int, about("With --by: how many, the largest first.", "N", ge=1, le=1000)] = (
        25
    )


class CohortCell(msgspec.Struct, frozen=True, kw_only=True):
    """One period of a cohort: `customers` did it, `events` times, with amounts of `value` in all.

    `of` are those of the cohort that it is of; `average` is the value for each of them, or, without
    an amount, the number of events. Null: the period has not begun. `complete`: it is over.
    """

    of: int
    customers: int | None
    share: float | None
    events: int | None
    value: float | None
    average: float | None
    complete: bool


class Cohort(msgspec.Struct, frozen=True, kw_only=True):
    """Who began in the period that starts on `begins`, or, with `by`, the customers of one `name`.

    With a name, a cell is of those for whom the period is over.
    """

    begins: date | None
    name: str | None
    customers: int
    cells: list[CohortCell]


class Cohorts(Answer, frozen=True, kw_only=True):
    """`columns` name the cells: period `0` is the one in which they began.

    `all` has, for each cell, the cohorts for which it is complete, together.
    """

    query: CohortsQuestion
    columns: list[str]
    cohorts: list[Cohort]
    all: list[CohortCell]


class _Did(NamedTuple):
    """What those of a cohort did in one period."""

    customers: int = 0
    events: int = 0
    value: float = 0.0

    def plus(self, other: _Did) -> _Did:
        return _Did(
            self.customers + other.customers,
            self.events + other.events,
            self.value + other.value,
        )


class _Part(NamedTuple):
    """Customers of one name who began in one period: a row of cells."""

    name: str | None
    begins: int
    size: int
    did: Sequence[_Did]


def make(source: Source, question: CohortsQuestion) -> Cohorts:
    """Counts what cohorts did."""
    counted = only_one(source, question.metric, does=question.does, amount=question.amount)
    if counted is None:
        counted = measure(question.does or question.event, question.amount)
    types = list(dict.fromkeys((question.event, counted.event)))
    check(source, "events", "event", types, afterwards=True)
    if question.amount:
        check_property(
            source, "amount", question.amount, "" if counted.event == ANY else counted.event
        )
    source.take(before=source.span.begin, after=END, once=() if ANY in types else types)
    date_rows(source, "happened", "dated")
    _begin(source, question)
    parts = _parts(source, question, counted)
    columns = [str(number) for number in range(question.periods + 1)]
    customers = sum(part.size for part in parts)
    cohorts = (
        _named(source, question, parts) if question.by else _by_period(source, question, parts)
    )
    if any(not cell.complete for one in cohorts for cell in one.cells):
        source.incomplete.append(
            Said("periods that are not over are marked, and not in the line of all")
        )
    return Cohorts(
        **source.about("cohorts"),
        query=question,
        customers=customers,
        events=source.database.value(_query("counted")),
        columns=columns,
        cohorts=cohorts,
        all=_together(source, question, parts),
    )


def _begin(source: Source, question: CohortsQuestion) -> None:
    """Makes the table `began`."""
    database = source.database
    given = {
        "type": None if question.event == ANY else question.event,
        "period": question.period,
        "week_shift": week_shift(source),
    }
    database.execute(_query("firsts"), given)
    by = breakdown_of(question.by)
    if by is not None and by.field is not None:
        name_customers(source, by.field, "firsts")
    else:
        path = None if by is None else by.path
        database.execute(_query("by_property"), {"path": path, "type": given["type"]})
    database.execute(_query("began"))


def _parts(source: Source, question: CohortsQuestion, counted: Measure) -> list[_Part]:
    database = source.database
    database.execute(
        _query("did"),
        {
            "type": None if counted.event == ANY else counted.event,
            "path": counted.path,
            "period": question.period,
            "week_shift": week_shift(source),
            "periods": question.periods,
        },
    )
    found: defaultdict[tuple[str | None, int], dict[int, _Did]] = defaultdict(dict)
    for name, cohort, slot, *did in database.rows(_query("cells")):
        found[name, cohort][slot] = _Did(*did)
    if question.cumulative:
        earliest = database.rows(_query("earliest"))
        new = {(name, cohort, slot): customers for name, cohort, slot, customers in earliest}
        for (name, cohort), cells in found.items():
            for slot, one in cells.items():
                cells[slot] = one._replace(customers=new.get((name, cohort, slot), 0))
    parts = []
    for name, cohort, size in database.rows(_query("sizes")):
        own = found[name, cohort]
        row = [own.get(slot, _Did()) for slot in range(question.periods + 1)]
        parts.append(_Part(name, cohort, size, _sums(row) if question.cumulative else row))
    return parts


def _sums(did: Iterable[_Did]) -> list[_Did]:
    found, total = [], _Did()
    for one in did:
        total = total.plus(one)
        found.append(total)
    return found


def _by_period(source: Source, question: CohortsQuestion, parts: Sequence[_Part]) -> list[Cohort]:
    period, cohorts = question.period, []
    for part in parts:
        cells = []
        for slot, did in enumerate(part.did):
            begun = has_begun(source, period, part.begins + slot)
            over = is_over(source, period, part.begins + slot)
            cells.append(_cell(question, part.size, did if begun else None, over))
        begins = first_day(source, period, part.begins)
        cohorts.append(Cohort(begins=begins, name=None, customers=part.size, cells=cells))
    return cohorts


def _named(source: Source, question: CohortsQuestion, parts: Sequence[_Part]) -> list[Cohort]:
    """The cohorts of each name together."""
    own: defaultdict[str | None, list[_Part]] = defaultdict(list)
    for part in parts:
        own[part.name].append(part)
    sizes = {name: sum(one.size for one in found) for name, found in own.items()}
    return [
        Cohort(
            begins=None,
            name=name,
            customers=sizes[name],
            cells=_together(source, question, own[name]),
        )
        for name in largest(source, sizes, question.groups)
    ]


def _together(
    source: Source, question: CohortsQuestion, parts: Sequence[_Part]
) -> list[CohortCell]:
    """For each period, those for whom it is over."""
    found = []
    for slot in range(question.periods + 1):
        whole = [one for one in parts if is_over(source, question.period, one.begins + slot)]
        did = _sums(one.did[slot] for one in whole)
        size = sum(one.size for one in whole)
        found.append(_cell(question, size, did[-1] if did else None, bool(whole)))
    return found


def _cell(question: CohortsQuestion, size: int, did: _Did | None, complete: bool) -> CohortCell:
    valued = bool(question.amount or question.metric)
    total = None if did is None else did.value if valued else did.events
    return CohortCell(
        of=size,
        customers=None if did is None else did.customers,
        share=None if did is None else did.customers / size,
        events=None if did is None else did.events,
        value=None if did is None or not valued else did.value,
        average=None if total is None else total / size,
        complete=complete,
    )


def show(found: Cohorts) -> Shown:
    """Cohorts for people: who did it, and how much for each; a cell that is not over has a star."""
    period = Said(PERIODS[found.query.period])
    columns = [Column(found.query.by or period, "text"), Column(Said("customers"))]
    columns += [Column(name, "text") for name in found.columns]
    size = sum(one.customers for one in found.cohorts)
    rows: list[tuple[str, int, Sequence[CohortCell]]] = [(Said("all"), size, found.all)]
    for one in found.cohorts:
        name = name_of(one.name) if found.query.by else f"{one.begins}"
        rows.append((name, one.customers, one.cells))
    did: list[Row] = [[name, count, *map(_share, cells)] for name, count, cells in rows]
    each: list[Row] = [[name, count, *map(_average, cells)] for name, count, cells in rows]
    bars = [
        (Said("%(period)s %(n)s", period=period, n=name), cell.average or 0.0)
        for name, cell in zip(found.columns, found.all, strict=True)
        if cell.average is not None
    ]
    if found.query.cumulative:
        shares = Said("Share of the cohort until then; * is not over yet")
        averages = Said("For each customer of the cohort until then; * is not over yet")
    else:
        shares = Said("Share of the cohort; * is not over yet")
        averages = Said("For each customer of the cohort; * is not over yet")
    said = Said(
        "%(n)s customers in %(cohorts)s cohorts",
        n=f"{found.customers:,}",
        cohorts=f"{len(found.cohorts):,}",
    )
    tables = [Table(shares, columns, did), Table(averages, columns, each)]
    return Shown([said], tables, [Bars(Said("For each customer, all cohorts"), bars)])


def _share(cell: CohortCell) -> str:
    return "" if cell.share is None else f"{cell.share:.1%}{_star(cell)}"


def _average(cell: CohortCell) -> str:
    return "" if cell.average is None else f"{cell.average:,.2f}{_star(cell)}"


def _star(cell: CohortCell) -> str:
    return "" if cell.complete else "*"


def _query(name: str) -> str:
    return queries(PACKAGE, "cohorts.sql")[name]


COHORTS: Final = Kind(
    name="cohorts",
    summary="What customers did, and spent, in the periods after they began.",
    description=__doc__ or "",
    example="--event purchase --amount amount --period month --periods 6",
    question=CohortsQuestion,
    answer=Cohorts,
    make=make,
    show=show,
)
