"""The archive's tables: other writers, other readers, other versions, and what a kill leaves."""

from __future__ import annotations

import asyncio
import itertools
import re
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from decision.archive import earlier
from decision.archive.archiver import Archiver
from decision.archive.compaction import compact
from decision.archive.erasing import erase_from_archive
from decision.archive.errors import ArchiveBusy, ArchiveError
from decision.archive.features import features_of
from decision.archive.folder import ArchiveFolder, Share
from decision.archive.layout import DATASETS
from decision.archive.positions import entry_of, transactions_at, version_of
from decision.archive.progress import read_state
from decision.archive.table import Table
from decision.archive.tables import files, is_archive
from decision.core import records
from decision.core.clock import DAY
from decision.core.identifiers import partition_of
from decision.core.ports import LogRecord
from decision.core.schema import Event
from decision.engine import Engine
from decision.engine.runtime import wall_clock
from decision.store import MemoryStore
from tests.archive.test_archive import archive, decide, engine, event, log, rows
from tests.crash.test_erasure import in_archive

__all__ = ["engine"]
pytestmark = pytest.mark.anyio


class Died(BaseException):
    """Stands for the end of the process: nothing of ours runs any more."""


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def ids(out: Path, dataset: str = "events") -> Counter[str]:
    return Counter(row["event_id"] for row in rows(out, dataset))


class Unlocked(ArchiveFolder):
    """A folder on a file system without locks."""

    @contextmanager
    def writing(self, *, exclusive: bool = False, patience: float = 0) -> Iterator[None]:
        yield


def in_a_thread(work: Callable[[], Any]) -> None:
    """Runs a coroutine to its end, although an event loop is running here."""
    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    thread.join()


@pytest.mark.parametrize("turn", range(5))
async def test_of_two_archivers_of_one_partition_the_late_one_looks_again_and_nothing_is_twice(
    engine: Engine, store: MemoryStore, tmp_path: Path, turn: int
) -> None:
    """Another one does all of it, and more, before one of the commits of the first."""
    out, left = tmp_path / "out", itertools.count(turn, -1)
    made = [await decide(engine, f"c-{number}") for number in range(4)]

    async def overtake() -> None:
        await log(store, "c-1", event("later", "c-1"))
        other = Archiver(Unlocked(out), store, clock=wall_clock, keep=0)
        await other.open()
        await other.run()

    def step(name: str) -> None:
        if name == "before a commit" and next(left) == 0:
            in_a_thread(overtake)

    first = Archiver(Unlocked(out, step), store, clock=wall_clock, keep=10**12)
    await log(store, "c-1", event("e", "c-1"))
    await first.open()
    await first.run()
    assert ids(out) == (Counter(["e", "later"]) if turn < 4 else Counter(["e"]))
    for dataset in ("decisions", "replays"):
        assert Counter(row["decision_id"] for row in rows(out, dataset)) == Counter(made)


async def test_shares_divide_the_log_and_two_of_one_share_or_of_other_shares_are_refused(
    store: MemoryStore, tmp_path: Path
) -> None:
    names = [f"c-{number}" for number in range(24)]
    for name in names:
        await log(store, name, event(f"e-{name}", name))
    folder, halves = ArchiveFolder(tmp_path), [Share(1, 2), Share(2, 2)]
    with folder.claimed(halves[0]), folder.claimed(halves[1]):
        for share in (*halves, Share(), Share(3, 3)):
            with pytest.raises(ArchiveBusy, match="stop that one first"), folder.claimed(share):
                pass
        both = [Archiver(folder, store, clock=wall_clock, keep=0, share=one) for one in halves]
        for one in both:
            await one.open()
        await both[1].run()
        assert ids(tmp_path).keys() == {f"e-{name}" for name in names if partition_of(name) % 2}
        await both[0].run()
    assert ids(tmp_path) == Counter(f"e-{name}" for name in names)
    with folder.claimed():
        pass
    assert (await archive(store, tmp_path)).counts.entries == 0


