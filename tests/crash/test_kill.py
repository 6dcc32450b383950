"""Killed under load, again and again: no cap is exceeded, no record missing, no answer forgotten."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path

import pytest

from decision.store import EmbeddedRedis
from tests.crash.harness import SPENDING, Clients, Server, until, verify

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "rules.yaml").write_text(SPENDING)
    return folder


async def killed_under_load(
    rules: Path, folder: Path, redis_url: str, *, servers: int, rounds: int, customers: int
) -> None:
    """Servers killed with signal 9 one after another while 16 clients go on asking."""
    chance = random.Random(9)
    running = [Server(rules, redis_url, folder) for _ in range(servers)]
    for server in running:
        await server.start()
    names = [f"客户-{number}" for number in range(customers)]
    clients = Clients(running, names)
    load = asyncio.ensure_future(clients.run(16))
    try:
        for number in range(rounds):
            await until(chance.uniform(0.15, 0.6))
            victim = running[number % servers]
            victim.kill()
            await victim.start()
        await until(0.3)
        clients.stopped = True
        await load
        found = await verify(redis_url, clients, running)
        print(f"\n{rounds} kills: {found}, answers {dict(clients.seen)}")
        assert found.contacts > 0
        assert clients.seen["lost"] > 0
    finally:
        clients.stopped = True
        load.cancel()
        for server in running:
            server.kill()


async def test_four_kills_under_load_lose_and_double_nothing(rules: Path, tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis", fsync="everysec") as url:
        await killed_under_load(rules, tmp_path, url, servers=1, rounds=4, customers=60)


async def test_two_servers_and_a_redis_killed_in_turn_exceed_nothing(
    rules: Path, tmp_path: Path
) -> None:
    await killed_in_turn(rules, tmp_path, rounds=4)


@pytest.mark.soak
async def test_a_hundred_kills_under_load_lose_and_double_nothing(
    rules: Path, tmp_path: Path
) -> None:
    with EmbeddedRedis(tmp_path / "redis", fsync="everysec") as url:
        await killed_under_load(rules, tmp_path, url, servers=2, rounds=100, customers=400)


@pytest.mark.soak
async def test_fifty_kills_of_servers_and_redis_exceed_nothing(rules: Path, tmp_path: Path) -> None:
    await killed_in_turn(rules, tmp_path, rounds=50)


async def killed_in_turn(rules: Path, folder: Path, *, rounds: int) -> None:
    """Servers and Redis killed in turn while 64 clients go on asking for 100 customers.

    Redis writes its file at every commit (`always`), so what was acknowledged is there.
    """
    redis = KillableRedis(folder / "redis")
    url = redis.start()
    running = [Server(rules, url, folder) for _ in range(2)]
    for server in running:
        await server.start()
    clients = Clients(running, [f"c-{number}" for number in range(100)], seed=2)
    load = asyncio.ensure_future(clients.run(64))
    chance = random.Random(4)
    try:
        for number in range(rounds):
            await until(chance.uniform(0.4, 0.9))
            if number % 2:
                running[number // 2 % 2].kill()
                await running[number // 2 % 2].start()
            else:
                redis.kill()
                redis.start()
        await until(1.5)
        clients.stopped = True
        await load
        for server in running:
            server.kill()
            await server.start()
        found = await verify(url, clients, running)
        print(f"\n{rounds} kills of servers and Redis: {found}, answers {dict(clients.seen)}")
        assert found.contacts > 0
    finally:
        clients.stopped = True
        load.cancel()
        for server in running:
            server.kill()
        redis.stop()


class KillableRedis:
    """A Redis with its append-only file at `always`, which may be killed with signal 9."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = EmbeddedRedis(folder, fsync="always")

    def start(self) -> str:
        self._server = EmbeddedRedis(self._folder, fsync="always")
        return self._server.start()

    def kill(self) -> None:
        """Kills the process; `stop` then finds nothing left to stop, and lets go of the folder."""
        os.kill(int((self._folder / "redis.pid").read_text()), signal.SIGKILL)
        self._server.stop()

    def stop(self) -> None:
        self._server.stop()
