"""An archive in an object store: everything as in a folder, and faults of every kind in between."""

from __future__ import annotations

import asyncio
import io
import itertools
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from decision.archive import location as locations
from decision.archive import object_store
from decision.archive.archiver import Archiver
from decision.archive.change import TableChange
from decision.archive.compaction import compact
from decision.archive.customers import days_of, rows_of
from decision.archive.erasing import erase_from_archive
from decision.archive.errors import ArchiveError, ArchiveUnavailable
from decision.archive.folder import ArchiveFolder
from decision.archive.histories import archived_events
from decision.archive.layout import DATASETS
from decision.archive.location import location, parquet_file
from decision.archive.lookup import look_up
from decision.archive.query import open_database
from decision.archive.registers import save_register
from decision.archive.replays import read_replays
from decision.archive.service import ArchiveOptions, archive_log
from decision.archive.table import Table, TableChanged
from decision.archive.tables import files
from decision.archive.whereabouts import Whereabouts
from decision.engine import Engine
from decision.engine.runtime import wall_clock
from decision.progress import Progress
from decision.store import MemoryStore, RedisStore
from tests.archive.test_archive import archive, decide, engine, event, log
from tests.crash.archiving import Archivers, Writer, archived, engine_on, verify
from tests.object_store import BUSY, DROPPED, LOST, ObjectStore

__all__ = ["engine"]
pytestmark = pytest.mark.anyio

COMMITS = {"method": "PUT", "name": "_delta_log/[0-9]+.json"}


@pytest.fixture(scope="module")
def running() -> Iterator[ObjectStore]:
    store = ObjectStore()
    yield store
    store.close()


