"""Budgets' counters in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from decision.store.in_memory.base import Clock, Expiring, MemoryBase
from decision.store.keys import TOKEN_LASTS


class MemoryBudgets(MemoryBase):
    """Implements `BudgetStore`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._spent: defaultdict[str, int] = defaultdict(int)
        self._tokens: Expiring[str, set[str]] = Expiring()

    async def take_budgets(
        self, limits: Mapping[str, int], token: str, *, timeout: float | None = None
    ) -> str | None:
        if self._tokens.live(token, self._clock()) is not None:
            return None
        for name, limit in limits.items():
            if self._spent.get(name, 0) >= limit:
                return name
        for name in limits:
            self._spent[name] += 1
        self._tokens[token] = (self._clock() + TOKEN_LASTS / 1000, set(limits))
        return None

    async def return_budgets(self, names: Sequence[str], token: str) -> None:
        now = self._clock()
        taken = self._tokens.live(token, now) or set()
        for name in taken.intersection(names):
            self._spent[name] -= 1
        self._tokens[token] = (now + TOKEN_LASTS / 1000, taken.difference(names))
