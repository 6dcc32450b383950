"""Archives a log once, or as a service: pass after pass until it is stopped."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from decision.archive.archiver import Archiver
from decision.archive.batch_writer import ArchiveCounts
from decision.archive.claim import ShareClaim
from decision.archive.compaction import compact
from decision.archive.errors import ArchiveUnavailable, ShareTaken
from decision.archive.folder import WHOLE, ArchiveFolder, Share
from decision.archive.service_metrics import Passes, served_metrics
from decision.core.clock import HOUR, SECOND
from decision.core.errors import NextbestError, StoreUnavailable
from decision.installation import require
from decision.progress import SILENT, Progress
from decision.store.log import Log

Summarize = Callable[[Callable[[], bool]], object]
"""Makes the summaries of files that have none, until what it is handed says to stop."""

_LONGEST_WAIT: Final = 10.0
"""Seconds until a service tries again where Redis is unavailable, also where passes are rarer."""


async def _connected() -> None:
    """Connects a log that is connected already."""


class ArchiveOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to archive into a folder; durations are microseconds.

    `every`: how often to look for new entries; None: archive what is there, and end. `keep`: how
    long archived entries stay in the log. `compact`: merge small files. `group`: the name of the
    archive in the store. `share`: which partitions, where several archivers share them.
    `take_over`: claim the log even if another folder has it. `metrics_port`: where to serve
    Prometheus metrics, on the address `metrics_host`.
    """

    folder: Path
    every: int | None = None
    keep: int = HOUR
    compact: bool = False
    group: str = "archive"
    share: Share = WHOLE
    take_over: bool = False
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"


async def archive_log(
    log: Log,
    options: ArchiveOptions,
    clock: Callable[[], int],
    stop: asyncio.Event,
    progress: Progress = SILENT,
    *,
    connect: Callable[[], Awaitable[None]] = _connected,
    summarize: Summarize | None = None,
) -> ArchiveCounts:
    """Archives what is in a log, or as a service what comes until `stop` is set.

    `connect` is called before the log is used, again until it succeeds where this is a service.
    `summarize` is called in a thread after each pass, for what is made of new files.

    Raises:
        PackagesMissing: those that write Parquet files; the log has got no reader then.
        ArchiveError: another process archives into the folder, for which a service waits; or
            another folder has the log.
        StoreUnavailable: the store does not answer; a service tries again instead.
        ArchiveUnavailable: the object store does not answer, or refuses; a service that has begun
            tries again instead.
        OSError: the folder cannot be written.
    """
    require("nextbest archive")  # a reader that cannot read would keep the log for ever
    folder = ArchiveFolder(options.folder)
    archiver = Archiver(
        folder,
        log,
        clock=clock,
        group=options.group,
        share=options.share,
        keep=options.keep,
    )
    claim = ShareClaim(folder, log, options.group, options.share)
    opening = partial(archiver.open, take_over=options.take_over)
    try:
        if options.every is not None:
            async with _Summarizing(summarize, stop, progress) as after:
                steps: deque[Callable[[], Awaitable[None]]] = deque((connect, claim.take, opening))
                await _serve(archiver, claim, steps, options, stop, progress, after)
        else:
            await connect()
            await claim.take()
            await opening()
            with progress.bar("Entries") as move:
                await archiver.run(move, stop.is_set)
            if options.compact:
                await asyncio.to_thread(compact, folder)
            async with _Summarizing(summarize, stop, progress) as after:
                with progress.step("Summaries for reports"):
                    after.start()
                    await after.end()
    finally:
        await claim.give_back()
    return archiver.counts


class _Summarizing:
    """Makes summaries beside the passes, one time after the other; the end waits for the file under
    way. What fails is said, and does not stop the archive: reports make what is missing."""

    def __init__(
        self, summarize: Summarize | None, stop: asyncio.Event, progress: Progress
    ) -> None:
        self._summarize = summarize
        self._stop = stop
        self._progress = progress
        self._task: asyncio.Task[None] | None = None
        self._ended = False

    def start(self) -> None:
        """Begins, unless it is under way."""
        if self._summarize is not None and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run(self._summarize))

    async def end(self) -> None:
        """Waits for what is under way."""
        if self._task is not None:
            await self._task

    async def __aenter__(self) -> _Summarizing:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ended = True
        await self.end()

    async def _run(self, summarize: Summarize) -> None:
        try:
            await asyncio.to_thread(summarize, lambda: self._ended or self._stop.is_set())
        except (NextbestError, OSError) as error:
            self._progress.say(f"no summaries for reports: {error}")


async def leave_archive(log: Log, options: ArchiveOptions, clock: Callable[[], int]) -> None:
    """Gives an archive up: the log is not kept for it any longer. Its files stay.

    Raises:
        ArchiveError: another process archives into the folder, or another folder has the log.
        StoreUnavailable: the store does not answer.
    """
    folder = ArchiveFolder(options.folder)
    claim = ShareClaim(folder, log, options.group, WHOLE)
    try:
        await claim.take()
        archiver = Archiver(folder, log, clock=clock, group=options.group)
        await archiver.leave(take_over=options.take_over)
    finally:
        await claim.give_back()


async def _serve(
    archiver: Archiver,
    claim: ShareClaim,
    before: deque[Callable[[], Awaitable[None]]],
    options: ArchiveOptions,
    stop: asyncio.Event,
    progress: Progress,
    after: _Summarizing,
) -> None:
    """Pass after pass; Redis may be unavailable for any time, also before what comes `before`.

    While another process has the share it stands by, as one that a new version replaces goes on
    for a while.
    """
    seconds = (options.every or 0) / SECOND
    passes = Passes(seconds)
    gauges = None
    if options.metrics_port is not None:
        gauges = served_metrics(options.metrics_host, options.metrics_port, passes)
    unavailable, waits = "", False
    while not stop.is_set():
        wait = seconds
        try:
            while before:
                await before[0]()
                before.popleft()
            await claim.take()
            if waits:
                progress.say(f"{options.folder}: its share is free again, this one goes on")
            waits = False
            if gauges is not None:
                gauges.standing_by(False)
                gauges.behind(await archiver.lag())
            await archiver.run(passes.made, lambda: stop.is_set() or claim.is_lost)
            if options.compact:  # it may take minutes, in which the claim has to be renewed
                await asyncio.to_thread(compact, archiver.folder)
            after.start()
            passes.made()
            if gauges is not None:
                gauges.done(archiver.counts)
            if unavailable:
                progress.say(f"{unavailable} is back")
            unavailable = ""
        except ShareTaken as error:
            wait = min(seconds, _LONGEST_WAIT)
            passes.made()
            if not waits:
                progress.say(f"{error.told}; standing by until that one ends")
            waits = True
            if gauges is not None:
                gauges.standing_by(True)
        except (StoreUnavailable, ArchiveUnavailable) as error:
            if isinstance(error, ArchiveUnavailable) and before:
                raise  # its settings may be wrong
            wait = min(seconds, _LONGEST_WAIT)
            if not unavailable:
                progress.say(f"{error}; trying again every {wait:g} s")
            unavailable = "Redis" if isinstance(error, StoreUnavailable) else "the object store"
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), wait)
