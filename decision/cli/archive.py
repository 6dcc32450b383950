"""`nextbest archive`."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import rich_click as click

from decision.cli.options import json_option, settings_from, settings_options
from decision.cli.output import Fail, print_json, progress, say
from decision.core.clock import SECOND, parse_duration
from decision.core.errors import StoreUnavailable
from decision.installation import install_hint
from decision.progress import count_of

if TYPE_CHECKING:
    from decision.archive.archiver import Archiver, Counts, Lag
    from decision.server.settings import ServerSettings


def _duration(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Microseconds of a duration such as `30s`."""
    try:
        return None if value is None else 0 if value == "0" else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


@click.command(epilog="Example: nextbest archive --out archive --every 30s")
@click.option(
    "--out",
    envvar="NEXTBEST_ARCHIVE",
    show_envvar=True,
    required=True,
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to write; made where it is not there.",
)
@click.option(
    "--every",
    callback=_duration,
    metavar="DURATION",
    help="Go on as a service: look for new entries this often. Left out: once, and end.",
)
@click.option(
    "--keep",
    callback=_duration,
    default="1h",
    show_default=True,
    metavar="DURATION",
    help="How long archived decisions stay in Redis, for looking them up.",
)
@click.option(
    "--compact/--no-compact",
    default=None,
    help="Merge small files of a date. Default: as a service, yes; once, no.",
)
@click.option(
    "--group",
    default="archive",
    show_default=True,
    metavar="NAME",
    help="The name under which Redis notes how far this archive is; a second archive of the same "
    "log needs another.",
)
@click.option(
    "--take-over", is_flag=True, help="Begin here, though the log was archived elsewhere."
)
@click.option(
    "--metrics-port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="As a service: serve Prometheus metrics on this port of the loopback interface.",
)
@settings_options("redis_url", "key_prefix")
@json_option
def archive(
    out: Path,
    every: int | None,
    keep: int,
    compact: bool | None,
    group: str,
    take_over: bool,
    metrics_port: int | None,
    as_json: bool,
    **given: str | None,
) -> int:
    """Move the log from Redis to Parquet files, exactly once.

    Decisions, outcomes, events, what each decision saw (replays), consents, merges and erasures
    go to folders of their own below DIR. Run it again, or kill it, at any time: nothing is lost
    and nothing doubled. An erased customer's rows go from the files, too. Entries leave Redis
    once they are archived, after a while (--keep).

    Exit code 1: a record could not be read; it is in DIR/_quarantine with the reason, and all
    others are archived.
    """
    settings = settings_from(**given)
    if metrics_port is not None and every is None:
        raise click.UsageError("--metrics-port is for the service: give --every, too")
    work = _Work(out, every, keep, bool(every) if compact is None else compact, group, take_over)
    try:
        counts = asyncio.run(work.run(settings, metrics_port))
    except ModuleNotFoundError as error:
        raise Fail(install_hint(f"archiving needs {error.name}")) from None
    if as_json:
        print_json({"out": str(out), **msgspec.to_builtins(counts)})
    else:
        _tell(counts, out)
    return 1 if counts.quarantined else 0


def _tell(counts: Counts, out: Path) -> None:
    rows = ", ".join(f"{number:,} {name}" for name, number in sorted(counts.rows.items()) if number)
    click.echo(f"{out}: {count_of(counts.entries, 'entry', 'entries')} archived")
    if rows:
        click.echo(f"rows: {rows}")
    if counts.rows_erased:
        click.echo(f"erased: {count_of(counts.rows_erased, 'row')} of customers who are gone")
    if counts.duplicates:
        click.echo(f"left out: {count_of(counts.duplicates, 'record')} archived before")
    if counts.trimmed:
        click.echo(f"trimmed: {count_of(counts.trimmed, 'entry', 'entries')} left Redis")
    if counts.begun_again:
        click.echo(
            f"begun again: {count_of(counts.begun_again, 'partition')} of a log that ended before "
            "what is archived, as when Redis was restored from a backup; nothing is doubled. "
            "Customers erased since that backup must be erased again"
        )
    if counts.readers_gone:
        click.echo("a rebuilding that was cut short a day ago holds up trimming no more")
    if counts.quarantined:
        click.echo(
            f"cannot be read: {count_of(counts.quarantined, 'record')}, see {out}/_quarantine"
        )


class _Gauges:
    """What Prometheus is told, on a port of the loopback interface."""

    def __init__(self, port: int) -> None:
        from prometheus_client import CollectorRegistry, Gauge, start_http_server

        registry = CollectorRegistry()

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"nextbest_archive_{name}", text, labels, registry=registry)

        self._pending = gauge("pending_entries", "Entries of the log not archived, about.")
        self._age = gauge("oldest_pending_seconds", "Age of the oldest entry not archived.")
        self._rows = gauge("rows", "Rows written since the start.", "dataset")
        self._aside = gauge("quarantined", "Records that could not be read since the start.")
        self._last = gauge("last_success_seconds", "When a pass last came to its end, Unix time.")
        start_http_server(port, addr="127.0.0.1", registry=registry)

    def behind(self, lag: Lag) -> None:
        """What waits as a pass begins."""
        self._pending.set(lag.entries)
        self._age.set(lag.age / SECOND)

    def done(self, counts: Counts) -> None:
        """What was done when it ends."""
        self._last.set_to_current_time()
        self._aside.set(counts.quarantined)
        for dataset, number in counts.rows.items():
            self._rows.labels(dataset).set(number)


class _Work:
    """One run, or the service."""

    def __init__(
        self,
        out: Path,
        every: int | None,
        keep: int,
        compact: bool,
        group: str,
        take_over: bool,
    ) -> None:
        self._out = out
        self._every = every
        self._keep = keep
        self._compact = compact
        self._group = group
        self._take_over = take_over
        self._stop = asyncio.Event()

    async def run(self, settings: ServerSettings, metrics_port: int | None) -> Counts:
        from decision.archive.archiver import Archiver
        from decision.archive.journal import Journal
        from decision.engine.runtime import wall_clock
        from decision.server.opening import open_store
        from decision.store.redis_store import RedisStore

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        journal = Journal(self._out)
        with journal.alone():
            async with open_store(settings) as store:
                assert isinstance(store, RedisStore)
                archiver = Archiver(
                    journal, store, clock=wall_clock, group=self._group, keep=self._keep
                )
                await archiver.open(take_over=self._take_over)
                if self._every is None:
                    with progress("Entries") as move:
                        await archiver.run(move, self._stop.is_set)
                    self._merge(archiver)
                else:
                    gauges = _Gauges(metrics_port) if metrics_port is not None else None
                    await self._serve(archiver, self._every / SECOND, gauges)
        return archiver.counts

    async def _serve(self, archiver: Archiver, seconds: float, gauges: _Gauges | None) -> None:
        """Pass after pass, until a signal comes; Redis may be away for as long as it likes."""
        away = False
        while not self._stop.is_set():
            try:
                if gauges is not None:
                    gauges.behind(await archiver.lag())
                await archiver.run(stopped=self._stop.is_set)
                self._merge(archiver)
                if gauges is not None:
                    gauges.done(archiver.counts)
                if away:
                    say("Redis is back")
                away = False
            except StoreUnavailable as error:
                if not away:
                    say(f"{error}; trying again every {seconds:g} s")
                away = True
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), seconds)

    def _merge(self, archiver: Archiver) -> None:
        """Merges small files, where that is wanted."""
        from decision.archive.compaction import compact

        if self._compact:
            compact(archiver.journal)
