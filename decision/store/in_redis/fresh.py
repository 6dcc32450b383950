"""Marks of partitions that have new deliveries, so that senders need not look at all of them.

A mark is told just after its delivery is written, together with others of the same moment, and
nobody waits for it. One that is lost only delays: senders look at every partition in turn.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from functools import cached_property
from typing import Final

from decision.core.errors import StoreUnavailable
from decision.store.in_redis.base import RedisBase

_TOGETHER: Final = 0.01
"""Seconds for which marks are collected."""


class RedisFresh(RedisBase):
    """Implements `OutboxStore.fresh_deliveries`."""

    _telling: asyncio.Task[None] | None = None

    @cached_property
    def _untold(self) -> set[int]:
        return set()

    def _note_fresh(self, partition: int) -> None:
        """Tells senders soon that there is something new to be sent."""
        self._untold.add(partition)
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell_fresh())

    async def _tell_fresh(self) -> None:
        await asyncio.sleep(_TOGETHER)
        self._telling, mark = None, os.urandom(6)
        marks = [part for partition in self._untold for part in (partition, mark)]
        self._untold.clear()
        with suppress(StoreUnavailable):
            await self._caller(write=True)(("HSET", self.keys.fresh, *marks))

    async def fresh_deliveries(self) -> dict[int, bytes]:
        found = await self._caller()(("HGETALL", self.keys.fresh))
        return {int(name): mark for name, mark in zip(found[::2], found[1::2], strict=True)}
