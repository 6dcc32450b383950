"""All that Redis keeps of a customer beside the document."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from decision.core.looking import Kept
from decision.store.coupon_tokens import belongs
from decision.store.in_redis.base import RedisBase
from decision.store.pipelined_connection import Command

_EXPIRY: Final = 8
"""Bytes before a kept answer."""


class RedisLooking(RedisBase):
    """Implements `LookingStore`."""

    async def kept_of(self, customer_id: str) -> Kept:
        keys = self.keys.customer(customer_id)
        commands: list[Command] = [
            ("HGETALL", keys.answers),
            ("ZCARD", keys.events),
            ("ZRANGE", self.keys.provider_ids(customer_id), 0, -1),
        ]
        fields, event_ids, members = await self.connection.pipeline(commands, self._timeout)
        pairs = zip(fields[::2], fields[1::2], strict=True)
        named = (member.decode(errors="replace").partition("\0") for member in members)
        return Kept(
            answers={
                name.decode(errors="replace"): answer[_EXPIRY:]
                for name, answer in pairs
                if not name.startswith(b"\0")  # those are claims
            },
            event_ids=event_ids,
            provider_ids=[(gateway, provider_id) for gateway, _, provider_id in named],
        )

    async def codes_of(
        self, pool: str, tags: Collection[int], partitions: Collection[int]
    ) -> dict[str, str]:
        found: dict[str, str] = {}
        for tag in tags:
            known = await self._caller()(("HGETALL", f"{self.keys.pool(pool)}t:{tag}"))
            for name, taken in zip(known[::2], known[1::2], strict=True):
                if taken and belongs(name.decode(), partitions):
                    # rank, number, when it comes back, how long it rests, code
                    found[name.decode()] = taken.split(b" ", 4)[-1].decode()
        return found
