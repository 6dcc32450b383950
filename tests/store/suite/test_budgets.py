"""What every store must do: budgets are taken all or none, and never exceeded."""

from __future__ import annotations

import asyncio
from itertools import permutations

import pytest

from decision.core.budgets import WantedUnits
from decision.core.ports import Committed, Store
from tests.store.build import take, taking

pytestmark = pytest.mark.anyio


async def test_budgets_are_taken_all_or_none(store: Store) -> None:
    assert await take(store, {"a": 2, "b": 1}, "t1") is None
    assert await take(store, {"a": 2, "b": 1}, "t2") == "b"
    assert (await store.read("c", budgets=["a", "b", "c"])).budgets == {"a": 1, "b": 1, "c": 0}
    assert await take(store, {"a": 2}, "t2") is None
    assert await take(store, {"b": 1, "a": 2}, "t3") == "b"


async def test_a_token_takes_once_and_gives_back_once(store: Store) -> None:
    for _ in range(3):
        assert await take(store, {"a": 5, "b": 5}, "t") is None
    assert (await store.read("c", budgets=["a", "b"])).budgets == {"a": 1, "b": 1}
    for _ in range(3):
        await store.return_budgets(["a", "b", "never taken"], "t")
    found = await store.read("c", budgets=["a", "b", "never taken"])
    assert found.budgets == {"a": 0, "b": 0, "never taken": 0}


async def test_a_take_that_comes_after_its_return_changes_nothing(store: Store) -> None:
    await store.return_budgets(["a"], "t")
    assert await take(store, {"a": 1}, "t") is None
    assert (await store.read("c", budgets=["a"])).budgets == {"a": 0}


async def test_a_limit_of_zero_is_never_taken(store: Store) -> None:
    assert await take(store, {"a": 0}, "t") == "a"


async def test_concurrent_takers_never_exceed_a_budget(store: Store) -> None:
    results = await asyncio.gather(
        *(take(store, {"total": 10, "day": 7}, f"t{n}") for n in range(50))
    )
    assert results.count(None) == 7
    assert (await store.read("c", budgets=["total", "day"])).budgets == {"total": 7, "day": 7}


async def spent(store: Store) -> int:
    return (await store.read("c", budgets=["a:total"])).budgets["a:total"]


async def test_the_highest_rank_holds_in_any_order_and_any_number_of_times(store: Store) -> None:
    """Odd ranks count, even ones give back: as contacts are settled by their latest event."""
    ranks = [3, 6, 11]
    for number, order in enumerate(permutations([*ranks, *ranks])):
        token = f"t{number}"
        await take(store, {"a:total": 10_000}, token, ends={"a:total": 5})
        before = await spent(store)
        for rank in order:
            await store.settle_budgets(token, "other", rank + 1)
            await store.settle_budgets(token, "a", rank)
        assert await spent(store) == before
        await store.settle_budgets(token, "a", 12)
        assert await spent(store) == before - 1
        if number == 60:
            break


async def test_a_reservation_ends_once_unless_it_was_settled(store: Store) -> None:
    for token in ("confirmed", "released", "returned", "left", "kept"):
        ends = {} if token == "kept" else {"a:total": 5}
        assert await take(store, {"a:total": 5}, token, ends=ends) is None
    assert (await store.read("c", budgets=["a:total"])).budgets_end == 5
    await store.settle_budgets("confirmed", "a", 1)
    await store.settle_budgets("released", "a", 2)
    await store.return_budgets(["a:total"], "returned")
    await store.expire_budgets(4)
    assert await spent(store) == 3
    for _ in range(2):
        await store.expire_budgets(5)
        assert await spent(store) == 2
    assert (await store.read("c", budgets=["a:total"])).budgets_end is None
    await store.settle_budgets("left", "a", 8)
    assert await spent(store) == 2
    await store.settle_budgets("left", "a", 9)
    assert await spent(store) == 3


async def test_many_reservations_end_in_one_call(store: Store) -> None:
    for number in range(1500):
        await take(store, {"a:total": 2000}, f"t{number}", ends={"a:total": number})
    await store.expire_budgets(1400)
    assert await spent(store) == 99


MONTH = "sms/CNY/month:2026-11-01"


async def test_a_unit_takes_its_amount_of_its_counter_and_gives_it_back(store: Store) -> None:
    unit = f"{MONTH}/coupon/50000"
    assert await take(store, {unit: 120_000}, "t1") is None
    assert await take(store, {unit: 120_000}, "t2") is None
    assert await take(store, {unit: 120_000}, "t3") == unit
    assert await take(store, {f"{MONTH}/tip/20000": 120_000}, "t3") is None
    assert await taken(store) == 120_000
    for _ in range(2):
        await store.return_budgets([unit], "t1")
    assert await taken(store) == 70_000


