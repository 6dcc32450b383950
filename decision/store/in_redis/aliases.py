"""Aliases in Redis: a string each."""

from __future__ import annotations

from decision.store.in_redis.base import RedisBase
from decision.store.scripts import SCRIPTS


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
