"""A store whose primary sentinels name: replaced, hung, demoted, and named wrongly by some."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from redis import ResponseError

from decision.core.errors import StoreUnavailable
from decision.store import RedisStore
from tests.cluster.calls import write, written_again
from tests.cluster.servers import Server, Watched, until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(watched: Watched, prefix: str) -> AsyncIterator[RedisStore]:
    made = RedisStore(watched.url, prefix=prefix)
    await made.start()
    yield made
    await made.close()


def failed_over(watched: Watched, old: Server) -> bool:
    """Whether another one is the primary; else asks for it, as soon as there is a good replica."""
    if watched.primary() is not old:
        return True
    with suppress(ResponseError):
        watched.sentinels[0].run("SENTINEL", "FAILOVER", "main")
    return watched.primary() is not old


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(signal.SIGKILL, id="killed"),
        pytest.param(signal.SIGSTOP, id="hung", marks=pytest.mark.soak),
    ],
)
async def test_a_primary_that_dies_is_replaced(
    watched: Watched, store: RedisStore, how: int
) -> None:
    await write(store)
    gone = watched.primary()
    gone.kill(how)
    try:
        await written_again(store)
        # One sentinel may tell of it later than the one that the store asked.
        await asyncio.to_thread(until, lambda: watched.primary() is not gone)
        assert store.connection.where == watched.primary().where
    finally:  # others use these servers
        if how == signal.SIGKILL:
            gone.start()
        else:
            gone.kill(signal.SIGCONT)
        await asyncio.to_thread(watched.heal)


async def test_a_primary_that_is_demoted_is_left_though_it_answers(
    watched: Watched, store: RedisStore
) -> None:
    await write(store)
    old = watched.primary()
    await asyncio.to_thread(until, lambda: failed_over(watched, old))
    async with asyncio.timeout(90):
        while store.connection.where != watched.primary().where:
            await written_again(store)
    await asyncio.to_thread(watched.heal)


async def test_a_list_that_is_half_wrong_will_do_and_what_is_wrong_is_named(
    watched: Watched, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    good, redis = watched.sentinels[2].where, watched.servers[0].where
    store = RedisStore(f"redis+sentinel://127.0.0.1:1,{redis},{good}/main", prefix=prefix)
    await store.start()
    await write(store)
    await store.close()
    assert "Redis at 127.0.0.1:1 cannot be reached" in caplog.text
    assert f"the sentinel at {redis} is of no use: it is no sentinel, but a Redis" in caplog.text
    for url, said in (
        (f"redis+sentinel://{good}/other", "no primary of the name 'other'; write the name"),
        (f"redis+sentinel://{redis}/main", "it is no sentinel"),
        ("redis+sentinel://127.0.0.1:1/main", "cannot be reached"),
    ):
        with pytest.raises(StoreUnavailable, match=said):
            await RedisStore(url).start()
