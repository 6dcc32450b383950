"""One process at a time archives a share: on a disk, and in an object store."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from decision.archive import claim, service
from decision.archive.claim import LASTS, ShareClaim, ShareHolder
from decision.archive.errors import ArchiveUnavailable, ShareTaken
from decision.archive.folder import WHOLE, ArchiveFolder, Share
from decision.archive.location import location
from decision.archive.service import ArchiveOptions, archive_log, leave_archive
from decision.core.clock import SECOND
from decision.engine.runtime import wall_clock
from decision.progress import Progress
from decision.store import MemoryStore
from tests.archive.test_archive import event, log
from tests.archive.test_object_store import ids, out, running, server

__all__ = ["running", "server"]
pytestmark = pytest.mark.anyio
in_store = out


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture(params=["disk", "object store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "disk":
        return tmp_path
    found: Path = request.getfixturevalue("in_store")
    return found


@dataclass
class Service(Progress):
    """An archive service under way, and what it says."""

    said: list[str] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    def say(self, text: str) -> None:
        self.said.append(text)


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not what():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(store: MemoryStore, place: Path, share: Share = WHOLE) -> AsyncIterator[Service]:
    own = Service()
    options = ArchiveOptions(folder=place, every=20_000, keep=0, share=share)
    task = asyncio.create_task(archive_log(store, options, wall_clock, own.stop, own))
    try:
        yield own
    finally:
        own.stop.set()
        await task


async def test_a_second_service_says_who_has_the_share_and_goes_on_when_that_one_ends(
    store: MemoryStore, place: Path
) -> None:
    await log(store, "c-1", event("a", "c-1"))
    async with serving(store, place) as first:
        await until(lambda: ids(place) == Counter("a"))
        async with serving(store, place) as second:
            await until(lambda: bool(second.said))
            assert second.said[0].startswith(f"{place} is being written by another nextbest")
            assert f"process {os.getpid()} on {socket.gethostname()}" in second.said[0]
            with pytest.raises(ShareTaken, match=r"\(process .*stop that one first"):
                await archive_log(store, ArchiveOptions(folder=place), wall_clock, first.stop)
            with pytest.raises(ShareTaken, match="stop that one first"):
                await leave_archive(store, ArchiveOptions(folder=place), wall_clock)
            async with serving(store, place, Share(1, 2)) as other:
                await until(lambda: bool(other.said))
            assert "(share 1/2)" in other.said[0] and "which takes one share of 1" in other.said[0]
            first.stop.set()
            await until(lambda: len(second.said) == 2)
            await log(store, "c-2", event("b", "c-2"))
            await until(lambda: ids(place) == Counter("ab"))
        assert "this one goes on" in second.said[1]
    assert not first.said
    halves = [ShareClaim(ArchiveFolder(place), store, "archive", Share(n, 2)) for n in (1, 2)]
    for half in halves:
        await half.take()
    with pytest.raises(ShareTaken, match="which takes one share of 2"):
        await ShareClaim(ArchiveFolder(place), store, "archive", Share()).take()
    for half in halves:
        await half.give_back()


async def test_what_a_killed_process_has_in_redis_ends_by_itself(in_store: Path) -> None:
    ahead = [0.0]
    store = MemoryStore(clock=lambda: time.time() + ahead[0])
    killed = msgspec.json.encode(ShareHolder(str(in_store), 1, "pod-7", 17, "x"))
    assert await store.claim_share("archive", "1/1", killed, LASTS) is None
    with pytest.raises(ShareTaken, match=r"process 17 on pod-7.*wait a minute if it was killed"):
        await archive_log(store, ArchiveOptions(folder=in_store), wall_clock, asyncio.Event())
    await log(store, "c-1", event("a", "c-1"))
    async with serving(store, in_store) as service:
        await until(lambda: len(service.said) == 1)
        ahead[0] = LASTS / SECOND + 1
        await until(lambda: ids(in_store) == Counter("a"))
    assert len(service.said) == 2


async def test_who_would_stand_by_and_could_not_go_on_ends_at_once_with_the_reason(
    store: MemoryStore, in_store: Path
) -> None:
    held = ShareClaim(ArchiveFolder(in_store), store, "archive", WHOLE)
    await held.take()
    options = ArchiveOptions(folder=location("s3://other/a"), every=20_000)
    with pytest.raises(ArchiveUnavailable, match="there is no bucket other; make it"):
        await archive_log(store, options, wall_clock, asyncio.Event())
    await held.give_back()


async def test_who_could_not_keep_its_claim_stands_by_and_nothing_is_doubled(
    store: MemoryStore, in_store: Path
) -> None:
    """As one whose requests were not answered for long: it learns that it is not alone."""
    await log(store, "c-1", event("a", "c-1"))
    async with serving(store, in_store) as service:
        await until(lambda: ids(in_store) == Counter("a"))
        store._shares.clear()
        other = ShareClaim(ArchiveFolder(in_store), store, "archive", Share())
        await other.take()
        await until(lambda: bool(service.said))
        assert "standing by" in service.said[0]
        await log(store, "c-1", event("b", "c-1"))
        await other.give_back()
        await until(lambda: ids(in_store) == Counter("ab"))


async def test_a_claim_is_kept_up_beside_what_takes_long(
    in_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "LASTS", SECOND // 20)
    now = [0.0]
    store = MemoryStore(clock=lambda: now[0])
    both = [ShareClaim(ArchiveFolder(in_store), store, "archive", Share()) for _ in range(2)]
    await both[0].take()
    for _ in range(5):
        now[0] += 0.04
        await until(lambda: store._shares["archive"]["1/1"][0] > now[0] + 0.04)
        with pytest.raises(ShareTaken):
            await both[1].take()
    await both[0].give_back()
    await both[1].take()
    await both[1].give_back()


@pytest.mark.parametrize("every", [None, 20_000])
async def test_a_claim_is_kept_up_while_files_are_merged(
    store: MemoryStore, in_store: Path, monkeypatch: pytest.MonkeyPatch, every: int | None
) -> None:
    monkeypatch.setattr(claim, "LASTS", SECOND // 20)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    kept: list[bool] = []

    def merge(_: ArchiveFolder) -> None:
        until, before = time.monotonic() + 10, store._shares["archive"]["1/1"][0]
        while store._shares["archive"]["1/1"][0] == before and time.monotonic() < until:
            time.sleep(0.01)
        kept.append(store._shares["archive"]["1/1"][0] > before)
        loop.call_soon_threadsafe(stop.set)

    monkeypatch.setattr(service, "compact", merge)
    options = ArchiveOptions(folder=in_store, every=every, compact=True)
    await archive_log(store, options, wall_clock, stop)
    assert kept == [True]
