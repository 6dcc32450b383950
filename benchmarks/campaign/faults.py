"""The faults: each breaks something for a while and undoes it. What follows is measured elsewhere.

Redis runs with `appendfsync always`, and the address is switched only when the replica has every
write: so no fault may lose what was acknowledged. Where Redis alone could lose it, a fault says how
that is kept out.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from redis.exceptions import RedisError

from benchmarks.campaign.redis_pair import PASSWORD, USER
from benchmarks.campaign.waiting import until

if TYPE_CHECKING:
    from benchmarks.campaign.stage import Stage

Fault = Callable[["Stage", random.Random], Awaitable[None]]
_LOADS_FOR: Final = 3_000_000
"""Microseconds that Redis takes to load its data, about."""

FAULTS: Final[dict[str, Fault]] = {}
"""Name → what it does."""


def _fault(work: Fault) -> Fault:
    FAULTS[getattr(work, "__name__", "")] = work
    return work


@_fault
async def redis_killed(stage: Stage, chance: random.Random) -> None:
    """Killed with signal 9, and started again on its file."""
    await stage.pair.used.kill()
    await asyncio.sleep(chance.uniform(0, 2))
    await stage.pair.used.start()


@_fault
async def redis_loading(stage: Stage, chance: random.Random) -> None:
    """Killed, and then loads its data for about three seconds."""
    redis = stage.pair.used
    keys = max(1, int(await redis.ask("DBSIZE")))
    await redis.rewrite()
    size = int((await redis.info("memory"))["used_memory"])
    await redis.kill()
    # A sleep takes about 60 µs more than it is told to; below 0, one of so many keys sleeps.
    delay, each = _LOADS_FOR // keys - 60, max(1, 60 * keys // _LOADS_FOR)
    slow = ["--key-load-delay", str(delay if delay > 0 else -each)]
    # Clients are answered after so many bytes: about two thousand times in all.
    slow += ["--loading-process-events-interval-bytes", str(max(1024, size // 2000))]
    await redis.start(*slow)
    await redis.set("key-load-delay", 0)


@_fault
async def redis_paused(stage: Stage, chance: random.Random) -> None:
    """Stopped (SIGSTOP), so that it neither answers nor refuses."""
    stage.pair.used.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(chance.choice([0.3, 1, 3, 6]))
    finally:
        stage.pair.used.signal(signal.SIGCONT)


@_fault
async def redis_full(stage: Stage, chance: random.Random) -> None:
    """At `maxmemory`, with `noeviction`: every write is refused."""
    redis = stage.pair.used
    used = int((await redis.info("memory"))["used_memory"])
    await redis.set("maxmemory", used + chance.choice([-1_000_000, 0, 500_000]))
    await asyncio.sleep(chance.uniform(2, 4))
    await redis.set("maxmemory", 0)


@_fault
async def redis_busy(stage: Stage, chance: random.Random) -> None:
    """A script of somebody else's runs for two seconds (BUSY)."""
    redis = stage.pair.used

    async def spin() -> None:
        with contextlib.suppress(RedisError, OSError):
            await redis.ask("EVAL", "while true do end", 0)

    spinning = asyncio.ensure_future(spin())
    await asyncio.sleep(2)
    await redis.ask("SCRIPT", "KILL")
    await spinning


@_fault
async def redis_disk_full(stage: Stage, chance: random.Random) -> None:
    """The disk of the append-only file is full (MISCONF).

    For that time `appendfsync` is `everysec`, because with `always` Redis ends itself. Nothing is
    lost: it is not killed before the file is complete again, and rewritten: Redis 7.0 cuts it at a
    wrong place if it was rewritten before, leaves zeros there, and could not load it.
    """
    redis = stage.pair.used
    await redis.set("appendfsync", "everysec")
    redis.resize(20_000)
    try:
        await asyncio.sleep(chance.uniform(3, 5))
    finally:
        redis.resize(None)

    async def complete() -> bool:
        return bool((await redis.info("persistence"))["aof_last_write_status"] == "ok")

    await until(complete)
    await redis.rewrite()
    await redis.set("appendfsync", "always")


@_fault
async def redis_ended_by_full_disk(stage: Stage, chance: random.Random) -> None:
    """The disk is full under `appendfsync always`: Redis ends itself. It is started with room.

    It is started anew before as well: where it rewrote its file since its start, Redis 7.0 cuts it
    at a wrong place before it ends, and does not start again.
    """
    redis = stage.pair.used
    await redis.kill()
    await redis.start()
    redis.resize(20_000)
    try:
        await until(lambda: not redis.alive)
    finally:
        redis.resize(None)
    await redis.start()


@_fault
async def demoted(stage: Stage, chance: random.Random) -> None:
    """The replica takes over under load (`FAILOVER`); open connections stay on the old one.

    Redis itself holds writes until the replica has them all, so that none is lost.
    """
    pair = stage.pair
    await pair.attach()
    await pair.used.ask("FAILOVER", "TO", "127.0.0.1", pair.spare.port, "TIMEOUT", 20_000)

    async def promoted() -> bool:
        return bool((await pair.spare.info("replication"))["role"] == "master")

    await until(promoted)
    await asyncio.sleep(chance.uniform(0, 1))
    await stage.switch()


