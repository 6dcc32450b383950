"""Budgets in Redis: a counter each, and a set per token of what it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from decision.store.in_redis.base import RedisBase
from decision.store.keys import TOKEN_LASTS
from decision.store.scripts import SCRIPTS


class RedisBudgets(RedisBase):
    """Implements `BudgetStore`."""

    async def take_budgets(
        self, limits: Mapping[str, int], token: str, *, timeout: float | None = None
    ) -> str | None:
        call = self._caller(timeout, write=True)
        keys = [self.keys.token(token), *map(self.keys.budget, limits)]
        arguments = [part for limit in limits.items() for part in limit]
        spent = await SCRIPTS["take_budgets"].run(call, keys, [TOKEN_LASTS, *arguments])
        return None if spent is None else spent.decode()

    async def return_budgets(self, names: Sequence[str], token: str) -> None:
        call = self._caller(write=True)
        keys = [self.keys.token(token), *map(self.keys.budget, names)]
        await SCRIPTS["return_budgets"].run(call, keys, [TOKEN_LASTS, *names])
