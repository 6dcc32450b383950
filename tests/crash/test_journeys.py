"""Runners, servers and Redis killed by signal 9: every timer comes, and no step is taken twice.

`SOAK_TIMERS` is how many customers there are, each with a run of its own (2,000 where it is left
out). How much memory the check takes does not depend on it.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from decision.core.errors import StoreUnavailable
from decision.outbound.holding import pause, resume
from decision.store import RedisStore
from tests.crash.harness import Server
from tests.crash.timers.checking import check
from tests.crash.timers.processes import AHEAD, CLOCKS, OwnRedis, Runner
from tests.crash.timers.sending import Sending
from tests.crash.timers.story import rules

pytestmark = [pytest.mark.anyio, pytest.mark.soak]

TIMERS = int(os.environ.get("SOAK_TIMERS", "2000"))
WAIT = max(5, TIMERS // 4_000)
"""Seconds that everybody waits: so that many wait at one time."""

_SLOWEST = 100
"""Timers a second, on the slowest machine; where it is slower, the soak fails."""

T = TypeVar("T")


class Killing:
    """Kills one after another, until it is told to stop, and starts each again."""

    def __init__(
        self, redis: OwnRedis, servers: Sequence[Server], runners: Sequence[Runner]
    ) -> None:
        self._redis, self._servers, self._runners = redis, servers, runners
        self.kills = Counter[str]()
        self.done = 0
        """How much is done: starts and ends. Whoever looks keeps it up to date."""
        self.stopped = False

    async def run(self) -> None:
        """Kills after a random time, once something was done since; or, where all just wait, after
        a while. The more there is, the longer Redis takes to come back, and the rarer it all is."""
        chance, scale = random.Random(14), max(1.0, TIMERS / 200_000)
        victims = ("runner", "runner", "server", "redis")
        while not self.stopped:
            before, late = self.done, time.monotonic() + 20
            await asyncio.sleep(chance.uniform(0.5, 4.0) * scale)
            enough = before + TIMERS // 400
            while self.done < enough and time.monotonic() < late and not self.stopped:
                await asyncio.sleep(chance.uniform(0.1, 0.5))
            victim = chance.choice(victims)
            self.kills[victim] += 1
            if victim == "runner":
                chance.choice(self._runners).kill()
            elif victim == "server":
                server = chance.choice(self._servers)
                server.kill()
                await server.start()
            else:
                self._redis.kill()
                await asyncio.to_thread(self._redis.start)


class Watching:
    """Looks at how far it all is, and says so every ten seconds."""

    def __init__(self, store: RedisStore, sending: Sending, killing: Killing) -> None:
        self._store, self._sending, self._killing = store, sending, killing
        self._began = self._said = time.monotonic()

    async def until(self, holds: Callable[[dict[str, int]], bool]) -> None:
        """Waits until something holds of those who are under way, by `journey step`."""
        while True:
            counts = await again(self._store.tallies)
            here = {name.replace("\0", " "): n for name, n in counts.items() if "!" not in name}
            ended = sum(counts.values()) - sum(here.values())
            self._killing.done = self._sending.sent + ended
            if time.monotonic() - self._said >= 10:
                self._said = time.monotonic()
                said = f"{self._said - self._began:6.0f} s: {self._sending.sent:,} started"
                said = f"{said}, {ended:,} ended, killed {dict(self._killing.kills)}, {here}"
                print(said, flush=True)
            if holds(here):
                return
            await asyncio.sleep(1)


async def again(call: Callable[[], Awaitable[T]]) -> T:
    """What a call gives, once the store answers."""
    while True:
        try:
            return await call()
        except StoreUnavailable:
            await asyncio.sleep(0.2)


async def test_timers_come_once_whatever_dies(tmp_path: Path) -> None:
    """Three runners, one with a clock five minutes ahead, one with a clock that is set again and
    again, an hour back at most; two servers; a journey is paused, another one edited meanwhile."""
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "policy.yaml").write_text(rules(WAIT), "utf-8")
    redis, began = OwnRedis(tmp_path / "redis"), time.monotonic()
    redis.start()
    options = ("--log-limit-mb", "0", "--watch")
    servers = [Server(folder, redis.url, tmp_path, *options) for _ in range(2)]
    for server in servers:
        await server.start()
    runners = [Runner(tmp_path, redis.url, clock) for clock in CLOCKS]
    killing, sending = Killing(redis, servers, runners), Sending(servers, TIMERS, WAIT)
    store = RedisStore(redis.url, timeout=30.0)
    await store.start()
    work = [asyncio.create_task(one) for one in (killing.run(), sending.starts())]
    watching = Watching(store, sending, killing)
    try:
        async with asyncio.timeout(3 * AHEAD + 3 * WAIT + TIMERS / _SLOWEST):
            await watching.until(lambda _: sending.sent >= TIMERS // 3)
            await again(lambda: pause(store, "calm", time.time_ns() // 1000))
            await watching.until(lambda _: sending.sent >= TIMERS * 2 // 3)
            edited = tmp_path / "edited.yaml"
            edited.write_text(rules(WAIT, edited=True), "utf-8")
            edited.replace(folder / "policy.yaml")
            await watching.until(lambda _: work[1].done())
            await work[1]
            parked = await again(store.parked)
            await again(lambda: resume(store, "calm"))
            await watching.until(lambda here: set(here) <= {"welcome far"})
            await sending.ends()
            await watching.until(lambda here: not here)
        killing.stopped = True
        await work[0]
        took = time.monotonic() - began
        left = await again(store.count_wakes)  # Redis was killed a moment ago, perhaps
        found = await check(store, TIMERS)
        assert parked["calm"], "nobody was kept by the pause"
        for runner in runners:
            assert "Traceback" not in runner.log.read_text()
    finally:
        for task in work:
            task.cancel()
        await store.close()
        for runner in runners:
            runner.kill(again=False)
        for server in servers:
            server.kill()
        redis.kill()
    print(f"\n{TIMERS:,} timers in {took:.0f} s, killed {dict(killing.kills)}: {found}, {left}")