@pytest.fixture
def server(running: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """An empty object store, that the environment names; few requests are made again."""
    running.reset()
    for name, value in running.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(locations, "RETRIES", 2)
    monkeypatch.setattr(object_store, "RETRIES", 2)
    forget_clients()
    return running


def forget_clients() -> None:
    """The environment is read again: a process reads it once."""
    object_store.register()
    for scheme in object_store.SCHEMES:
        import fsspec

        fsspec.get_filesystem_class(scheme).clear_instance_cache()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def out(server: ObjectStore) -> Path:
    return location("s3://bucket/shop/archive")


def rows(out: Path, dataset: str) -> list[dict[str, Any]]:
    return [row for path in files(out, dataset) for row in parquet_file(path).read().to_pylist()]


def ids(out: Path) -> Counter[str]:
    return Counter(row["event_id"] for row in rows(out, "events"))


def everything(server: ObjectStore) -> bytes:
    """Every object that is there, and the values of Parquet files unpacked."""
    found = []
    for name in server.names():
        data = server.read(name)
        found += [name.encode(), data]
        if name.endswith(".parquet"):
            found.append(repr(pq.read_table(io.BytesIO(data)).to_pylist()).encode())
    return b"\n".join(found)


async def test_all_that_reads_an_archive_reads_there_what_it_reads_in_a_folder(
    engine: Engine, store: MemoryStore, out: Path, tmp_path: Path
) -> None:
    made = [await decide(engine, f"客 {number % 4}", 1 + number % 3) for number in range(12)]
    for number in range(4):
        await log(store, f"客 {number}", event(f"e-{number}", f"客 {number}"))
    keep = 10**15
    await archive(store, out, keep=keep)
    await archive(store, tmp_path, keep=keep, group="local")
    for dataset in DATASETS:
        assert rows(out, dataset) == rows(tmp_path, dataset)
    both = (out, tmp_path)
    for found in made:
        assert look_up(out, found) == look_up(tmp_path, found)
    assert len({repr(list(read_replays(place))) for place in both}) == 1
    assert len({repr(list(archived_events(place, ["visit"]))) for place in both}) == 1
    for place in both:
        (day,) = days_of(place, "events")
        assert [row["event_id"] for row in rows_of(place, "events", day, ["客 1"])] == ["e-1"]
        known = Whereabouts(place)
        assert len(known.files("events", ["客 1"])) == len(known.files("events", ["客 1"])) == 1
        assert known.files("events", ["nobody"]) == []
        with open_database() as database:
            database.scan_dataset("decisions", files(place, "decisions"))
            database.view_dataset("events", files(place, "events"))
            query = "SELECT count(*), (SELECT count(*) FROM events) FROM decisions"
            with database.beside() as other:
                other.view_files("again", files(place, "events"))
                assert other.value("SELECT count(*) FROM again") == 4
            assert database.rows(query) == [(len(rows(place, "decisions")), 4)]


async def test_an_erasure_leaves_no_byte_of_the_customer_in_any_object(
    engine: Engine, store: MemoryStore, server: ObjectStore, out: Path
) -> None:
    for names in (("zebra0zebra", "zebra1zebra"), ("zebra2zebra",)):
        for name in names:
            await decide(engine, name)
        await archive(store, out)
    Whereabouts(out).files("decisions", ["zebra0zebra"])
    compact(ArchiveFolder(out), fewest=2)
    table = Table.find(ArchiveFolder(out), "decisions")
    assert table is not None
    left = TableChange(table)  # of a process that died before its commit
    left.add("2026-01-01", parquet_file(table.files[0]).read())
    assert b"zebra0zebra" in everything(server)
    await engine.customers.erase("zebra0zebra")
    await archive(store, out)
    assert b"zebra0zebra" not in everything(server)
    assert erase_from_archive(out, ["zebra1zebra"]).rows > 0
    assert b"zebra1zebra" not in everything(server)
    assert b"zebra2zebra" in everything(server)


async def test_who_looked_before_a_removal_commits_nothing_that_was_removed(
    engine: Engine, store: MemoryStore, out: Path
) -> None:
    """Nothing can be locked there: files that are not committed yet look as if left over."""
    await decide(engine, "c-1")
    await archive(store, out)
    late, other = (Table.find(ArchiveFolder(out), "decisions") for _ in range(2))
    assert late is not None
    assert other is not None
    change = TableChange(late)
    change.add("2026-01-01", parquet_file(late.files[0]).read())
    assert len(other.vacuum()) == 1
    with pytest.raises(TableChanged):
        change.commit({"late": 1})
    assert len(rows(out, "decisions")) == 1
    change = TableChange(late)  # having looked again
    change.add("2026-01-01", parquet_file(late.files[0]).read())
    change.commit({"late": 1})
    assert len(rows(out, "decisions")) == 2


async def test_a_commit_with_a_lost_answer_recognises_itself(
    store: MemoryStore, server: ObjectStore, out: Path
) -> None:
    await log(store, "c-1", event("before", "c-1"))
    await archive(store, out)
    await log(store, "c-2", event("once", "c-2"))
    with server.failing(LOST, **COMMITS, times=1, skip=1):
        await archive(store, out)
    assert ids(out) == Counter(["before", "once"])
    await log(store, "c-2", event("always", "c-2"))
    # all answers are lost until the process gives up
    with server.failing(LOST, **COMMITS), pytest.raises(ArchiveUnavailable):
        await archive(store, out)
    await archive(store, out)
    assert ids(out) == Counter(["before", "once", "always"])
    assert not [row for number in range(256) for row in await store.log_records(number)]


async def test_a_store_that_stays_away_is_told_with_the_fix_and_nothing_leaves_the_log(
    store: MemoryStore, server: ObjectStore, out: Path
) -> None:
    await log(store, "c-1", event("e", "c-1"))
    with server.failing(BUSY, times=2, method="PUT"):  # two requests are made again
        await archive(store, out, keep=10**15)
    await log(store, "c-2", event("f", "c-2"))
    for kind, said in ((BUSY, "is busy"), (DROPPED, "cannot be reached")):
        for failing in ({"method": "GET"}, COMMITS):
            with server.failing(kind, **failing), pytest.raises(ArchiveUnavailable) as error:
                await archive(store, out)
            assert str(out) in str(error.value)
            assert said in str(error.value)
    assert len([row for number in range(256) for row in await store.log_records(number)]) == 2
    with server.failing(DROPPED, times=2, method="PUT"):
        await archive(store, out)
    assert ids(out) == Counter("ef")


async def test_a_service_waits_for_a_store_that_is_away_and_goes_on(
    store: MemoryStore, server: ObjectStore, out: Path
) -> None:
    said: list[str] = []
    stop = asyncio.Event()
    options = ArchiveOptions(folder=out, every=50_000, keep=0)

    class Told(Progress):
        def say(self, text: str) -> None:
            said.append(text)

    async def until(words: str) -> None:
        async with asyncio.timeout(60):
            while not any(words in text for text in said):
                await asyncio.sleep(0.02)

    await log(store, "c-1", event("e", "c-1"))
    await archive(store, out)
    await log(store, "c-2", event("f", "c-2"))
    with server.failing(BUSY, **COMMITS):
        service = asyncio.ensure_future(archive_log(store, options, wall_clock, stop, Told()))
        await until("trying again")
    await until("the object store is back")
    stop.set()
    await service
    assert ids(out) == Counter("ef")
    assert sum("trying again" in text for text in said) == 1


@pytest.mark.parametrize(
    ("variables", "url", "said"),
    [
        ({"AWS_ACCESS_KEY_ID": "wrong"}, "s3://bucket/a", "AWS_ACCESS_KEY_ID and AWS_SECRET"),
        ({}, "s3://other/a", "there is no bucket other; make it"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "s3://bucket/a", "check AWS_ENDPOINT_URL"),
        ({"AWS_ALLOW_HTTP": "false"}, "s3://bucket/a", "set AWS_ALLOW_HTTP=true"),
    ],
)
async def test_settings_that_are_wrong_are_told_with_the_fix_before_the_log_is_touched(
    store: MemoryStore, server: ObjectStore, monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str], url: str, said: str,
) -> None:  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    forget_clients()
    await log(store, "c-1", event("e", "c-1"))
    with pytest.raises(ArchiveUnavailable) as error:
        await archive(store, location(url))
    assert said in str(error.value)
    assert str(error.value).startswith(url)
    with pytest.raises(ArchiveUnavailable, match=r"check|make|set"):
        files(location(url), "events")
    assert not await store.get_blob("archive:archive")
    assert len([row for number in range(256) for row in await store.log_records(number)]) == 1


