"""`nextbest report candidates`, `win-loss` and `sensitivity`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import rich_click as click

from decision.cli.options import json_option, log_option, settings_from, settings_options
from decision.cli.output import busy, console, print_json
from decision.installation import require

if TYPE_CHECKING:
    from decision.analytics.candidates.deciding import SensitivityReport
    from decision.analytics.candidates.funnel import CandidateReport
    from decision.analytics.candidates.scope import About, Range
    from decision.analytics.candidates.source import CandidateSource
    from decision.analytics.candidates.win_loss import Rival, WinLossReport

F = TypeVar("F", bound=Callable[..., Any])
_DAY = click.DateTime(["%Y-%m-%d"])
_BY = ("message", "category", "channel", "candidate", "placement", "variant", "segment", "day")
_OF = ("message", "category", "channel")


def _range_options(command: F) -> F:
    """Which decisions; given as `given` to `_asked` and `_source`."""
    options = (
        log_option(required=False),
        click.option(
            "--newest",
            type=click.IntRange(1, 1_000_000),
            metavar="NUMBER",
            help="Without --log: so many decisions of the store's log. Default: 10000.",
        ),
        click.option("--from", "first", type=_DAY, metavar="DATE", help="Decisions of this day."),
        click.option("--to", "last", type=_DAY, metavar="DATE", help="The last day, included."),
        click.option(
            "--timezone", metavar="ZONE", help="Whose days these are. Default: that of the rules."
        ),
        click.option("--placement", metavar="NAME", help="Decisions of this placement."),
        click.option(
            "--experiment", metavar="NAME", help="Decisions that this test had an effect on."
        ),
        click.option("--variant", metavar="NAME", help="Those of this variant of the test."),
        click.option(
            "--segment",
            metavar="FIELD",
            help="Decisions for customers with this field, as customer.activity.level.",
        ),
        click.option("--value", "segment_value", metavar="VALUE", help="Those with this value."),
        settings_options("redis_url", "key_prefix", "rules"),
        json_option,
    )
    return reduce(lambda made, option: option(made), reversed(options), command)


@click.command(epilog="Example: nextbest report candidates --log archive --by category")
@click.option("--by", type=click.Choice(_BY), default="message", show_default=True)
@click.option("--message", metavar="NAME", help="Of this message alone, as with --by day.")
@click.option("--category", metavar="NAME", help="Of this category alone.")
@click.option("--channel", metavar="NAME", help="Of this channel alone.")
@_range_options
def candidates(
    by: str,
    message: str | None,
    category: str | None,
    channel: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Show how far candidates came: at which stage they were removed, who was left, who was chosen.

    It counts decisions, from the archive or the newest ones of the store's log. A message came as
    far as the one of its channels that came furthest.
    """
    from decision.analytics.candidates.funnel import report_candidates

    source, asked = _source(**given)
    with busy("Counting candidates"):
        found = report_candidates(
            source, asked, by=by, message=message, category=category, channel=channel
        )
    print_json(found) if as_json else _show_candidates(found)


@click.command("win-loss", epilog="Example: nextbest report win-loss spring-sale --log archive")
@click.argument("name", required=False)
@click.option("--by", type=click.Choice(_OF), default="message", show_default=True)
@_range_options
def win_loss(name: str | None, by: str, as_json: bool, **given: Any) -> None:
    """Show who was left in the draw, won or lost; with a NAME, against whom.

    The rank is that of the priority among all that were left, 1 is the highest. The margin is the
    winner's priority minus the loser's.
    """
    from decision.analytics.candidates.win_loss import report_win_loss

    source, asked = _source(**given)
    with busy("Counting wins and losses"):
        found = report_win_loss(source, asked, by=by, name=name)
    print_json(found) if as_json else _show_win_loss(found)


@click.command(epilog="Example: nextbest report sensitivity --log archive --placement app_home")
@click.option("--message", metavar="NAME", help="What that does to one message.")
@_range_options
def sensitivity(message: str | None, as_json: bool, **given: Any) -> None:
    """Show in what share of decisions each part of the priority decides.

    A part decides where another candidate would be chosen if that part were the same for all that
    were left: the mean response probability, the mean value, a lever of 1, no cost, the best
    instead of exploration, one tier.
    """
    from decision.analytics.candidates.deciding import report_sensitivity

    source, asked = _source(**given)
    with busy("Counting choices"):
        found = report_sensitivity(source, asked, message=message)
    print_json(found) if as_json else _show_sensitivity(found)


