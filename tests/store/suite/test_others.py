"""What every store must do: aliases, budgets, erasure, the log, named values."""

from __future__ import annotations

import asyncio

import pytest

from decision.core.clock import HOUR
from decision.core.identifiers import decision_id, partition_of
from decision.core.ports import Committed, LogRecord, Store
from decision.store import MemoryStore, RedisStore
from tests.store.build import NOW, commit_of, new_id, record, with_contact

pytestmark = pytest.mark.anyio


async def test_an_alias_leads_to_the_customer_that_had_it_first(store: Store) -> None:
    assert await store.resolve_alias("email", "a@b.cn") is None
    assert await store.set_alias("email", "a@b.cn", "c-1") == "c-1"
    assert await store.set_alias("email", "a@b.cn", "c-2") == "c-1"
    assert await store.resolve_alias("email", "a@b.cn") == "c-1"
    assert await store.resolve_alias("device", "a@b.cn") is None


async def test_an_alias_is_deleted_only_for_the_customer_it_leads_to(store: Store) -> None:
    await store.set_alias("微信", "开:1", "c-1")
    await store.delete_alias("微信", "开:1", "c-2")
    assert await store.resolve_alias("微信", "开:1") == "c-1"
    await store.delete_alias("微信", "开:1", "c-1")
    assert await store.resolve_alias("微信", "开:1") is None


async def test_budgets_are_taken_all_or_none(store: Store) -> None:
    assert await store.take_budgets({"a": 2, "b": 1}, "t1") is None
    assert await store.take_budgets({"a": 2, "b": 1}, "t2") == "b"
    assert (await store.read("c", budgets=["a", "b", "c"])).budgets == {"a": 1, "b": 1, "c": 0}
    assert await store.take_budgets({"a": 2}, "t2") is None
    assert await store.take_budgets({"b": 1, "a": 2}, "t3") == "b"


async def test_a_token_takes_once_and_gives_back_once(store: Store) -> None:
    for _ in range(3):
        assert await store.take_budgets({"a": 5, "b": 5}, "t") is None
    assert (await store.read("c", budgets=["a", "b"])).budgets == {"a": 1, "b": 1}
    for _ in range(3):
        await store.return_budgets(["a", "b", "never taken"], "t")
    found = await store.read("c", budgets=["a", "b", "never taken"])
    assert found.budgets == {"a": 0, "b": 0, "never taken": 0}


async def test_a_take_that_comes_after_its_return_changes_nothing(store: Store) -> None:
    await store.return_budgets(["a"], "t")
    assert await store.take_budgets({"a": 1}, "t") is None
    assert (await store.read("c", budgets=["a"])).budgets == {"a": 0}


async def test_a_limit_of_zero_is_never_taken(store: Store) -> None:
    assert await store.take_budgets({"a": 0}, "t") == "a"


async def test_concurrent_takers_never_exceed_a_budget(store: Store) -> None:
    results = await asyncio.gather(
        *(store.take_budgets({"total": 10, "day": 7}, f"t{n}") for n in range(50))
    )
    assert results.count(None) == 7
    assert (await store.read("c", budgets=["total", "day"])).budgets == {"total": 7, "day": 7}


async def test_erasing_leaves_nothing_but_the_record_of_it(store: Store) -> None:
    found = await with_contact(store)
    found.document.aliases = {"email": ["a@b.cn", "x@y.z"], "device": ["1"]}
    for kind, values in found.document.aliases.items():
        for value in values:
            await store.set_alias(kind, value, "c-1")
    await store.set_alias("cookie", "other", "c-2")
    await store.commit(
        commit_of(
            found,
            "profile",
            "contacts",
            request_id="r",
            answer=b"a",
            answer_lasts=HOUR,
            event_ids=["e"],
            event_ids_last=HOUR,
        )
    )
    erasure = record("erasure")
    assert await store.erase("c-1", erasure) is True
    after = await store.read("c-1", request_id="r", event_ids=["e"])
    assert (after.document.exists, after.answer, after.known_events) == (False, None, frozenset())
    for kind, value in (("email", "a@b.cn"), ("email", "x@y.z"), ("device", "1")):
        assert await store.resolve_alias(kind, value) is None
    assert await store.resolve_alias("cookie", "other") == "c-2"
    assert (await store.log_records(partition_of("c-1")))[-1] == erasure


async def test_erasing_nobody_says_so_and_is_logged_for_what_is_archived(store: Store) -> None:
    erasure = record("erasure")
    assert await store.erase("nobody", erasure) is False
    assert await store.log_records(partition_of("nobody")) == [erasure]


async def test_an_alias_that_leads_to_another_customer_survives_an_erasure(store: Store) -> None:
    found = await store.read("c-1")
    found.document.aliases = {"email": ["a@b.cn"]}
    await store.commit(commit_of(found, "profile"))
    await store.set_alias("email", "a@b.cn", "c-2")
    await store.erase("c-1", record("erasure"))
    assert await store.resolve_alias("email", "a@b.cn") == "c-2"


