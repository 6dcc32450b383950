"""A store in memory for whoever lets time go by: it says whose timer is due next."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heappop, heappush

from decision.core.journeys.state import JourneyState
from decision.core.timers import ClaimedWake, Wake
from decision.store.in_memory.base import Clock
from decision.store.memory_store import MemoryStore


class TimedStore(MemoryStore):
    """Timers are kept to the microsecond, and `next_due` takes them in their order.

    Nobody else claims: one process looks at one customer after another.
    """

    def __init__(self, clock: Clock, spent: Mapping[str, int] | None = None) -> None:
        super().__init__(clock, spent)
        self._times: dict[str, int] = {}
        self._queue: list[tuple[int, str]] = []

    def next_due(self, until: int) -> ClaimedWake | None:
        """Takes the earliest timer that is due by a time in microseconds. Its lease ends at once,
        so what is left due then comes again."""
        while self._queue and self._queue[0][0] <= until:
            at, customer_id = heappop(self._queue)
            if self._times.get(customer_id) == at:
                del self._times[customer_id]
                return ClaimedWake(customer_id, at, at)
        return None

    def _set_timer(self, customer_id: str, wake: Wake, *, soonest: int = 0) -> None:
        self._times.pop(customer_id, None)
        if wake.at is not None:
            self._times[customer_id] = wake.at
            heappush(self._queue, (wake.at, customer_id))

    def _forget_timers(self, customer_id: str, state: JourneyState | None) -> None:
        super()._forget_timers(customer_id, state)
        self._times.pop(customer_id, None)

    async def rearm(self, claimed: ClaimedWake, wake: Wake) -> bool:
        if claimed.customer_id in self._times:
            return False
        self._set_timer(claimed.customer_id, wake)
        return True

    async def arm(self, wakes: Mapping[str, int]) -> None:
        for customer_id, at in wakes.items():
            own = self._times.get(customer_id, at)
            self._set_timer(customer_id, Wake(at=min(own, at)))
