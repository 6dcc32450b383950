"""Calls of tests whose servers die, hang, are replaced, or slow because the machine is busy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from decision.core.errors import StoreUnavailable
from decision.core.ports import Committed, Conflict
from decision.store import RedisStore
from tests.store.build import commit_of, new_id, record


async def write(store: RedisStore, customer_id: str = "c-1") -> None:
    """A write with a record, which is accepted."""
    assert await _outcome(store, customer_id) is None


async def written_again(store: RedisStore, customer_id: str = "c-1", seconds: float = 90) -> None:
    """Waits until a write is accepted.

    A primary that is left may have accepted writes that no replica has. Who read them there, and
    commits to the one that follows, is told that the document is another one, and reads again.
    """
    async with asyncio.timeout(seconds):
        while True:
            with suppress(StoreUnavailable):
                if await _outcome(store, customer_id) is None:
                    return
            await asyncio.sleep(0.02)


async def _outcome(store: RedisStore, customer_id: str) -> Conflict | None:
    """What stood in the way of a write, which is another version of the document."""
    found = await store.read(customer_id)
    logged = record(record_id=new_id(customer_id))
    done = await store.commit(commit_of(found, "profile", records=[logged]))
    if isinstance(done, Conflict):
        assert done.latest.version != found.version
        return done
    assert done == Committed()
    return None


async def refusal(call: Callable[[], Awaitable[object]], seconds: float = 90) -> StoreUnavailable:
    """Why a call is refused, asked again where a busy server gave no answer in time."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                done = await call()
            except StoreUnavailable as error:
                if "no answer in time" not in str(error):
                    return error
            else:
                raise AssertionError(f"it was not refused: {done!r}")
