"""Funnel: how many customers went through steps in order, and how far the others came.

The meaning is that of ClickHouse's `windowFunnel`, with each event used for one step only: a chain
begins with an event of the first step in the range, and has the next steps in order, all of them
within a time of its beginning, wherever the range ends. Events of one moment come in any order. A
customer counts once, with the chain that came furthest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated, Final, Literal, NamedTuple

import msgspec

from decision.analytics.queries import queries
from decision.analytics.reports.answering import Answer, Bars, Column, Shown, Table
from decision.analytics.reports.asking import (
    Question,
    about,
    duration,
    not_there,
)
from decision.analytics.reports.breakdown import (
    Breakdown,
    breakdown_of,
    largest,
    name_customers,
    name_of,
)
from decision.analytics.reports.kind import Kind
from decision.analytics.reports.naming import check
from decision.analytics.reports.source import PACKAGE, Source
from decision.core.clock import SECOND
from decision.core.errors import InputError
from decision.core.said import Said

Order = Literal["ordered", "strict", "any"]
MOST_STEPS: Final = 20
_NONE: Final = -(1 << 60)
"""A slot without a chain."""
_LAST: Final = (1 << 57) - 1
"""The last moment that fits beside six bits: in the year 6536."""


class Steps(Question, frozen=True, kw_only=True):
    """The steps of a funnel, written out or by the name that the rule files give them."""

    steps: Annotated[
        list[str],
        about(
            "Types of events, with commas between: page_view,cart_add,purchase.",
            of="events",
            afterwards=True,
        ),
    ] = msgspec.field(default_factory=list)
    funnel: Annotated[
        str, about("The steps, time and order of one of funnels: of the rules.", of="funnels")
    ] = ""
    within: Annotated[
        str, about("The time from the first step to the last: 30m, 48h, 7d. Default: 7d.", "TIME")
    ] = ""
    order: Annotated[
        Literal["ordered", "strict", "any", ""],
        about(
            "ordered: other events may come between. strict: none may. any: steps count in "
            "whatever order they come. Default: ordered."
        ),
    ] = ""
    exclude: Annotated[
        list[str],
        about(
            "Types of events that end a chain when they come before its last step.",
            of="events",
            afterwards=True,
        ),
    ] = msgspec.field(default_factory=list)


class FunnelQuestion(Steps, frozen=True, kw_only=True):
    """What may be asked of a funnel, and of the time it takes."""

    by: Annotated[
        str,
        about(
            "Broken down by a property of the event that began it, or by a field of the customer "
            "as logged: event.device, customer.city. A customer is in one group.",
            "FIELD",
            of="fields",
        ),
    ] = ""
    groups: Annotated[int, about("How many groups, the largest first.", "N", ge=1, le=1000)] = 25


class FunnelStep(msgspec.Struct, frozen=True, kw_only=True):
    """`customers` came to this step at least; `share` is of those who began, `of_previous` of those
    who came to the step before. Null: nobody did."""

    name: str
    customers: int
    share: float | None
    of_previous: float | None


class FunnelGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The customers whose first event had this value; null: it had none."""

    name: str | None
    steps: list[FunnelStep]


class Funnel(Answer, frozen=True, kw_only=True):
    """`customers` began; `open` of them can still come further, because their time is not over.

    With `any` order, step n is called `any n of m`. `groups` are the largest of a break-down.
    """

    query: FunnelQuestion
    steps: list[FunnelStep]
    open: int
    groups: list[FunnelGroup]


class Asked(NamedTuple):
    """The steps that a question means; `within` is microseconds."""

    steps: list[str]
    within: int
    order: Order
    exclude: list[str]

    @property
    def names(self) -> list[str]:
        """What the steps are called in answers."""
        if self.order != "any":
            return self.steps
        return [f"any {number} of {len(self.steps)}" for number in range(1, len(self.steps) + 1)]