def delta_log(out: Path, dataset: str = "events") -> list[Path]:
    return sorted((out / dataset / "_delta_log").glob("*.json"))


async def test_a_damaged_log_of_a_table_is_named_with_what_to_do(
    store: MemoryStore, tmp_path: Path
) -> None:
    await log(store, "c", event("e", "c"))
    await archive(store, tmp_path)
    last = delta_log(tmp_path)[-1]
    last.write_bytes(last.read_bytes()[:-40])
    await log(store, "c", event("f", "c"))
    for look in (lambda: files(tmp_path, "events"), lambda: erase_from_archive(tmp_path, ["c"])):
        with pytest.raises(ArchiveError, match=rf"{last.name} is damaged.*from a backup"):
            look()
    with pytest.raises(ArchiveError, match=rf"{last.name} is damaged"):
        await archive(store, tmp_path)
    assert len(await store.log_records(partition_of("c"))) == 1  # it waits


async def test_others_read_the_tables_by_name(
    engine: Engine, store: MemoryStore, tmp_path: Path
) -> None:
    """Also where a later file has features that an earlier one lacks, and after files are merged."""
    for name in ("c-1", "c-2"):
        await decide(engine, name)
        await engine.events.record([Event(type="visit", customer_id=name)])
        await archive(store, tmp_path)
        found = Table.find(ArchiveFolder(tmp_path), "decisions")
        assert found is not None
        found.widen({f"customer.{name}": "number"})
    for _ in range(2):
        for dataset in ("decisions", "replays", "events"):
            table = DeltaTable(tmp_path / dataset)
            protocol = table.protocol()
            assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)
            data = table.to_pyarrow_dataset()
            column = "event_id" if dataset == "events" else "decision_id"
            read = sorted(data.to_table(columns=[column]).column(0).to_pylist())
            assert read == sorted(row[column] for row in rows(tmp_path, dataset)) and len(read) == 2
        assert compact(ArchiveFolder(tmp_path), fewest=2, kept=0).files in (0, 6)
    kinds = {row["features"]["message.name"] for row in rows(tmp_path, "decisions")}
    assert kinds <= {"a", "b", "c", "d"}


MARK = "zebra000zebra"


async def test_of_an_erased_customer_no_byte_is_left_in_old_files_logs_or_checkpoints(
    store: MemoryStore, tmp_path: Path
) -> None:
    """Whatever step the process dies at; and what comes after the erasure stays."""
    steps = ("before a file", "before a commit", "after a commit", "before a removal")
    for number, end in enumerate((*steps, "after a removal", "before trimming", "")):
        out, left = tmp_path / f"{number}", itertools.count(0, -1)
        fresh = MemoryStore()
        engine = Engine(fresh)
        for turn in range(2):
            await log(fresh, MARK, event(f"e-{turn}", MARK), event(f"f-{turn}", MARK))
            await log(fresh, "c", event(f"g-{turn}", "c"))
            await archive(fresh, out)
        compact(ArchiveFolder(out), fewest=2)
        assert re.findall(MARK.encode(), in_archive(out))
        DeltaTable(out / "events").create_checkpoint()
        assert not any(MARK in path.read_text() for path in out.rglob("*.json"))
        await engine.customers.erase(MARK)
        await log(fresh, "c", event("after", "c"))

        def step(name: str, end: str = end, left: Any = left) -> None:
            if name == end and next(left) == 0:
                raise Died(name)

        if end:
            folder = ArchiveFolder(out)
            archiver = Archiver(folder, fresh, clock=wall_clock, keep=0)
            await archiver.open()
            folder.step = step
            with pytest.raises(Died):
                await archiver.run()
        await archive(fresh, out)
        assert MARK.encode() not in in_archive(out), end
        assert ids(out) == Counter([*(f"g-{turn}" for turn in range(2)), "after"])
        assert [row["kind"] for row in rows(out, "changes")] == ["erasure"]


