"""Archiving against what pyarrow alone takes to write the same rows.

    python -m benchmarks.archive

Decisions of the sample policy, and events about them, in one Redis. First they are archived: from
the stream to committed files, with everything that belongs to it (reading Redis, telling what is
known already, laying out every candidate, syncing, noting in Redis how far it came), into tables
that have some rows already, as they are made once in the life of an archive. Then the very
tables that were written are written again with pyarrow's `ParquetWriter`, with the same options.
Both in one process, warm, by turns; the least of several rounds counts.

Three figures: CPU of the process (`time.process_time`), Redis's own left out; the clock, both
sides with their files on disk (archiving syncs twelve things a commit, the tables four files); and
the clock without any syncing. The bound is on the CPU, which a busy neighbour or a slow disk does
not change: archiving takes at most three times as long.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pyarrow.parquet as pq

from benchmarks._standard import NOW, fill
from benchmarks.decision_cost import make_engine, request_for, sample
from decision.archive.archiver import Archiver
from decision.archive.folder import ArchiveFolder
from decision.archive.layout import DATASETS, write_table
from decision.archive.tables import files
from decision.core.schema import Event
from decision.files import sync_file
from decision.store import EmbeddedRedis, RedisStore

BOUND = 3.0
ROUNDS = 10
DECISIONS = 10_000
BEGUN = 100
"""Decisions that are in the archive before."""
_PREFIX = "archive:"
_GROUP = "archive"


class Spent(NamedTuple):
    """Seconds of CPU of this process, and by the clock."""

    cpu: float
    clock: float


class Watch:
    """What was spent since it was made."""

    def __init__(self) -> None:
        self._cpu, self._clock = time.process_time(), time.perf_counter()

    def read(self) -> Spent:
        return Spent(time.process_time() - self._cpu, time.perf_counter() - self._clock)


def log(url: str, decisions: int) -> None:
    """Fills the log, in a process of its own: the server is not the archiver."""
    asyncio.run(_log(url, decisions))


async def _log(url: str, decisions: int) -> None:
    """Decisions and events, after the customers' own past is archived away."""
    store = RedisStore(url, prefix=_PREFIX)
    engine = await make_engine(sample(), None, store)
    names = await fill(engine, store)
    for partition in range(256):
        await store.advance_log(partition, "bench", "9999999999999-0", 9_999_999_999_999)
    for number in range(decisions):
        at = NOW + number * 1000
        got = await engine.decide(request_for(names[number % len(names)]), now=at)
        if got.outcome == "selected":
            about = {"customer_id": got.customer_id, "decision_id": got.decision_id}
            await engine.events.record([Event(type="message.clicked", **about)], now=at)
    await store.close()


async def archive(store: RedisStore, out: Path, begun: Path | None = None) -> tuple[Spent, int]:
    """(what it took from the stream to committed files, decisions).

    It goes on with a copy of the archive `begun`. The policy is read before, as it is once in the
    life of a process.
    """
    if begun is not None:
        shutil.copytree(begun, out)
    archiver = Archiver(ArchiveFolder(out), store, clock=lambda: NOW, group=_GROUP, keep=10**15)
    await archiver.open()
    await archiver.know_policy(sample().version)
    watch = Watch()
    await archiver.run()
    spent = watch.read()
    await store.leave_log(_GROUP)
    return spent, archiver.counts.rows["decisions"]


def written(out: Path, begun: Path) -> list[Any]:
    """The tables that an archive has more than the one that it began with."""
    return [
        pq.read_table(path, partitioning=None)
        for dataset in DATASETS
        for path in files(out, dataset)
        if not (begun / path.relative_to(out)).exists()
    ]


def write(tables: list[Any], out: Path) -> Spent:
    """What it takes to write the tables once more, each to be on disk."""
    out.mkdir(exist_ok=True)
    watch = Watch()
    for number, table in enumerate(tables):
        path = out / f"{number}.parquet"
        write_table(table, path)
        sync_file(path)
    return watch.read()


@contextmanager
def without_syncing() -> Iterator[None]:
    """Nothing waits for the disk while this is open."""
    with mock.patch.object(os, "fsync"):
        yield


async def rounds(store: RedisStore, folder: Path, begun: Path) -> tuple[Spent, Spent, int]:
    """(the least that archiving takes, the least that writing takes, decisions)."""
    ours: list[Spent] = []
    alone: list[Spent] = []
    rows = 0
    for number in range(ROUNDS + 1):
        spent, rows = await archive(store, folder / f"{folder.name}{number}", begun)
        tables = written(folder / f"{folder.name}{number}", begun)
        again = write(tables, folder / "again")
        if number:  # the first one warms up
            ours.append(spent)
            alone.append(again)
    return _least(ours), _least(alone), rows


def _least(found: list[Spent]) -> Spent:
    return Spent(min(one.cpu for one in found), min(one.clock for one in found))


async def measure(decisions: int, folder: Path) -> dict[str, float]:
    (folder / "synced").mkdir()
    (folder / "unsynced").mkdir()
    with EmbeddedRedis(folder / "redis") as url:
        store, begun = RedisStore(url, prefix=_PREFIX), folder / "begun"
        for many in (BEGUN, decisions):
            child = get_context("spawn").Process(target=log, args=(url, many))
            child.start()
            await asyncio.to_thread(child.join)
            if many == BEGUN:
                await store.start()
                await archive(store, begun)
        ours, alone, rows = await rounds(store, folder / "synced", begun)
        with without_syncing():
            ours_unsynced, alone_unsynced, _ = await rounds(store, folder / "unsynced", begun)
        await store.close()
    cpu = min(ours.cpu, ours_unsynced.cpu), min(alone.cpu, alone_unsynced.cpu)
    pairs = {
        "cpu": cpu,
        "clock": (ours.clock, alone.clock),
        "clock_unsynced": (ours_unsynced.clock, alone_unsynced.clock),
    }
    found: dict[str, float] = {"decisions": rows, "bound": BOUND}
    for name, (archiving, writing) in pairs.items():
        found[f"{name}_archive_us"] = archiving / rows * 1e6
        found[f"{name}_write_us"] = writing / rows * 1e6
        found[f"{name}_ratio"] = archiving / writing
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.archive", description=__doc__)
    parser.add_argument("--decisions", type=int, default=DECISIONS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(arguments.decisions, Path(folder)))
    if arguments.json:
        print(json.dumps(found))
    else:
        print(f"{found['decisions']:,.0f} decisions of the sample policy; µs a decision")
        print(f"{'':32}{'archive':>9}{'pyarrow':>9}{'ratio':>7}")
        for name, text in (
            ("cpu", f"CPU (bound {BOUND:g})"),
            ("clock", "by the clock, synced to disk"),
            ("clock_unsynced", "by the clock, not synced"),
        ):
            ours, alone = found[f"{name}_archive_us"], found[f"{name}_write_us"]
            print(f"{text:32}{ours:9.1f}{alone:9.1f}{found[f'{name}_ratio']:7.2f}")
    return 0 if found["cpu_ratio"] <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