def _source(
    archive: Path | None,
    newest: int | None,
    first: datetime | None,
    last: datetime | None,
    timezone: str | None,
    placement: str | None,
    experiment: str | None,
    variant: str | None,
    segment: str | None,
    segment_value: str | None,
    **given: str | None,
) -> tuple[CandidateSource, Range]:
    from decision.analytics.candidates.archived import ArchivedCandidates
    from decision.analytics.candidates.recent import MOST, RecentLog, read_recent
    from decision.analytics.candidates.scope import Range
    from decision.cli.policies import open_existing, read_rules

    require("nextbest report")
    settings = settings_from(**given)
    rules = read_rules(settings.rules) if Path(settings.rules).is_dir() else None
    asked = Range(
        first=None if first is None else first.date(),
        last=None if last is None else last.date(),
        timezone=timezone or (rules.settings.timezone if rules else "UTC"),
        placement=placement,
        experiment=experiment,
        variant=variant,
        segment=segment,
        segment_value=segment_value,
    )
    if archive is not None:
        if newest is not None:
            raise click.UsageError("--newest is of the store's log: leave --log out")
        return ArchivedCandidates(archive), asked

    async def read() -> CandidateSource:
        async with open_existing(settings, "name an archive with --log") as store:
            return await read_recent(cast(RecentLog, store), newest or MOST)  # every store is one

    return asyncio.run(read()), asked


def _show_candidates(found: CandidateReport) -> None:
    _show_about(found.about)
    rows = [found.total, *found.rows]
    stages = [
        stage.stage
        for place, stage in enumerate(found.total.stages[:-1])
        if any(row.stages[place].fell for row in rows)
    ]
    table = _table(found.by, "decisions", *stages, "left", "chosen", "of left")
    for row in (*found.rows, found.total):
        fell = {stage.stage: stage.entered - stage.passed for stage in row.stages}
        _add(
            table,
            row.name if row is not found.total else "all",
            f"{row.decisions:,}",
            *(f"{fell[stage]:,}" if fell[stage] else "" for stage in stages),
            f"{row.survived:,}",
            f"{row.chosen:,}",
            _percent(row.chosen, row.survived),
        )
    console().print(table)
    _show_incomplete(found.about)


def _show_win_loss(found: WinLossReport) -> None:
    _show_about(found.about)
    table = _table(found.by, "left", "won", "lost", "of left", "first", "mean rank")
    for row in found.rows:
        counts = (row.survived, row.won, row.lost)
        _add(
            table,
            row.name,
            *(f"{count:,}" for count in counts),
            _percent(row.won, row.survived),
            f"{row.first:,}",
            f"{row.mean_rank:.1f}",
        )
    console().print(table)
    for words, rivals in (("won against", found.won_against), ("lost to", found.lost_to)):
        if found.name is not None:
            _show_rivals(words, rivals)
    _show_incomplete(found.about)


def _show_rivals(words: str, rivals: Sequence[Rival]) -> None:
    click.echo()
    table = _table(words, "decisions", "loser's mean rank", "mean margin")
    for one in rivals:
        _add(
            table, one.name, f"{one.decisions:,}", f"{one.mean_rank:.1f}", f"{one.mean_margin:.4g}"
        )
    console().print(table)


def _show_sensitivity(found: SensitivityReport) -> None:
    _show_about(found.about)
    click.echo(f"compared: {found.compared:,} with a choice; {found.several:,} had several left")
    table = _table("part", "changes", "share")
    if found.message is not None:
        table.add_column(f"{found.message} loses", justify="right")
        table.add_column("gains", justify="right")
    table.add_column("most often", overflow="fold")
    for part in found.parts:
        of_message = [] if part.lost is None else [f"{part.lost:,}", f"{part.gained:,}"]
        most = "; ".join(f"{one.now} → {one.neutral} {one.decisions:,}" for one in part.changes[:2])
        _add(table, part.part, f"{part.changed:,}", f"{part.share:.1%}", *of_message, most)
    console().print(table)
    _show_incomplete(found.about)


def _show_about(about: About) -> None:
    asked = about.range
    days = f"{asked.first or 'the beginning'} to {asked.last or 'the end'}, {asked.timezone}"
    where = "the archive" if about.source == "archive" else "the store's log"
    limit = "" if about.limit is None else f", the newest {about.limit:,}"
    click.echo(f"{about.decisions:,} decisions ({days}; {where}{limit})")
    counts = f"selected {about.selected:,}, fallback {about.fallback:,}, nothing {about.none:,}"
    click.echo(f"{counts}; in a control group {about.held_out:,}")
    if about.silence:
        why = ", ".join(f"{reason} {count:,}" for reason, count in about.silence.items())
        click.echo(f"left with no candidate: {why}")
    lost = {
        "without the store": about.without_store,
        "given to nobody": about.not_given,
        "without candidates": about.policy_unknown,
    }
    if told := ", ".join(f"{words} {count:,}" for words, count in lost.items() if count):
        click.echo(f"not counted: {told}")


def _show_incomplete(about: About) -> None:
    for text in about.incomplete:
        click.echo(f"not complete: {text}")
    if about.until is not None:
        click.echo(f"decisions until {about.until:%Y-%m-%d %H:%M:%SZ}")


def _table(first: str, *columns: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _add(table: Any, *cells: str) -> None:
    from rich.markup import escape

    table.add_row(*map(escape, cells))


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else ""
