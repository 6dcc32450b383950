"""What every store must do: a code of a pool is with one decision at a time, and never lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from decision.core.coupons import CouponCounts, WantedCode, counter_of
from decision.core.identifiers import decision_id, decision_tag
from decision.core.ports import Store
from decision.store import MemoryStore

pytestmark = pytest.mark.anyio

LASTS = 10**12
NO_END = WantedCode("m", None, None, 0)


async def take(
    store: Store, token: str, *wanted: WantedCode, pool: str = "spring", now: int = 0
) -> list[str] | None:
    return await store.take_codes(pool, wanted or (NO_END,), token, now=now, lasts=LASTS)


async def counts(store: Store, now: int = 0, pool: str = "spring") -> CouponCounts:
    found = await store.count_codes(pool, now)
    assert found.loaded == found.free + found.held + found.given + found.redeemed
    read = await store.read("", budgets=[counter_of(pool), "other:total"])
    assert read.budgets == {counter_of(pool): -found.free, "other:total": 0}
    return found


async def test_loading_again_adds_only_what_is_new(store: Store) -> None:
    assert await store.coupon_pools() == []
    assert await store.add_codes("spring", ["A", "B", "A"]) == 2
    assert await store.add_codes("spring", ["B", "C"]) == 1
    assert await store.add_codes("summer", ["D"]) == 1
    assert await store.coupon_pools() == ["spring", "summer"]
    assert await store.pools_with(["A", "C", "D", "E"], ["spring", "summer", "none"]) == {
        "A": "spring",
        "C": "spring",
        "D": "summer",
    }
    assert await take(store, "t1") == ["A"]
    assert await store.add_codes("spring", ["A"]) == 0
    assert await counts(store) == CouponCounts(loaded=3, free=2, held=1)


async def test_a_staged_code_is_nobodys_until_it_is_opened(store: Store) -> None:
    await store.add_codes("spring", ["A"])
    assert await store.stage_codes("spring", ["A", "B", "C"]) == ["B", "C"]
    assert await store.stage_codes("spring", ["D", "C", "A", "E"]) == ["D", "C", "E"]
    assert await counts(store) == CouponCounts(loaded=5, free=1, held=4)
    assert await store.pools_with(["B"], ["spring"]) == {"B": "spring"}
    assert await take(store, "t1") == ["A"]
    assert await take(store, "t2") is None
    await store.drop_codes("spring", ["A", "B", "Z"])
    assert await store.open_codes("spring", ["A", "B", "D", "C", "D"]) == 2
    assert [await take(store, f"t{number}") for number in (3, 4, 5)] == [["D"], ["C"], None]
    assert await store.redeem_code("spring", "E", 0)
    assert await store.open_codes("spring", ["E"]) == 0
    assert await counts(store) == CouponCounts(loaded=4, held=3, redeemed=1)
    assert await store.open_codes("other", ["A"]) == 0


async def test_codes_are_given_in_order_and_an_empty_pool_gives_none(store: Store) -> None:
    assert await take(store, "t0") is None
    assert await counts(store) == CouponCounts()
    await store.add_codes("spring", ["A", "B", "C"])
    two = (WantedCode("m", None, None, 0), WantedCode("n", None, None, 0))
    assert await take(store, "t1", *two) == ["A", "B"]
    assert await take(store, "t2", *two) is None
    assert await take(store, "t3") == ["C"]
    assert await take(store, "t4") is None
    assert await counts(store) == CouponCounts(loaded=3, held=3)


async def test_a_token_takes_the_same_code_again_and_nothing_after_its_return(store: Store) -> None:
    await store.add_codes("spring", ["A", "B"])
    assert await take(store, "t") == await take(store, "t") == ["A"]
    for _ in range(3):
        await store.return_codes("spring", "t", 0)
    assert await take(store, "t") is None
    assert await counts(store) == CouponCounts(loaded=2, free=2, given_back=1)
    await store.return_codes("spring", "late", 0)
    assert await take(store, "late") is None
    assert [await take(store, "t1"), await take(store, "t2")] == [["B"], ["A"]]


async def test_no_code_is_with_two_of_many_concurrent_takers(store: Store) -> None:
    await store.add_codes("spring", [f"C{n}" for n in range(40)])
    found = await asyncio.gather(*(take(store, f"t{n}") for n in range(64)))
    given = [one[0] for one in found if one]
    assert sorted(given) == sorted(f"C{n}" for n in range(40))
    assert found.count(None) == 24


async def test_a_held_code_comes_back_at_its_end_and_a_given_one_when_it_says(store: Store) -> None:
    await store.add_codes("spring", ["A", "B", "C"])
    wanted = WantedCode("m", 100, 1000, 50)
    for token in ("t1", "t2", "t3"):
        await take(store, token, wanted)
    assert await store.settle_code("spring", "t2", "m", 3, 10)
    assert await store.settle_code("spring", "t3", "m", 3, 10)
    assert await store.redeem_code("spring", "C", 10)
    assert await counts(store, 99) == CouponCounts(loaded=3, held=1, given=1, redeemed=1)
    assert (await store.read("", budgets=[counter_of("spring")])).pools_end == {"spring": 100}
    assert await counts(store, 100) == CouponCounts(
        loaded=3, free=1, given=1, redeemed=1, given_back=1
    )
    assert await take(store, "t4", NO_END, now=100) == ["A"]
    assert await counts(store, 999) == CouponCounts(
        loaded=3, held=1, given=1, redeemed=1, given_back=1
    )
    assert await take(store, "t5", NO_END, now=1000) == ["B"]  # found by who finds it empty
    assert await take(store, "t6", NO_END, now=10**6) is None


async def test_a_released_code_rests_while_its_answer_may_be_given_again(store: Store) -> None:
    await store.add_codes("spring", ["A"])
    await take(store, "t1", WantedCode("m", None, None, 50))
    await store.settle_code("spring", "t1", "m", 4, 10)
    assert await take(store, "t2", now=49) is None
    assert await counts(store, 49) == CouponCounts(loaded=1, held=1)
    assert await take(store, "t3", now=50) == ["A"]


async def test_a_customer_who_saw_a_code_late_gets_it_back_unless_another_has_it(
    store: Store,
) -> None:
    await store.add_codes("spring", ["A", "B"])
    wanted = WantedCode("m", 100, 1000, 0)
    await take(store, "t1", wanted)
    await take(store, "t2", wanted)
    await store.expire_codes("spring", 100)
    assert await take(store, "t3", now=100) == ["A"]
    await store.settle_code("spring", "t1", "m", 5, 200)  # too late: t3 has it
    await store.settle_code("spring", "t2", "m", 5, 200)
    assert await take(store, "t4", now=200) is None
    assert await counts(store, 200) == CouponCounts(loaded=2, held=1, given=1, given_back=2)
    await store.settle_code("spring", "t1", "m", 6, 200)  # nor does it take it from t3
    assert (await counts(store, 200)).held == 1
    assert await take(store, "t5", now=1000) == ["B"]
    await store.settle_code("spring", "t2", "m", 7, 1000)
    assert (await counts(store, 1000)).given == 0


async def test_the_highest_rank_holds_and_what_is_not_known_says_so(store: Store) -> None:
    await store.add_codes("spring", ["A"])
    await take(store, "t")
    assert not await store.settle_code("spring", "t", "other", 3, 0)
    assert not await store.settle_code("spring", "unknown", "m", 3, 0)
    assert not await store.settle_code("none", "t", "m", 3, 0)
    for rank in (7, 3, 6, 7):
        assert await store.settle_code("spring", "t", "m", rank, 0)
    assert await counts(store) == CouponCounts(loaded=1, given=1)
    await store.return_codes("spring", "t", 0)  # what somebody saw stays
    assert await counts(store) == CouponCounts(loaded=1, given=1)


@pytest.mark.parametrize("state", ["free", "held", "given", "back", "again"])
async def test_a_redeemed_code_is_kept_for_good_from_any_state(store: Store, state: str) -> None:
    await store.add_codes("spring", ["A"])
    if state != "free":
        await take(store, "t", WantedCode("m", 100, 1000, 0))
    if state == "given":
        await store.settle_code("spring", "t", "m", 3, 10)
    if state in ("back", "again"):
        await store.settle_code("spring", "t", "m", 4, 10)
    if state == "again":
        await take(store, "t2", WantedCode("m", 100, 1000, 0), now=10)
    for _ in range(2):
        assert await store.redeem_code("spring", "A", 20)
    assert not await store.redeem_code("spring", "B", 20)
    for token in ("t", "t2"):
        await store.settle_code("spring", token, "m", 8, 30)
        await store.return_codes("spring", token, 30)
    assert await take(store, "t3", now=10**6) is None
    assert (await counts(store, 10**6)).redeemed == 1


async def test_an_erased_customers_codes_stay_given_and_lead_to_nobody(store: Store) -> None:
    theirs, other = decision_id(1, 7, 1), decision_id(1, 8, 2)
    await store.add_codes("spring", ["A", "B", "C"])
    wanted = (WantedCode("m", 100, None, 0), WantedCode("n", 100, 1000, 0))
    await take(store, theirs, *wanted)
    await take(store, other, WantedCode("m", 100, None, 0))
    tags = [decision_tag(theirs), decision_tag(other)]
    assert await store.forget_codes("spring", tags, [7]) == 2
    assert await store.forget_codes("spring", tags, [7]) == 0
    assert not await store.settle_code("spring", theirs, "m", 4, 10)
    assert await counts(store, 999) == CouponCounts(loaded=3, free=1, given=2, given_back=1)
    assert (await counts(store, 1000)).free == 2


async def test_every_order_of_calls_gives_what_the_store_in_memory_gives(store: Store) -> None:
    """The same random calls: the same codes, counts and replies; a code is never with two."""
    for seed in range(6):
        choose, oracle, pool = random.Random(seed), MemoryStore(), f"pool-{seed}"
        tokens = [f"t{n}" for n in range(12)]
        now = 0
        for _ in range(150):
            now += choose.randrange(30)
            calls: Sequence[tuple[str, tuple[object, ...]]] = (
                ("add", ([f"C{choose.randrange(20)}" for _ in range(2)],)),
                ("take", (choose.choice(tokens), choose.randrange(1, 3))),
                ("take", (choose.choice(tokens), 1)),
                ("back", (choose.choice(tokens),)),
                ("settle", (choose.choice(tokens), choose.choice("mn"), choose.randrange(1, 40))),
                ("redeem", (f"C{choose.randrange(20)}",)),
            )
            name, arguments = choose.choice(calls)
            ends = [choose.choice([None, now + 50, now + 200]) for _ in range(4)]
            replies = [
                await _call(one, pool, name, arguments, ends, now) for one in (store, oracle)
            ]
            assert replies[0] == replies[1], (seed, name, arguments)
            assert await counts(store, now, pool) == await counts(oracle, now, pool)


async def _call(
    store: Store, pool: str, name: str, arguments: tuple[object, ...], ends: object, now: int
) -> object:
    first, *rest = arguments
    if name == "add":
        assert isinstance(first, list)
        return await store.add_codes(pool, first)
    assert isinstance(first, str)
    if name == "take":
        assert isinstance(ends, list)
        wanted = [
            WantedCode("mn"[n], ends[n], ends[n + 2], now + 20) for n in range(int(str(rest[0])))
        ]
        return await take(store, first, *wanted, pool=pool, now=now)
    if name == "back":
        return await store.return_codes(pool, first, now)
    if name == "settle":
        return await store.settle_code(pool, first, str(rest[0]), int(str(rest[1])), now)
    return await store.redeem_code(pool, first, now)
