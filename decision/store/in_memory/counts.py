"""Tallies in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from decision.store.in_memory.base import Clock, Expiring, MemoryBase


class MemoryCounts(MemoryBase):
    """Implements `CountStore`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._named_counts: Expiring[str, dict[str, int]] = Expiring()

    async def add_counts(self, name: str, counts: Mapping[str, int], most: int, lasts: int) -> None:
        if not counts:
            return
        now = self._clock()
        own = self._named_counts.live(name, now) or {}
        for field, count in counts.items():
            if field not in own and len(own) >= most:
                field = field[0]
            own[field] = own.get(field, 0) + count
        self._named_counts[name] = (now + lasts / 1000, own)

    async def counts(self, names: Sequence[str]) -> list[dict[str, int]]:
        now = self._clock()
        return [dict(self._named_counts.live(name, now) or {}) for name in names]
