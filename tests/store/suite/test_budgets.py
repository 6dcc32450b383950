"""What every store must do: budgets are taken all or none, and never exceeded."""

from __future__ import annotations

import asyncio

import pytest

from decision.core.ports import Store

pytestmark = pytest.mark.anyio


async def test_budgets_are_taken_all_or_none(store: Store) -> None:
    assert await store.take_budgets({"a": 2, "b": 1}, "t1") is None
    assert await store.take_budgets({"a": 2, "b": 1}, "t2") == "b"
    assert (await store.read("c", budgets=["a", "b", "c"])).budgets == {"a": 1, "b": 1, "c": 0}
    assert await store.take_budgets({"a": 2}, "t2") is None
    assert await store.take_budgets({"b": 1, "a": 2}, "t3") == "b"


async def test_a_token_takes_once_and_gives_back_once(store: Store) -> None:
    for _ in range(3):
        assert await store.take_budgets({"a": 5, "b": 5}, "t") is None
    assert (await store.read("c", budgets=["a", "b"])).budgets == {"a": 1, "b": 1}
    for _ in range(3):
        await store.return_budgets(["a", "b", "never taken"], "t")
    found = await store.read("c", budgets=["a", "b", "never taken"])
    assert found.budgets == {"a": 0, "b": 0, "never taken": 0}


async def test_a_take_that_comes_after_its_return_changes_nothing(store: Store) -> None:
    await store.return_budgets(["a"], "t")
    assert await store.take_budgets({"a": 1}, "t") is None
    assert (await store.read("c", budgets=["a"])).budgets == {"a": 0}


async def test_a_limit_of_zero_is_never_taken(store: Store) -> None:
    assert await store.take_budgets({"a": 0}, "t") == "a"


async def test_concurrent_takers_never_exceed_a_budget(store: Store) -> None:
    results = await asyncio.gather(
        *(store.take_budgets({"total": 10, "day": 7}, f"t{n}") for n in range(50))
    )
    assert results.count(None) == 7
    assert (await store.read("c", budgets=["total", "day"])).budgets == {"total": 7, "day": 7}
