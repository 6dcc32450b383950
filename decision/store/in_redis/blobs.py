"""Named values in Redis, a string each, and named histories, a list each."""

from __future__ import annotations

from decision.store.in_redis.base import RedisBase
from decision.store.pipelined_connection import Argument


class RedisBlobs(RedisBase):
    """Implements `BlobStore`."""

    async def put_blob(self, name: str, data: bytes) -> None:
        await self._caller(write=True)(("SET", self.keys.blob(name), data))

    async def get_blob(self, name: str) -> bytes | None:
        data: bytes | None = await self._caller()(("GET", self.keys.blob(name)))
        return data

    async def append_history(
        self, name: str, entry: bytes, keep: int, after: bytes | None = None
    ) -> bool:
        arguments: list[Argument] = [entry, keep, after or b""]
        return bool(await self._run("append_history", [self.keys.history(name)], arguments))

    async def history(self, name: str, last: int | None = None) -> list[bytes]:
        first = 0 if last is None else -last
        command = ("LRANGE", self.keys.history(name), first, -1)
        entries: list[bytes] = await self._caller()(command)
        return entries
