"""Budgets in Redis: a counter each, a hash per token of what it took, and when reservations end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from decision.core.budgets import unit_named
from decision.core.clock import HOUR, MILLISECOND
from decision.store.in_redis.base import RedisBase
from decision.store.keys import TOKEN_LASTS

_AT_A_TIME: Final = 1000
"""Reservations that one script ends: Redis does nothing else meanwhile."""


class RedisBudgets(RedisBase):
    """Implements `BudgetStore`."""

    def _counter(self, unit: str) -> str:
        return self.keys.budget(unit_named(unit).counter)

    async def take_budgets(
        self,
        limits: Mapping[str, int],
        token: str,
        *,
        ends: Mapping[str, int] | None = None,
        lasts: int = HOUR,
        timeout: float | None = None,
    ) -> str | None:
        keys = (self.keys.token(token), self.keys.budget_ends, self.keys.budget_first_end)
        arguments: list[str | int] = [-(-lasts // MILLISECOND), token]
        for name, limit in limits.items():
            arguments += (name, limit, (ends or {}).get(name, ""))
        counters = map(self._counter, limits)
        spent = await self._run("take_budgets", [*keys, *counters], arguments, timeout=timeout)
        return None if spent is None else spent.decode()

    async def return_budgets(self, names: Sequence[str], token: str) -> None:
        keys = [self.keys.token(token), self.keys.budget_ends, *map(self._counter, names)]
        await self._run("return_budgets", keys, [TOKEN_LASTS, token, *names])

    async def settle_budgets(self, token: str, message: str, rank: int) -> None:
        keys = [self.keys.token(token), self.keys.budget_ends, self.keys.budget("")]
        await self._run("settle_budgets", keys, [token, message, rank])

    async def expire_budgets(self, now: int, *, timeout: float | None = None) -> None:
        ends = (self.keys.budget_ends, self.keys.budget_first_end)
        keys = [*ends, self.keys.budget(""), self.keys.token("")]
        ended = _AT_A_TIME
        while ended == _AT_A_TIME:
            arguments = [now, _AT_A_TIME]
            ended = await self._run("expire_budgets", keys, arguments, timeout=timeout)
