"""`nextbest report journey`, and the group of all reports."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from decision.cli.candidates import candidates, sensitivity, win_loss
from decision.cli.options import json_option, log_option, settings_from, settings_options
from decision.cli.output import busy, console, print_json
from decision.cli.reports import report_commands
from decision.cli.retention import retention
from decision.core.clock import SECOND, rough_duration
from decision.installation import require

if TYPE_CHECKING:
    from decision.analytics.journeys import JourneyReport
    from decision.core.definition import PolicyDefinition

_DAY = click.DateTime(["%Y-%m-%d"])


@click.group(epilog="Example: nextbest report journey welcome --log archive")
def report() -> None:
    """Report on what customers did, on journeys and on candidates."""


for _command in (*report_commands(), candidates, win_loss, sensitivity, retention):
    report.add_command(_command)


@report.command(epilog="Example: nextbest report journey welcome --log archive --from 2026-11-01")
@click.argument("name")
@log_option()
@click.option("--from", "first", type=_DAY, metavar="DATE", help="Runs that started on this day.")
@click.option("--to", "last", type=_DAY, metavar="DATE", help="The last such day, included.")
@click.option(
    "--timezone", metavar="ZONE", help="Whose days these are. Default: that of the rules."
)
@settings_options("rules")
@json_option
def journey(
    name: str,
    archive: Path,
    first: datetime | None,
    last: datetime | None,
    timezone: str | None,
    as_json: bool,
    **given: str | None,
) -> None:
    """Show what came of a journey: who entered which step, what was asked, how runs ended.

    A run counts in the range in which it started, with all that it did later. Steps are in the
    order of the rules, where these have the journey. Customers who were erased are not in it.
    """
    from decision.analytics.journeys import report_journey
    from decision.core import calendar

    require("nextbest report")
    rules = _rules(settings_from(**given).rules)
    zone = timezone or (rules.settings.timezone if rules else "UTC")
    if calendar.known_zone(zone) is None:
        hint = calendar.zone_hint(zone)
        raise click.BadParameter(f"{zone} is not a time zone; {hint}", param_hint="--timezone")
    known = {one.name: one for one in rules.journeys} if rules else {}
    with busy("Reading the archive"):
        found = report_journey(
            archive,
            name,
            first=None if first is None else first.date(),
            last=None if last is None else last.date(),
            timezone=zone,
            order=[step.name for step in known[name].steps] if name in known else (),
        )
    if as_json:
        print_json(found)
    else:
        _show(found)


def _rules(folder: str) -> PolicyDefinition | None:
    from decision.cli.policies import read_rules

    return read_rules(folder) if Path(folder).is_dir() else None


def _show(found: JourneyReport) -> None:
    from rich.markup import escape
    from rich.table import Table

    days = f"{found.first or 'the beginning'} to {found.last or 'the end'}, {found.timezone}"
    click.echo(f"{found.journey}: {found.entered:,} runs started ({days})")
    ends = ", ".join(f"{why} {count:,}" for why, count in found.ends.items()) or "none"
    click.echo(f"ended: {ends}; under way: {found.under_way:,}; refused: {found.refused:,}")
    if found.seconds_to_goal is not None:
        half, most = (
            rough_duration(int(found.seconds_to_goal[share] * SECOND)) for share in ("p50", "p90")
        )
        click.echo(f"time to goal: half within {half}, 90% within {most}")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("step")
    names = ("entered", "of all", "goal", "asked", "selected", "nothing", "held", "skipped", "here")
    for column in names:
        table.add_column(column, justify="right")
    table.add_column("ended here", overflow="fold")
    for step in found.steps:
        counts = (step.asked, step.selected, step.nothing, step.held, step.skipped)
        table.add_row(
            escape(step.step),
            f"{step.entered:,}",
            _percent(step.reached),
            _percent(step.conversion),
            *(f"{count:,}" if step.kind == "ask" else "" for count in counts),
            f"{step.here:,}",
            escape(", ".join(f"{why} {count:,}" for why, count in step.ended.items())),
        )
    console().print(table)
    for text in found.incomplete:
        click.echo(f"not complete: {text}")
    click.echo(f"archived until {found.archived_until:%Y-%m-%d %H:%M:%SZ}")


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
