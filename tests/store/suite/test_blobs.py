"""What every store must do: named values and histories."""

from __future__ import annotations

import asyncio

import pytest

from decision.core.ports import BlobStore

pytestmark = pytest.mark.anyio


async def test_a_blob_is_kept_as_it_is(store: BlobStore) -> None:
    assert await store.get_blob("policy/1") is None
    await store.put_blob("policy/1", bytes(range(256)))
    await store.put_blob("策略", b"")
    assert await store.get_blob("policy/1") == bytes(range(256))
    assert await store.get_blob("策略") == b""


async def test_a_history_keeps_its_last_entries_in_order(store: BlobStore) -> None:
    assert await store.history("published") == []
    assert await store.history("published", 1) == []
    for n in range(5):
        await store.append_history("published", b"\x00%d" % n, 3)
    assert await store.history("published") == [b"\x002", b"\x003", b"\x004"]
    assert await store.history("published", 2) == [b"\x003", b"\x004"]
    assert await store.history("published", 9) == await store.history("published")
    assert await store.history("other") == []


async def test_entries_appended_at_once_are_all_kept(store: BlobStore) -> None:
    entries = [b"%d" % n for n in range(40)]
    await asyncio.gather(*(store.append_history("published", entry, 100) for entry in entries))
    assert sorted(await store.history("published")) == sorted(entries)


async def test_an_entry_is_added_only_after_the_one_that_was_the_last(
    store: BlobStore,
) -> None:
    assert await store.append_history("published", b"1", 3)
    assert not await store.append_history("published", b"2", 3, b"0")
    assert not await store.append_history("nothing", b"2", 3, b"0")
    assert await store.history("published") == [b"1"] and await store.history("nothing") == []
    both = [store.append_history("published", entry, 3, b"1") for entry in (b"2", b"\xff")]
    assert sorted(await asyncio.gather(*both)) == [False, True]
    assert len(await store.history("published")) == 2