def steps_of(source: Source, question: Steps) -> Asked:
    """The steps that a question means.

    Raises:
        InputError: they are none, or no such funnel is in the rules.
    """
    steps, within, order = question.steps, question.within, question.order
    if question.funnel:
        known = {one.name: one for one in source.policy.funnels} if source.policy else {}
        if steps:
            raise InputError("funnel", Said("give its name or steps, not both"))
        if question.funnel not in known:
            raise not_there("funnel", Said("funnel"), question.funnel, known)
        found = known[question.funnel]
        steps = list(found.steps)
        within, order = within or f"{found.within // SECOND}s", order or found.order
    if len(steps) < 2:
        if not steps:
            text = Said("a funnel has two steps or more; write steps: page_view,cart_add,purchase")
        else:
            text = Said("a funnel has two steps or more; add another")
        raise InputError("steps", text)
    types = list(dict.fromkeys((*steps, *question.exclude)))
    if "" in types:
        raise InputError("steps", Said("a step is empty; take the comma out"))
    if len(steps) > MOST_STEPS:
        raise InputError(
            "steps",
            Said("there are %(n)s; a funnel has at most %(most)s", n=len(steps), most=MOST_STEPS),
        )
    if both := set(steps) & set(question.exclude):
        raise InputError(
            "exclude",
            Said("%(step)s is a step as well; take it out of one of them", step=min(both)),
        )
    check(source, "events", "steps", steps[:1])
    check(source, "events", "steps", steps, afterwards=True)
    asked = duration("within", within or "7d")
    return Asked(steps, asked, order or "ordered", question.exclude)


def follow(source: Source, asked: Asked, *, times: bool) -> None:
    """Makes the table `came`: customer, level, latest, and with `times` also began and ended.

    `latest` is when the latest chain began that can still go on; all are microseconds.
    """
    kinds = list(dict.fromkeys(asked.steps))
    types = [*kinds, *dict.fromkeys(asked.exclude)]
    steps = [kinds.index(step) + 1 for step in asked.steps]
    count, strict, backwards = len(steps), asked.order == "strict", asked.order == "any"
    once = () if strict else types if backwards or count > len(kinds) else None
    source.take(after=asked.within, once=once)
    span, database = source.span, source.database
    database.execute(
        _query("lists"),
        {
            "begin": span.begin,
            "end": span.end,
            "shift": span.shift,
            "last": min(span.end + asked.within + span.shift, _LAST),
            "kinds": kinds,
            "types": types,
            "others": strict,
            "backwards": backwards,
        },
    )
    given = {
        "count": count,
        "steps": steps,
        "none": _NONE,
        "within": asked.within,
        "slots": [_NONE] * count + [0] + [_NONE] * (2 if times else 0),
    }
    for macro in ("reached", "moved", "done"):
        database.execute(_query(macro))
    if backwards:
        database.execute(_query("in_any_order"), given | {"earlier": _earlier(steps)})
        return
    places = [[n for n, step in enumerate(steps, 1) if step == k] for k in set(steps)]
    database.execute(
        _query("in_order"), given | {"kinds": len(kinds), "keeps": not strict, "places": places}
    )


def _earlier(steps: Sequence[int]) -> list[int]:
    """For each step the last one before it of the same kind, counted from 1; 0: there is none."""
    found = []
    for place, step in enumerate(steps):
        before = [n for n, one in enumerate(steps[:place], 1) if one == step]
        found.append(before[-1] if before else 0)
    return found


def began(source: Source, asked: Asked) -> tuple[int, int]:
    """How many customers began, and how many of them can still come further, which it notes."""
    rows = _levels(source, asked)
    still = sum(row[2] for row in rows)
    if still:
        source.incomplete.append(
            Said(
                "%(n)s of those who began can still come further: their time is not over",
                n=f"{still:,}",
            )
        )
    return sum(row[1] for row in rows), still


def events_counted(source: Source) -> int:
    """How many events were looked at."""
    return int(source.database.value(_query("events")))


