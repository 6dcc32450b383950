"""What metrics say of coupon pools, and how little they ask for it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry

from decision.core.coupons import CouponCounts, WantedCode
from decision.server.coupon_metrics import POOLS_A_LOOK, STATES, CouponMetrics
from decision.store.memory_store import MemoryStore

pytestmark = pytest.mark.anyio


class Counting(MemoryStore):
    """Notes which pools are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: list[str] = []

    async def count_codes(self, pool: str, now: int) -> CouponCounts:
        self.counted.append(pool)
        return await super().count_codes(pool, now)


def shown(registry: CollectorRegistry, pool: str) -> list[float | None]:
    return [
        registry.get_sample_value("nextbest_coupon_codes", {"pool": pool, "state": state})
        for state in STATES
    ]


async def test_each_state_of_a_pool_is_shown_and_nothing_of_a_pool_that_is_gone() -> None:
    store, registry = MemoryStore(), CollectorRegistry()
    metrics = CouponMetrics(registry)
    await store.add_codes("spring", ["a", "b", "c", "d"])
    wanted = [WantedCode("m", None, None, 0)]
    for number in range(2):
        await store.take_codes("spring", wanted, f"token-{number}", now=0, lasts=10**9)
    await store.settle_code("spring", "token-0", "m", 1, 0)
    await store.redeem_code("spring", "d", 0)
    await metrics.look(store, ("spring", "empty"), 0)
    assert shown(registry, "spring") == [1, 1, 1, 1]
    assert shown(registry, "empty") == [0, 0, 0, 0]
    await metrics.look(store, ("empty",), 0)
    assert shown(registry, "spring") == [0, 0, 0, 0]
    await metrics.look(store, (), 0)
    await metrics.look(store, ("spring",), 0)
    assert shown(registry, "spring") == [1, 1, 1, 1]


@pytest.mark.parametrize("several", [0, 1, POOLS_A_LOOK - 1, POOLS_A_LOOK, 3 * POOLS_A_LOOK - 7])
async def test_a_look_counts_a_bounded_number_of_pools_and_the_next_ones_each_time(
    several: int,
) -> None:
    store = Counting()
    metrics = CouponMetrics(CollectorRegistry())
    pools: Sequence[str] = tuple(f"pool-{number}" for number in range(several))
    for _ in range(3):
        before = len(store.counted)
        await metrics.look(store, pools, 0)
        assert len(store.counted) - before == min(several, POOLS_A_LOOK)
    assert set(store.counted) == set(pools)


async def test_a_pool_that_cannot_be_counted_does_not_keep_others_from_it() -> None:
    class Damaged(Counting):
        async def count_codes(self, pool: str, now: int) -> CouponCounts:
            if pool == "pool-0":
                raise ValueError("damaged")
            return await super().count_codes(pool, now)

    store = Damaged()
    metrics = CouponMetrics(CollectorRegistry())
    pools = tuple(f"pool-{number}" for number in range(2 * POOLS_A_LOOK))
    with pytest.raises(ValueError, match="damaged"):
        await metrics.look(store, pools, 0)
    await metrics.look(store, pools, 0)
    assert set(pools[POOLS_A_LOOK:]) <= set(store.counted)
