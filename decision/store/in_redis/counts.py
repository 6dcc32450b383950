"""Tallies in Redis, a hash each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from decision.store import damage
from decision.store.in_redis.base import RedisBase
from decision.store.pipelined_connection import Argument


class RedisCounts(RedisBase):
    """Implements `CountStore`."""

    async def add_counts(self, name: str, counts: Mapping[str, int], most: int, lasts: int) -> None:
        if counts:
            added: list[Argument] = [part for pair in counts.items() for part in pair]
            await self._run("add_counts", [self.keys.counts(name)], [most, lasts, *added])

    async def counts(self, names: Sequence[str]) -> list[dict[str, int]]:
        if not names:
            return []
        keys = [self.keys.counts(name) for name in names]
        found = await self.connection.pipeline([("HGETALL", key) for key in keys], self._timeout)
        return [dict(damage.counts(key, flat)) for key, flat in zip(keys, found, strict=True)]
