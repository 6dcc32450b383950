"""The archive: what goes in comes out, once, and what is gone stays gone."""

from __future__ import annotations

import asyncio
import errno
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.archive import change
from decision.archive.archiver import Archiver
from decision.archive.compaction import compact
from decision.archive.dictionary import dictionary
from decision.archive.erasing import erase_from_archive
from decision.archive.errors import ArchiveBusy, ArchiveError
from decision.archive.features import encode_features, features_of, learn_types
from decision.archive.folder import ArchiveFolder
from decision.archive.layout import DATASETS
from decision.archive.lookup import look_up
from decision.archive.readers import RebuildHeartbeat
from decision.archive.replays import read_replays
from decision.archive.service import ArchiveOptions, leave_archive
from decision.archive.tables import files
from decision.core import logged_scores, records
from decision.core.clock import DAY, HOUR, from_micros
from decision.core.document import Document
from decision.core.identifiers import partition_of
from decision.core.masks import mask_from_bytes
from decision.core.ports import Commit, LogRecord, Version
from decision.core.schema import CustomerUpdate, DecisionRequest, Event
from decision.engine import Engine, build_snapshot
from decision.engine.runtime import wall_clock
from decision.rulebook.reader import load_files
from decision.store import MemoryStore, RedisStore
from decision.store.pseudonyms import pseudonyms
from tests.crash.harness import RULES

pytestmark = pytest.mark.anyio
Store = MemoryStore | RedisStore


@pytest.fixture
async def engine(store: Store) -> Engine:
    definition = load_files({"rules.yaml": RULES}).definition
    assert definition is not None
    made = Engine(store)
    now = from_micros(wall_clock())
    made.use(await build_snapshot(definition, None, store, now, durable=False))
    return made


async def archive(store: Store, out: Path, **more: Any) -> Archiver:
    """One run."""
    folder = ArchiveFolder(out)
    with folder.claimed():
        made = Archiver(folder, store, **{"clock": wall_clock, "keep": 0, **more})
        await made.open()
        await made.run()
    return made


def rows(out: Path, dataset: str) -> list[dict[str, Any]]:
    return [row for path in files(out, dataset) for row in pq.ParquetFile(path).read().to_pylist()]


def every_row(out: Path) -> dict[str, list[str]]:
    """All rows, in no order."""
    return {dataset: sorted(map(repr, rows(out, dataset))) for dataset in DATASETS}


async def log(store: Store, customer: str, *logged: LogRecord) -> None:
    """Puts records into a customer's log as they are."""
    document = Document(customer_id=customer)
    name = f"{customer}-{logged[0].id}-{wall_clock()}"
    await store.commit(
        Commit(
            id=name, customer_id=customer, document=document, version=Version(), expect=(),
            records=logged,
        )
    )  # fmt: skip


async def decide(engine: Engine, customer: str, limit: int = 1) -> str:
    request = DecisionRequest(placement="outbound", customer_id=customer, limit=limit)
    return (await engine.decide(request)).decision_id


