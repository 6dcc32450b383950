"""Servers that told of themselves, in memory."""

from __future__ import annotations

from decision.core.clock import SECOND
from decision.core.servers import Announced
from decision.store.in_memory.base import Clock, MemoryBase


class MemoryServers(MemoryBase):
    """Implements `ServerStore`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._servers: dict[str, tuple[float, bytes]] = {}

    async def announce(self, server: str, about: bytes, forgotten: int) -> None:
        now = self._clock()
        self._servers[server] = (now, about)
        self._servers = {
            name: (at, told)
            for name, (at, told) in self._servers.items()
            if (now - at) * SECOND < forgotten
        }

    async def announced(self) -> dict[str, Announced]:
        now = self._clock()
        return {
            name: Announced(max(0, round((now - at) * SECOND)), about)
            for name, (at, about) in self._servers.items()
        }
