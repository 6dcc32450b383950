"""Aliases in Redis: a string each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Final

from decision.store.damage import text
from decision.store.in_redis.scanning import RedisScanning
from decision.store.keys import escape_pattern
from decision.store.pipelined_connection import Command

_AT_A_TIME: Final = 1_000
"""Keys looked at in one call: Redis does nothing else meanwhile."""


class RedisAliases(RedisScanning):
    """Implements `AliasStore`."""

    async def resolve_alias(
        self, kind: str, value: str, *, timeout: float | None = None
    ) -> str | None:
        key = self.keys.alias(kind, value)
        owner = await self._caller(timeout)(("GET", key))
        return None if owner is None else text(key, owner)

    async def set_alias(self, kind: str, value: str, customer_id: str) -> str:
        key = self.keys.alias(kind, value)
        return text(key, await self._run("set_alias", [key], [customer_id]))

    async def delete_alias(self, kind: str, value: str, customer_id: str) -> None:
        await self._delete_key(self.keys.alias(kind, value), customer_id)

    async def stray_aliases(self) -> dict[str, str]:
        found: dict[str, str] = {}
        async for owners in self._owners():
            ids = sorted(set(owners.values()))
            commands: list[Command] = [("EXISTS", self.keys.customer(one).document) for one in ids]
            stored = await self.connection.pipeline(commands, self._timeout) if commands else ()
            known = {one for one, there in zip(ids, stored, strict=True) if there}
            found |= {key: owner for key, owner in owners.items() if owner not in known}
        return found

    async def delete_stray_aliases(self, stray: Mapping[str, str]) -> int:
        still, removed = await self.stray_aliases() if stray else {}, 0
        for key, owner in stray.items():
            if still.get(key) == owner:
                removed += await self._delete_key(key, owner)
        return removed

    async def delete_aliases_to(self, customer_id: str) -> int:
        removed = 0
        async for owners in self._owners():
            for key, owner in owners.items():
                if owner == customer_id:
                    removed += await self._delete_key(key, owner)
        return removed

    async def _delete_key(self, key: str, owner: str) -> int:
        removed: int = await self._run("delete_alias", [key], [owner])
        return removed

    async def _owners(self) -> AsyncIterator[dict[str, str]]:
        """Keys of all aliases and the customers that they lead to, part by part."""
        pattern = escape_pattern(self.keys.prefix) + "{p*}:a:*"
        async for keys in self._scan(pattern, _AT_A_TIME):
            reads: list[Command] = [("GET", key) for key in keys]  # of several slots
            owners = await self.connection.pipeline(reads, self._timeout) if keys else ()
            yield {
                key.decode(errors="replace"): owner.decode(errors="replace")
                for key, owner in zip(keys, owners, strict=True)
                if owner is not None
            }