async def test_everything_logged_is_archived_as_it_was_and_leaves_the_log(
    engine: Engine, store: Store, tmp_path: Path
) -> None:
    ids = [await decide(engine, f"客户-{number % 7}", 1 + number % 3) for number in range(20)]
    await engine.events.record(
        [Event(id="e", customer_id="客户-1", type="visit", properties={"价": 1.5, "n": None})]
    )
    about = Event(
        id="o", customer_id="客户-0", type="message.clicked", decision_id=ids[0], value=2.5
    )
    await engine.events.record([about])
    await engine.customers.set_consents("客户-1", {"tips": {"*": "denied"}})
    logged = {
        row.id: records.decode_decision(row.body)
        for partition in range(256)
        for row in await store.log_records(partition)
        if row.kind == "decision"
    }
    out = tmp_path / "out"
    done = await archive(store, out)
    assert done.counts.rows["decisions"] >= len(ids) == done.counts.rows["replays"]
    assert not [row for partition in range(256) for row in await store.log_records(partition)]
    names = [(c.message, c.channel) for c in engine.runtime.snapshot.policy.candidates]
    found: dict[str, list[Any]] = {}
    for row in rows(out, "decisions"):
        found.setdefault(row["decision_id"], []).append(row)
    assert found.keys() == logged.keys()
    for name, record in logged.items():
        scores = {row[0]: row[1:] for row in logged_scores.unpack_scores(record.candidates)}
        fallen = {
            index: reason
            for reason, mask in record.fallen.items()
            for index in range(len(names))
            if mask_from_bytes(mask) >> index & 1
        }
        own = sorted(found[name], key=lambda row: row["position"])
        assert [row["message"] for row in own] == [s.message for s in record.selections] or [None]
        for row, chosen in zip(own, record.selections, strict=False):
            assert row["priority"] == chosen.priority
            assert row["selection_probability"] == chosen.selection_probability
            assert features_of(row) == chosen.features
        for row in own:
            assert row["decided_at"] == from_micros(record.decided_at)
            assert [(c["message"], c["channel"]) for c in row["candidates"]] == names
            for index, candidate in enumerate(row["candidates"]):
                assert candidate["reason"] == fallen.get(index)
                figures = ("response_probability", "priority", "selection_probability")
                expected = scores.get(index, (None, None, None))
                assert tuple(candidate[figure] for figure in figures) == expected
    events = {row["event_id"]: row for row in rows(out, "events")}
    assert json.loads(events["e"]["properties"]) == {"价": 1.5, "n": None}
    assert [(row["event_id"], row["value"]) for row in rows(out, "outcomes")] == [("o", 2.5)]
    assert [row["kind"] for row in rows(out, "changes")] == ["consent"]
    for dataset in DATASETS:  # what is said never to be null is not
        always = [column.name for column in dictionary()[dataset] if not column.missing]
        for row in rows(out, dataset):
            assert [name for name in always if row[name] is None] == [], dataset


async def test_a_replay_and_a_look_up_decide_the_same_again(
    engine: Engine, store: Store, tmp_path: Path
) -> None:
    long = RULES.replace("currency: EUR}", 'currency: EUR, exploration: "off"}')
    long = long.replace("title: A}", 'title: "A for {{ customer.id_card }}"}')
    long = long.replace("  push: {", "  push: {cost: 0.01, max_length: {title: 9}, ", 1)
    long += "budgets: {money: {of: {channel: push}, spend: 0.05, per: calendar month}}\n"
    long = long.replace(
        "content: {title: B}", 'coupon: spring, content: {title: "{{ coupon.code }}"}'
    )
    long += "coupons: {spring: {}}\n"
    await store.add_codes("spring", ["SPRING-1", "SPRING-2"])
    definition = load_files({"rules.yaml": long}).definition
    assert definition is not None
    now = from_micros(wall_clock())
    engine.use(await build_snapshot(definition, None, store, now, durable=False))
    await engine.customers.update("c-1", CustomerUpdate(attributes={"id_card": "1234567"}))
    ids = [await decide(engine, f"c-{number % 3}", 2) for number in range(12)]
    before = {name: await engine.replay.find(name) for name in ids}
    assert "too_long" in str(before)
    assert "money: 0.05 EUR of 0.05 EUR spent" in str(before)
    assert "{'title': 'SPRING-2'}" in str(before)
    assert "coupon pool spring has no free code" in str(before)
    await archive(store, tmp_path / "out")
    assert await engine.replay.find(ids[0]) is None
    assert {replay.decision_id for replay in read_replays(tmp_path / "out")} == set(ids)
    elsewhere = Engine(MemoryStore())  # with no register and no policy of its own
    for name in ids:
        found = look_up(tmp_path / "out", name)
        assert found is not None
        again = await elsewhere.replay.explained(found.record, found.document, found.rule_files)
        assert again == before[name]
    assert look_up(tmp_path / "out", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ") is None


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=4),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
)
values = st.one_of(scalars, st.lists(scalars, max_size=2))
features = st.dictionaries(st.sampled_from(["a", "b.c", "价", "message.name"]), values)


