"""Servers that told of themselves, in a hash in Redis."""

from __future__ import annotations

from decision.core.servers import Announced
from decision.store.in_redis.base import RedisBase


class RedisServers(RedisBase):
    """Implements `ServerStore`. Telling may be done twice."""

    async def announce(self, server: str, about: bytes, forgotten: int) -> None:
        await self._run("announce", [self.keys.health("servers")], [server, about, forgotten])

    async def announced(self) -> dict[str, Announced]:
        commands = [("TIME",), ("HGETALL", self.keys.health("servers"))]
        (seconds, micros), found = await self.connection.pipeline(list(commands), self._timeout)
        now = int(seconds) * 1_000_000 + int(micros)
        servers = {}
        for name, told in zip(found[::2], found[1::2], strict=True):
            at, _, about = told.partition(b" ")
            if at.isdigit():
                ago = max(0, now - int(at))
                servers[name.decode(errors="replace")] = Announced(ago, about)
        return servers