async def test_what_comes_after_an_erasure_stays_when_it_is_done_again_after_a_kill(
    engine: Engine, store: MemoryStore, tmp_path: Path
) -> None:
    await engine.events.record([Event(type="visit", customer_id="c", id="before")])
    await archive(store, tmp_path)
    await engine.customers.erase("c")
    await engine.events.record([Event(type="visit", customer_id="c", id="after")])
    for nth in range(8):
        left = itertools.count(nth, -1)

        def step(name: str, left: Any = left) -> None:
            if name == "after a commit" and next(left) == 0:
                raise Died(name)

        archiver = Archiver(ArchiveFolder(tmp_path, step), store, clock=wall_clock, keep=0)
        try:
            await archiver.open()
            await archiver.run()
        except Died:
            continue
        break
    assert 1 < nth < 8
    assert ids(tmp_path) == Counter(["after"])


def as_earlier(out: Path, known: bytes) -> None:
    """Makes of an archive what an earlier version wrote."""
    state = read_state(out)
    assert state is not None
    named = {dataset: files(out, dataset) for dataset in DATASETS}
    manifest = earlier.Manifest(
        archive_id=state.archive_id,
        group=state.group,
        positions=state.positions,
        files={
            str(path.relative_to(out)): pq.ParquetFile(path).metadata.num_rows
            for paths in named.values()
            for path in paths
        },
        known_ids={path.parent.name[5:]: ["ids-1"] for path in files(out, "_progress")},
        pseudonymous=True,
        feature_types={"message.name": "text"},
    )
    for path in out.glob("*/_delta_log"):
        shutil.rmtree(path)
    shutil.rmtree(out / "_progress")
    (out / earlier.FOLDER).mkdir()
    (out / earlier.FOLDER / "ids-1").write_bytes(known)
    last = next(iter(manifest.files))
    manifest.added = [last]
    (out / last).rename(earlier.hidden(out / last))  # the last change was cut short
    (out / earlier.FOLDER / "manifest.json").write_bytes(msgspec.json.encode(manifest))


async def test_an_archive_of_an_earlier_version_becomes_tables_whatever_ends_it(
    engine: Engine, store: MemoryStore, tmp_path: Path
) -> None:
    """Every row once, no file copied, and what is logged again is recognised."""
    out = tmp_path / "out"
    for name in ("c-1", "c-2"):
        await decide(engine, name)
        await log(store, name, event(f"e-{name}", name))
    await archive(store, out)
    [kept] = files(out, "_progress")
    known = b"".join(pq.ParquetFile(kept).read().column("digests").to_pylist())
    before = {dataset: rows(out, dataset) for dataset in DATASETS}
    as_earlier(out, known)
    sizes = {path.name: path.stat().st_ino for path in out.rglob("date=*/*.parquet")}
    assert before == {dataset: rows(out, dataset) for dataset in DATASETS}  # it is read as it is
    state = read_state(out)
    await log(store, "c-1", event("e-c-1", "c-1"), event("new", "c-1"))
    for number in itertools.count():
        left = itertools.count(number, -1)

        def step(name: str, left: Any = left) -> None:
            if next(left) == 0:
                raise Died(name)

        archiver = Archiver(ArchiveFolder(out, step), store, clock=wall_clock, keep=0)
        try:
            await archiver.open()
        except Died:
            assert before == {dataset: rows(out, dataset) for dataset in DATASETS}
        else:
            break
    assert number > 5
    assert state is not None and read_state(out) == state
    assert is_archive(out) and not (out / earlier.FOLDER).exists()
    assert sizes.items() <= {p.name: p.stat().st_ino for p in out.rglob("date=*/*.parquet")}.items()
    done = await archive(store, out)
    assert (done.counts.duplicates, done.counts.rows["events"]) == (1, 1)
    assert ids(out) == Counter(["e-c-1", "e-c-2", "new"])
    assert rows(out, "decisions") == before["decisions"]


