"""`nextbest report holdout-retention`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import rich_click as click

from decision.cli.options import json_option, log_option, settings_from, settings_options
from decision.cli.output import busy, console, print_json
from decision.installation import require

_DAY = click.DateTime(["%Y-%m-%d"])
_BY = ("placement", "message", "channel")


@click.command(
    "holdout-retention",
    epilog="Example: nextbest report holdout-retention --log archive --by placement",
)
@log_option()
@click.option("--event", default="any", show_default=True, metavar="TYPE", help="What counts.")
@click.option("--weeks", default=8, show_default=True, type=click.IntRange(1, 520))
@click.option("--from", "first", type=_DAY, metavar="DATE", help="First decisions of this day.")
@click.option("--to", "--until", "last", type=_DAY, metavar="DATE", help="The last day, included.")
@click.option(
    "--timezone", metavar="ZONE", help="Whose days these are. Default: that of the rules."
)
@click.option("--by", type=click.Choice(_BY), help="Broken down by this of the first decision.")
@settings_options("rules")
@json_option
def retention(
    archive: Path,
    event: str,
    weeks: int,
    first: datetime | None,
    last: datetime | None,
    timezone: str | None,
    by: str | None,
    as_json: bool,
    **given: str | None,
) -> None:
    """Show how many customers come back, with and without messages, week by week.

    Customers are counted from their first decision. `any` is every event but those about messages.
    """
    from rich.markup import escape
    from rich.table import Table

    from decision.cli.evaluation_tables import show_retention
    from decision.cli.policies import read_rules
    from decision.core import calendar
    from decision.evaluation.retention import retention as compute

    require("nextbest report")
    rules = settings_from(**given).rules
    zone = timezone or (read_rules(rules).settings.timezone if Path(rules).is_dir() else "UTC")
    if calendar.known_zone(zone) is None:
        hint = calendar.zone_hint(zone)
        raise click.BadParameter(f"{zone} is not a time zone; {hint}", param_hint="--timezone")
    with busy("Reading the archive"):
        found = compute(
            archive,
            event=event,
            weeks=weeks,
            first=None if first is None else first.date(),
            last=None if last is None else last.date(),
            timezone=zone,
            by=by,
        )
    if as_json:
        print_json(found)
        return
    show_retention(found)
    if not found.groups:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(f"by {by}", overflow="fold")
    for name in ("treated", "holdout", *(f"week {one.week}" for one in found.weeks)):
        table.add_column(name, justify="right")
    for group in found.groups:
        shares = [f"{one.treated.share:.1%}" if one.treated else "" for one in group.weeks]
        counts = f"{group.treated:,}", f"{group.holdout:,}"
        table.add_row(escape(group.name or "no message"), *counts, *shares)
    console().print(table)