async def test_a_store_without_conditional_writes_is_refused(
    store: MemoryStore, server: ObjectStore, out: Path
) -> None:
    server.careless()
    with pytest.raises(ArchiveError, match="If-None-Match"):
        await archive(store, out)


def test_a_url_of_no_known_store_and_a_package_that_is_missing_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for url, said in (
        ("ftp://host/a", "begins with s3://"),
        ("s3:///a", "names no bucket"),
        ("s3:/bucket/a", "names no bucket; write s3://BUCKET/FOLDER"),
        ("s3://bucket//a", "'' can be no part of it"),
        ("s3://bucket/../a", r"'\.\.' can be no part"),
        ("s3://bucket:80/a", "'bucket:80' can be no part"),
        ("folder%41/a", "choose a folder without it"),
        *((f"s3://bucket/a{one}b", "can be no part of it") for one in "?#%[]*~|\\\n"),
    ):
        with pytest.raises(ArchiveError, match=said):
            location(url)
    assert str(location("S3://bucket/a b/客")) == "s3://bucket/a b/客"
    assert str(location("a#b?c 100%")) == "a#b?c 100%"
    monkeypatch.setattr("decision.installation.find_spec", lambda name: name != "obstore" or None)
    with pytest.raises(Exception, match="an archive at s3:// needs obstore; install"):
        location("s3://bucket/a")


def test_registers_of_several_processes_hold_what_each_has_said(out: Path, tmp_path: Path) -> None:
    for place in (out, tmp_path):
        assert save_register(place, [b"a"], []) == save_register(place, [b"a"], []) == "1"
        assert save_register(place, [b"a", b"b"], []) == save_register(place, [b"a"], []) == "2"
        assert save_register(place, [b"c"], []) == "3"


async def faulty(
    redis_store: RedisStore,
    redis_url: str,
    prefix: str,
    server: ObjectStore,
    rounds: int,
    shares: tuple[str, str] = ("1/2", "2/2"),
) -> None:
    """Two archivers are killed, or get no answers, at random while decisions are logged."""
    out, chance = "s3://bucket/archive", random.Random(rounds)
    writer = Writer(await engine_on(redis_store))

    async def kill(archivers: Archivers) -> None:
        for _ in range(rounds):
            pid = await archivers.start()
            await asyncio.sleep(chance.uniform(0.05, 0.8))
            os.kill(pid, signal.SIGKILL)
            await archivers.ended()

    async with (
        Archivers(redis_url, prefix, out, shares[0]) as odd,  # type: ignore[arg-type]
        Archivers(redis_url, prefix, out, shares[1]) as even,  # type: ignore[arg-type]
    ):
        load = asyncio.ensure_future(writer.run())
        try:
            with server.failing("any", chance=0.05):
                await asyncio.gather(kill(odd), kill(even))
        finally:
            writer.stopped = True
            await load
        for archivers in itertools.chain([odd, even]):
            assert await archivers.run_once() == 0
    place = location(out)
    assert max(archived(place, "decisions").values()) == 1
    counts = verify(place, writer)
    left = [len(await redis_store.log_records(partition)) for partition in range(256)]
    assert sum(left) == 0
    print(f"\n{2 * rounds} kills: {counts}")


@pytest.mark.slow
async def test_two_archivers_killed_and_without_answers_lose_and_double_nothing(
    redis_store: RedisStore, redis_url: str, prefix: str, server: ObjectStore
) -> None:
    await faulty(redis_store, redis_url, prefix, server, 1)


@pytest.mark.soak
@pytest.mark.parametrize("shares", [("1/2", "2/2"), ("1/1", "1/1")])
async def test_two_archivers_killed_fifty_times_and_without_answers_lose_and_double_nothing(
    redis_store: RedisStore,
    redis_url: str,
    prefix: str,
    server: ObjectStore,
    shares: tuple[str, str],
) -> None:
    """Also of the same share, without the claim that keeps one of them from it."""
    await faulty(redis_store, redis_url, prefix, server, 25, shares)


async def test_two_archivers_at_a_time_on_old_states_of_the_tables_lose_and_double_nothing(
    store: MemoryStore, out: Path
) -> None:
    """Of the same partitions: what nothing refuses in an object store."""
    both = [Archiver(ArchiveFolder(out), store, clock=wall_clock, keep=10**15) for _ in range(2)]
    for one in both:
        await one.open()
    for number in range(4):
        await log(store, f"c-{number}", event(f"e-{number}", f"c-{number}"))
        await both[number % 2].run()
    await both[0].run()
    await both[1].run()
    assert ids(out) == Counter(f"e-{number}" for number in range(4))
