"""How `nextbest journeys` prints what it has found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import rich_click as click
from rich.markup import escape
from rich.table import Table

from decision.cli.output import console

if TYPE_CHECKING:
    from decision.outbound.journey_views import JourneyView, RunView, StepView


def print_list(views: Sequence[JourneyView]) -> None:
    """A line for each journey."""
    if not views:
        click.echo("there are no journeys")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("journey", "running", "held back", "waiting", "ended", "refused", "paused"):
        right = column in ("running", "held back", "refused")
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for one in views:
        table.add_row(
            escape(one.journey) + ("" if one.in_force else " (not in the rules)"),
            f"{one.running:,}",
            f"{one.held_back:,}",
            escape(_listed(one.waiting)),
            escape(_listed(one.ended)),
            f"{one.refused:,}",
            escape(paused_words(one)),
        )
    console().print(table)


def print_journey(view: JourneyView, said: Mapping[str, str], steps: Sequence[StepView]) -> None:
    """A journey with its steps; `said` is what the rules say beside these."""
    click.echo(f"{view.journey} ({said.get('source', 'not in the rules')})")
    for word, text in said.items():
        if word != "source":
            click.echo(f"  {word}: {text}")
    table = Table(box=None, padding=(0, 0, 0, 2))
    for column in ("step", "waiting", "what it does"):
        table.add_column(column, justify="right" if column == "waiting" else "left")
    for step in steps:
        table.add_row(escape(step.step), f"{step.waiting:,}", escape(step.does))
    console().print(table)
    ended = _listed(view.ended) or "none"
    refused = f"; refused: {view.refused:,}" if view.refused else ""
    held_back = f"; held back: {view.held_back:,}" if view.held_back else ""
    click.echo(f"running: {view.running:,}{held_back}; ended: {ended}{refused}")
    if view.paused is not None:
        click.echo(paused_words(view))


def print_runs(runs: Sequence[RunView], what: str) -> None:
    """A line for each run."""
    if not runs:
        click.echo(f"{what}: none")
        return
    click.echo(f"{what}:")
    table = Table(box=None, padding=(0, 0, 0, 2))
    for column in ("due", "customer", "step", "since", "key", "asks", "run"):
        table.add_column(column, overflow="fold")
    for run in runs:
        since = "before it" if run.since is None else _time(run.since)
        shown = [run.customer_id, run.step, since, run.key, str(run.asks), run.run]
        table.add_row(_time(run.due), *map(escape, shown))
    console().print(table)


def paused_words(view: JourneyView) -> str:
    """Since when a journey stands still, and why; nothing where it goes on."""
    if view.paused is None:
        return ""
    word = "stopped" if view.paused.stopped else "paused"
    return f"{word} since {_time(view.paused.since)}: {view.paused.why}"


def _listed(counts: Mapping[str, int]) -> str:
    most = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{name} {count:,}" for name, count in most)


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%SZ")
