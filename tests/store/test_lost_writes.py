"""A Redis that comes back without what it had acknowledged is noticed, whichever write is gone."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from decision.core.errors import StoreUnavailable
from decision.core.ports import Committed
from decision.server.health.losses import Kind, Marks, losses, marks_of
from decision.store import RedisStore
from tests.server.own_redis import BINARIES, OwnRedis
from tests.store.build import commit_of, record, with_contact

pytestmark = pytest.mark.anyio


@pytest.fixture(params=BINARIES)
def redis(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[OwnRedis]:
    with OwnRedis(tmp_path / "redis", request.param) as made:
        yield made


def restarted(redis: OwnRedis, meanwhile: Callable[[], object] = lambda: None) -> None:
    redis.stop(kill=True)
    meanwhile()
    redis.start()


async def seen(store: RedisStore) -> Marks:
    """What the look at the store sees: it is what counts its beats."""
    return marks_of(await store.beat("a server", None), await store.server_state())


async def write(store: RedisStore, name: str) -> None:
    found = await with_contact(store, name)
    assert await store.commit(commit_of(found, "contacts", records=[record()])) == Committed()


async def found(looks: RedisStore, before: Marks, *writers: RedisStore) -> list[Kind]:
    """What is found lost at the next look, and that nothing more is at the one after it."""
    for store in (looks, *writers):
        async with asyncio.timeout(20):
            while True:
                with suppress(StoreUnavailable):  # its connection was lost just now
                    await store.ping()
                    break
    now = await seen(looks)
    assert not losses(now, await seen(looks))
    return list(losses(before, now))


async def test_acknowledged_writes_that_a_restart_lacks_are_told_once_by_whoever_looks(
    redis: OwnRedis,
) -> None:
    """Also where every beat is there, and another process has written what is gone."""
    looks, *writers = (RedisStore(redis.url, timeout=20) for _ in range(3))
    for store in (looks, *writers):
        await store.start()
        await write(store, "c-1")
    before = await seen(looks)
    kept = redis.folder.with_name("kept")
    shutil.copytree(redis.folder, kept, ignore=shutil.ignore_patterns("*.sock"))
    for number, store in enumerate(writers):
        await write(store, f"c-{number}")

    def lose() -> None:
        shutil.rmtree(redis.folder)
        kept.rename(redis.folder)

    restarted(redis, lose)
    assert await found(looks, before, *writers) == ["went_back"]
    for store in writers:
        await write(store, "c-3")
    before = await seen(looks)
    restarted(redis)
    assert await found(looks, before, *writers) == []
    for store in (looks, *writers):
        await store.close()


@pytest.mark.parametrize("how", ["trimmed", "erased", "rewritten", "nothing"])
async def test_a_restart_that_lacks_nothing_tells_nothing_whatever_became_of_the_log(
    redis: OwnRedis, how: str
) -> None:
    store = RedisStore(redis.url, timeout=20)
    await store.start()
    if how != "nothing":
        await write(store, "c-1")
        (log,) = [key for key in redis.ask("KEYS", "*:log")[2:-2].split("', '") if key]
    if how == "trimmed":
        redis.ask("XTRIM", log, "MAXLEN", "0")
    elif how == "erased":
        await store.erase("c-1", record("erasure"))
    elif how == "rewritten":
        redis.ask("BGREWRITEAOF")
        while "aof_rewrite_in_progress': 1" in redis.ask("INFO", "persistence"):
            pass
    before = await seen(store)
    restarted(redis)
    assert await found(store, before, store) == []
    await store.close()
