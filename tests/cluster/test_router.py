"""A store on a cluster whose slots move, whose nodes die, and whose addresses are half wrong."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from decision.core.errors import StoreUnavailable
from decision.core.identifiers import partition_of
from decision.store import RedisStore
from decision.store.cluster.connection import ClusterConnection
from decision.store.cluster.slots import slot_of_key
from tests.cluster.calls import refusal, write, written_again
from tests.cluster.servers import Cluster, Server, until
from tests.store.build import put

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(cluster: Cluster, prefix: str) -> AsyncIterator[RedisStore]:
    made = RedisStore(cluster.url, prefix=prefix)
    await made.start()
    yield made
    await made.close()


def slot_in(store: RedisStore, customer_id: str) -> int:
    return slot_of_key(store.keys.customer(customer_id).document)


def away_from(cluster: Cluster, slot: int) -> tuple[Server, Server]:
    """Who has a slot, and another primary."""
    owner = cluster.owner_of(slot)
    others = {cluster.owner_of(part * 16384 // 3) for part in range(3)} - {owner}
    return owner, min(others, key=lambda server: server.port)


async def test_a_slot_that_has_moved_is_found_once(cluster: Cluster, store: RedisStore) -> None:
    await write(store, "c-1")
    await write(store, "c-1")
    owner, other = away_from(cluster, slot_in(store, "c-1"))
    await asyncio.to_thread(cluster.move, slot_in(store, "c-1"), other)
    for _ in range(3):
        await write(store, "c-1")
    assert store.connection.counts.redirects == {"MOVED": 1}
    assert store.refused.latest(60) is None
    await asyncio.to_thread(cluster.move, slot_in(store, "c-1"), owner)


async def test_while_a_slot_moves_its_keys_are_found_where_they_are(
    cluster: Cluster, store: RedisStore
) -> None:
    names = [f"c-{number}" for number in range(3000) if partition_of(f"c-{number}") == 7][:8]
    for name in names:
        await write(store, name)
    slot = slot_in(store, names[0])
    owner, other = away_from(cluster, slot)
    done, stop = Counter[str](), asyncio.Event()

    async def work(name: str) -> None:
        while not stop.is_set():
            assert (await store.read(name)).raw
            try:
                await write(store, name)
                done["written"] += 1
            except StoreUnavailable as error:
                assert error.code in ("TRYAGAIN", "timeout", "") and not error.uncertain, error
                done["not written"] += 1

    tasks = [asyncio.create_task(work(name)) for name in names]
    for target in (other, owner):
        await asyncio.to_thread(cluster.move, slot, target, 0.02)
        moved = done["written"]
        while done["written"] < moved + len(names) and not any(task.done() for task in tasks):
            await asyncio.sleep(0.01)
    stop.set()
    await asyncio.gather(*tasks)
    assert store.connection.counts.redirects["MOVED"] >= 2
    records = await store.log_records(7)
    assert len(records) == len({one.id for one in records}) >= done["written"] + len(names)


async def test_the_coupons_of_a_pool_whose_slot_moves_are_never_taken_for_none(
    cluster: Cluster, store: RedisStore
) -> None:
    await store.add_codes("spring", [f"CODE-{number}" for number in range(40)])
    slot = slot_of_key(store.keys.pool("spring") + "codes")
    owner, other = away_from(cluster, slot)
    for server, state, peer in ((other, "IMPORTING", owner), (owner, "MIGRATING", other)):
        server.run("CLUSTER", "SETSLOT", slot, state, cluster.id_of(peer))
    refused = await refusal(lambda: store.count_codes("spring", 0))
    assert refused.code == "TRYAGAIN" and "being moved" in str(refused)
    await asyncio.to_thread(cluster.move, slot, other)
    assert (await store.count_codes("spring", 0)).free == 40
    await asyncio.to_thread(cluster.move, slot, owner)


async def test_customers_are_not_listed_while_some_may_be_missed(
    cluster: Cluster, store: RedisStore
) -> None:
    names = {f"c-{number}" for number in range(300)}
    for name in names:
        await put(store, (await store.read(name)).document)
    listed = [name async for part in store.customer_ids() for name in part]
    assert set(listed) == names
    slot = slot_in(store, "c-1")
    owner, other = away_from(cluster, slot)

    async def listed_over_a_move() -> None:
        await asyncio.to_thread(cluster.move, slot, owner)
        parts = store.customer_ids()
        await anext(parts)
        await asyncio.to_thread(cluster.move, slot, other)
        async for _ in parts:
            pass

    assert "moved" in str(await refusal(listed_over_a_move))
    owner.run("CLUSTER", "SETSLOT", slot_in(store, "c-2"), "STABLE")
    source = cluster.owner_of(slot)
    owner.run("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.id_of(source))
    assert "is being moved" in str(await refusal(lambda: anext(store.customer_ids())))
    owner.run("CLUSTER", "SETSLOT", slot, "STABLE")
    await asyncio.to_thread(cluster.move, slot, owner)
    walked, place = set[str](), ""
    while True:
        some, following = await store.walk(place)
        walked |= set(some)
        if following is None:
            break
        place = following
    assert walked == names


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
async def test_a_primary_that_dies_is_replaced_and_the_others_go_on(
    cluster: Cluster, store: RedisStore, how: int
) -> None:
    names = [f"c-{number}" for number in range(30)]
    for name in names:
        await write(store, name)
    gone = cluster.owner_of(slot_in(store, names[0]))
    others = [name for name in names if cluster.owner_of(slot_in(store, name)) is not gone]
    gone.kill(how)
    for name in others:
        await write(store, name)
    await written_again(store, names[0])
    for name in names:
        await written_again(store, name)
    assert cluster.owner_of(slot_in(store, names[0])) is not gone
    if how == signal.SIGKILL:
        gone.start()
    else:
        gone.kill(signal.SIGCONT)
    await asyncio.to_thread(cluster.settled)
    for name in names:
        await written_again(store, name)
    assert len(store.connection.nodes()) == 3


async def test_without_all_slots_it_says_which_and_what_to_do(
    cluster: Cluster, store: RedisStore, prefix: str
) -> None:
    slot = slot_of_key("{nobody's}")
    owner = cluster.owner_of(slot)
    for server in cluster.servers:
        with suppress(Exception):
            server.run("CLUSTER", "DELSLOTS", slot)
    try:
        with pytest.raises(StoreUnavailable, match=f"slot {slot}; see redis-cli") as raised:
            await RedisStore(cluster.url, prefix=prefix).start()
        assert raised.value.code == "CLUSTERDOWN"
    finally:
        owner.run("CLUSTER", "ADDSLOTS", slot)
        await asyncio.to_thread(cluster.settled)
        await asyncio.to_thread(until, lambda: _agree(cluster, slot))


def _agree(cluster: Cluster, slot: int) -> bool:
    return all(
        any(first <= slot <= last for first, last, *_ in server.run("CLUSTER", "SLOTS"))
        for server in cluster.servers
    )


async def test_a_list_that_is_half_wrong_will_do_and_what_is_wrong_is_named(
    cluster: Cluster, redis_url: str, caplog: pytest.LogCaptureFixture, prefix: str
) -> None:
    good = cluster.servers[1].where
    store = RedisStore(f"redis+cluster://127.0.0.1:1,{good},nowhere.invalid", prefix=prefix)
    await store.start()
    await write(store, "c-1")
    assert "Redis at 127.0.0.1:1 cannot be reached" in caplog.text
    assert "Redis at nowhere.invalid:6379 cannot be reached" in caplog.text
    assert isinstance(store.connection, ClusterConnection) and len(store.connection.nodes()) == 3
    await store.close()


async def test_what_is_no_cluster_and_what_is_one_is_said(
    cluster: Cluster, sentinel_url: str, prefix: str
) -> None:
    single = RedisStore(f"redis://{cluster.servers[0].where}")
    with pytest.raises(StoreUnavailable, match=r"part of a cluster; write redis\+cluster://"):
        await single.start()
    place = sentinel_url.split("//")[1].split("/")[0]
    with pytest.raises(StoreUnavailable, match="is no node of a cluster; for one server"):
        await RedisStore(f"redis+cluster://{place}").start()
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await RedisStore("redis+cluster://127.0.0.1:1,127.0.0.1:2").start()


async def test_a_node_that_may_evict_is_named(
    cluster: Cluster, store: RedisStore, caplog: pytest.LogCaptureFixture
) -> None:
    node = cluster.owner_of(0)
    node.run("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        state = await store.server_state()
        assert (
            f"at {node.where} has maxmemory-policy allkeys-lru" in state.risks["maxmemory-policy"]
        )
        other = RedisStore(cluster.url, prefix=f"x{os.getpid()}:")
        await other.start()
        assert f"Redis at {node.where} has maxmemory-policy allkeys-lru" in caplog.text
        await other.close()
    finally:
        node.run("CONFIG", "SET", "maxmemory-policy", "noeviction")
    assert not (await store.server_state()).risks
    assert await store.missing_rights() == []
