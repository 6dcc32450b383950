"""What a store tells of its own health, for those who watch it. Times are microseconds."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol, runtime_checkable

import msgspec

from decision.core.errors import StoreUnavailable

STATES: Final = (
    *("OOM", "MISCONF", "READONLY", "NOPERM", "NOAUTH", "WRONGPASS", "DENIED", "LOADING", "BUSY"),
    *("UNKILLABLE", "MASTERDOWN", "NOREPLICAS", "MAXCLIENTS", "UNKNOWN", "NODATABASE"),
    *("CLUSTERDOWN", "MOVED", "ASK", "CROSSSLOT", "TRYAGAIN"),
)
"""Codes of errors by which Redis says that it cannot serve as it is."""


class Beat(NamedTuple):
    """One acknowledged trial of a write.

    `mark` is set once in the life of a store's data, and `beats` grows by one with each trial of
    any server: who finds another mark, or fewer beats, knows that data was lost. `now` is the
    store's own time; `ahead` is how far the clock of each server is ahead of it.
    """

    now: int
    mark: str
    beats: int
    ahead: dict[str, int]


class ServerState(msgspec.Struct, frozen=True, kw_only=True):
    """What the store's server says of itself; sizes are bytes.

    `max_memory` is 0 where there is no limit. `evicted` counts keys since `run_id` began. `risks`
    is setting → how data may be lost by it, and what to set instead.
    """

    run_id: str
    used_memory: int
    max_memory: int
    evicted: int
    risks: dict[str, str] = {}


class LogState(NamedTuple):
    """A partition's log: its size, how many readers keep it, and what was removed just now.

    `oldest_unread` is when the oldest entry was written that some reader has not read, or None.
    """

    entries: int = 0
    size: int = 0
    readers: int = 0
    removed: int = 0
    oldest_unread: int | None = None


class RefusalCount:
    """Counts the errors that tell of a server's state: not those of one command, nor of a protocol.

    `last` is the latest, and `at` is `time.monotonic()` of that moment.
    """

    def __init__(self) -> None:
        self.counts = dict.fromkeys(STATES, 0)
        self.last: StoreUnavailable | None = None
        self.at = -math.inf

    def note(self, error: StoreUnavailable) -> None:
        """Counts an error that a call was answered with."""
        if error.code in self.counts:
            self.counts[error.code] += 1
            self.last, self.at = error, time.monotonic()


@runtime_checkable
class Watched(Protocol):
    """A store whose health can be watched."""

    @property
    def where(self) -> str:
        """Its address: for the log, and for nobody without a key."""

    @property
    def refused(self) -> RefusalCount:
        """What it refused to real calls."""

    async def beat(self, server: str, ahead: int | None) -> Beat:
        """Tries a write, and notes how far this server's clock is ahead where that is known."""

    async def server_state(self) -> ServerState:
        """What its server says of itself."""

    async def missing_rights(self) -> list[str]:
        """Commands that its user may not run."""

    async def look_at_logs(self, partitions: Sequence[int], limit: int) -> list[LogState]:
        """The state of these partitions' logs.

        A log that no reader keeps is trimmed to `limit` bytes, a bounded piece at a time, but for
        its youngest entries, which a commit that is sent again may need; 0: never.
        """
