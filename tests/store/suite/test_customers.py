"""What every store must do: whose documents there are."""

from __future__ import annotations

import pytest

from decision.core.ports import Store
from tests.store.build import commit_of, record

pytestmark = pytest.mark.anyio

IDS = ["ann", "李梅", "a:b}:c:d", "{p1}", "*", *(f"c-{number}" for number in range(500))]


async def write(store: Store, *ids: str) -> None:
    for name in ids:
        found = await store.read(name)
        found.document.exists = True
        await store.commit(commit_of(found, "profile"))


async def listed(store: Store) -> set[str]:
    return {name async for part in store.customer_ids() for name in part}


async def test_all_customers_are_listed_and_nobody_else(store: Store) -> None:
    assert await listed(store) == set()
    await write(store, *IDS)
    await store.set_alias("x", "y}:c:nobody", "ann")
    await store.set_alias("{p1}:c", "{p1}:c:nobody", "ann")
    assert await listed(store) == set(IDS)


async def test_those_who_were_erased_are_not_listed(store: Store) -> None:
    await write(store, "ann", "bob")
    await store.erase("ann", record("erasure"))
    assert await listed(store) == {"bob"}
