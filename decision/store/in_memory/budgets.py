"""Budgets' counters in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush

from decision.core.budgets import BudgetCount, BudgetFull, WantedUnits, unit_named
from decision.core.clock import SECOND
from decision.store.in_memory.base import Clock, Expiring, MemoryBase
from decision.store.keys import TOKEN_LASTS

_RESERVED, _ENDED = -1, -2


class MemoryBudgets(MemoryBase):
    """Implements `BudgetStore`; ranks are those of `settle_budgets.lua`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._spent: defaultdict[str, int] = defaultdict(int)
        self._tokens: Expiring[str, dict[str, int]] = Expiring()
        self._reserved: dict[tuple[str, str], int] = {}
        self._ends: list[tuple[int, str, str]] = []

    def _add(self, name: str, times: int) -> None:
        """Adds a unit to its counter; or, −1 times, takes it away."""
        counter, _, amount = unit_named(name)
        self._spent[counter] += times * amount

    async def prepare_budgets(self) -> None:
        pass

    def _may_not_take(self, units: WantedUnits, token: str) -> bool:
        """Whether a token took, or may not take any more; or still holds what is replaced."""
        ranks = self._tokens.live(token, self._clock())
        if not units.token or ranks is None:
            return ranks is not None
        return any(ranks[name] % 2 for name in _replaced(units, ranks))

    def _take(self, units: WantedUnits, token: str) -> None:
        """Takes all of it.

        Raises:
            BudgetFull: there is no room, and nothing is taken.
        """
        taken: defaultdict[str, int] = defaultdict(int)
        for name, limit in units.limits.items():
            counter, _, amount = unit_named(name)
            taken[counter] += amount
            if self._spent.get(counter, 0) + taken[counter] > limit:
                raise BudgetFull(name)
        for counter, amount in taken.items():
            self._spent[counter] += amount
        for name, end in units.ends.items():
            heappush(self._ends, (end, token, name))
            self._reserved[token, name] = end
        now = self._clock()
        ranks = self._tokens.live(token, now) or {}
        for name in _replaced(units, ranks) if units.token else ():
            del ranks[name]
        ranks.update(dict.fromkeys(units.limits, _RESERVED))
        self._tokens[token] = (now + units.lasts / SECOND, ranks)

    async def return_budgets(self, names: Sequence[str], token: str) -> None:
        now = self._clock()
        ranks = self._tokens.live(token, now) or {}
        for name in names:
            self._add(name, -(ranks.pop(name, 0) % 2))
            self._reserved.pop((token, name), None)
        self._tokens[token] = (now + TOKEN_LASTS / 1000, ranks)

    async def settle_budgets(self, token: str, message: str, rank: int) -> None:
        ranks = self._tokens.live(token, self._clock()) or {}
        for name, before in ranks.items():
            if unit_named(name).message == message and rank > before:
                self._add(name, rank % 2 - before % 2)
                ranks[name] = rank
                self._reserved.pop((token, name), None)

    async def expire_budgets(self, now: int, *, timeout: float | None = None) -> None:
        while self._ends and self._ends[0][0] <= now:
            end, token, name = heappop(self._ends)
            if self._reserved.get((token, name)) == end:  # else it was settled, or reserved anew
                del self._reserved[token, name]
                self._add(name, -1)
                ranks = self._tokens.live(token, self._clock())
                if ranks is not None:
                    ranks[name] = _ENDED

    async def budget_counts(self, counters: Sequence[str]) -> dict[str, BudgetCount]:
        return {one: BudgetCount(self._spent.get(one, 0)) for one in counters}


def _replaced(units: WantedUnits, ranks: Mapping[str, int]) -> list[str]:
    """The units of a token that are replaced: those of the same message."""
    message = unit_named(next(iter(units.limits))).message
    return [name for name in ranks if unit_named(name).message == message]