def exactly(value: Any) -> Any:
    """A value that equals another's only where both mean the same to a model, to the last bit."""
    if isinstance(value, list):
        return [exactly(each) for each in value]
    if isinstance(value, float) and math.isnan(value):
        return "not a number"
    if isinstance(value, float):
        return ("number", value, math.copysign(1, value))
    if isinstance(value, bool) or not isinstance(value, int):
        return (type(value).__name__, value)
    return ("number", value, 1 if value >= 0 else -1)


@settings(max_examples=60, deadline=None)
@given(
    batches=st.lists(st.lists(st.one_of(st.none(), features), min_size=1, max_size=5), max_size=3)
)
def test_features_come_back_to_the_last_bit_whatever_their_types(
    batches: list[list[dict[str, Any] | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Also where a feature has several types, in one file or from file to file."""
    folder = tmp_path_factory.mktemp("features")
    types: dict[str, str] = {}
    for number, batch in enumerate(batches):
        learn_types(batch, types)
        struct, other = encode_features(batch, types)
        table = pa.table({"features": struct, "features_other": other})
        pq.write_table(table, folder / f"{number}.parquet")
        back = pq.read_table(folder / f"{number}.parquet").to_pylist()
        for given_, row in zip(batch, back, strict=True):
            got = {name: exactly(value) for name, value in features_of(row).items()}
            assert got == {name: exactly(value) for name, value in (given_ or {}).items()}
    if batches:
        pa.unify_schemas([pq.read_schema(path) for path in sorted(folder.iterdir())])


def event(name: str, customer: str, **more: Any) -> LogRecord:
    at = wall_clock()
    body = records.EventRecord(
        **{
            "event_id": name, "customer_id": customer, "type": "t", "at": at, "received_at": at,
            **more,
        }
    )  # fmt: skip
    return LogRecord(kind="event", id=name, body=records.encode(body))


@pytest.mark.parametrize("lively", [1, 100])
async def test_a_batch_has_whatever_there_is_room_for_however_it_is_spread(
    engine: Engine, store: Store, tmp_path: Path, lively: int
) -> None:
    """Each batch makes files of its own for each date: many small ones are slow to read."""
    at = from_micros(wall_clock())
    events = [
        Event(id=f"e-{number}", customer_id=f"c-{number % lively}", type="visit", at=at)
        for number in range(1000)
    ]
    await engine.events.record(events)
    done = await archive(store, tmp_path, batch=2000)
    assert done.counts.rows["events"] == 1000
    assert done.counts.batches == len(list(files(tmp_path, "events"))) == 1
    order = [row["event_id"] for row in rows(tmp_path, "events") if row["customer_id"] == "c-0"]
    assert order == [event.id for event in events if event.customer_id == "c-0"]


async def test_a_record_logged_twice_is_archived_once(store: Store, tmp_path: Path) -> None:
    """In one batch, in the next, and by another process; of two customers it is two records."""
    out = tmp_path / "out"
    await log(store, "c-1", event("e", "c-1"), event("e", "c-1"), event("f", "c-1"))
    await log(store, "c-2", event("e", "c-2"))
    done = await archive(store, out)
    assert done.counts.duplicates == 1
    await log(store, "c-1", event("e", "c-1"), event("g", "c-1"))
    done = await archive(store, out)
    assert done.counts.duplicates == 1
    found = sorted((row["customer_id"], row["event_id"]) for row in rows(out, "events"))
    assert found == [("c-1", "e"), ("c-1", "f"), ("c-1", "g"), ("c-2", "e")]


async def test_an_erasure_takes_what_came_before_and_leaves_what_comes_after(
    engine: Engine, store: Store, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    async def event_of(customer: str, name: str) -> None:
        await engine.events.record([Event(id=name, customer_id=customer, type="visit")])

    for customer in ("gone", "stays"):
        await event_of(customer, "1")
        await decide(engine, customer)
        await engine.customers.set_consents(customer, {"tips": {"*": "granted"}})
    await archive(store, out)
    await event_of("gone", "2")
    await engine.customers.erase("gone")
    await event_of("gone", "1")  # back, with an event of the same id
    done = await archive(store, out)
    assert done.counts.rows_erased >= 4
    found = sorted((row["customer_id"], row["event_id"]) for row in rows(out, "events"))
    assert found == [("gone", "1"), ("stays", "1")]
    for dataset in ("decisions", "replays"):
        assert {row["customer_id"] for row in rows(out, dataset)} == {"stays"}
    kinds = {row["kind"]: row["customer_id"] for row in rows(out, "changes")}
    assert kinds == {"erasure": (await pseudonyms(store)).of("gone"), "consent": "stays"}
    assert erase_from_archive(out, {"gone"}).rows == 1
    assert [row["customer_id"] for row in rows(out, "events")] == ["stays"]
    assert erase_from_archive(out, {"gone"}).rows == 0
    await archive(store, out)


async def test_an_erasure_of_whom_the_store_has_forgotten_takes_archived_rows(
    engine: Engine, store: Store, tmp_path: Path
) -> None:
    """Also quarantined records with the id in their bytes, and no others."""
    event = records.EventRecord(
        event_id="1", customer_id="ghost", type="visit", at=1, received_at=1
    )
    await log(store, "ghost", LogRecord(kind="event", id="1", body=records.encode(event)))
    for customer in ("ghost", "other"):
        body = b"\xff" + customer.encode()
        await log(store, customer, LogRecord(kind="event", id=f"bad-{customer[0]}", body=body))
    out = tmp_path / "out"
    assert (await archive(store, out)).counts.quarantined == 2
    assert len(rows(out, "events")) == 1
    assert await engine.customers.erase("ghost") == []
    assert (await archive(store, out)).counts.rows_erased == 2
    assert rows(out, "events") == []
    assert [row["kind"] for row in rows(out, "changes")] == ["erasure"]
    assert [line["id"] for line in set_aside(out)] == ["bad-o"]
    assert erase_from_archive(out, {"other"}).rows == 1
    assert set_aside(out) == []


async def test_a_log_that_ends_before_what_is_archived_is_read_again_and_nothing_is_doubled(
    engine: Engine, redis_store: RedisStore, tmp_path: Path
) -> None:
    """As when Redis comes back from a backup, and its clock is behind."""
    store, out, key = redis_store, tmp_path / "out", redis_store.keys.log(partition_of("c-1"))

    def event(name: str) -> LogRecord:
        got = records.EventRecord(event_id=name, customer_id="c-1", type="v", at=1, received_at=1)
        return LogRecord(kind="event", id=name, body=records.encode(got))

    await log(store, "c-1", event("1"))
    backup = await store.connection.call(("DUMP", key), 5)
    await archive(store, out, keep=DAY)
    await log(store, "c-1", event("2"))
    later = await archive(store, out, keep=40 * DAY, clock=lambda: wall_clock() + 30 * DAY)
    assert (later.counts.begun_again, files(out, "_progress")) == (0, [])  # ids are forgotten
    await store.connection.call(("RESTORE", key, 0, backup, "REPLACE"), 5, write=True)
    [first] = (await store.read_logs({partition_of("c-1"): ""}))[partition_of("c-1")]
    fields = ("k", "event", "id", "3", "b", event("3").body)
    following = f"{first.entry_id.partition('-')[0]}-7"
    await store.connection.call(("XADD", key, following, *fields), 5, write=True)
    counts = (await archive(store, out)).counts
    assert (counts.begun_again, counts.duplicates, counts.rows["events"]) == (1, 1, 1)
    assert sorted(row["event_id"] for row in rows(out, "events")) == ["1", "2", "3"]
    counts = (await archive(store, out)).counts
    assert (counts.begun_again, counts.entries) == (0, 0)


async def test_a_reader_that_was_killed_holds_up_trimming_for_a_day_at_most(
    engine: Engine, store: Store, tmp_path: Path
) -> None:
    now = wall_clock()
    partition, heartbeat = partition_of("c-1"), RebuildHeartbeat(store)
    await decide(engine, "c-1")
    await heartbeat.start(now - DAY + HOUR)
    await store.advance_log(partition, "rebuild", "0-0", 0)
    out = tmp_path / "out"
    counts = (await archive(store, out)).counts
    assert (counts.trimmed, counts.readers_gone) == (0, 0)
    await heartbeat.beat(now - DAY + 2 * HOUR)
    counts = (await archive(store, out, clock=lambda: now + 2 * HOUR)).counts
    assert (counts.trimmed, counts.readers_gone) == (0, 1)
    assert (await archive(store, out)).counts.trimmed == 1
    with pytest.raises(ArchiveError, match="run it again"):
        await heartbeat.beat(now)


def set_aside(out: Path) -> list[dict[str, Any]]:
    """The lines of the quarantine."""
    paths = (out / "_quarantine").glob("*.ndjson")
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


async def test_a_damaged_record_is_set_aside_and_blocks_nothing(
    engine: Engine, store: Store, tmp_path: Path
) -> None:
    name = await decide(engine, "c-1")
    [whole] = [
        row for row in await store.log_records(partition_of("c-1")) if row.kind == "decision"
    ]
    record = records.decode_decision(whole.body)
    record.decision_id = "too wide"
    record.candidates = logged_scores.LoggedScores(b"\xff\xff", bytes(8), bytes(8), bytes(8))
    await log(
        store,
        "c-1",
        LogRecord(kind="decision", id="x", body=b"\x00"),
        LogRecord(kind="decision", id="too wide", body=records.encode(record)),
        event("far", "c-1", at=10**19 // 2),
        event("good", "c-1"),
    )
    out = tmp_path / "out"
    done = await archive(store, out)
    assert done.counts.quarantined == 3
    assert [row["decision_id"] for row in rows(out, "decisions")] == [name]
    assert [row["event_id"] for row in rows(out, "events")] == ["good"]
    lines = set_aside(out)
    assert {line["id"] for line in lines} == {"x", "too wide", "far"}
    assert all(line["reason"] for line in lines)
    assert (await archive(store, out)).counts.entries == 0


async def test_a_full_disk_leaves_nothing_half_and_the_next_run_goes_on(
    engine: Engine, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    ids = {await decide(engine, f"c-{number}") for number in range(5)}
    real: Callable[..., int] = change.write_tables
    for fails_at in range(2):
        written: list[Path] = []

        def write(
            path: Path, *rest: Any, written: list[Path] = written, fails_at: int = fails_at
        ) -> int:
            if len(written) == fails_at:
                path.write_bytes(b"half")
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
            written.append(path)
            return real(path, *rest)

        monkeypatch.setattr(change, "write_tables", write)
        with pytest.raises(OSError, match="No space left"):
            await archive(store, out)
        committed = {path for dataset in DATASETS for path in files(out, dataset)}
        assert set(out.rglob("date=*/*")) == committed
        monkeypatch.setattr(change, "write_tables", real)
    await archive(store, out)
    for dataset in ("decisions", "replays"):
        assert sorted(row["decision_id"] for row in rows(out, dataset)) == sorted(ids)


async def test_small_files_are_merged_without_a_change_of_rows(
    engine: Engine, store: Store, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for number in range(4):
        await decide(engine, f"c-{number}", 1 + number % 2)
        await archive(store, out)
    before = every_row(out)
    earlier = files(out, "decisions")
    assert compact(ArchiveFolder(out), fewest=2).into == 2
    assert every_row(out) == before
    for dataset in ("decisions", "replays"):
        assert len(files(out, dataset)) == 1
    assert all(path.exists() for path in earlier)  # somebody may be reading them
    assert compact(ArchiveFolder(out), fewest=2, kept=0).files == 0
    assert not any(path.exists() for path in earlier)
    assert every_row(out) == before
    assert len({replay.decision_id for replay in read_replays(out)}) == 4


async def test_two_archivers_of_a_folder_and_two_folders_of_a_log_are_refused(
    store: Store, tmp_path: Path
) -> None:
    await log(store, "c", event("e", "c"))
    await archive(store, tmp_path / "a")
    with (
        ArchiveFolder(tmp_path / "a").claimed(),
        pytest.raises(ArchiveBusy, match="another nextbest archive"),
    ):
        await archive(store, tmp_path / "a")
    with pytest.raises(ArchiveError, match=r"archived to .* already"):
        await archive(store, tmp_path / "b")
    await log(store, "c", event("f", "c"))
    await archive(store, tmp_path / "b", group="second")
    assert [row["event_id"] for row in rows(tmp_path / "b", "events")] == ["f"]
    # The first has not read it: it stays in the log.
    assert [row.id for row in await store.log_records(partition_of("c"))] == ["f"]
    await archive(store, tmp_path / "a")
    assert sorted(row["event_id"] for row in rows(tmp_path / "a", "events")) == ["e", "f"]
    assert await store.log_records(partition_of("c")) == []


async def test_an_archive_that_is_gone_from_its_folder_is_said_to_be_gone(
    store: Store, tmp_path: Path
) -> None:
    await log(store, "c", event("e", "c"))
    await archive(store, tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "elsewhere")
    await log(store, "c", event("f", "c"))
    with pytest.raises(ArchiveError, match="another archive, or none, is there: mount or restore"):
        await archive(store, tmp_path / "a")
    shutil.rmtree(tmp_path / "a")
    (tmp_path / "elsewhere").rename(tmp_path / "a")
    await archive(store, tmp_path / "a")
    assert sorted(row["event_id"] for row in rows(tmp_path / "a", "events")) == ["e", "f"]


async def test_what_is_archived_stays_in_the_log_for_as_long_as_asked(
    engine: Engine, store: Store, tmp_path: Path
) -> None:
    name = await decide(engine, "c")
    await archive(store, tmp_path / "out", keep=DAY)
    assert await engine.replay.find(name) is not None
    done = await archive(store, tmp_path / "out", keep=0)
    assert (done.counts.entries, done.counts.trimmed) == (0, 1)
    assert await engine.replay.find(name) is None


async def test_an_archive_reads_every_partition_from_its_start_until_it_is_given_up(
    redis_store: RedisStore, tmp_path: Path
) -> None:
    """Also those without entries: no server removes what comes to them before the next run."""
    await archive(redis_store, tmp_path)
    name = "01J0000000000000000000000A"
    await log(redis_store, "c-1", LogRecord(kind="event", id=name, body=b"x" * 9_000))
    states = await redis_store.look_at_logs(range(256), 1)
    assert {(state.readers, state.removed) for state in states} == {(1, 0)}
    assert sum(state.oldest_unread is not None for state in states) == 1
    options = ArchiveOptions(folder=tmp_path)
    await leave_archive(redis_store, options, wall_clock)
    states = await redis_store.look_at_logs(range(256), 0)
    assert {state.readers for state in states} == {0}
    (left,) = await redis_store.log_records(partition_of("c-1"))
    assert left.id == name


async def test_an_event_about_a_young_decision_that_left_the_log_is_accepted(
    engine: Engine, store: Store, tmp_path: Path
) -> None:
    """Whoever removed it; one about a decision that never was is refused."""
    decision = await decide(engine, "c-1")
    await asyncio.sleep(0.01)
    await archive(store, tmp_path, keep=0)
    await engine.customers.erase("c-1")
    event = Event(type="message.clicked", customer_id="c-1", decision_id=decision)
    assert (await engine.events.record([event])).accepted == 1
    await asyncio.sleep(0.01)
    made_up = engine.runtime.new_id("c-1")
    event = Event(type="message.clicked", customer_id="c-1", decision_id=made_up)
    assert "there is no decision" in (await engine.events.record([event])).rejected[0].detail


async def test_a_date_whose_folder_is_removed_is_gone_and_a_missing_file_is_named(
    store: Store, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    await log(store, "c", event("old", "c", at=10 * DAY), event("new", "c", at=20 * DAY))
    await archive(store, out)
    [old, _] = files(out, "events")
    old.unlink()
    with pytest.raises(ArchiveError, match=r"part-.* is missing"):
        files(out, "events")
    old.parent.rmdir()
    assert [row["event_id"] for row in rows(out, "events")] == ["new"]
    await log(store, "c", event("next", "c", at=20 * DAY))
    await archive(store, out)
    named = DeltaTable(out / "events").file_uris()
    assert len(named) == len(files(out, "events")) == 2  # others that read the table agree
    assert sorted(row["event_id"] for row in rows(out, "events")) == ["new", "next"]
