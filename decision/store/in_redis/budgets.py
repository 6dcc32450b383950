"""Budgets in Redis: a counter each, a hash per token of what it took, and when reservations end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from decision.core.budgets import unit_named
from decision.core.clock import HOUR, MILLISECOND
from decision.store.in_redis.base import RedisBase
from decision.store.keys import TOKEN_LASTS
from decision.store.scripts import SCRIPTS

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
        call = self._caller(timeout, write=True)
        keys = (self.keys.token(token), self.keys.budget_ends, self.keys.budget_first_end)
        arguments: list[str | int] = [-(-lasts // MILLISECOND), token]
        for name, limit in limits.items():
            arguments += (name, limit, (ends or {}).get(name, ""))
        counters = map(self._counter, limits)
        spent = await SCRIPTS["take_budgets"].run(call, [*keys, *counters], arguments)
        return None if spent is None else spent.decode()

    async def return_budgets(self, names: Sequence[str], token: str) -> None:
        call = self._caller(write=True)
        keys = [self.keys.token(token), self.keys.budget_ends, *map(self._counter, names)]
        await SCRIPTS["return_budgets"].run(call, keys, [TOKEN_LASTS, token, *names])

    async def settle_budgets(self, token: str, message: str, rank: int) -> None:
        call = self._caller(write=True)
        keys = [self.keys.token(token), self.keys.budget_ends, self.keys.budget("")]
        await SCRIPTS["settle_budgets"].run(call, keys, [token, message, rank])

    async def expire_budgets(self, now: int, *, timeout: float | None = None) -> None:
        call = self._caller(timeout, write=True)
        ends = (self.keys.budget_ends, self.keys.budget_first_end)
        keys = [*ends, self.keys.budget(""), self.keys.token("")]
        ended = _AT_A_TIME
        while ended == _AT_A_TIME:
            ended = await SCRIPTS["expire_budgets"].run(call, keys, [now, _AT_A_TIME])
