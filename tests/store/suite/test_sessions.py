"""What every store must do: sessions of the console."""

from __future__ import annotations

import asyncio

import pytest

from decision.core.clock import HOUR, SECOND
from decision.core.kept_sessions import SessionStore
from decision.store import MemoryStore

pytestmark = pytest.mark.anyio


async def ended(store: SessionStore, name: str) -> None:
    """Until a session has ended."""
    async with asyncio.timeout(30):
        while await store.get_session(name) is not None:
            await asyncio.sleep(0.01)


async def test_a_session_is_kept_until_it_is_ended(store: SessionStore) -> None:
    assert await store.get_session("ab") is None
    await store.put_session("ab", b"\x00one", HOUR)
    await store.put_session("cd", b"two", HOUR)
    assert await store.get_session("ab") == b"\x00one"
    await store.end_session("ab")
    await store.end_session("ab")
    assert await store.get_session("ab") is None
    assert await store.get_session("cd") == b"two"


async def test_a_session_ends_by_itself(store: SessionStore) -> None:
    await store.put_session("ab", b"one", SECOND // 100)
    await ended(store, "ab")


async def test_keeping_makes_a_session_longer_or_shorter_and_never_brings_one_back(
    store: SessionStore,
) -> None:
    await store.put_session("ab", b"one", HOUR)
    await store.keep_session("ab", SECOND // 100)
    await ended(store, "ab")
    await store.keep_session("ab", HOUR)
    assert await store.get_session("ab") is None


async def test_in_memory_the_clock_says_when_a_session_ends() -> None:
    now = 0.0
    store = MemoryStore(clock=lambda: now)
    await store.put_session("ab", b"one", HOUR)
    await store.put_session("cd", b"two", HOUR)
    now = 3599.0
    await store.keep_session("ab", HOUR)
    now = 3600.0
    assert await store.get_session("ab") == b"one"
    assert await store.get_session("cd") is None
