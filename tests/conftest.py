"""Fixtures that several rooms share: a Redis of our own, and both stores."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from decision.store import EmbeddedRedis, MemoryStore, RedisStore
from tests.cluster.servers import Cluster, Watched, why_not

# Images of containers set it; then each of the hundreds of processes that tests start compiles every
# module anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # LightGBM's threads wait beside other tests

# How long an example takes tells of the machine's load, and never fails a test.
settings.register_profile("no clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no clock")

_numbers, _tests = itertools.count(), itertools.count()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected stays, so that nothing of it is looked at for what can go."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def own_levels() -> Iterator[None]:
    """What one test sets up of logging is not there for the next one."""
    loggers = [logging.getLogger(name) for name in ("nextbest", "decision")]
    before = [one.level for one in loggers]
    yield
    for one, level in zip(loggers, before, strict=True):
        one.setLevel(level)


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """A server that starts has the collector leave alone what there is, so that what tests leave
    behind would stay: it is collected once in a while, and not each time, which takes long.
    """
    yield
    if next(_tests) % 100 == 99:
        gc.unfreeze()
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server for the whole session; each test keeps to a prefix of its own."""
    binary = os.environ.get("NEXTBEST_TEST_REDIS_SERVER")
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"), fsync="everysec", binary=binary)
    with server as url:
        yield url


@pytest.fixture(scope="session")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Six nodes for the whole session, which nobody stops; as `redis_url`."""
    if reason := why_not():
        pytest.skip(reason)
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
        yield cluster.url
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def sentinel_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A primary, a replica and a sentinel for the whole session, which nobody stops."""
    if reason := why_not():
        pytest.skip(reason)
    watched = Watched(tmp_path_factory.mktemp("sentinel"), sentinels=1)
    try:
        watched.start()
        yield watched.url
    finally:
        watched.stop()


@pytest.fixture
def prefix() -> str:
    """A key prefix that no other test uses."""
    return f"t{next(_numbers)}:"


@pytest.fixture(params=["memory", "redis"])
async def store(
    request: pytest.FixtureRequest, prefix: str
) -> AsyncIterator[MemoryStore | RedisStore]:
    """Each store in turn, started."""
    made: MemoryStore | RedisStore
    if request.param == "memory":
        made = MemoryStore()
    else:
        made = RedisStore(request.getfixturevalue("redis_url"), prefix=prefix)
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def redis_store(redis_url: str, prefix: str) -> AsyncIterator[RedisStore]:
    """A store in Redis, started."""
    made = RedisStore(redis_url, prefix=prefix)
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def other_stores(redis_url: str, prefix: str) -> AsyncIterator[Callable[[], RedisStore]]:
    """Makes further stores on the same keys, as other processes would; they are closed at the end."""
    made: list[RedisStore] = []

    def make() -> RedisStore:
        made.append(RedisStore(redis_url, prefix=prefix))
        return made[-1]

    yield make
    for store in made:
        await store.close()