async def test_rows_that_an_earlier_version_wrote_and_that_are_not_there_are_missed(
    store: MemoryStore, tmp_path: Path
) -> None:
    await log(store, "c", event("e", "c"))
    await archive(store, tmp_path)
    as_earlier(tmp_path, b"")
    path = tmp_path / earlier.FOLDER / "manifest.json"
    manifest = earlier.read(tmp_path)
    manifest.files = dict.fromkeys(manifest.files, 7)
    path.write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(ArchiveError, match="has 1 rows, and the archive wrote 7"):
        await archive(store, tmp_path)
    assert path.exists()


async def test_a_folder_is_named_as_it_was_given_also_by_a_link_or_from_where_one_stands(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a real place").mkdir()
    (tmp_path / "a link").symlink_to("a real place")
    monkeypatch.chdir(tmp_path)
    out = Path("a link/归档")
    for number in range(2):
        await log(store, "c", event(f"e-{number}", "c"), event(f"f-{number}", "gone"))
        await archive(store, out)
    assert {path.parts[:2] for path in files(out, "events")} == {out.parts}
    assert erase_from_archive(out, ["gone"]).rewritten == 2
    assert compact(ArchiveFolder(out), fewest=2, kept=0).files == 2
    assert set(out.glob("events/date=*/*")) == set(files(out, "events"))
    assert ids(out) == Counter(["e-0", "e-1"])


async def test_features_that_begin_on_different_days_of_a_batch_are_all_columns(
    engine: Engine, store: MemoryStore, tmp_path: Path
) -> None:
    name = await decide(engine, "c")
    [logged] = [one for one in await store.log_records(partition_of("c")) if one.id == name]
    for day in (1, 2, 3):
        record = records.decode_decision(logged.body)
        record.decision_id, record.decided_at = f"d-{day}", record.decided_at - day * DAY
        for one in record.selections:
            one.features = {f"customer.f{day}": day, "customer.a b": day}
        await log(
            store, "c", LogRecord(kind="decision", id=f"d-{day}", body=records.encode(record))
        )
    await archive(store, tmp_path)
    found = Table.find(ArchiveFolder(tmp_path), "decisions")
    assert found is not None
    assert {
        f"customer.f{day}": "number" for day in (1, 2, 3)
    }.items() <= found.feature_types.items()
    assert "customer.a b" not in found.feature_types  # no column may be called that
    own = {row["decision_id"]: features_of(row) for row in rows(tmp_path, "decisions")}
    assert own["d-2"] == {"customer.f2": 2.0, "customer.a b": 2}


def test_an_id_out_of_range_is_refused() -> None:
    assert entry_of(version_of(f"1795821865255-{2**20 - 1}")) == f"1795821865255-{2**20 - 1}"
    for odd in (f"1-{2**20}", f"{2**42}-0"):
        with pytest.raises(ArchiveError, match="is out of range"):
            version_of(odd)


def test_the_positions_of_a_table_are_read_in_one_look(tmp_path: Path) -> None:
    """They are those that the library gives of each, before a checkpoint and after it; a log of
    which this cannot be read is asked for each."""
    table = Table.make(ArchiveFolder(tmp_path), "events")
    log_folder = table.path / "_delta_log"
    for number in range(1, 7):
        table.commit(transactions={f"a/p{place}": number for place in range(number)})
        if number == 3:
            table.delta.create_checkpoint()
        found = transactions_at(log_folder, table.delta.version())
        assert found == {f"a/p{place}": number for place in range(number)}
        assert all(table.delta.transaction_version(app) == at for app, at in found.items())
    assert transactions_at(log_folder, 2) is None  # the checkpoint is of later
    assert transactions_at(log_folder, 99) is None
    (log_folder / "_last_checkpoint").write_bytes(b"[")
    assert transactions_at(log_folder, table.delta.version()) is None
    again = Table.find(ArchiveFolder(tmp_path), "events")
    assert again is not None
    assert [again.position(f"a/p{place}") for place in range(8)] == [6] * 6 + [None] * 2
    table.commit(transactions={"a/p7": 1})
    again.look()
    for one in (table, again):
        assert [one.position(f"a/p{place}") for place in (5, 6, 7)] == [6, None, 1]
