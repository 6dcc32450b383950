"""Retention: how many customers come back in the days, weeks or months after they began.

A cohort is who began in one period: with their first such event ever, or with any (`recurring`).
Its cells are the periods after it: who came back in that one (`on`), in that one or a later one
(`on_or_after`), or in several together (`brackets`). Periods are of the calendar; one that is not
over is marked, and left out of the line of all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from itertools import accumulate
from typing import Annotated, Final, Literal

import msgspec

from decision.analytics.queries import queries
from decision.analytics.reports.answering import Answer, Bars, Column, Row, Shaded, Shown, Table
from decision.analytics.reports.asking import ANY, Question, about
from decision.analytics.reports.breakdown import (
    Breakdown,
    breakdown_of,
    largest,
    name_customers,
    name_of,
)
from decision.analytics.reports.kind import Kind
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
from decision.core.errors import InputError
from decision.core.local_days import END
from decision.core.said import Said
from decision.evaluation.retention import FEW


class RetentionQuestion(Question, frozen=True, kw_only=True):
    """What may be asked of retention."""

    event: Annotated[
        str,
        about(
            "What begins: a type of event, or any but those about messages.", "TYPE", of="events"
        ),
    ] = ANY
    returns: Annotated[
        str,
        about(
            "What counts as coming back. Left out: the same as --event.",
            "TYPE",
            of="events",
            afterwards=True,
        ),
    ] = ""
    period: Annotated[Period, about("How long a period is, by the calendar. Default: week.")] = (
        "week"
    )
    periods: Annotated[int, about("How many periods after the first.", "N", ge=1, le=366)] = 8
    count: Annotated[
        Literal["on", "on_or_after", "brackets"],
        about(
            "on: who came back in a period. on_or_after: or later. brackets: in several together. "
            "Default: on."
        ),
    ] = "on"
    brackets: Annotated[
        list[str], about("With --count brackets: how many periods each has, such as 1,3,4.", "N,…")
    ] = msgspec.field(default_factory=list)
    cohort: Annotated[
        Literal["first", "recurring"],
        about("first: the first such event ever. recurring: any. Default: first."),
    ] = "first"
    by: Annotated[
        str,
        about(
            "Broken down by a property of the event that began, or by a field of the customer as "
            "logged: event.source, customer.city.",
            "FIELD",
            of="fields",
        ),
    ] = ""
    groups: Annotated[int, about("With --by: how many, the largest first.", "N", ge=1, le=1000)] = (
        25
    )


class RetentionCell(msgspec.Struct, frozen=True, kw_only=True):
    """`customers` of the cohort came back; null: the period has not begun.

    `complete`: it is over.
    """

    customers: int | None
    share: float | None
    complete: bool


class RetentionCohort(msgspec.Struct, frozen=True, kw_only=True):
    """Who began in the period that starts on `begins`; `cells` are the periods after it."""

    begins: date
    customers: int
    cells: list[RetentionCell]


class RetentionGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The customers of one name, null: without; each cell as in `all`, of the cohorts for which it
    is complete. `customers` counts one again in each cohort."""

    name: str | None
    customers: int
    cells: list[RetentionCell]


class Retention(Answer, frozen=True, kw_only=True):
    """`columns` name the cells: `1`, `2` …, or `2-4` for a bracket.

    `all` has, for each cell, the cohorts for which it is complete, together.
    """

    query: RetentionQuestion
    columns: list[str]
    cohorts: list[RetentionCohort]
    all: list[RetentionCell]
    groups: list[RetentionGroup]


