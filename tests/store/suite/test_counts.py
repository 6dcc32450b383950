"""What every store must do: named counts."""

from __future__ import annotations

import asyncio

import pytest

from decision.core.counts import CountStore

pytestmark = pytest.mark.anyio


async def test_all_that_is_added_at_once_is_there(store: CountStore) -> None:
    adding = [store.add_counts("h1", {"d\0web": 1, "d\0应用": 2}, 10, 60_000) for _ in range(20)]
    await asyncio.gather(*adding)
    assert await store.counts(["h1", "h2"]) == [{"d\0web": 20, "d\0应用": 40}, {}]


async def test_names_beyond_the_most_are_counted_together(store: CountStore) -> None:
    await store.add_counts("e1", {f"e\0{number}": 1 for number in range(5)}, 3, 60_000)
    await store.add_counts("e1", {"e\0": 1, "e\x001": 1, "d\0new": 1, "e\x009": 1}, 3, 60_000)
    (found,) = await store.counts(["e1"])
    assert found == {"e\x000": 1, "e\x001": 2, "e\x002": 1, "e": 4, "d": 1}


async def test_counts_go_some_time_after_the_last_addition(store: CountStore) -> None:
    await store.add_counts("m1", {"e": 1}, 3, 1)
    async with asyncio.timeout(5):
        while await store.counts(["m1"]) != [{}]:
            await asyncio.sleep(0.01)


async def test_nothing_adds_no_name(store: CountStore) -> None:
    await store.add_counts("m2", {}, 3, 60_000)
    assert await store.counts([]) == []
    assert await store.counts(["m2"]) == [{}]
