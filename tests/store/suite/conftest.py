"""The store's behaviour is the same wherever it is: in memory, Redis, a cluster, or by sentinels."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from decision.store import MemoryStore, RedisStore

_URLS = {"redis": "redis_url", "cluster": "cluster_url", "sentinel": "sentinel_url"}


@pytest.fixture(params=["memory", *_URLS])
async def store(
    request: pytest.FixtureRequest, prefix: str
) -> AsyncIterator[MemoryStore | RedisStore]:
    """Each store in turn, started."""
    made: MemoryStore | RedisStore = MemoryStore()
    if request.param in _URLS:
        made = RedisStore(request.getfixturevalue(_URLS[request.param]), prefix=prefix)
    await made.start()
    yield made
    await made.close()
