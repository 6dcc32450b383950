"""`nextbest archive`."""

from __future__ import annotations

import asyncio
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import rich_click as click

from decision.cli.options import (
    ArchivePath,
    json_option,
    metrics_options,
    settings_from,
    settings_options,
)
from decision.cli.output import TERMINAL, print_json
from decision.core.clock import parse_duration
from decision.installation import require
from decision.progress import count_of

if TYPE_CHECKING:
    from decision.archive.batch_writer import ArchiveCounts
    from decision.archive.folder import Share
    from decision.archive.service import ArchiveOptions
    from decision.server.settings import ServerSettings


def _duration(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Microseconds of a duration such as `30s`."""
    try:
        return None if value is None else 0 if value == "0" else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def _share(ctx: click.Context, param: click.Parameter, value: str) -> Share:
    from decision.archive.folder import parse_share

    try:
        return parse_share(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


@click.command(epilog="Example: nextbest archive --out archive --every 30s")
@click.option(
    "--out",
    envvar="NEXTBEST_ARCHIVE",
    show_envvar=True,
    required=True,
    metavar="DIR",
    type=ArchivePath(exists=False),
    help="The folder to write, or a URL such as s3://BUCKET/FOLDER; a folder is made if there is "
    "none.",
)
@click.option(
    "--every",
    callback=_duration,
    metavar="DURATION",
    help="Run as a service: look for new entries this often. Default: run once.",
)
@click.option(
    "--keep",
    callback=_duration,
    default="1h",
    show_default=True,
    metavar="DURATION",
    help="How long archived decisions stay in Redis, where they can be looked up.",
)
@click.option(
    "--compact/--no-compact",
    default=None,
    help="Merge small files of a date. Default: only as a service.",
)
@click.option(
    "--summaries/--no-summaries",
    default=True,
    show_default=True,
    help="Count new files for the console's reports, so that the first look is quick.",
)
@click.option(
    "--group",
    default="archive",
    show_default=True,
    metavar="NAME",
    help="The name of this archive in Redis; a second archive of the same log needs another one.",
)
@click.option(
    "--share",
    callback=_share,
    default="1/1",
    show_default=True,
    metavar="I/N",
    help="Take the I-th of N shares of the log: N archivers write one archive.",
)
@click.option(
    "--take-over", is_flag=True, help="Start here, although the log was archived elsewhere."
)
@click.option(
    "--leave",
    is_flag=True,
    help="Give the archive up: Redis no longer keeps the log for it. The files stay.",
)
@metrics_options("As a service: serve Prometheus metrics on this port, and /health.")
@settings_options("redis_url", "key_prefix")
@json_option
def archive(
    out: Path,
    every: int | None,
    keep: int,
    compact: bool | None,
    summaries: bool,
    group: str,
    share: Share,
    take_over: bool,
    leave: bool,
    metrics_port: int | None,
    metrics_host: str,
    as_json: bool,
    **given: str | None,
) -> int:
    """Move the log from Redis to Delta tables, exactly once.

    Decisions, outcomes, events, what each decision saw (replays), consents, merges and erasures
    go to a table each below DIR, with Parquet files by date. You can run it again, or kill it, at
    any time: nothing is lost or doubled. The rows of erased customers are also removed from the
    files. Archived entries leave Redis after a while (--keep). An archive of an earlier version
    becomes tables at the first start: its files stay where they are.

    Exit code 1: a record could not be read; it is in DIR/_quarantine with the reason, and all
    others are archived.
    """
    from decision.archive.service import ArchiveOptions

    settings = settings_from(**given)
    if metrics_port is not None and every is None:
        raise click.UsageError("--metrics-port is for the service: give --every as well")
    options = ArchiveOptions(
        folder=out,
        every=every or None,
        keep=keep,
        compact=bool(every) if compact is None else compact,
        group=group,
        share=share,
        take_over=take_over,
        metrics_port=metrics_port,
        metrics_host=metrics_host,
    )
    if leave:
        asyncio.run(_leave(options, settings))
        if as_json:
            print_json({"out": str(out), "left": True})
        else:
            click.echo(f"{out}: given up; servers trim the log to NEXTBEST_LOG_LIMIT_MB again")
        return 0
    require("nextbest archive")  # before an embedded Redis is started for it
    counts = asyncio.run(_archive(options, settings, summaries=summaries))
    if as_json:
        print_json({"out": str(out), **msgspec.to_builtins(counts)})
    else:
        _tell(counts, out)
    return 1 if counts.quarantined else 0


def _tell(counts: ArchiveCounts, out: Path) -> None:
    rows = ", ".join(f"{number:,} {name}" for name, number in sorted(counts.rows.items()) if number)
    click.echo(f"{out}: {count_of(counts.entries, 'entry', 'entries')} archived")
    if rows:
        click.echo(f"rows: {rows}")
    if counts.rows_erased:
        click.echo(f"erased: {count_of(counts.rows_erased, 'row')} of erased customers")
    if counts.duplicates:
        click.echo(f"left out: {count_of(counts.duplicates, 'record')} archived already")
    if counts.trimmed:
        click.echo(f"trimmed: {count_of(counts.trimmed, 'entry', 'entries')} left Redis")
    if counts.begun_again:
        click.echo(
            f"read again from the start: {count_of(counts.begun_again, 'partition')}, because the "
            "log ends before the archive's position, as after Redis was restored from a backup; "
            "nothing is doubled. Customers erased since that backup must be erased again"
        )
    if counts.readers_gone:
        click.echo("a rebuilding that was interrupted a day ago no longer keeps the log")
    if counts.quarantined:
        click.echo(
            f"cannot be read: {count_of(counts.quarantined, 'record')}, see {out}/_quarantine"
        )


async def _archive(
    options: ArchiveOptions, settings: ServerSettings, *, summaries: bool
) -> ArchiveCounts:
    from decision.analytics.summarizing import summarize_new
    from decision.archive.service import archive_log
    from decision.engine.runtime import wall_clock
    from decision.server.opening import open_store
    from decision.store.redis_store import RedisStore

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_store(settings, start=False) as store:
        assert isinstance(store, RedisStore)
        return await archive_log(
            store,
            options,
            wall_clock,
            stop,
            TERMINAL,
            connect=store.start,
            summarize=partial(summarize_new, options.folder) if summaries else None,
        )


async def _leave(options: ArchiveOptions, settings: ServerSettings) -> None:
    from decision.archive.service import leave_archive
    from decision.cli.policies import open_existing
    from decision.engine.runtime import wall_clock
    from decision.store.redis_store import RedisStore

    async with open_existing(settings) as store:
        assert isinstance(store, RedisStore)
        await leave_archive(store, options, wall_clock)
