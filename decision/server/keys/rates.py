"""Rates of API keys: how often the holder of one may call, counted by each worker for itself."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence

from limits import RateLimitItem, parse_many
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from decision.core.errors import NextbestError
from decision.server.keys.entries import ApiKey


class RateExceeded(NextbestError):
    """A key has used up its rate.

    `amount` calls in `window` seconds are allowed, and the next one in `retry_after` seconds.
    """

    def __init__(self, name: str, item: RateLimitItem, retry_after: int) -> None:
        self.amount, self.window = item.amount, item.get_expiry()
        self.retry_after = retry_after
        super().__init__(
            f"the API key {name} may call {self.amount} times in {self.window} s; try again in "
            f"{retry_after} s"
        )


class Rates:
    """What the holders of keys may still do. Keys without a rate may do everything."""

    def __init__(self, keys: Iterable[ApiKey] = ()) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._items: dict[str, Sequence[RateLimitItem]] = {}
        self.use(keys)

    def use(self, keys: Iterable[ApiKey]) -> None:
        """Puts the rates of these keys in force; what was used up stays so."""
        self._items = {key.name: parse_many(key.rate) for key in keys if key.rate is not None}

    def __contains__(self, name: object) -> bool:
        return name in self._items

    async def spend(self, name: str | None, calls: int = 1) -> None:
        """Counts calls of the key of that name. More than the rate count as all of it.

        Raises:
            RateExceeded: they are too many.
        """
        for item in self._items.get(name or "", ()):
            if not await self._limiter.hit(item, name or "", cost=min(calls, item.amount)):
                window = await self._limiter.get_window_stats(item, name or "")
                raise RateExceeded(
                    name or "", item, max(1, math.ceil(window.reset_time - time.time()))
                )
