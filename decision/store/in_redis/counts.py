"""Tallies in Redis, a hash each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
        commands = [("HGETALL", self.keys.counts(name)) for name in names]
        found = await self.connection.pipeline(list(commands), self._timeout)
        return [
            {
                field.decode(errors="replace"): int(count)
                for field, count in zip(fields[::2], fields[1::2], strict=True)
            }
            for fields in found
        ]
