"""Aliases in memory."""

from __future__ import annotations

from decision.store.in_memory.base import Clock, MemoryBase


class MemoryAliases(MemoryBase):
    """Implements `AliasStore`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._aliases: dict[tuple[str, str], str] = {}

    async def resolve_alias(
        self, kind: str, value: str, *, timeout: float | None = None
    ) -> str | None:
        return self._aliases.get((kind, value))

    async def set_alias(self, kind: str, value: str, customer_id: str) -> str:
        return self._aliases.setdefault((kind, value), customer_id)

    async def delete_alias(self, kind: str, value: str, customer_id: str) -> None:
        if self._aliases.get((kind, value)) == customer_id:
            del self._aliases[kind, value]

    async def delete_aliases_to(self, customer_id: str) -> int:
        found = [alias for alias, owner in self._aliases.items() if owner == customer_id]
        for alias in found:
            del self._aliases[alias]
        return len(found)
