"""The archiver killed at any moment: rows in Parquet are the records logged, each once."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
from pathlib import Path

import pytest

from decision.archive import journal as journals
from decision.archive.archiver import Archiver
from decision.archive.compaction import compact
from decision.archive.journal import ArchiveTransaction, Journal, read_manifest
from decision.engine.runtime import wall_clock
from decision.store import RedisStore
from tests.crash.archiving import Archivers, Writer, archived, engine_on, verify

pytestmark = pytest.mark.anyio


async def killed(store: RedisStore, url: str, prefix: str, out: Path, kills: int) -> None:
    """Kills archivers one after another while decisions and events go on being logged."""
    writer = Writer(await engine_on(store))
    chance = random.Random(kills)
    seen: set[int] = set()
    async with Archivers(url, prefix, out) as archivers:
        load = asyncio.ensure_future(writer.run())
        try:
            for _ in range(kills):
                pid = await archivers.start()
                if chance.random() < 0.7:
                    await commits(out, chance.randint(1, 3))
                await asyncio.sleep(chance.uniform(0, 0.15))
                os.kill(pid, signal.SIGKILL)
                assert await archivers.ended() == -signal.SIGKILL
                found = archived(out, "decisions")
                assert max(found.values(), default=1) == 1
                seen.add(len(found))
        finally:
            writer.stopped = True
            await load
        assert await archivers.run_once() == 0
    counts = verify(out, writer)
    left = [len(await store.log_records(partition)) for partition in range(256)]
    assert sum(left) == 0
    print(f"\n{kills} kills: {counts}, seen at {len(seen)} states")
    assert len(seen) > 1  # it came further between kills


async def commits(out: Path, number: int) -> None:
    """Waits until so many more changes are committed."""
    manifest = read_manifest(out)
    assert manifest is not None
    until = manifest.number + number
    async with asyncio.timeout(60):
        while manifest is None or manifest.number < until:
            await asyncio.sleep(0.01)
            manifest = read_manifest(out)


@pytest.mark.slow
async def test_killed_six_times_under_load_nothing_is_lost_or_doubled(
    redis_store: RedisStore, redis_url: str, prefix: str, tmp_path: Path
) -> None:
    await killed(redis_store, redis_url, prefix, tmp_path / "out", 6)


@pytest.mark.soak
async def test_killed_fifty_times_under_load_nothing_is_lost_or_doubled(
    redis_store: RedisStore, redis_url: str, prefix: str, tmp_path: Path
) -> None:
    await killed(redis_store, redis_url, prefix, tmp_path / "out", 50)


class Died(BaseException):
    """Stands for the end of the process: nothing of ours runs any more."""


STEPS = (
    *("before a file", "after a file", "before the manifest", "after the manifest"),
    *("after a rename", "after a removal", "before trimming", "after trimming"),
)


async def archive_once(store: RedisStore, out: Path, end: str = "", nth: int = 1) -> None:
    """One run that ends where it takes a step for the nth time."""
    left = itertools.count(nth - 1, -1)

    def step(name: str) -> None:
        if name == end and next(left) == 0:
            raise Died(name)

    journal = Journal(out, step)
    with journal.alone():
        archiver = Archiver(journal, store, clock=wall_clock, keep=0, batch=20)
        await archiver.open()
        await archiver.run()
        compact(journal, small=50_000, fewest=3)


@pytest.mark.slow
async def test_ended_at_every_step_nothing_is_lost_or_doubled(
    redis_store: RedisStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after each file, the manifest, each rename and removal, and trimming."""
    monkeypatch.setattr(
        ArchiveTransaction, "abandon", lambda self: None
    )  # the dead tidy nothing up
    monkeypatch.setattr(journals, "_PATIENCE", 0.05)  # and finish no rename
    writer = Writer(await engine_on(redis_store))
    out = tmp_path / "out"
    numbers = itertools.count()
    for end, nth in itertools.product(STEPS, (1, 2)):
        for number in itertools.islice(numbers, 16):
            await writer.one(number, f"c-{number % 20}")
        with pytest.raises(Died, match=end):
            await archive_once(redis_store, out, end, nth)
        for dataset, ids in writer.logged.items():
            found = archived(out, dataset)
            assert max(found.values(), default=1) == 1
            assert found.keys() <= ids
    await archive_once(redis_store, out)
    print(f"\n{verify(out, writer)}")