def make(source: Source, question: RetentionQuestion) -> Retention:
    """Counts who comes back."""
    slots, columns = _slots(question)
    by = breakdown_of(question.by)
    first = question.cohort == "first"
    source.take(before=source.span.begin if first else 0, after=END)
    _begin(source, question, by)
    together: dict[int, list[int]] = {}
    groups = defaultdict[str | None, list[RetentionCohort]](list)
    for name, number, counts in _counts(source, question, slots):
        before = together.get(number, [0] * len(counts))
        together[number] = [sum(pair) for pair in zip(before, counts, strict=True)]
        groups[name].append(_cohort(source, question, slots, number, counts))
    cohorts = [_cohort(source, question, slots, *one) for one in together.items()]
    [(customers, events)] = source.database.rows(_query("totals"))
    if any(not cell.complete for one in cohorts for cell in one.cells):
        source.incomplete.append(
            Said("periods that are not over are marked, and not in the line of all")
        )
    if any(0 < one.customers < FEW for one in cohorts):
        source.incomplete.append(
            Said("cohorts of fewer than %(n)s customers: a share of so few says little", n=FEW)
        )
    if question.count == "on_or_after":
        source.incomplete.append(Said("who has not come back may still do so later"))
    return Retention(
        **source.about("retention"),
        query=question,
        customers=customers,
        events=events,
        columns=columns,
        cohorts=cohorts,
        all=_together(cohorts, len(columns)),
        groups=[] if by is None else _groups(source, question, groups, len(columns)),
    )


def _groups(
    source: Source,
    question: RetentionQuestion,
    groups: Mapping[str | None, Sequence[RetentionCohort]],
    columns: int,
) -> list[RetentionGroup]:
    sizes = {name: sum(one.customers for one in own) for name, own in groups.items()}
    return [
        RetentionGroup(name=name, customers=sizes[name], cells=_together(groups[name], columns))
        for name in largest(source, sizes, question.groups)
    ]


def _slots(question: RetentionQuestion) -> tuple[list[int], list[str]]:
    """The slot of each period after the first, and what slots are called."""
    if question.count != "brackets":
        if question.brackets:
            raise InputError("brackets", Said("they need count: brackets"))
        numbers = list(range(1, question.periods + 1))
        return numbers, [str(number) for number in numbers]
    try:
        sizes = [int(one) for one in question.brackets]
    except ValueError:
        sizes = [0]
    if not sizes or min(sizes) < 1 or sum(sizes) > 366:
        raise InputError("brackets", Said("write how many periods each has: 1,3,4 (366 in all)"))
    ends = list(accumulate(sizes))
    names = [
        f"{end}" if size == 1 else f"{end - size + 1}-{end}"
        for size, end in zip(sizes, ends, strict=True)
    ]
    return [slot for slot, size in enumerate(sizes, 1) for _ in range(size)], names


def _begin(source: Source, question: RetentionQuestion, by: Breakdown | None) -> None:
    """Makes the tables `did` and `cohorts`."""
    database, types = source.database, None if question.event == ANY else [question.event]
    date_rows(source, "happened", "dated")
    database.execute(
        _query("did"),
        {
            "types": types,
            "returns": _returns(question),
            "period": question.period,
            "week_shift": week_shift(source),
        },
    )
    database.execute(_query(question.cohort))
    if by is None:
        database.execute(_query("by_nothing"))
    elif by.field is None:
        database.execute(_query("by_property"), {"types": types, "path": by.path})
    else:
        name_customers(source, by.field, "began")
        database.execute(_query("by_customer"))


def _counts(
    source: Source, question: RetentionQuestion, slots: Sequence[int]
) -> Iterator[tuple[str | None, int, list[int]]]:
    """For each name and cohort, in order: how many are in it, and came back in each slot."""
    later = question.count == "on_or_after"
    found: defaultdict[tuple[str | None, int], dict[int, int]] = defaultdict(dict)
    query = _query("on_or_after" if later else "on")
    for name, cohort, slot, customers in source.database.rows(query, {"slots": slots}):
        found[name, cohort][slot] = customers
    for name, cohort, size in source.database.rows(_query("sizes")):
        counts = [found[name, cohort].get(slot, 0) for slot in range(1, slots[-1] + 1)]
        if later:
            counts = list(accumulate(reversed(counts)))[::-1]
        yield name, cohort, [size, *counts]


