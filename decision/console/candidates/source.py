"""Where the counts come from: the archive, else the newest decisions of the store's log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from decision.installation import require

if TYPE_CHECKING:
    from decision.analytics.candidates.source import CandidateSource
    from decision.console.console import Console

MOST: Final = 5_000
"""How many of the log's decisions are counted, where there is no archive."""


class Sources:
    """The source of one worker's pages: an archive's counts stay in it, the log's a few seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console

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
        return await self._console.recent.get(MOST)
