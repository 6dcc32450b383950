"""What every store must do: the log, and its readers."""

from __future__ import annotations

import asyncio

import pytest

from decision.core.clock import HOUR
from decision.core.identifiers import decision_id, partition_of
from decision.core.ports import Committed, LogRecord, Store
from decision.store import MemoryStore, RedisStore
from decision.store.log import LogEntry, place_of
from tests.store.build import NOW, commit_of, new_id, record, with_contact

pytestmark = pytest.mark.anyio


async def page(
    store: MemoryStore | RedisStore, partition: int, position: str = "", count: int = 1_000
) -> list[LogEntry]:
    return (await store.read_logs({partition: position}, count)).get(partition, [])


async def test_records_of_a_partition_come_in_the_order_of_their_commits(store: Store) -> None:
    written = [[record(body=b"%d" % n), record("event", f"e{n}", b"\x00\xff")] for n in range(3)]
    for records in written:
        found = await with_contact(store)
        assert await store.commit(commit_of(found, "contacts", records=records)) == Committed()
    logged = await store.log_records(partition_of("c-1"))
    assert logged == [entry for records in written for entry in records]
    assert await store.log_records((partition_of("c-1") + 1) % 256) == []


async def test_the_newest_records_of_several_partitions_come_oldest_first(store: Store) -> None:
    written = {name: [record(body=b"%d" % n) for n in range(4)] for name in ("c-1", "c-2")}
    for name, records in written.items():
        await store.commit(commit_of(await store.read(name), records=records))
    one, other = map(partition_of, written)
    assert await store.newest_records([one], 2) == written["c-1"][2:]
    both = await store.newest_records([other, one], 9)
    assert both == written["c-2"] + written["c-1"]
    assert await store.newest_records([], 2) == []
    assert await store.newest_records([(one + 1) % 256], 2) == []


async def test_the_log_is_read_in_pages_and_trimmed_up_to_a_position(
    store: MemoryStore | RedisStore,
) -> None:
    partition = partition_of("c-1")
    found = await store.read("c-1")
    records = [record(body=b"%d" % n) for n in range(25)]
    await store.commit(commit_of(found, records=records))
    first = await page(store, partition, count=10)
    second = await page(store, partition, first[-1].entry_id, count=10)
    assert [entry.record for entry in first + second] == records[:20]
    assert await store.advance_log(partition, "r", first[-1].entry_id, 10**15) == 10
    assert await store.log_records(partition) == records[10:]
    assert await store.advance_log(partition, "r", first[-1].entry_id, 10**15) == 0
    rest = await page(store, partition, second[-1].entry_id, count=10)
    assert [entry.record for entry in rest] == records[20:]
    assert await page(store, partition, rest[-1].entry_id) == []


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


async def test_a_rewritten_log_is_the_same_to_all_readers(
    store: MemoryStore | RedisStore,
) -> None:
    partition = partition_of("c-1")
    records = [record("event", f"e-{n}", b"%d" % (n % 2)) for n in range(1_203)]
    await store.commit(commit_of(await store.read("c-1"), records=records))
    entries = await page(store, partition, count=2_000)
    await store.advance_log(partition, "slow", entries[3].entry_id, 0)
    await store.advance_log(partition, "fast", entries[900].entry_id, 0)
    assert await store.forget(partition, lambda one: one.body == b"1") == 601
    assert await store.rewrite_log(partition) is None
    left = [entry for entry in entries if entry.record.body == b"0"]
    assert await page(store, partition, count=2_000) == left
    await store.commit(commit_of(await store.read("c-1"), records=[new := record()]))
    assert (await page(store, partition, count=2_000))[-1].record == new
    # Trimming still stops at the slower of the two readers.
    assert await store.advance_log(partition, "fast", left[-1].entry_id, 10**15) == 2
    assert await store.advance_log(partition, "slow", left[-1].entry_id, 10**15) == 600


async def test_a_log_with_nothing_left_is_rewritten_as_well(
    store: MemoryStore | RedisStore,
) -> None:
    partition = partition_of("c-1")
    assert await store.rewrite_log(partition) is None
    await store.commit(commit_of(await store.read("c-1"), records=[record()]))
    assert await store.forget(partition, lambda one: True) == 1
    assert await store.rewrite_log(partition) is None
    assert await store.log_lengths() == [0] * 256


async def test_what_happens_while_a_log_is_rewritten_is_in_it(
    store: MemoryStore | RedisStore,
) -> None:
    """Records that are added, removed and trimmed between two parts of the copy."""
    partition = partition_of("c-1")

    async def log(first: int, last: int) -> None:
        records = [record("event", f"e-{n}", b"%d" % (n % 3)) for n in range(first, last)]
        await store.commit(commit_of(await store.read("c-1"), records=records))

    async def others() -> None:
        for n in range(12):
            await log(3_000 + 10 * n, 3_010 + 10 * n)
            if n == 4:
                assert await store.forget(partition, lambda one: one.body == b"1")
            if n == 8:
                at = (await page(store, partition, count=700))[-1].entry_id
                await store.advance_log(partition, "r", at, 10**15)

    await log(0, 3_000)
    problem, _ = await asyncio.gather(store.rewrite_log(partition), others())
    assert problem is None or await store.rewrite_log(partition) is None
    names = [int(entry.record.id[2:]) for entry in await page(store, partition, count=5_000)]
    assert names == sorted(names)
    assert {n for n in names if n < 3_000} == {n for n in range(names[0], 3_000) if n % 3 != 1}
    assert {n for n in names if n >= 3_050} == set(range(3_050, 3_120))
    assert 600 < names[0] < 1_200


async def test_a_log_tells_how_far_it_reaches_back(store: MemoryStore | RedisStore) -> None:
    partition = partition_of("c-1")
    assert await store.log_begins(partition) is None
    await store.advance_log(partition, "r", "0-0", 0)
    assert await store.log_begins(partition) is None
    for number in range(2):
        found = await store.read("c-1")
        await store.commit(commit_of(found, commit_id=f"{number}", records=[record()]))
        await asyncio.sleep(0.002)
    first, second = await page(store, partition)
    assert await store.log_begins(partition) == place_of(first.entry_id)[0]
    await store.advance_log(partition, "r", first.entry_id, 10**15)
    assert await store.log_begins(partition) == place_of(second.entry_id)[0]
    await store.advance_log(partition, "r", second.entry_id, 10**15)
    assert await store.log_begins(partition) == place_of(second.entry_id)[0]


async def test_one_process_has_a_share_until_it_gives_it_back_or_is_silent(
    store: MemoryStore | RedisStore,
) -> None:
    claim = store.claim_share
    assert await claim("archive", "1/2", b"a 1", HOUR) is None
    assert await claim("archive", "1/2", b"a 1", HOUR) is None
    assert await claim("archive", "2/2", b"b", 1_000) is None
    assert await claim("archive", "1/2", b"b", HOUR) == b"a 1"
    assert await claim("archive", "1/3", b"c", HOUR) in (b"a 1", b"b")
    assert await claim("other", "1/3", b"c", HOUR) is None
    assert await claim("archive", "1/2", b"b", 0) == b"a 1"
    async with asyncio.timeout(60):
        while await claim("archive", "2/2", b"c", HOUR) is not None:
            await asyncio.sleep(0.01)
    for share, who in (("1/2", b"a 1"), ("2/2", b"c")):
        assert await claim("archive", share, who, 0) is None
    assert await claim("archive", "1/1", b"d", HOUR) is None
