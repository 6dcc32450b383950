"""With `wait:N` an answer says so where not enough replicas have what it reserved."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest

from decision.core.ports import Committed
from decision.store import RedisStore
from decision.store.cluster.slots import slot_of_key
from tests.cluster.servers import Cluster, Server
from tests.store.build import commit_of, new_id, record

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(cluster: Cluster, prefix: str) -> AsyncIterator[RedisStore]:
    made = RedisStore(cluster.url, prefix=prefix, replicas=1)
    await made.start()
    yield made
    await made.close()


async def written(store: RedisStore, customer_id: str = "c-1") -> bool:
    """Writes; whether it is durable."""
    found = await store.read(customer_id)
    logged = record(record_id=new_id(customer_id))
    done = await store.commit(commit_of(found, "profile", records=[logged]), timeout=5.0)
    assert isinstance(done, Committed)
    return done.durable


async def written_durably(store: RedisStore) -> None:
    async with asyncio.timeout(90):
        while not await written(store):
            await asyncio.sleep(0.02)


def waits_of(server: Server) -> int:
    """How often somebody waited for its replicas."""
    return int(server.run("INFO", "commandstats").get("cmdstat_wait", {"calls": 0})["calls"])


async def test_what_the_replica_has_is_durable_and_many_share_one_wait(
    cluster: Cluster, store: RedisStore
) -> None:
    await written_durably(store)
    names = [f"c-{number}" for number in range(60)]
    owners = {cluster.owner_of(slot_of_key(store.keys.customer(one).document)) for one in names}
    waits, durable = 0, [False]
    async with asyncio.timeout(90):
        while not all(durable):  # a busy replica comes too late
            before = sum(map(waits_of, owners))
            durable = await asyncio.gather(*(written(store, name) for name in names))
            waits = sum(map(waits_of, owners)) - before
    assert len(owners) == 3 and 0 < waits < len(names)


async def test_without_the_replica_it_is_said_and_nobody_waits_for_long(
    cluster: Cluster, store: RedisStore
) -> None:
    await written_durably(store)
    owner = cluster.owner_of(slot_of_key(store.keys.customer("c-1").document))
    (replica,) = cluster.replicas_of(owner)
    replica.kill(signal.SIGSTOP)
    try:
        for _ in range(20):
            assert not await written(store)
        assert store.connection.counts.unconfirmed >= 20
    finally:
        replica.kill(signal.SIGCONT)
    await written_durably(store)


async def test_a_primary_that_sentinels_name_waits_for_its_replica_too(
    sentinel_url: str, prefix: str
) -> None:
    for replicas, durable in ((1, True), (2, False)):
        store = RedisStore(sentinel_url, prefix=prefix, replicas=replicas)
        await store.start()
        risks = (await store.server_state()).risks
        if durable:
            await written_durably(store)
            assert "replicas" not in risks
        else:
            assert not await written(store)
            assert "has 1 of the 2 replicas" in risks["replicas"]
            assert "start more, or wait for fewer" in risks["replicas"]
        await store.close()
