"""Walking over the customers of a Redis that changes, restarts, or has other keys."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from decision.core.errors import StoreUnavailable
from decision.core.identifiers import partition_of
from decision.store import EmbeddedRedis, RedisStore
from tests.store.suite.test_customers import listed, write

pytestmark = pytest.mark.anyio


async def test_keys_that_only_look_like_a_customers_are_left_out(redis_store: RedisStore) -> None:
    await write(redis_store, "ann")
    prefix, wrong = redis_store.keys.prefix, partition_of("bob") + 1 & 0xFF
    for key in (
        f"{prefix}{{p{wrong}}}:c:bob",
        f"{prefix}{{p7}}:c:\udcff",
        f"{prefix}{{px}}:c:eve",
        f"other:{prefix}{{p{partition_of('eve')}}}:c:eve",
    ):
        raw = key.encode("utf-8", "surrogateescape")
        await redis_store.connection.call(("SET", raw, "x"), 5.0)
    assert await listed(redis_store) == {"ann"}


async def test_a_restart_within_a_walk_is_told_since_its_cursor_means_nothing_then(
    tmp_path: Path,
) -> None:
    """Redis hashes anew after a restart: customers would be missed, and nobody would notice."""
    server = EmbeddedRedis(tmp_path, fsync="everysec")
    store = RedisStore(server.start(), timeout=10)
    await store.start()
    try:
        await write(store, *(f"c-{number}" for number in range(1_200)))
        walk = store.customer_ids()
        assert await anext(walk)
        server.stop()
        server.start()
        with suppress(StoreUnavailable):
            await store.ping()  # notices that the connection is lost; the next call makes another
        await store.ping()
        with pytest.raises(StoreUnavailable, match="begin again"):
            async for _ in walk:
                pass
        assert len(await listed(store)) == 1_200
    finally:
        await store.close()
        server.stop()