def _returns(question: RetentionQuestion) -> list[str] | None:
    kind = question.returns or question.event
    return None if kind == ANY else [kind]


def _cohort(
    source: Source,
    question: RetentionQuestion,
    slots: Sequence[int],
    number: int,
    counts: Sequence[int],
) -> RetentionCohort:
    period, size = question.period, counts[0]
    cells = []
    for slot, count in enumerate(counts[1:], 1):
        own = [n for n, one in enumerate(slots, 1) if one == slot]
        begun = has_begun(source, period, number + own[0])
        over = is_over(source, period, number + own[-1])
        cells.append(
            RetentionCell(
                customers=count if begun else None,
                share=count / size if begun else None,
                complete=over,
            )
        )
    return RetentionCohort(begins=first_day(source, period, number), customers=size, cells=cells)


def _together(cohorts: Sequence[RetentionCohort], columns: int) -> list[RetentionCell]:
    """For each column, the cohorts for which it is complete."""
    cells = []
    for place in range(columns):
        whole = [one for one in cohorts if one.cells[place].complete]
        customers = sum(one.cells[place].customers or 0 for one in whole)
        size = sum(one.customers for one in whole)
        cells.append(
            RetentionCell(
                customers=customers if whole else None,
                share=customers / size if size else None,
                complete=bool(whole),
            )
        )
    return cells


def show(found: Retention) -> Shown:
    """Retention for people: a cell that is not over has a star."""
    period = Said(PERIODS[found.query.period])
    columns = [Column(period, "text"), Column(Said("customers"))]
    columns += [Column(name, "text") for name in found.columns]
    size = sum(one.customers for one in found.cohorts)
    sure = [one for one in found.cohorts if one.customers >= FEW] or found.cohorts
    most = max((cell.share or 0.0 for one in sure for cell in one.cells), default=0.0) or 1.0

    def texts(cells: Sequence[RetentionCell], customers: int) -> list[str]:
        return [_text(one, most if customers >= FEW else END) for one in cells]

    rows: list[Row] = [[Said("all"), size, *texts(found.all, size)]]
    rows += [
        [f"{one.begins}", one.customers, *texts(one.cells, one.customers)] for one in found.cohorts
    ]
    shares = [
        (Said("%(period)s %(n)s", period=period, n=name), cell.share or 0.0)
        for name, cell in zip(found.columns, found.all, strict=True)
        if cell.share is not None
    ]
    said = Said(
        "%(n)s customers in %(cohorts)s cohorts",
        n=f"{found.customers:,}",
        cohorts=f"{len(found.cohorts):,}",
    )
    tables = [Table(Said("Share of a cohort that came back; * is not over yet"), columns, rows)]
    if found.groups:
        named = [Column(found.query.by, "text"), *columns[1:]]
        own: list[Row] = [
            (name_of(one.name), one.customers, *texts(one.cells, one.customers))
            for one in found.groups
        ]
        tables.append(Table(Said("By %(field)s", field=found.query.by), named, own))
    return Shown([said], tables, [Bars(Said("All cohorts"), shares, percent=True)])


def _text(cell: RetentionCell, most: float) -> str:
    """Its share, shaded by how near it is to the most; of few customers, hardly at all."""
    if cell.share is None:
        return ""
    text = f"{cell.share:.1%}{'' if cell.complete else '*'}"
    return Shaded(text, min(1.0, cell.share / most))


def _query(name: str) -> str:
    return queries(PACKAGE, "retention.sql")[name]


RETENTION: Final = Kind(
    name="retention",
    summary="How many customers come back in the days, weeks or months after they began.",
    description=__doc__ or "",
    example="--event purchase --period month --periods 6",
    question=RetentionQuestion,
    answer=Retention,
    make=make,
    show=show,
)
