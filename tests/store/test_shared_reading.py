"""A reading is shared by those who may share it, and by nobody else."""

from __future__ import annotations

import asyncio
import doctest

import pytest

from decision.core.errors import StoreUnavailable
from decision.store import shared_reading
from decision.store.shared_reading import SharedReading
from decision.store.uptime import uptime

pytestmark = pytest.mark.anyio


class Source:
    """What is read: a number that counts the readings. One that is `held` waits."""

    def __init__(self) -> None:
        self.read = 0
        self.go = asyncio.Event()
        self.fails = False

    async def __call__(self) -> int:
        self.read += 1
        own = self.read
        await self.go.wait()
        if self.fails:
            raise StoreUnavailable("unavailable")
        return own


def test_its_example_runs() -> None:
    assert doctest.testmod(shared_reading).failed == 0


async def test_who_comes_after_a_reading_began_shares_the_next_one() -> None:
    source = Source()
    shared = SharedReading(source)
    first = [asyncio.create_task(shared.since(uptime())) for _ in range(3)]
    await asyncio.sleep(0)
    later = [asyncio.create_task(shared.since(uptime())) for _ in range(3)]
    await asyncio.sleep(0)
    assert source.read == 1
    source.go.set()
    assert await asyncio.gather(*first, *later) == [1, 1, 1, 2, 2, 2]


async def test_what_was_read_long_ago_or_is_forgotten_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, now = Source(), 100.0
    source.go.set()
    monkeypatch.setattr(shared_reading, "uptime", lambda: now)
    shared = SharedReading(source)
    found = [await shared.since(99.0) for _ in range(2)]
    now += shared_reading.LASTS + 0.1
    found.append(await shared.since(99.0))
    shared.forget()
    found.append(await shared.since(99.0))
    assert found == [1, 1, 2, 3]


async def test_a_failure_is_told_to_those_who_wait_and_the_next_one_tries_again() -> None:
    source = Source()
    source.fails = True
    source.go.set()
    shared, moment = SharedReading(source), uptime()
    waiting = [shared.since(moment) for _ in range(3)]
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert source.read == 1 and all(isinstance(one, StoreUnavailable) for one in found)
    source.fails = False
    assert await shared.since(moment) == 2


async def test_one_who_gives_up_takes_the_reading_from_nobody() -> None:
    source = Source()
    shared, moment = SharedReading(source), uptime()
    one, other = (asyncio.create_task(shared.since(moment)) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    await asyncio.sleep(0)
    source.go.set()
    assert await other == 1
