"""The look at clocks: how far this server's is ahead of that of Redis, and of other servers'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from decision.server.health.state import StoreHealth, trouble
from decision.server.metrics import Metrics
from decision.store.health import Beat, Watched

SKEW: Final = 5_000_000
"""Microseconds by which clocks may differ."""

_SLOWEST: Final = 500_000
"""Microseconds: a beat that took longer says too little about clocks."""


class ClockWatch:
    """Watches this server's clock, which gives microseconds, by the beats that it sends."""

    def __init__(self, health: StoreHealth, metrics: Metrics, clock: Callable[[], int]) -> None:
        self._health = health
        self._metrics = metrics
        self._clock = clock
        self._ahead: int | None = None

    async def beat(self, store: Watched, server: str) -> Beat:
        """Sends a beat; it tells the others how far ahead this server's clock is.

        Raises:
            StoreUnavailable: the store does not take it.
        """
        before = self._clock()
        beat = await store.beat(server, self._ahead)
        after = self._clock()
        if 0 <= after - before < _SLOWEST:
            self._ahead = (before + after) // 2 - beat.now
        return beat

    def look(self, beat: Beat, server: str) -> None:
        """Notes how far clocks differ, after a beat of that server."""
        ahead = dict(beat.ahead)
        if self._ahead is not None:
            ahead[server] = self._ahead
        skew = max(ahead.values(), default=0) - min(ahead.values(), default=0)
        own = self._ahead or 0
        self._metrics.store.clocks(own / 1e6, skew / 1e6)
        found = None
        if abs(own) > SKEW:
            what = "ahead of" if own > 0 else "behind"
            text = f"this server's clock is {abs(own) / 1e6:.1f} s {what} that of Redis"
            found = trouble("clock", f"{text}; run a time service, such as chrony, on both")
        elif skew > SKEW:
            text = f"clocks of servers on this Redis differ by {skew / 1e6:.1f} s"
            found = trouble("skew", f"{text}; run a time service, such as chrony, on all of them")
        self._health.note("clock", found)
