"""The results of `evaluate` as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rich_click as click

from decision.cli.output import console
from decision.core.clock import format_duration, from_micros
from decision.progress import count_of

if TYPE_CHECKING:
    from rich.table import Table

    from decision.evaluation.exploration_grid import ExplorationReport
    from decision.evaluation.report import (
        ComparisonResult,
        EstimatorResult,
        EvaluationReport,
        PolicyResult,
    )
    from decision.evaluation.retention import Retention, Share
    from decision.learning.ope import Estimate
    from decision.learning.ope.terms import Lift

_TITLES = {
    "responses": "Responses per decision",
    "value": "Value per decision, in the rules' currency",
}
_NAMES = {"switch_dr": "SWITCH-DR"}


def show(report: EvaluationReport) -> None:
    """Prints the report."""
    screen = console()
    click.echo(_head(report))
    for metric, title in _TITLES.items():
        screen.print(f"\n[bold]{title}[/]")
        screen.print(_estimates(report, metric))
    if len(report.policies) > 1:
        screen.print(f"\n[bold]Impact arms[/] ({_name(report.best)})")
        screen.print(_arms(report))
    if report.comparisons:
        for metric, title in _TITLES.items():
            what = title.partition(",")[0]
            screen.print(f"\n[bold]{what}: others on the same decisions[/] ({_name(report.best)})")
            screen.print(_compared(report, metric))
    if report.exploration is not None:
        screen.print("\n[bold]Exploration[/] (loss: share of the value without exploration)")
        screen.print(_exploration(report.exploration))
        click.echo(_sentence(report.exploration.said))
    screen.print("\n[bold]Messages[/] (target: SNIPS; rate: responses per time given)")
    screen.print(_messages(report))
    if report.uplifts:
        screen.print("\n[bold]Uplift over silence[/] (Qini and AUUC: 1 is the best, 0 is chance)")
        screen.print(_uplifts(report))
    for field in dict.fromkeys(row.field for row in report.segments):
        screen.print(f"\n[bold]By {field}[/] ({_name(report.best)})", markup=True)
        screen.print(_segments(report, field))
    click.echo("\n" + _trust(report))


def _head(report: EvaluationReport) -> str:
    log = report.log
    lines = [
        f"{count_of(log.judged, 'decision')} for {count_of(report.customers, 'customer')}, "
        f"{from_micros(log.from_time):%Y-%m-%d} to {from_micros(log.to_time):%Y-%m-%d}; "
        f"{report.silent:,} silent, {report.holdout:,} in a control group"
    ]
    if log.open_windows:
        lines.append(
            f"left out: {log.open_windows:,} younger than the longest goal window of what could "
            f"have been chosen ({format_duration(log.longest_window)} at most)"
        )
    if log.improbable:
        lines.append(f"left out: {log.improbable:,} without a selection probability in (0, 1]")
    if log.not_given:
        lines.append(f"left out: {log.not_given:,} that nobody was given, or without the store")
    if log.contended:
        lines.append(f"left out: {log.contended:,} silent because of contention")
    return "\n".join(lines)


def _whole(report: EvaluationReport) -> PolicyResult:
    return report.policies[-1]


def _estimates(report: EvaluationReport, metric: str) -> Table:
    share = f"{report.options.confidence:.0%}"
    table = _table(
        "", "estimate", "s.e.", f"{share} interval", "bootstrap", "ESS", "lift", f"{share} of lift"
    )
    logged = report.logged[metric]
    table.add_row("as logged", *_figures(logged), "", "")
    for name, judged in _whole(report).metrics[metric].items():
        mark = "  <" if name == report.best else ""
        table.add_row(_name(name) + mark, *_figures(judged.estimate), *_lift(judged.lift))
    return table


def _arms(report: EvaluationReport) -> Table:
    table = _table(
        "arm", "responses", "over random", "interval", "value", "over random", "interval"
    )
    for policy in report.policies:
        cells = []
        for metric in _TITLES:
            judged = policy.metrics[metric].get(report.best)
            cells.append(_number(judged.estimate.value) if judged else "")
            cells += _lift(policy.over_random.get(metric))
        table.add_row(policy.name, *cells)
    return table


def _messages(report: EvaluationReport) -> Table:
    table = _table(
        "message", "channel", "logged", "target", "rate", "responses: logged", "target", "s.e.",
        "value: logged", "target", "s.e.",
    )  # fmt: skip
    for row in report.messages:
        # Nothing is known about a message that was never given; 0 would look like a result.
        known = row.logged_share > 0 or not row.target_share
        table.add_row(
            row.message or "(silence)",
            row.channel,
            f"{row.logged_share:.1%}",
            f"{row.target_share:.1%}",
            "" if row.logged_rate is None else f"{row.logged_rate:.2%}",
            _number(row.logged_responses),
            _number(row.target_responses.value) if known else "unknown",
            _number(row.target_responses.standard_error) if known else "",
            _number(row.logged_value),
            _number(row.target_value.value) if known else "unknown",
            _number(row.target_value.standard_error) if known else "",
        )
    return table


def _uplifts(report: EvaluationReport) -> Table:
    share = f"{report.options.confidence:.0%} interval"
    table = _table(
        "message", "channel", "told", "silent", "uplift", "s.e.", "predicted",
        "Qini", share, "AUUC", share,
    )  # fmt: skip
    for row in report.uplifts:
        table.add_row(
            row.message,
            row.channel,
            f"{row.told:,}",
            f"{row.silent:,}",
            f"{row.uplift:+.4f}",
            _number(row.standard_error),
            f"{row.predicted:+.4f}",
            _number(row.qini),
            _interval(row.qini_interval),
            _number(row.auuc),
            _interval(row.auuc_interval),
        )
    return table


def _compared(report: EvaluationReport, metric: str) -> Table:
    """What the policy is compared with, and how much more than it the policy earns."""
    share = f"{report.options.confidence:.0%}"
    table = _table(
        "", "estimate", f"{share} interval", "ESS", "policy − it", f"{share} interval",
        "bootstrap", "lift", f"{share} of lift",
    )  # fmt: skip
    judged = _whole(report).metrics[metric].get(report.best)
    rows = [("as logged", report.logged[metric], None if judged is None else judged.lift)]
    rows += [
        (_compared_name(each), each.metrics[metric], each.lift.get(metric))
        for each in report.comparisons
        if metric in each.metrics
    ]
    for name, found, lift in rows:
        gap = ("", "", "") if lift is None else (
            f"{lift.difference:+.4f}",
            _interval(lift.difference_interval),
            _interval(lift.difference_bootstrap),
        )  # fmt: skip
        sample = f"{found.effective_sample_size:,.0f}"
        interval = _interval(found.confidence_interval)
        table.add_row(name, _number(found.value), interval, sample, *gap, *_lift(lift))
    return table


def _compared_name(other: ComparisonResult) -> str:
    if other.possible is None:
        return other.name
    return f"always {other.name} (possible in {other.possible:.0%})"


def _exploration(found: ExplorationReport) -> Table:
    """What exploration costs, and the evidence that it brings."""
    table = _table(
        "γ", "loss", f"{found.confidence:.0%} interval", "ESS", "chosen least", "a day",
        "next ESS of 1,000",
    )  # fmt: skip
    for row in [*found.grid, found.as_it_is]:
        interval = row.loss_interval
        proposed = row.gamma is not None and row.gamma == found.proposed
        name = row.name.removeprefix("γ ") if row is not found.as_it_is else "as it is"
        table.add_row(
            name + ("  <" if proposed else ""),
            "" if row.loss is None else f"{row.loss:+.1%}",
            "" if interval is None else f"{interval[0]:+.1%} … {interval[1]:+.1%}",
            f"{row.effective_sample:,.0f}",
            row.least_message or "",
            "" if row.least_a_day is None else f"{row.least_a_day:.3g}",
            f"{row.next_effective_sample:,.0f}",
        )
    return table


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] if not text.startswith("γ") else text


def _segments(report: EvaluationReport, field: str) -> Table:
    table = _table(
        "segment", "decisions", "ESS", "responses: logged", "target", "lift", "interval",
        "value: logged", "target", "lift", "interval",
    )  # fmt: skip
    for row in report.segments:
        if row.field != field:
            continue
        cells = []
        for metric in _TITLES:
            judged: EstimatorResult | None = row.target.get(metric)
            cells.append(_number(row.logged[metric].value))
            cells.append(_number(judged.estimate.value) if judged else "")
            cells += _lift(judged.lift if judged else None)
        first = row.target.get("responses")
        ess = f"{first.estimate.effective_sample_size:,.0f}" if first else "0"
        table.add_row(row.segment, f"{row.decisions:,}", ess, *cells)
    return table


def _trust(report: EvaluationReport) -> str:
    policy = _whole(report)
    weights = policy.weights
    distance = "" if weights.mean_z is None else f" ({weights.mean_z:+.1f} s.e. from 1)"
    lines = [
        f"Weights: mean {weights.mean:.3f}{distance}, 99 % below {weights.quantiles[2]:.3g}, "
        f"largest {weights.max:.3g}; the heaviest 1 % have {weights.top_share:.0%} of the weight; "
        f"{weights.zero_share:.0%} of the logged choices would not be made again",
        *(f"Caution: {text}" for text in policy.cautions),
        *(f"Note: {text}" for text in report.notes),
    ]
    told = set(policy.cautions)
    for arm in report.policies[:-1]:
        own = [text for text in arm.cautions if text not in told]
        lines += [f"Caution: the arm {arm.name}: {text}" for text in own]
    for other in report.comparisons:
        lines += [f"Caution: {other.name}: {text}" for text in other.cautions]
    return "\n".join(lines)


def show_retention(curves: Retention) -> None:
    """Prints the curves as a table."""
    from decision.evaluation.retention import FEW

    what = "any event" if curves.event == "any" else curves.event
    click.echo(
        f"Share of customers with {what} in each week after their first decision; "
        f"{curves.treated:,} treated, {curves.holdout:,} in a control group, "
        f"known until {from_micros(curves.until):%Y-%m-%d}"
    )
    share = f"{curves.confidence:.0%} interval"
    table = _table(
        "week", "treated", share, "of", "holdout", share, "of", "difference", share
    )  # fmt: skip
    for week in curves.weeks:
        gap = interval = ""
        if week.difference is not None and week.interval is not None:
            gap = f"{week.difference:+.1%}"
            interval = f"{week.interval[0]:+.1%} … {week.interval[1]:+.1%}"
        table.add_row(str(week.week), *_share(week.treated), *_share(week.holdout), gap, interval)
    console().print(table)
    if curves.holdout and curves.few:
        weeks = ", ".join(map(str, curves.few))
        click.echo(f"Fewer than {FEW} customers on a side in week {weeks}: such shares say little.")
    if not curves.holdout:
        click.echo("No customer is in a control group: give the rules an experiment with `share`.")


def _share(share: Share | None) -> tuple[str, str, str]:
    if share is None:
        return ("", "", "0")
    low, high = share.interval
    return (f"{share.share:.1%}", f"{low:.1%} … {high:.1%}", f"{share.customers:,}")


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for place, name in enumerate(columns):
        text = place == 0 or name in ("channel",)
        table.add_column(name, justify="left" if text else "right", no_wrap=True)
    return table


def _figures(estimate: Estimate) -> tuple[str, str, str, str, str]:
    return (
        _number(estimate.value),
        _number(estimate.standard_error),
        _interval(estimate.confidence_interval),
        _interval(estimate.bootstrap_interval),
        f"{estimate.effective_sample_size:,.0f}",
    )


def _lift(lift: Lift | None) -> tuple[str, str]:
    if lift is None or lift.relative is None or lift.relative_interval is None:
        return ("", "")
    low, high = lift.relative_interval
    return (f"{lift.relative:+.1%}", f"{low:+.1%} … {high:+.1%}")


def _interval(found: Any) -> str:
    return "" if found is None else f"{_number(found[0])} … {_number(found[1])}"


def _number(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"


def _name(estimator: str) -> str:
    return _NAMES.get(estimator, estimator.upper())
