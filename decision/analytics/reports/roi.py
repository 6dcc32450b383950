"""ROI: what messages bring beyond what customers do anyway, and what they cost.

Incremental is what customers do more than those who were to get nothing: a control group
(intention to treat), or decisions in which silence was drawn. Last touch stands beside it: the
value of events that came after a message, each for the last one. It counts what would have come
anyway, and is not shown as earned.

A control group does without all messages of its purposes. So a line says what all of these add
among the customers whom a channel, message, category or journey could reach; lines overlap, and the
first line alone is the total. Where silence was drawn, a line is of its own messages.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
import numpy as np

from decision.analytics.anytime import FEWEST, Interval
from decision.analytics.effects import Effect, Sums, adjusted, effect
from decision.analytics.queries import queries
from decision.analytics.reports.answering import Answer, Bars, Column, Shown, Table
from decision.analytics.reports.asking import about
from decision.analytics.reports.exposed import assign, open_decisions, policies_of
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
from decision.analytics.sample_ratio import ALPHA as RATIO_ALPHA
from decision.analytics.sample_ratio import p_value
from decision.analytics.weighing import weighed
from decision.archive.given import IDS_NOT_GIVEN, WITHOUT_STORE
from decision.archive.log_columns import Amount
from decision.archive.tables import files
from decision.core.definition import Metric, PolicyDefinition
from decision.core.local_days import END
from decision.core.said import Said, marked

By = Literal["channel", "message", "category", "journey"]
FEW: Final = 50
"""An effective sample below this is too small to lean on."""
_GROUPS: Final[dict[str, str]] = {
    "channel": "c.channel",
    "message": "c.message",
    "category": "known.category",
    "journey": "asked.journey",
}
_NAMES: Final = {
    "channel": marked("channel"),
    "message": marked("message"),
    "category": marked("category"),
    "journey": marked("journey"),
}


class RoiQuestion(Measures, frozen=True, kw_only=True):
    """What may be asked of what messages bring."""

    by: Annotated[By, about("What the lines are of. Default: channel.")] = "channel"


class RoiLine(msgspec.Struct, frozen=True, kw_only=True):
    """What one channel, message, category or journey brings; `name` null: all together.

    `contacts` were given to `customers`, for `cost`; `last_touch`: the value of events after them.

    `identified` says by what the incremental value is known: `holdout`: control groups; `silence`:
    drawn silence, with `effective` sample size; null: by nothing. `per_customer` is its difference
    from `control` customers, of silence per decision. `incremental` and its interval (always valid)
    are that for all `treated` of them, `incremental_cost` what all their contacts cost, and `roi`
    is (incremental - cost) / cost.
    """

    name: str | None
    contacts: int
    customers: int
    cost: float
    last_touch: float
    identified: Literal["holdout", "silence"] | None
    control: int
    treated: int
    per_customer: Effect | None
    effective: float | None
    incremental: float | None
    interval: Interval | None
    incremental_cost: float | None
    roi: float | None


class Roi(Answer, frozen=True, kw_only=True):
    """`metric` is what was counted as value.

    `mismatch`: customers did not fall to the control groups as they should: these say nothing.
    """

    query: RoiQuestion
    metric: str
    lines: list[RoiLine]
    mismatch: bool


class Totals(NamedTuple):
    """Contacts of a group, to how many customers, at which cost."""

    contacts: int
    customers: int
    cost: float


def make(source: Source, question: RoiQuestion) -> Roi:
    """Counts what messages bring."""
    metrics = metrics_of(source, question)
    metric = next((one for one in metrics if one.value and one.measure == "total"), metrics[0])
    open_decisions(source)
    take_events(source, [metric])
    until = known_until(source)
    totals = _groups(source, question.by)
    held, mismatch = _held(source, metric, until)
    drawn = _drawn(source, metric, until, question.by)
    touched = _touched(source, metric)
    everybody = source.database.value("SELECT count(DISTINCT customer) FROM contacts")
    whole = Totals(
        sum(one.contacts for one in totals.values()),
        everybody,
        math.fsum(one.cost for one in totals.values()),
    )
    value = math.fsum(touched.get(name, 0.0) for name in totals)
    lines = [_line(None, whole, value, held.get(""), None)]
    for name in [*totals, *sorted((held.keys() | drawn.keys()) - totals.keys() - {""})]:
        own = totals.get(name, Totals(0, 0, 0.0))
        lines.append(_line(name, own, touched.get(name, 0.0), held.get(name), drawn.get(name)))
    _say(source, lines, mismatch=mismatch)
    span = {"begin": source.span.begin, "end": source.span.end}
    [(people, events)] = source.database.rows(_query("counted"), span)
    return Roi(
        **source.about("roi"),
        query=question,
        customers=people,
        events=events,
        metric=metric.name,
        lines=lines,
        mismatch=mismatch,
    )


def _groups(source: Source, by: By) -> dict[str, Totals]:
    """Makes `chances` and `contacts`; group → contacts, their customers and cost."""
    database, policies = source.database, [*policies_of(source).values()][::-1]
    known = [one for one in (source.policy, *policies) if one is not None]
    database.execute(_query("tables"))
    messages: dict[str, tuple[str, str | None, bool]] = {}
    costs: dict[str, float] = {}
    for policy in known:
        kept = _kept(policy)
        for one in policy.messages:
            messages.setdefault(one.name, (one.name, one.category, one.purpose not in kept))
        for channel in policy.channels:
            costs.setdefault(channel.name, channel.cost)
    for table, rows in (("known", messages.values()), ("costs", costs.items())):
        marks = "?, ?, ?" if table == "known" else "?, ?"
        if rows:
            database.connection.executemany(
                f"INSERT INTO {table} VALUES ({marks})", [*map(list, rows)]
            )
    database.view_dataset("journeys", files(source.archive, "journeys"))
    database.execute(_query("asked"))
    shared = {"without_store": WITHOUT_STORE, "not_given": IDS_NOT_GIVEN, "group": _GROUPS[by]}
    span = {"begin": source.span.begin, "end": source.span.end}
    database.execute(_query("chances").format(**shared), span)
    database.execute(_query("contacts").format(**shared), span)
    return {name: Totals(*rest) for name, *rest in database.rows(_query("totals"))}


def _kept(policy: PolicyDefinition) -> set[str]:
    """The purposes that all control groups keep."""
    groups = [set(one.keeps) for one in policy.experiments if not one.variants]
    return set.intersection(*groups) if groups else set()


def _held(
    source: Source, metric: Metric, until: int
) -> tuple[dict[str, tuple[Any, int, int, float]], bool]:
    """Group → effect, control customers, others, what all contacts of these cost."""
    policies = [one for one in (source.policy, *[*policies_of(source).values()][::-1]) if one]
    name = next((e.name for p in policies for e in p.experiments if not e.variants), None)
    if name is None:
        return {}, False
    found = assign(source, name)
    if not found.exposed:
        return {}, False
    shares = found.shares
    p = p_value([found.fell.get(one, 0) for one in shares], [*shares.values()])
    if p <= RATIO_ALPHA:
        return {}, True
    source.database.execute(_query("held_units"))
    whole = msgspec.structs.replace(metric, within=None)
    measure(source, whole, end=min(source.span.end, until))
    sides: dict[str, dict[bool, Sums]] = {}
    did: dict[str, list[int]] = {}
    for grp, held, *sums, own in source.database.rows(_query("sums")):
        sides.setdefault(grp, {})[held] = Sums(*sums)
        did.setdefault(grp, []).append(own)
    spent = dict(source.database.rows(_query("spent")))
    none = Sums(0, 0.0, 0.0)
    result = {}
    for grp, own in sides.items():
        control, others = own.get(True, none), own.get(False, none)
        if min(control.n, others.n) and min(did[grp]) >= FEWEST:
            best = effect(*adjusted(control, others))
            result[grp] = best, control.n, others.n, spent.get(grp, 0.0)
    return result, False


def _drawn(source: Source, metric: Metric, until: int, by: By) -> dict[str, tuple[Any, int, int]]:
    """Group → what saying it adds over silence, decisions with silence, and with it."""
    if by == "journey":
        return {}
    source.database.execute(_query("drawn_units"))
    measure(source, metric)
    given = {"until": until, "within": metric.within or 0}
    table = source.database.table(_query("drawn"), given)
    groups = np.array(table.column("grp").to_pylist(), dtype=object)
    people = np.array(table.column("customer").to_pylist(), dtype=object)
    y, said, weight = (table.column(name).to_numpy() for name in ("y", "said", "weight"))
    found = {}
    for grp in sorted(set(groups.tolist())):
        own = groups == grp
        silent = int(np.count_nonzero(said[own] == 0))
        if silent:
            one = weighed(y[own], said[own], weight[own], np.zeros(own.sum()), people[own])
            found[grp] = one, silent, int(own.sum()) - silent
    return found


def _touched(source: Source, metric: Metric) -> dict[str, float]:
    given = {
        "event": metric.event,
        "path": None if metric.value is None else Amount("", metric.value).path,
        "begin": source.span.begin,
        "end": source.span.end,
        "within": END if metric.within is None else metric.within,
    }
    measure(source, metric)  # which makes the macro
    return {grp: value for grp, value, _ in source.database.rows(_query("touched"), given)}


def _line(name: str | None, totals: Totals, touched: float, held: Any, drawn: Any) -> RoiLine:
    contacts, customers, cost = totals
    found: Effect | None = None
    identified: Literal["holdout", "silence"] | None = None
    control = treated = 0
    effective, all_cost = None, None
    if drawn is not None:
        identified, (own, control, treated) = "silence", drawn
        found, effective, all_cost = own.effect, own.effective, cost
    elif held is not None:
        identified, (found, control, treated, all_cost) = "holdout", held
    incremental = None if found is None else found.estimate * treated
    return RoiLine(
        name=name,
        contacts=contacts,
        customers=customers,
        cost=cost,
        last_touch=touched,
        identified=identified if found is not None else None,
        control=control,
        treated=treated,
        per_customer=found,
        effective=effective,
        incremental=incremental,
        interval=None if found is None else (found.always[0] * treated, found.always[1] * treated),
        incremental_cost=all_cost,
        roi=(incremental - all_cost) / all_cost if incremental is not None and all_cost else None,
    )


def _say(source: Source, lines: list[RoiLine], *, mismatch: bool) -> None:
    kinds = {one.identified for one in lines}
    if mismatch:
        source.incomplete.append(
            Said(
                "customers did not fall to the control groups as they should: these say nothing, "
                "and only last touch is shown"
            )
        )
    elif kinds == {None}:
        source.incomplete.append(_why_not_known(source))
    if "holdout" in kinds:
        source.incomplete.append(
            Said(
                "control groups do without all messages: a line says what all of them add among "
                "those whom it could reach, and lines overlap"
            )
        )
    weak = [one.name for one in lines if one.effective is not None and one.effective < FEW]
    if weak:
        source.incomplete.append(
            Said(
                "%(names)s rest on an effective sample below %(n)s: their intervals may be too "
                "narrow",
                names=", ".join(map(str, weak[:8])),
                n=FEW,
            )
        )


def _why_not_known(source: Source) -> Said:
    """Why last touch alone is shown, and what to do."""
    groups = [one for one in source.policy.experiments if not one.variants] if source.policy else []
    if groups:
        return Said(
            "the control groups of the rules (%(names)s) do not have %(n)s customers yet who did "
            "it, and silence was not drawn: last touch alone is shown, which counts what would "
            "have come anyway; take a longer range, or give the control group a larger share",
            names=", ".join(one.name for one in groups),
            n=FEWEST,
        )
    return Said(
        "the rules have no control group, and silence was not drawn: last touch alone is shown, "
        "which counts what would have come anyway; add a control group to a rule file, under "
        "experiments: holdout: {share: 5%, seed: holdout-1, keeps: [service]}, where keeps are the "
        "purposes it still hears of"
    )


def show(found: Roi) -> Shown:
    """What messages bring, for people."""
    first = found.lines[0]
    if first.interval is not None and first.incremental is not None:
        said = Said(
            "All messages add %(value)s %(metric)s (%(low)s to %(high)s) for %(cost)s.",
            value=figure(first.incremental),
            metric=found.metric,
            low=figure(first.interval[0]),
            high=figure(first.interval[1]),
            cost=figure(first.incremental_cost),
        )
    elif all(one.identified is None for one in found.lines):
        said = Said("What messages add is not known: only last touch is shown.")
    else:
        said = Said("What each line adds is known; what all add together is not.")
    columns = [
        Column(Said(_NAMES[found.query.by]), "text"),
        Column(Said("contacts")),
        Column(Said("cost"), "figure"),
        Column(Said("last touch (not incremental)"), "figure"),
        Column(Said("incremental"), "figure"),
        Column(Said("always valid"), "figure"),
        Column(Said("per customer"), "figure"),
        Column(Said("cost of all"), "figure"),
        Column(Said("ROI"), "share"),
        Column(Said("known by"), "text"),
    ]
    why = {
        "holdout": Said("control group"),
        "silence": Said("drawn silence"),
        None: Said("nothing"),
    }
    rows = [
        (
            Said("all") if one.name is None else one.name,
            one.contacts,
            figure(one.cost),
            figure(one.last_touch),
            figure(one.incremental),
            interval(one.interval),
            figure(None if one.per_customer is None else one.per_customer.estimate),
            figure(one.incremental_cost if one.identified else None),
            one.roi,
            why[one.identified],
        )
        for one in found.lines
    ]
    bars = [(one.name, float(one.contacts)) for one in found.lines if one.name is not None]
    table = Table(Said("What it brings: %(metric)s", metric=found.metric), columns, rows)
    return Shown([said], [table], [Bars(Said("Contacts"), bars)])


def _query(name: str) -> str:
    return queries(PACKAGE, "roi.sql")[name]


ROI: Final = Kind(
    name="roi",
    summary="What messages bring beyond what customers do anyway, and what they cost.",
    description=__doc__ or "",
    example="--by channel --event purchase --within 7d",
    question=RoiQuestion,
    answer=Roi,
    make=make,
    show=show,
)