async def taken(store: Store, counter: str = MONTH) -> int:
    return (await store.read("c", budgets=[counter])).budgets[counter]


async def test_units_of_one_counter_are_added_up_and_taken_all_or_none(store: Store) -> None:
    both = {f"{MONTH}/a/60": 100, f"{MONTH}/b/50": 100}
    assert await take(store, both, "t1") == f"{MONTH}/b/50"
    assert await take(store, {"a:total": 1, **both}, "t1") == f"{MONTH}/b/50"
    assert (await taken(store), await taken(store, "a:total")) == (0, 0)
    assert await take(store, {**both, f"{MONTH}/b/50": 110, f"{MONTH}/a/60": 110}, "t1") is None
    assert await taken(store) == 110


async def test_a_unit_is_settled_for_its_own_message_and_by_its_own_amount(store: Store) -> None:
    """Whatever is at the end of another message's name."""
    units = {f"{MONTH}/a/60": 1000, f"{MONTH}/b:a/50": 1000, "a:total": 9}
    assert await take(store, units, "t1") is None
    await store.settle_budgets("t1", "a", 2)
    assert (await taken(store), await taken(store, "a:total")) == (50, 0)
    await store.settle_budgets("t1", "b:a", 4)
    await store.settle_budgets("t1", "b:a", 3)
    await store.settle_budgets("t1", "a", 5)
    assert (await taken(store), await taken(store, "a:total")) == (60, 1)


async def test_a_reservation_that_ends_gives_back_the_amount_it_took(store: Store) -> None:
    unit = f"{MONTH}/a/60"
    for token in ("t1", "t2"):
        assert await take(store, {unit: 1000}, token, ends={unit: 5}) is None
    await store.settle_budgets("t2", "a", 1)
    for _ in range(2):
        await store.expire_budgets(5)
        assert await taken(store) == 60


async def test_units_that_replace_what_came_back_are_settled_anew(store: Store) -> None:
    """By ranks that begin again; what the token took for another message stays as it is."""
    old, new = f"{MONTH}/a/60", f"{MONTH}/a/70"
    units = {old: 1000, f"{MONTH}/b/5": 1000, "a:total": 9}
    again = WantedUnits({new: 1000, "a:total": 9}, {new: 5}, token="t1")
    assert await take(store, units, "t1") is None
    assert not await took(store, again, "r1"), "what it replaces is still held"
    await store.settle_budgets("t1", "a", 20)
    assert (await taken(store), await taken(store, "a:total")) == (5, 0)
    assert await took(store, again, "r2")
    assert not await took(store, again, "r3")
    assert (await taken(store), await taken(store, "a:total")) == (75, 1)
    await store.settle_budgets("t1", "a", 4)
    await store.settle_budgets("t1", "b", 1)
    assert (await taken(store), await taken(store, "a:total")) == (5, 0)
    await store.settle_budgets("t1", "a", 5)
    await store.expire_budgets(9)
    assert (await taken(store), await taken(store, "a:total")) == (75, 1)


async def test_units_that_replace_others_come_back_with_their_own_reservation(store: Store) -> None:
    await take(store, {"a:total": 9}, "t1", ends={"a:total": 5})
    await store.expire_budgets(5)
    assert await took(store, WantedUnits({"a:total": 9}, {"a:total": 8}, token="t1"), "r1")
    await store.expire_budgets(7)
    assert await taken(store, "a:total") == 1
    await store.expire_budgets(8)
    assert await taken(store, "a:total") == 0


async def test_units_that_replace_others_do_not_come_back_as_those_would_have(store: Store) -> None:
    await take(store, {"a:total": 9}, "t1", ends={"a:total": 5})
    await store.settle_budgets("t1", "a", 2)
    assert await took(store, WantedUnits({"a:total": 9}, {"a:total": 8}, token="t1"), "r1")
    for now, left in ((5, 1), (8, 0)):
        await store.expire_budgets(now)
        assert await taken(store, "a:total") == left


async def took(store: Store, units: WantedUnits, commit_id: str) -> bool:
    """Whether a commit took these; it is a conflict, where not."""
    return isinstance(await store.commit(taking(units, commit_id)), Committed)


async def test_amounts_are_exact_up_to_the_largest_budget(store: Store) -> None:
    """A thousand million of the currency, in millionths: 16 digits."""
    most = 10**15
    assert await take(store, {f"{MONTH}/a/{most - 1}": most}, "t1") is None
    assert await take(store, {f"{MONTH}/a/2": most}, "t2") == f"{MONTH}/a/2"
    assert await take(store, {f"{MONTH}/a/1": most}, "t2") is None
    assert await taken(store) == most
    assert await take(store, {f"{MONTH}/a/1": most}, "t3") == f"{MONTH}/a/1"
    await store.settle_budgets("t1", "a", 2)
    assert await taken(store) == 1
