"""Charts of a report (estimates with their intervals) and of retention curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from decision.evaluation.report import EvaluationReport
from decision.evaluation.retention import ANY, Retention

_TITLES = {"responses": "responses per decision", "value": "value per decision"}


def plot(report: EvaluationReport, path: Path) -> None:
    """Draws estimators, impact arms and comparisons, as SVG or PNG by the file's ending."""
    from matplotlib.figure import Figure

    rows = [_estimators]
    rows += [_arms] if len(report.policies) > 1 else []
    rows += [_compared] if any(each.lift for each in report.comparisons) else []
    figure = Figure(figsize=(10, 3.2 * len(rows)), layout="constrained")
    panels = figure.subplots(len(rows), 2, squeeze=False)
    for row, panel in zip(panels, rows, strict=True):
        for axes, metric in zip(row, _TITLES, strict=True):
            panel(axes, report, metric)
    figure.savefig(path)


def _estimators(axes: Any, report: EvaluationReport, metric: str) -> None:
    found = {"as logged": report.logged[metric]}
    for name, judged in report.policies[-1].metrics[metric].items():
        found[name.upper().replace("_", "-")] = judged.estimate
    points = [(name, each.value, each.confidence_interval) for name, each in found.items()]
    _draw(axes, points)
    axes.set_title(f"{_TITLES[metric]}, {report.options.confidence:.0%} intervals")
    axes.axvline(report.logged[metric].value, color="grey", linestyle=":", linewidth=1)


def _arms(axes: Any, report: EvaluationReport, metric: str) -> None:
    points = []
    for policy in report.policies:
        judged = policy.metrics[metric].get(report.best)
        if judged is not None:
            points.append((policy.name, judged.estimate.value, judged.estimate.confidence_interval))
    _draw(axes, points)
    axes.set_title(f"impact arms: {_TITLES[metric]} ({report.best.upper()})")


def _compared(axes: Any, report: EvaluationReport, metric: str) -> None:
    points = [
        (each.name, each.lift[metric].difference, each.lift[metric].difference_interval)
        for each in report.comparisons
        if metric in each.lift
    ]
    _draw(axes, points)
    axes.set_title(f"{_TITLES[metric]}: the policy less others, paired")
    axes.axvline(0, color="grey", linestyle=":", linewidth=1)


def _draw(axes: Any, points: list[tuple[str, float, tuple[float, float]]]) -> None:
    names = [name for name, _, _ in points]
    for place, (_, value, (low, high)) in enumerate(points):
        axes.plot([low, high], [place, place], color="tab:blue", linewidth=2, alpha=0.5)
        axes.plot([value], [place], "o", color="tab:blue")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)


def plot_retention(curves: Retention, path: Path) -> None:
    """Draws the curves with their intervals, as SVG or PNG by the file's ending."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, colour in (("treated", "tab:blue"), ("holdout", "tab:orange")):
        points = [
            (week.week, share)
            for week in curves.weeks
            if (share := getattr(week, name)) is not None
        ]
        if not points:
            continue
        axes.errorbar(
            [week for week, _ in points],
            [share.share for _, share in points],
            yerr=[
                [max(0.0, share.share - share.interval[0]) for _, share in points],
                [max(0.0, share.interval[1] - share.share) for _, share in points],
            ],
            label=f"{name} ({getattr(curves, name):,} customers)",
            color=colour,
            marker="o",
            capsize=3,
        )
    what = "any event" if curves.event == ANY else curves.event
    axes.set(
        xlabel="week after the first decision",
        ylabel=f"share of customers with {what}",
        title=f"Retention by holdout arm, {curves.confidence:.0%} intervals",
    )
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(0.5, len(curves.weeks) + 0.5)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    figure.savefig(path)
