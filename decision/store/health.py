"""What a store tells of its own health, for those who watch it. Times are microseconds."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol, runtime_checkable

import msgspec

from decision.core.errors import NextbestError, StoreUnavailable

STATES: Final = (
    *("OOM", "MISCONF", "READONLY", "NOPERM", "NOAUTH", "WRONGPASS", "DENIED", "LOADING", "BUSY"),
    *("UNKILLABLE", "MASTERDOWN", "NOREPLICAS", "MAXCLIENTS", "UNKNOWN", "NODATABASE"),
    *("CLUSTERDOWN", "MOVED", "ASK", "CROSSSLOT", "TRYAGAIN"),
)
"""Codes of errors by which Redis says that it cannot serve as it is."""

COUNTED: Final = (*STATES, "WRONGTYPE", "ERR")
"""Codes of refusals that are counted; the last two are of one command, or of one key."""

_TOLD_OTHERWISE: Final = frozenset(
    (*STATES, "unreachable", "lost", "stalled", "busy", "closed", "contention")
)
"""Codes of failures that the look at the store finds by itself, or that are no fault of it."""

_REMEMBERED: Final = 1000


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
    """Counts the errors that Redis answers with, by code.

    `last` is the latest that tells of the server's state: not of one command or key, nor of a
    protocol. `at` is `time.monotonic()` of that moment.
    """

    def __init__(self) -> None:
        self.counts = dict.fromkeys(COUNTED, 0)
        self.last: StoreUnavailable | None = None
        self.at = -math.inf

    def note(self, error: StoreUnavailable) -> None:
        """Counts an error that a call was answered with."""
        if error.code in self.counts:
            self.counts[error.code] += 1
        if error.code in STATES:
            self.last, self.at = error, time.monotonic()

    def latest(self, within: float) -> StoreUnavailable | None:
        """`last`, if it is no older than so many seconds."""
        return self.last if time.monotonic() - self.at < within else None


class Failure(NamedTuple):
    """An answer that had to do without the store, at a `time.monotonic()`, and for whom.

    `code`, `reason` and `fix` are those of `StoreUnavailable`, or say what it was instead.
    """

    at: float
    customer_id: str
    code: str
    reason: str
    fix: str


class AnswerCount:
    """Counts what was answered with the store, and remembers what had to be without it.

    An answer is a decision, the events of one customer, or one change of a customer.
    """

    def __init__(self) -> None:
        self.served = 0
        self.failures: deque[Failure] = deque(maxlen=_REMEMBERED)

    def failed(self, error: Exception, customer_id: str) -> None:
        """Notes a failure, unless the request is the reason, or the store's state is known."""
        code, reason, fix = type(error).__name__, "", ""
        if isinstance(error, StoreUnavailable):
            if error.code in _TOLD_OTHERWISE:
                return
            code, reason, fix = error.code or code, error.reason, error.fix
            if asked := getattr(error, "asked", ""):
                reason += f" ({asked})"
        elif isinstance(error, NextbestError):
            return
        self.failures.append(Failure(time.monotonic(), customer_id, code, reason, fix))

    @contextmanager
    def of(self, customer_id: str) -> Iterator[None]:
        """Around what makes one answer."""
        try:
            yield
        except Exception as error:
            self.failed(error, customer_id)
            raise
        self.served += 1


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

    async def note_loss(self, loss: bytes, lasts: int) -> None:
        """Keeps what was lost, for so many milliseconds."""

    async def noted_loss(self) -> bytes | None:
        """What was lost last, by any server, if it is kept still."""

    async def server_state(self) -> ServerState:
        """What its server says of itself."""

    async def missing_rights(self) -> list[str]:
        """Commands that its user may not run."""

    async def look_at_logs(self, partitions: Sequence[int], limit: int) -> list[LogState]:
        """The state of these partitions' logs.

        A log that no reader keeps is trimmed to `limit` bytes, a bounded piece at a time, but for
        its youngest entries, which a commit that is sent again may need; 0: never.
        """
