"""The look at the log: how long it is, who takes it, and that it does not fill Redis.

A log that no archive takes is trimmed to a limit. As soon as a reader is there, for any partition,
nothing is trimmed here: what it has read, it trims itself, and what it has not read is kept for
however long it is gone.
"""

from __future__ import annotations

import time
from typing import Final

from decision.core.clock import SECOND
from decision.core.identifiers import PARTITIONS
from decision.core.said import Said, lasting_about
from decision.observability import get_logger
from decision.server.health.state import StoreHealth, trouble
from decision.server.metrics import Metrics
from decision.store.health import LogState, ServerState, Watched

AT_ONCE: Final = 16
"""Partitions that one look is about, so that Redis is not held up."""

_ENTRY: Final = 600
"""Bytes that an entry takes, about, as long as not enough have been seen."""

_ENOUGH: Final = 100 * PARTITIONS
"""Entries from which on their size can be told: a partition with one has room for many."""

_log = get_logger()


class LogWatch:
    """`limit` is in bytes, for all partitions together; 0 trims nothing. `longest_lag` is the age
    in seconds that an entry which was not archived may have."""

    def __init__(
        self, limit: int, longest_lag: float, health: StoreHealth, metrics: Metrics
    ) -> None:
        self._limit = limit
        self._longest_lag = longest_lag
        self._health = health
        self._metrics = metrics
        self._seen: dict[int, LogState] = {}
        self._next = 0
        self._told: object = None

    async def look(self, store: Watched, server: ServerState) -> None:
        """Looks at some partitions, at first at all of them, and trims where nobody reads."""
        first = len(self._seen) < PARTITIONS
        partitions = range(PARTITIONS) if first else range(self._next, self._next + AT_ONCE)
        limit = limit_of(self._limit, server.max_memory)
        allowed = 0 if first or self._readers() else -(-limit // PARTITIONS)
        states = await store.look_at_logs(partitions, allowed)
        self._seen.update(zip(partitions, states, strict=True))
        self._next = (partitions[-1] + 1) % PARTITIONS
        self._tell(limit, sum(state.removed for state in states))

    def _readers(self) -> int:
        return max((state.readers for state in self._seen.values()), default=0)

    def _tell(self, limit: int, removed: int) -> None:
        readers = self._readers()
        entries = sum(state.entries for state in self._seen.values())
        size = sum(state.size for state in self._seen.values())
        unread = [one.oldest_unread for one in self._seen.values() if one.oldest_unread is not None]
        lag = max(0.0, time.time() - min(unread) / 1e6) if unread else 0.0
        trims = 0 if readers else limit
        self._metrics.store.log(entries, size, trims, removed, readers, lag)
        self._note_lag(lag)
        notice = None if readers else _notice(limit, entry_size(size, entries))
        self._health.notice("log", notice)
        if self._told != (told := (notice is None, limit)):
            self._told = told
            if notice is None:
                _log.info("log_is_archived", readers=readers)
            else:
                _log.info("log_without_archive", problem=notice, limit_bytes=limit)

    def _note_lag(self, lag: float) -> None:
        found = None
        if lag > self._longest_lag:
            found = trouble(
                "lag",
                f"the log was not archived for {_told(lag)}, and is kept in Redis until it "
                "is: start `nextbest archive`, or give it up with `nextbest archive --leave`",
            )
        self._health.note("log", found)


def _told(seconds: float) -> str:
    """An age, for people.

    >>> _told(150), _told(5400)
    ('2 min', '1.5 h')
    """
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds // 60:.0f} min"


def limit_of(limit: int, max_memory: int) -> int:
    """Bytes that the log may take: the setting, and not more than half of what Redis may use.

    >>> limit_of(256, 0), limit_of(256, 100), limit_of(0, 100)
    (256, 50, 0)
    """
    return min(limit, max(1, max_memory // 2)) if max_memory else limit


def entry_size(size: int, entries: int) -> float:
    """Bytes that an entry takes, of a log with so many that takes so many bytes.

    >>> entry_size(9_472, 2), entry_size(51_200_000, 102_400)
    (600, 500.0)
    """
    return size / entries if entries >= _ENOUGH else _ENTRY


def _notice(limit: int, entry: float) -> str:
    """What happens to a log without an archive."""
    if not limit:
        return Said(
            "no archive takes the log, and NEXTBEST_LOG_LIMIT_MB is 0: it grows until Redis is "
            "full; run `nextbest archive`"
        )
    entries = float(f"{limit / entry:.2g}")
    return Said(
        "no archive takes the log: its oldest entries are removed beyond %(mb)s MB, about "
        "%(entries)s decisions and events (%(lasts)s at 10 a second); run `nextbest archive` to "
        "keep them",
        mb=f"{limit / 2**20:,.0f}",
        entries=f"{entries:,.0f}",
        lasts=lasting_about(int(entries / 10) * SECOND),
    )