async def test_records_of_a_partition_come_in_the_order_of_their_commits(store: Store) -> None:
    written = [[record(body=b"%d" % n), record("event", f"e{n}", b"\x00\xff")] for n in range(3)]
    for records in written:
        found = await with_contact(store)
        assert await store.commit(commit_of(found, "contacts", records=records)) == Committed()
    logged = await store.log_records(partition_of("c-1"))
    assert logged == [entry for records in written for entry in records]
    assert await store.log_records((partition_of("c-1") + 1) % 256) == []


async def test_the_log_is_read_in_pages_and_trimmed_up_to_a_position(
    store: MemoryStore | RedisStore,
) -> None:
    partition = partition_of("c-1")
    found = await store.read("c-1")
    records = [record(body=b"%d" % n) for n in range(25)]
    await store.commit(commit_of(found, records=records))
    first = await store.read_log(partition, count=10)
    second = await store.read_log(partition, first[-1].entry_id, count=10)
    assert [entry.record for entry in first + second] == records[:20]
    assert await store.advance_log(partition, "r", first[-1].entry_id, 10**15) == 10
    assert await store.log_records(partition) == records[10:]
    assert await store.advance_log(partition, "r", first[-1].entry_id, 10**15) == 0
    rest = await store.read_log(partition, second[-1].entry_id, count=10)
    assert [entry.record for entry in rest] == records[20:]
    assert await store.read_log(partition, rest[-1].entry_id) == []


@pytest.mark.parametrize("millis", [NOW // 1000, 1, 281474976710655])
async def test_a_decision_is_found_by_its_id_whatever_the_clocks_say(
    store: Store, millis: int
) -> None:
    wanted = decision_id(millis, partition_of("c-1"), 1 << 60)
    found = await store.read("c-1")
    records = [record("event", wanted, b"no"), LogRecord(kind="decision", id=wanted, body=b"yes")]
    await store.commit(commit_of(found, records=[*records, record()]))
    assert await store.find_record(wanted) == records[1]
    assert await store.find_record(new_id("c-1")) is None


@pytest.mark.parametrize("name", ["", "no id", "8" * 26, "决" * 26])
async def test_what_is_no_decision_id_is_not_found(store: Store, name: str) -> None:
    assert await store.find_record(name) is None


async def test_a_blob_is_kept_as_it_is(store: Store) -> None:
    assert await store.get_blob("policy/1") is None
    await store.put_blob("policy/1", bytes(range(256)))
    await store.put_blob("策略", b"")
    assert await store.get_blob("policy/1") == bytes(range(256))
    assert await store.get_blob("策略") == b""


async def test_a_history_keeps_its_last_entries_in_order(store: Store) -> None:
    assert await store.history("published") == []
    assert await store.history("published", 1) == []
    for n in range(5):
        await store.append_history("published", b"\x00%d" % n, 3)
    assert await store.history("published") == [b"\x002", b"\x003", b"\x004"]
    assert await store.history("published", 2) == [b"\x003", b"\x004"]
    assert await store.history("published", 9) == await store.history("published")
    assert await store.history("other") == []


async def test_entries_appended_at_once_are_all_kept(store: Store) -> None:
    entries = [b"%d" % n for n in range(40)]
    await asyncio.gather(*(store.append_history("published", entry, 100) for entry in entries))
    assert sorted(await store.history("published")) == sorted(entries)


async def test_a_store_answers_a_ping(store: Store) -> None:
    await store.ping()


async def test_the_log_is_trimmed_up_to_its_slowest_reader_and_keeps_what_is_young(
    store: MemoryStore | RedisStore,
) -> None:
    """Readers of many partitions at once; one that leaves holds nothing up."""
    partition = partition_of("c-1")
    records = [record(body=b"%d" % n) for n in range(4)]
    await store.commit(commit_of(await store.read("c-1"), records=records))
    pages = await store.read_logs({partition: "", (partition + 1) % 256: ""}, 3)
    assert {number: [entry.record for entry in page] for number, page in pages.items()} == {
        partition: records[:3]
    }
    assert (await store.log_lengths())[partition] == 4
    first, last = pages[partition][0].entry_id, pages[partition][-1].entry_id
    never, always = 0, 10**15
    assert await store.advance_log(partition, "one", last, never) == 0
    assert await store.advance_log(partition, "two", first, never) == 0
    assert await store.advance_log(partition, "one", last, always) == 1
    await store.leave_log("two")
    assert await store.advance_log(partition, "one", last, always) == 2
    assert await store.log_records(partition) == records[3:]
    assert await store.advance_log((partition + 1) % 256, "one", "0-0", always) == 0
