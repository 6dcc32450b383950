"""Decisions and events of an archive as columns in memory: what reports on customers count.

`LogColumns` reads summaries of the archive's files (see `archive.summaries`), which it makes where
there are none yet, and gives a `LogState`: arrays, with customers as numbers.
"""

from decision.archive.log_columns.made import Amount
from decision.archive.log_columns.source import LogColumns
from decision.archive.log_columns.state import Amounts, LogState, Starts

__all__ = ["Amount", "Amounts", "LogColumns", "LogState", "Starts"]
