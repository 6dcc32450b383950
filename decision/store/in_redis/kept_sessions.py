"""Sessions of the console in Redis, a string each, which Redis removes."""

from __future__ import annotations

from decision.core.clock import SECOND
from decision.store.in_redis.base import RedisBase

_MILLISECOND = SECOND // 1000


class RedisSessions(RedisBase):
    """Implements `SessionStore`. Each of its writes may be done twice."""

    async def put_session(self, name: str, data: bytes, lasts: int) -> None:
        command = ("SET", self.keys.session(name), data, "PX", max(1, lasts // _MILLISECOND))
        await self._caller(write=True)(command)

    async def get_session(self, name: str) -> bytes | None:
        data: bytes | None = await self._caller()(("GET", self.keys.session(name)))
        return data

    async def keep_session(self, name: str, lasts: int) -> None:
        command = ("PEXPIRE", self.keys.session(name), max(1, lasts // _MILLISECOND))
        await self._caller(write=True)(command)

    async def end_session(self, name: str) -> None:
        await self._caller(write=True)(("DEL", self.keys.session(name)))
