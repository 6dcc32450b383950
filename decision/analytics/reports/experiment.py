"""Experiment: what each variant brings against the control, and what may be concluded from it.

A customer counts in the variant of the first decision on which the experiment had an effect, for
what they did within the metric's time after it, once that time is over. Intervals and p-values are
given for one look and always valid: those hold however often one looks, and conclusions are drawn
from them. First it is tested whether customers fell to the variants as they should; if they did
not, nothing is concluded.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from decision.analytics.effects import Sums, adjusted
from decision.analytics.queries import queries
from decision.analytics.reports.answering import Answer, Bars, Column, Shown, Table
from decision.analytics.reports.asking import about
from decision.analytics.reports.comparing import (
    Comparison,
    Counted,
    compare,
    group,
    sentences,
    total,
)
from decision.analytics.reports.exposed import assign, control_of, everybody, open_decisions
from decision.analytics.reports.figures import figure, interval, p_text
from decision.analytics.reports.kind import Kind
from decision.analytics.reports.planning import Plan, best_plan, plans
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
from decision.core.clock import DAY
from decision.core.definition import Metric
from decision.core.said import Said


class ExperimentQuestion(Measures, frozen=True, kw_only=True):
    """What may be asked of an experiment."""

    name: Annotated[
        str,
        about(
            "An experiment of the rules: a test, or a holdout.",
            "NAME",
            positional=True,
            of="experiments",
        ),
    ] = ""
    control: Annotated[
        str,
        about(
            "The variant to compare with. Left out: the one named control, else the first.",
            of="variants",
        ),
    ] = ""
    strata: Annotated[
        Literal["placement", "week", ""],
        about("Differences within these groups of customers, by where or when they came."),
    ] = ""
    despite_mismatch: Annotated[
        bool, about("Show the figures although customers did not fall as they should.")
    ] = False
    plan: Annotated[
        bool, about("How many customers and days it needs, in place of what came of it.")
    ] = False
    effect: Annotated[
        str, about("With --plan: the difference that is to show, as 0.2 or 5%.", "NUMBER")
    ] = ""


class ExperimentArm(msgspec.Struct, frozen=True, kw_only=True):
    """A variant: its share by the rules (null: not known), and the customers who count in it.

    `fell` is how many ids fell to it, from which the sample ratio is tested; `waiting` is how many
    of the customers have time left, by the metric with the longest.
    """

    name: str
    share: float | None
    customers: int
    fell: int
    waiting: int


class ExperimentReport(Answer, frozen=True, kw_only=True):
    """`conclusions` are what may be said. `names` are those that the test had in the log.

    `sample_ratio_p` is the always-valid p-value of the shares (null: they are not known), and
    `mismatch` says whether they cannot be chance. Then `withheld` is true and `comparisons` is
    empty, unless the mismatch is acknowledged. `left_out` came under other shares, `moved` were in
    two variants. `per_day` customers come. `plan` has what was asked of it.
    """

    query: ExperimentQuestion
    conclusions: list[str]
    control: str
    names: list[str]
    arms: list[ExperimentArm]
    sample_ratio_p: float | None
    mismatch: bool
    withheld: bool
    left_out: int
    moved: int
    per_day: float
    comparisons: list[Comparison]
    plan: list[Plan]


def make(source: Source, question: ExperimentQuestion) -> ExperimentReport:
    """Compares the variants."""
    metrics = metrics_of(source, question)
    open_decisions(source)
    found = assign(source, question.name)
    shares = found.shares
    if not found.exposed and not question.plan:
        source.note(Said("%(name)s had no effect on any decision yet", name=question.name))
    elif not found.exposed:
        everybody(source)
        source.incomplete.append(
            Said("%(name)s had no effect yet: all customers count", name=question.name)
        )
    customers = dict(source.database.rows(_query("customers")))
    variants = [*shares, *sorted(set(customers) - set(shares) - {""})]
    control = control_of(dict.fromkeys(variants), question.control)
    fell = found.fell
    p = p_value([fell.get(one, 0) for one in shares], list(shares.values())) if shares else None
    mismatch = p is not None and p <= RATIO_ALPHA
    withheld = mismatch and not question.despite_mismatch
    take_events(source, metrics)
    until = known_until(source)
    counted: dict[tuple[str, str], Counted] = {}
    events = 0
    for metric in metrics:
        own = _count(source, metric, question.strata, until)
        counted |= {(metric.name, variant): one for variant, one in own.items()}
        events += sum(round(one.ratio.x) for one in own.values())
    per_day = source.database.value(_query("rate"), {"until": until})
    comparisons = (
        []
        if withheld or question.plan
        else compare(metrics, counted, variants, control, strata=bool(question.strata))
    )
    plan = _plan(metrics, counted, shares, control, per_day, question) if question.plan else []
    waiting = {
        name: max(counted[metric.name, name].waiting for metric in metrics)
        for name in customers
        if all((metric.name, name) in counted for metric in metrics)
    }
    _say(source, waiting, comparisons, p, question)
    report = ExperimentReport(
        **source.about("experiment"),
        query=question,
        customers=sum(customers.values()),
        events=events,
        conclusions=[],
        control=control,
        names=found.names,
        arms=[
            ExperimentArm(
                name=name,
                share=shares.get(name),
                customers=customers.get(name, 0),
                fell=fell.get(name, 0),
                waiting=waiting.get(name, 0),
            )
            for name in variants
        ],
        sample_ratio_p=p,
        mismatch=mismatch,
        withheld=withheld,
        left_out=found.earlier,
        moved=found.moved,
        per_day=per_day,
        comparisons=comparisons,
        plan=plan,
    )
    said = [str(one) for one in _conclusions(report)]
    return msgspec.structs.replace(report, conclusions=said)


def _count(source: Source, metric: Metric, strata: str, until: int) -> dict[str, Counted]:
    """Variant → its sums by a metric."""
    measure(source, metric)
    given = {"until": until, "within": metric.within or 0}
    rows = source.database.rows(_query("sums"), {**given, "strata": strata})
    waiting = dict(source.database.rows(_query("waiting"), given))
    found: dict[str, Counted] = {}
    for variant, stratum, n, y, yy, x, xx, xy, events, squares, products, did in rows:
        before = found.get(variant) or Counted({}, Sums(0, 0.0, 0.0), 0, waiting.get(variant, 0))
        ratio = before.ratio.plus(Sums(n, y, yy, events, squares, products))
        plain = {**before.plain, stratum: Sums(n, y, yy, x, xx, xy)}
        found[variant] = Counted(plain, ratio, before.did + did, before.waiting)
    for variant, count in waiting.items():
        found.setdefault(variant, Counted({}, Sums(0, 0.0, 0.0), 0, count))
    return found


def _plan(
    metrics: list[Metric],
    counted: dict[tuple[str, str], Counted],
    shares: dict[str, float],
    control: str,
    per_day: float,
    question: ExperimentQuestion,
) -> list[Plan]:
    found = []
    for metric in metrics:
        own = [one for (name, _), one in counted.items() if name == metric.name]
        if metric.measure == "average":
            ratio = total(one.ratio for one in own).ratio()
            baseline = ratio.mean, ratio.variance
        else:
            sums = total(one.sums for one in own)
            plain, _ = adjusted(sums, Sums(0, 0.0, 0.0))
            baseline = sums.mean().mean, plain.variance
        for variant, share in shares.items():
            if variant != control:
                pair = shares[control], share
                days = (metric.within or 0) / DAY
                found += plans(metric, variant, pair, baseline, per_day, question.effect, days)
    return found


def _say(
    source: Source,
    waiting: dict[str, int],
    comparisons: list[Comparison],
    p: float | None,
    question: ExperimentQuestion,
) -> None:
    if many := sum(waiting.values()):
        source.incomplete.append(
            Said("%(n)s customers still have time, and do not count yet", n=f"{many:,}")
        )
    if p is None and not question.plan:
        source.incomplete.append(
            Said("the shares are in no rules: whether customers fell as they should is not known")
        )
    if p is not None and p <= RATIO_ALPHA and question.despite_mismatch:
        source.incomplete.append(
            Said("customers did not fall as they should: the figures are shown all the same")
        )
    if len(comparisons) > 1:
        source.incomplete.append(
            Said(
                "%(n)s comparisons are made at once: p-values by Holm and by Benjamini-Hochberg "
                "allow for that, intervals are each for itself",
                n=len(comparisons),
            )
        )


def _conclusions(found: ExperimentReport) -> list[Said]:
    """What may be concluded, as sentences."""
    if found.withheld:
        return [
            Said(
                "Nothing may be concluded: customers did not fall to the variants as they should, "
                "so these are not comparable. Find the cause first: a variant may fail or lose "
                "records."
            )
        ]
    if found.query.plan:
        return [best_plan(found.plan)]
    if not found.comparisons:
        return [
            Said("Nothing can be said: there is no variant beside %(name)s.", name=found.control)
        ]
    return sentences(found.comparisons, found.control)


def show(found: ExperimentReport) -> Shown:
    """An experiment for people."""
    said, warnings = _conclusions(found), list[Said]()
    if found.withheld:
        said, warnings = [], said
        warnings.append(Said("--despite-mismatch shows the figures all the same."))
    columns = [
        Column(Said("variant"), "text"),
        Column(Said("share"), "share"),
        Column(Said("customers")),
        Column(Said("fell to it")),
        Column(Said("waiting")),
    ]
    arms = Table(
        Said("Variants"),
        columns,
        [(group(one.name), one.share, one.customers, one.fell, one.waiting) for one in found.arms],
    )
    tables = [arms]
    if found.comparisons:
        tables += [_differences(found), _others(found)]
    if found.plan:
        tables.append(_planned_table(found))
    rows = [(group(one.name), one.customers) for one in found.arms]
    return Shown(said, tables, [Bars(Said("Customers by variant"), rows)], warnings)


def _differences(found: ExperimentReport) -> Table:
    columns = [
        Column(Said("metric"), "text"),
        Column(Said("variant"), "text"),
        Column(Said("its mean"), "figure"),
        Column(Said("of the control"), "figure"),
        Column(Said("difference"), "figure"),
        Column(Said("adjusted by"), "text"),
        Column(Said("always valid"), "figure"),
        Column(Said("relative"), "figure"),
        Column(Said("p"), "figure"),
    ]
    rows = []
    for one in found.comparisons:
        best, relative = one.best, (one.adjusted or one.plain).relative
        percent = one.measure == "share"
        rows.append(
            (
                one.metric,
                group(one.variant),
                figure(one.mean, percent),
                figure(one.control_mean, percent),
                figure(best.estimate if best else None, percent),
                _adjustment(one, found.query.strata),
                interval(best.always if best else None, percent),
                interval(relative.always if relative else None, True),
                p_text(one.holm),
            )
        )
    title = Said("Against %(control)s; p is always valid, by Holm", control=group(found.control))
    return Table(title, columns, rows)


def _adjustment(one: Comparison, strata: str) -> str:
    """By what a difference is not simply that of the two means beside it."""
    if one.adjusted is None or not (strata or one.variance_removed):
        return ""
    return Said("CUPED, %(strata)s", strata=Said(strata)) if strata else Said("CUPED")


def _others(found: ExperimentReport) -> Table:
    """The same for one look, and as it was counted."""
    columns = [
        Column(Said("metric"), "text"),
        Column(Said("variant"), "text"),
        Column(Said("one look"), "figure"),
        Column(Said("p"), "figure"),
        Column(Said("without CUPED"), "figure"),
        Column(Said("variance removed"), "share"),
    ]
    rows = []
    for one in found.comparisons:
        best, plain = one.best, one.plain.difference
        percent = one.measure == "share"
        rows.append(
            (
                one.metric,
                group(one.variant),
                interval(best.fixed if best else None, percent),
                p_text(best.p_value if best else None),
                interval(plain.always if plain else None, percent),
                one.variance_removed,
            )
        )
    return Table(Said("For one look, and unadjusted"), columns, rows)


def _planned_table(found: ExperimentReport) -> Table:
    columns = [
        Column(Said("metric"), "text"),
        Column(Said("variant"), "text"),
        Column(Said("mean now"), "figure"),
        Column(Said("difference"), "figure"),
        Column(Said("customers")),
        Column(Said("days"), "figure"),
        Column(Said("customers, always valid")),
        Column(Said("days, always valid"), "figure"),
    ]
    rows = [
        (
            one.metric,
            group(one.variant),
            figure(one.mean),
            figure(one.effect),
            one.customers,
            "" if one.days is None else f"{one.days:,.0f}",
            one.customers_always,
            "" if one.days_always is None else f"{one.days_always:,.0f}",
        )
        for one in found.plan
    ]
    return Table(Said("What shows, with probability 80 percent"), columns, rows)


def _query(name: str) -> str:
    return queries(PACKAGE, "experiment.sql")[name]


EXPERIMENT: Final = Kind(
    name="experiment",
    summary="What each variant of an experiment brings, and what may be concluded.",
    description=__doc__ or "",
    example="copy-test --event purchase --within 7d",
    question=ExperimentQuestion,
    answer=ExperimentReport,
    make=make,
    show=show,
)