def _levels(source: Source, asked: Asked) -> list[tuple[int, int, int]]:
    """How far customers came, how many came so far, and how many of them can come further."""
    given = {"count": len(asked.steps), "open_since": source.reach[1] - asked.within}
    return source.database.rows(_query("levels"), given)


def make(source: Source, question: FunnelQuestion) -> Funnel:
    """Counts a funnel."""
    asked = steps_of(source, question)
    by = breakdown_of(question.by)
    follow(source, asked, times=by is not None)
    customers, still = began(source, asked)
    groups = [] if by is None else _groups(source, asked, question, by)
    return Funnel(
        **source.about("funnel"),
        query=question,
        customers=customers,
        events=events_counted(source),
        steps=_steps(asked.names, {level: many for level, many, _ in _levels(source, asked)}),
        open=still,
        groups=groups,
    )


def _groups(
    source: Source, asked: Asked, question: FunnelQuestion, by: Breakdown
) -> list[FunnelGroup]:
    name_chains(source, asked, by)
    levels: defaultdict[str | None, dict[int, int]] = defaultdict(dict)
    for name, level, customers in source.database.rows(_query("groups")):
        levels[name][level] = customers
    sizes = {name: sum(own.values()) for name, own in levels.items()}
    return [
        FunnelGroup(name=name, steps=_steps(asked.names, levels[name]))
        for name in largest(source, sizes, question.groups)
    ]


def name_chains(source: Source, asked: Asked, by: Breakdown) -> None:
    """Makes the table `named` (customer, name) of those in `came`, which has times."""
    if by.field is not None:
        source.database.execute(_query("beginnings"))
        name_customers(source, by.field, "beginnings")
    else:
        first = asked.steps if asked.order == "any" else asked.steps[:1]
        source.database.execute(_query("by_property"), {"path": by.path, "first": first})


def _steps(names: Sequence[str], levels: dict[int, int]) -> list[FunnelStep]:
    """Out of how many customers came exactly so far."""
    counts = [
        sum(customers for level, customers in levels.items() if level >= number)
        for number in range(1, len(names) + 1)
    ]
    return [
        FunnelStep(
            name=name,
            customers=count,
            share=count / counts[0] if counts[0] else None,
            of_previous=count / before if before else None,
        )
        for name, count, before in zip(names, counts, [counts[0], *counts], strict=False)
    ]


def show(found: Funnel) -> Shown:
    """A funnel for people."""
    columns = [
        Column(Said("step"), "text"),
        Column(Said("customers")),
        Column(Said("of all"), "share"),
        Column(Said("of the step before"), "share"),
    ]
    steps = Table(
        Said("Steps"),
        columns,
        [(one.name, one.customers, one.share, one.of_previous) for one in found.steps],
    )
    tables = [steps]
    if found.groups:
        named = [Column(found.query.by, "text"), *(Column(one.name) for one in found.steps)]
        rows = [
            (
                name_of(group.name),
                *(one.customers for one in group.steps),
                group.steps[-1].share,
            )
            for group in found.groups
        ]
        named.append(Column(Said("converted"), "share"))
        tables.append(Table(Said("By %(field)s", field=found.query.by), named, rows))
    bars = Bars(Said("Customers by step"), [(one.name, one.customers) for one in found.steps])
    last = found.steps[-1]
    said = Said(
        "%(n)s of %(all)s customers went all the way%(share)s",
        n=f"{last.customers:,}",
        all=f"{found.customers:,}",
        share="" if last.share is None else f", {last.share:.1%}",
    )
    return Shown([said], tables, [bars])


def _query(name: str) -> str:
    return queries(PACKAGE, "funnel.sql")[name]


FUNNEL: Final = Kind(
    name="funnel",
    summary="How many customers went through steps, and where the others stopped.",
    description=__doc__ or "",
    example="--steps page_view,cart_add,purchase --within 7d",
    question=FunnelQuestion,
    answer=Funnel,
    make=make,
    show=show,
)
