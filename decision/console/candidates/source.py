"""Where the counts come from: the archive, else the newest decisions of the store's log."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, cast

from decision.installation import require

if TYPE_CHECKING:
    from decision.analytics.candidates.recent import RecentCandidates, RecentLog
    from decision.analytics.candidates.source import CandidateSource
    from decision.console.console import Console

MOST: Final = 5_000
"""How many of the log's decisions are counted, where there is no archive."""
_FRESH: Final = 15.0
"""Seconds for which these are not read again."""


class Sources:
    """The source of one worker's pages: an archive's counts stay in it, the log's a few seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = asyncio.Lock()
        self._recent: tuple[float, RecentCandidates] | None = None

    async def get(self) -> CandidateSource:
        """The source.

        Raises:
            PackagesMissing: what reads archives is not installed.
            StoreUnavailable: the store does not answer, and there is no archive.
        """
        require("this page")
        archive = self._console.archive
        if archive is not None and await self._console.work(archive.folder.is_dir):
            return archive.candidates
        async with self._lock:
            now = time.monotonic()
            if self._recent is None or now - self._recent[0] > _FRESH:
                from decision.analytics.candidates.recent import read_recent

                log = cast("RecentLog", self._console.engine.runtime.store)  # every store is one
                self._recent = now, await read_recent(log, MOST)
            return self._recent[1]
