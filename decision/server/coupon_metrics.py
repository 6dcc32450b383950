"""Prometheus metrics of the pools of coupon codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from decision.core.coupons import CouponCounts, CouponStore

STATES: Final = ("free", "held", "given", "redeemed")
POOLS_A_LOOK: Final = 50
"""Pools that are counted in one look, each by one call; those that are left come in the next."""


class CouponMetrics:
    """Shows what one worker has counted last. A pool that is gone has 0."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._codes = Gauge(
            "nextbest_coupon_codes",
            "Codes of a pool, by what has become of them.",
            ["pool", "state"],
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self._shown: set[str] = set()
        self._next = 0

    async def look(self, store: CouponStore, pools: Sequence[str], now: int) -> None:
        """Counts the codes of the next pools, of those of the policy in force.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        for gone in self._shown.difference(pools):
            self._show(gone, CouponCounts())
        self._shown.intersection_update(pools)
        places = range(self._next, self._next + min(len(pools), POOLS_A_LOOK))
        self._next = places.stop % len(pools) if pools else 0
        for place in places:
            pool = pools[place % len(pools)]
            self._shown.add(pool)
            self._show(pool, await store.count_codes(pool, now))

    def _show(self, pool: str, counts: CouponCounts) -> None:
        for state in STATES:
            self._codes.labels(pool, state).set(getattr(counts, state))
