"""What every store must do: servers that tell of themselves."""

from __future__ import annotations

import asyncio

import pytest

from decision.core.clock import HOUR
from decision.core.servers import ServerStore

pytestmark = pytest.mark.anyio


async def test_each_server_is_known_by_what_it_told_last(store: ServerStore) -> None:
    assert await store.announced() == {}
    await store.announce("a:1", b"\x00one", HOUR)
    await store.announce("b", "二".encode(), HOUR)
    await store.announce("a:1", b"two two", HOUR)
    found = await store.announced()
    assert {name: one.about for name, one in found.items()} == {
        "a:1": b"two two",
        "b": "二".encode(),
    }
    assert all(0 <= one.ago < HOUR for one in found.values())


async def test_a_silent_server_is_forgotten_when_another_one_tells(store: ServerStore) -> None:
    await store.announce("a", b"one", HOUR)
    async with asyncio.timeout(30):
        while "a" in await store.announced():
            await asyncio.sleep(0.002)
            await store.announce("b", b"two", 1_000)
