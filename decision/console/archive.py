"""The archive as all pages of a worker share it: what is counted of it stays in memory."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decision.analytics.candidates.archived import ArchivedCandidates
    from decision.archive.log_columns import LogColumns


class Archive:
    """The archive in a folder. What is not needed yet is not imported: DuckDB takes a while."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def columns(self) -> LogColumns:
        """Customers' decisions and events."""
        from decision.archive.log_columns import LogColumns

        return LogColumns(self.folder)

    @cached_property
    def candidates(self) -> ArchivedCandidates:
        """What became of candidates."""
        from decision.analytics.candidates.archived import ArchivedCandidates

        return ArchivedCandidates(self.folder)
