"""What only the store in Redis does: the server it accepts, the keys and entries it leaves there."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from redis.crc import key_slot

from decision.core.clock import HOUR
from decision.core.errors import StoreUnavailable
from decision.core.identifiers import partition_in
from decision.core.ports import Committed
from decision.store import EmbeddedRedis, RedisStore, codec
from decision.store.commits import commit_digest
from decision.store.in_redis.server import check_server, parse_info
from decision.store.keys import event_digest
from decision.store.scripts import Script
from tests.store.build import commit_of, record, take, with_contact
from tests.store.proxy import Proxy

pytestmark = pytest.mark.anyio


async def ask(store: RedisStore, *command: Any) -> Any:
    return await store.connection.call(command, 5.0)


async def test_a_commit_leaves_exactly_these_keys_and_entries(
    redis_store: RedisStore, prefix: str
) -> None:
    found = await with_contact(redis_store)
    commit = commit_of(
        found,
        "contacts",
        records=[record("event", "e-9", b"one"), record(body=b"two")],
        request_id="r-1",
        answer=b"answer",
        answer_lasts=HOUR,
        event_ids=["e-9"],
        event_ids_last=2 * HOUR,
    )
    assert await redis_store.commit(commit) == Committed()
    home = f"{prefix}{{p190}}:"
    keys = [key.decode() for key in await ask(redis_store, "KEYS", f"{prefix}*")]
    assert sorted(keys) == sorted(
        [
            f"{home}c:c-1",
            f"{home}r:c-1",
            f"{home}e:c-1",
            f"{home}log",
            f"{prefix}{{register}}:kinds",
        ]
    )
    raw = await ask(redis_store, "GET", f"{home}c:c-1")
    assert raw[:9] == b"\x01" + commit_digest(commit.id)
    kept = await ask(redis_store, "HGET", f"{home}r:c-1", "r-1")
    assert kept[8:] == b"answer"
    assert HOUR // 1000 - 60_000 < await ask(redis_store, "PTTL", f"{home}r:c-1") <= HOUR // 1000
    assert await ask(redis_store, "ZRANGE", f"{home}e:c-1", 0, -1) == [event_digest("e-9")]
    assert await ask(redis_store, "PTTL", f"{home}e:c-1") > HOUR // 1000
    entries = await ask(redis_store, "XRANGE", f"{home}log", "-", "+")
    digest = commit_digest(commit.id)
    assert [fields for _, fields in entries] == [
        [b"k", b"event", b"id", b"e-9", b"b", b"one", b"c", digest],
        [b"k", b"decision", b"id", commit.records[1].id.encode(), b"b", b"two", b"c", digest],
    ]


async def test_a_days_budget_is_forgotten_after_it_and_a_total_never(
    redis_store: RedisStore,
) -> None:
    keys = redis_store.keys
    await take(redis_store, {"coupon:total": 9, "coupon:2026-11-21": 5}, "t")
    lasts = await ask(redis_store, "PTTL", keys.budget("coupon:2026-11-21"))
    assert 48 * HOUR // 1000 < lasts <= 72 * HOUR // 1000
    assert await ask(redis_store, "PTTL", keys.budget("coupon:total")) == -1


async def test_a_period_of_money_is_kept_until_after_its_end(redis_store: RedisStore) -> None:
    keys, day = redis_store.keys, 24 * HOUR // 1000
    for per, days in (("day", 3), ("week", 10), ("month", 34)):
        counter = f"sms/EUR/{per}:2026-11-01"
        await take(redis_store, {f"{counter}/coupon/5": 9}, f"t-{per}")
        lasts = await ask(redis_store, "PTTL", keys.budget(counter))
        assert (days - 1) * day < lasts <= days * day
    await take(redis_store, {"sms/EUR/ever/month:2026-11-01/5": 9}, "t")
    assert await ask(redis_store, "PTTL", keys.budget("sms/EUR/ever")) == -1


async def test_every_script_keeps_to_one_slot_of_a_cluster(redis_store: RedisStore) -> None:
    keys = redis_store.keys
    for group in (
        list(keys.customer("c{1}")),
        [keys.budget("a"), keys.budget("{b}"), keys.budget_leases, keys.given("1")],
        [keys.token("t"), keys.leases(partition_in("t")), keys.budget_ends(partition_in("t"))],
    ):
        assert len({key_slot(key.encode()) for key in group}) == 1


async def test_a_shorter_time_does_not_cut_what_is_kept_for_longer(redis_store: RedisStore) -> None:
    found = await redis_store.read("c-1")
    for lasts in (HOUR, 1000):
        await redis_store.commit(
            commit_of(
                found,
                records=[record()],
                request_id=f"r{lasts}",
                answer=b"a",
                answer_lasts=lasts,
                event_ids=[f"e{lasts}"],
                event_ids_last=lasts,
            )
        )
    keys = redis_store.keys.customer("c-1")
    for key in (keys.answers, keys.events):
        assert await ask(redis_store, "PTTL", key) > HOUR // 1000 - 60_000


async def test_answers_whose_time_is_over_do_not_pile_up(redis_store: RedisStore) -> None:
    found = await redis_store.read("c-1")
    for number in range(500):
        await redis_store.commit(
            commit_of(
                found,
                records=[record()],
                request_id=f"r{number}",
                answer=b"a",
                answer_lasts=1 if number else HOUR,
            )
        )
    key = redis_store.keys.customer("c-1").answers
    assert await ask(redis_store, "HLEN", key) < 140
    assert (await redis_store.read("c-1", request_id="r0")).answer == b"a"


async def test_an_unreadable_document_is_explained_and_can_be_erased(
    redis_store: RedisStore,
) -> None:
    key = redis_store.keys.customer("c-1").document
    for raw in (b"\x09from the future", b"\x01cut", b"\x01" + bytes(60)):
        await ask(redis_store, "SET", key, raw)
        with pytest.raises(codec.UnreadableDocument, match="'c-1'"):
            await redis_store.read("c-1")
        assert await redis_store.erase("c-1", record("erasure"))
        assert not (await redis_store.read("c-1")).document.exists


async def test_a_document_of_another_format_is_never_overwritten(redis_store: RedisStore) -> None:
    found = await redis_store.read("c-1")
    key = redis_store.keys.customer("c-1").document
    await ask(redis_store, "SET", key, b"\x09" + bytes(60))
    with pytest.raises(StoreUnavailable, match="upgrade nextbest"):
        await redis_store.commit(commit_of(found, "profile", expect=(), records=[record()]))
    assert await ask(redis_store, "GET", key) == b"\x09" + bytes(60)
    assert await ask(redis_store, "EXISTS", redis_store.keys.customer("c-1").log) == 0


async def test_a_key_of_the_wrong_type_makes_a_commit_fail_with_nothing_written(
    redis_store: RedisStore,
) -> None:
    keys = redis_store.keys.customer("c-1")
    for key in (keys.log, keys.answers, keys.events):
        found = await with_contact(redis_store)
        await ask(redis_store, "SET", key, "not ours")
        commit = commit_of(
            found,
            "contacts",
            records=[record()],
            request_id="r",
            answer=b"a",
            answer_lasts=HOUR,
            event_ids=["e"],
            event_ids_last=HOUR,
        )
        with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
            await redis_store.commit(commit)
        await ask(redis_store, "DEL", key)
        assert await ask(redis_store, "EXISTS", *keys) == 0


async def test_a_version_goes_round_from_the_highest_to_one(redis_store: RedisStore) -> None:
    found = await redis_store.read("c-1")
    key = redis_store.keys.customer("c-1").document
    await ask(redis_store, "SET", key, codec.join(bytes(8), [2**32 - 1] * 3, [b"", b"", b""]))
    found = await redis_store.read("c-1")
    await redis_store.commit(commit_of(found, "events"))
    after = (await redis_store.read("c-1")).version
    assert (after.profile, after.contacts, after.events) == (2**32 - 1, 2**32 - 1, 1)


async def test_many_commits_of_many_customers_at_once_are_all_there(
    redis_store: RedisStore,
) -> None:
    async def write(number: int) -> None:
        found = await with_contact(redis_store, f"c-{number}")
        found.document.attributes = {f"a{number % 37}": number}
        commit = commit_of(found, "profile", "contacts", records=[record(body=b"%d" % number)])
        assert await redis_store.commit(commit, timeout=60) == Committed()

    await asyncio.gather(*map(write, range(1_000)))
    for number in random.sample(range(1_000), 50):
        document = (await redis_store.read(f"c-{number}")).document
        assert document.attributes == {f"a{number % 37}": number} and len(document.contacts) == 1


async def test_a_store_that_was_not_started_or_is_closed_says_so(redis_url: str) -> None:
    store = RedisStore(redis_url)
    with pytest.raises(StoreUnavailable, match="not connected"):
        await store.read("c-1")
    await store.start()
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.read("c-1")


async def test_a_replica_is_refused_at_the_start(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as url:
        store = RedisStore(url)
        await store.start()
        await ask(store, "REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(StoreUnavailable, match="replica"):
            await RedisStore(url).start()
        with pytest.raises(StoreUnavailable, match=r"READONLY.*primary"):
            await store.put_blob("a", b"b")
        await store.close()


async def test_a_redis_that_may_lose_data_is_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with EmbeddedRedis(tmp_path) as url:
        async with Proxy(url) as proxy:
            store = RedisStore(proxy.url)
            await store.start()
            assert not caplog.records
            await ask(store, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
            await ask(store, "CONFIG", "SET", "appendonly", "no")
            other = RedisStore(proxy.url)
            await other.start()
            said = [entry.getMessage() for entry in caplog.records]
            assert "maxmemory-policy noeviction" in said[0] and "appendonly yes" in said[1]
            assert len(said) == 2
            await other.close()
            await store.close()


async def test_erasing_a_customer_who_never_stands_still_ends_with_an_error(
    redis_store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def moved(*_: Any) -> int:
        return -1

    monkeypatch.setattr(Script, "run", moved)
    with pytest.raises(StoreUnavailable, match="changed 64 times while being erased; try again"):
        await redis_store.erase("c-1", record("erasure"))


@pytest.mark.parametrize(
    ("info", "says"),
    [
        ({"redis_version": "6.0.16"}, "version 6.0.16; 6.2 or newer"),
        ({"redis_version": "7.2.0", "cluster_enabled": "1"}, "cluster"),
        ({"redis_version": "10.0.0"}, ""),
    ],
)
async def test_the_server_is_looked_at_before_it_is_used(info: dict[str, str], says: str) -> None:
    if says:
        with pytest.raises(StoreUnavailable, match=f"^here.*{says}"):
            check_server(info, "here")
    else:
        check_server(info, "here")


def test_info_is_read_by_its_fields() -> None:
    said = b"# Server\r\nredis_version:6.2.14\r\nexecutable:/a:b\r\n\r\n"
    assert parse_info(said) == {"redis_version": "6.2.14", "executable": "/a:b"}
