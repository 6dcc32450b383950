"""What senders share, in memory."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection

from decision.core.sending import OUTCOMES_LAST, GatewayPause, OutcomeKind, Outcomes
from decision.store.in_memory.base import Clock, MemoryBase


class MemorySending(MemoryBase):
    """Implements `SendingStore`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._slots: defaultdict[str, deque[int]] = defaultdict(deque)
        self._outcomes: defaultdict[str, list[tuple[int, OutcomeKind]]] = defaultdict(list)
        self._paused: dict[str, GatewayPause] = {}

    async def take_slot(self, channel: str, amount: int, period: int) -> int:
        now, taken = self._milliseconds(), self._slots[channel]
        while taken and taken[0] <= now - period:
            taken.popleft()
        if len(taken) >= amount:
            return taken[len(taken) - amount] + period - now
        taken.append(now)
        return 0

    async def count_outcome(self, channel: str, kind: OutcomeKind) -> None:
        since = self._milliseconds() - OUTCOMES_LAST
        kept = [one for one in self._outcomes[channel] if one[0] > since]
        self._outcomes[channel] = [*kept, (self._milliseconds(), kind)]

    async def outcomes(self, channel: str) -> Outcomes:
        since = self._milliseconds() - OUTCOMES_LAST
        kinds = [kind for at, kind in self._outcomes[channel] if at > since]
        return Outcomes(
            sent=kinds.count("sent"),
            bounced=kinds.count("bounced"),
            complained=kinds.count("complained"),
        )

    async def pause_gateway(self, name: str, pause: GatewayPause) -> bool:
        return self._paused.setdefault(name, pause) is pause

    async def resume_gateway(self, name: str, channels: Collection[str]) -> bool:
        for channel in channels:
            self._outcomes.pop(channel, None)
        return self._paused.pop(name, None) is not None

    async def paused_gateways(self) -> dict[str, GatewayPause]:
        return dict(self._paused)

    def _milliseconds(self) -> int:
        return int(self._clock() * 1000)
