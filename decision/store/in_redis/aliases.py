"""Aliases in Redis: a string each."""

from __future__ import annotations

from typing import Final

from decision.store.in_redis.base import RedisBase
from decision.store.keys import escape_pattern
from decision.store.scripts import SCRIPTS

_AT_A_TIME: Final = 1_000
"""Keys looked at in one call: Redis does nothing else meanwhile."""


class RedisAliases(RedisBase):
    """Implements `AliasStore`."""

    async def resolve_alias(
        self, kind: str, value: str, *, timeout: float | None = None
    ) -> str | None:
        owner = await self._caller(timeout)(("GET", self.keys.alias(kind, value)))
        return None if owner is None else owner.decode()

    async def set_alias(self, kind: str, value: str, customer_id: str) -> str:
        call, keys = self._caller(write=True), [self.keys.alias(kind, value)]
        owner: bytes = await SCRIPTS["set_alias"].run(call, keys, [customer_id])
        return owner.decode()

    async def delete_alias(self, kind: str, value: str, customer_id: str) -> None:
        call, keys = self._caller(write=True), [self.keys.alias(kind, value)]
        await SCRIPTS["delete_alias"].run(call, keys, [customer_id])

    async def _delete_aliases_to(self, customer_id: str) -> int:
        """Removes every alias of a customer, found by looking at all aliases; returns how many."""
        read, write = self._caller(), self._caller(write=True)
        cursor, removed = b"0", 0
        pattern = escape_pattern(self.keys.prefix) + "{p*}:a:*"
        while True:
            cursor, keys = await read(("SCAN", cursor, "MATCH", pattern, "COUNT", _AT_A_TIME))
            owners = await read(("MGET", *keys)) if keys else ()
            for key, owner in zip(keys, owners, strict=True):
                if owner == customer_id.encode():
                    removed += await SCRIPTS["delete_alias"].run(write, [key], [customer_id])
            if int(cursor) == 0:
                return removed