@_fault
async def primary_lost(stage: Stage, chance: random.Random) -> None:
    """The primary is killed and the replica promoted.

    An asynchronous replica may lack the last writes. Clients wait until it has them all and the
    primary is dead, and go on while there is none: so nothing acknowledged may be missing.
    """
    pair = stage.pair
    await pair.attach()
    await stage.pause_load()
    await pair.caught_up()
    await pair.used.kill()
    stage.resume_load()
    await asyncio.sleep(chance.uniform(0, 2))
    await pair.spare.ask("REPLICAOF", "NO", "ONE")
    await stage.switch()
    await stage.pair.spare.start()


@_fault
async def password_changed(stage: Stage, chance: random.Random) -> None:
    """Another password, connections cut; after some seconds the old one again."""
    redis = stage.pair.used
    await redis.ask("ACL", "SETUSER", USER, "resetpass", ">other")
    await redis.set("requirepass", "other")
    await redis.ask("CLIENT", "KILL", "TYPE", "normal")
    await asyncio.sleep(chance.uniform(2, 4))
    await redis.ask("ACL", "SETUSER", USER, f">{PASSWORD}")
    await redis.set("requirepass", "")


@_fault
async def right_removed(stage: Stage, chance: random.Random) -> None:
    """The users lack a right (NOPERM), and get it back."""
    redis, right = stage.pair.used, chance.choice(["evalsha", "@write", "@read", "time"])
    for user in (USER, "default"):
        await redis.ask("ACL", "SETUSER", user, f"-{right}")
    await asyncio.sleep(chance.uniform(2, 4))
    for user in (USER, "default"):
        await redis.ask("ACL", "SETUSER", user, "+@all")


@_fault
async def scripts_flushed(stage: Stage, chance: random.Random) -> None:
    """The scripts are gone (NOSCRIPT), three times in a row."""
    for _ in range(3):
        await stage.pair.used.ask("SCRIPT", "FLUSH")
        await asyncio.sleep(0.1)


@_fault
async def connections_killed(stage: Stage, chance: random.Random) -> None:
    """`CLIENT KILL`, three times in a row."""
    for _ in range(3):
        await stage.pair.used.ask("CLIENT", "KILL", "TYPE", "normal")
        await asyncio.sleep(chance.uniform(0.05, 0.5))


@_fault
async def slow_network(stage: Stage, chance: random.Random) -> None:
    """Each packet between servers and Redis comes late."""
    stage.proxy.delay = chance.choice([0.01, 0.03, 0.1, 0.4])
    await asyncio.sleep(chance.uniform(2, 4))
    stage.proxy.delay = 0.0


@_fault
async def network_cut(stage: Stage, chance: random.Random) -> None:
    """Connections are cut, also in the middle of a reply; then none are accepted for a while."""
    stage.proxy.cut(in_reply=True)
    await asyncio.sleep(0.5)
    stage.proxy.refuse()
    await asyncio.sleep(chance.uniform(0, 2))
    await stage.proxy.open()


@_fault
async def server_killed(stage: Stage, chance: random.Random) -> None:
    """All processes of a server end with signal 9, and it is started again."""
    server = chance.choice(stage.servers)
    await server.kill()
    await asyncio.sleep(chance.uniform(0, 1))
    await server.start()


@_fault
async def worker_killed(stage: Stage, chance: random.Random) -> None:
    """One of several workers ends with signal 9; its supervisor starts another one."""
    server = max(stage.servers, key=lambda each: each.workers)
    workers = server.answering()
    server.kill_process(chance.choice(workers))
    await until(lambda: len(server.answering()) >= server.workers)


@_fault
async def supervisor_killed(stage: Stage, chance: random.Random) -> None:
    """The first process of a server with workers ends with signal 9; its workers must end too."""
    server = max(stage.servers, key=lambda each: each.workers)
    assert server.process is not None
    server.kill_process(server.first)
    await asyncio.to_thread(server.process.wait)
    if orphans := await server.orphans():
        stage.found("processes left", f"{orphans} workers lived on after their supervisor")
    await server.start()


@_fault
async def rolling_restart(stage: Stage, chance: random.Random) -> None:
    """Each server is told to stop (SIGTERM) and started again, one after another."""
    for server in stage.servers:
        code = await server.stop()
        if code != 0:
            stage.found("stops", f"SIGTERM ended a server with {code}")
        if orphans := await server.orphans(2):
            stage.found("processes left", f"{orphans} processes lived on after SIGTERM")
        await server.start()


@_fault
async def client_killed(stage: Stage, chance: random.Random) -> None:
    """A client process ends with signal 9, and another one takes its place."""
    await stage.replace_load(chance.randrange(len(stage.loads)))


@_fault
async def archiver_killed(stage: Stage, chance: random.Random) -> None:
    """The archive service ends with signal 9, and is started again."""
    await stage.archiver.kill()
    await stage.archiver.start()


@_fault
async def overload(stage: Stage, chance: random.Random) -> None:
    """Several times as many decisions are asked for as before."""
    stage.set_rate(stage.rate * chance.choice([3, 5]))
    await asyncio.sleep(chance.uniform(3, 5))
    stage.set_rate(stage.rate)
