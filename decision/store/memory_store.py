"""The store in this process: its capabilities in one class."""

from __future__ import annotations

from collections.abc import Mapping
from time import time
from typing import Any

from decision.store.in_memory.base import Clock, Expiring
from decision.store.in_memory.drafts import MemoryDrafts
from decision.store.in_memory.kept_sessions import MemorySessions
from decision.store.in_memory.looking import MemoryLooking
from decision.store.in_memory.sending import MemorySending
from decision.store.in_memory.servers import MemoryServers


class MemoryStore(MemoryLooking, MemoryDrafts, MemorySessions, MemoryServers, MemorySending):
    """Implements `decision.core.ports.Store`; empty at first, gone with the process.

    For offline decisions, scenario tests and property tests. It keeps what Redis would keep, in
    the same bytes. `clock` gives the seconds since 1970 by which answers, event ids and tokens end;
    `spent` are the counters of budgets to start with.

    >>> import asyncio
    >>> async def example() -> None:
    ...     store = MemoryStore(clock=lambda: 0.0, spent={"coupon:total": 1})
    ...     print(await store.set_alias("email", "li@mail.cn", "c-1024"))
    ...     print((await store.read("c-1024", budgets=["coupon:total"])).budgets)
    >>> asyncio.run(example())
    c-1024
    {'coupon:total': 1}
    """

    def __init__(self, clock: Clock = time, spent: Mapping[str, int] | None = None) -> None:
        super().__init__(clock)
        self._spent.update(spent or {})

    def forget_expired(self) -> int:
        """Removes the answers, event ids and tokens whose time is over; returns how many stay.

        Redis does so by itself. Here it is only worth it where customers are many and seen once.
        """
        now = self._clock()
        left = self._tokens.forget_expired(now)
        kept_by_customer: tuple[dict[str, Expiring[Any, Any]], ...] = (self._answers, self._events)
        for by_customer in kept_by_customer:
            for customer_id, kept in list(by_customer.items()):
                left += kept.forget_expired(now)
                if not kept:
                    del by_customer[customer_id]
        return left
