"""Sessions of the console in memory."""

from __future__ import annotations

from decision.core.clock import SECOND
from decision.store.in_memory.base import Clock, Expiring, MemoryBase


class MemorySessions(MemoryBase):
    """Implements `SessionStore`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._sessions: Expiring[str, bytes] = Expiring()

    async def put_session(self, name: str, data: bytes, lasts: int) -> None:
        self._sessions.forget_expired(self._clock())
        self._sessions[name] = (self._clock() + lasts / SECOND, data)

    async def get_session(self, name: str) -> bytes | None:
        return self._sessions.live(name, self._clock())

    async def keep_session(self, name: str, lasts: int) -> None:
        data = self._sessions.live(name, self._clock())
        if data is not None:
            self._sessions[name] = (self._clock() + lasts / SECOND, data)

    async def end_session(self, name: str) -> None:
        self._sessions.pop(name, None)
