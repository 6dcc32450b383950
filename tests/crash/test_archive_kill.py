"""The archiver killed at any moment: rows in Parquet are the records logged, each once."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
from pathlib import Path

import pytest

from decision.archive.archiver import Archiver
from decision.archive.change import TableChange
from decision.archive.compaction import compact
from decision.archive.folder import ArchiveFolder
from decision.engine.runtime import wall_clock
from decision.store import RedisStore
from tests.crash.archiving import Archivers, Writer, archived, engine_on, verify

pytestmark = pytest.mark.anyio


async def killed(store: RedisStore, url: str, prefix: str, out: Path, kills: int) -> None:
    """Kills archivers, two at a time with a share each, while decisions and events are logged."""
    writer = Writer(await engine_on(store))
    chance = random.Random(kills)
    seen: set[int] = set()

    async def kill(archivers: Archivers) -> None:
        pid = await archivers.start()
        if chance.random() < 0.7:
            await commits(out, chance.randint(1, 3))
        await asyncio.sleep(chance.uniform(0, 0.15))
        os.kill(pid, signal.SIGKILL)
        assert await archivers.ended() == -signal.SIGKILL
        found = archived(out, "decisions")
        assert max(found.values(), default=1) == 1
        seen.add(len(found))

    async def kill_all(archivers: Archivers) -> None:
        for _ in range(kills // 2):
            await kill(archivers)

    async with (
        Archivers(url, prefix, out, "1/2") as odd,
        Archivers(url, prefix, out, "2/2") as even,
    ):
        load = asyncio.ensure_future(writer.run())
        try:
            await asyncio.gather(kill_all(odd), kill_all(even))
        finally:
            writer.stopped = True
            await load
        assert await odd.run_once() == await even.run_once() == 0
    counts = verify(out, writer)
    left = [len(await store.log_records(partition)) for partition in range(256)]
    assert sum(left) == 0
    print(f"\n{kills} kills: {counts}, seen at {len(seen)} states")
    assert len(seen) > 1  # it came further between kills


async def commits(out: Path, number: int) -> None:
    """Waits until so many more batches are committed."""

    def made() -> int:
        return sum(1 for _ in (out / "_progress" / "_delta_log").glob("*.json"))

    until = made() + number
    async with asyncio.timeout(60):
        while made() < until:
            await asyncio.sleep(0.01)


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
    *("before a table", "before a file", "after a file", "before a commit", "after a commit"),
    *("before a removal", "after a removal", "before trimming", "after trimming"),
)


async def archive_once(store: RedisStore, out: Path, end: str = "", nth: int = 1) -> None:
    """One run that ends where it takes a step for the nth time."""
    left = itertools.count(nth - 1, -1)

    def step(name: str) -> None:
        if name == end and next(left) == 0:
            raise Died(name)

    folder = ArchiveFolder(out, step)
    with folder.claimed():
        archiver = Archiver(folder, store, clock=wall_clock, keep=0, batch=20)
        await archiver.open()
        await archiver.run()
        compact(folder, small=50_000, fewest=3, kept=0)


@pytest.mark.slow
async def test_ended_at_every_step_nothing_is_lost_or_doubled(
    redis_store: RedisStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after each table, file, commit and removal, and trimming."""
    monkeypatch.setattr(TableChange, "abandon", lambda self: None)  # the dead tidy nothing up
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
