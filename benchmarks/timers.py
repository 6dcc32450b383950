"""What a timer takes of Redis' memory, and how late timers are claimed.

    python -m benchmarks.timers [--timers 10000000] [--redis /usr/bin/redis-server]

Timers are made as walks over customers make them. Far ones are spread evenly over a year or a
month: the more a list has, the less each costs. Ids are `numbered`, like `c-1024`, of which lists
have the number, packed; or UUIDs, which are kept as they are: of these there are a tenth as many.
Near ones are due within two hours, and each is set twice, as in use: a table of Redis that has just
grown is there twice until it was looked at often enough. Bytes are Redis' `used_memory`: keys,
lists, and what its allocator rounds up. The server keeps no append-only file meanwhile.

Then, with the far timers of a year still there, so many a second come due. One process claims them
and sets each anew, as a runner does that finds nothing to do; it looks every 50 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

from decision.core.clock import DAY, HOUR, SECOND
from decision.core.document import Document
from decision.core.identifiers import PARTITIONS
from decision.core.timers import NEAR, set_wake
from decision.store import EmbeddedRedis, RedisStore

FAR_BOUND, NEAR_BOUND, LAG_BOUND = 10.0, 120.0, 1.0
_ALL = range(PARTITIONS)
_TOGETHER = 50_000
_LEASE = 30_000
_EVERY = 0.05


def numbered(number: int) -> str:
    return f"c-{number + 1}"


def of_uuid(_: int) -> str:
    return str(UUID(int=random.getrandbits(128)))


def present() -> int:
    return time.time_ns() // 1000


async def used(store: RedisStore) -> int:
    reply = await store.connection.call(("INFO", "memory"), 10.0)
    return int(reply.partition(b"used_memory:")[2].split()[0])


async def fill(
    store: RedisStore, count: int, first: int, last: int, name: Callable[[int], str]
) -> float:
    """Bytes for each of so many timers that are due between two spans from now."""
    before, now = await used(store), present()
    for start in range(0, count, _TOGETHER):
        numbers = range(start, min(start + _TOGETHER, count))
        wakes = {name(one): now + random.randrange(first, last) for one in numbers}
        await store.arm(wakes)
        if last <= NEAR:
            await store.arm(wakes)
    return (await used(store) - before) / count


async def lags(store: RedisStore, rate: int, seconds: int) -> list[float]:
    """How late each timer was claimed, in seconds."""
    found: list[float] = []
    made, ends = asyncio.create_task(_make(store, rate, seconds)), time.monotonic() + seconds + 3
    while time.monotonic() < ends:
        begun = time.monotonic()
        claimed = await store.claim_wakes(_ALL, 100, _LEASE)
        now = present()
        found += [(now - one.due) / SECOND for one in claimed]
        wakes = [set_wake(Document(customer_id=""), now + HOUR, now) for _ in claimed]
        held = await asyncio.gather(*map(store.rearm, claimed, wakes))
        assert all(held), "a lease was lost"
        await asyncio.sleep(max(0.0, begun + _EVERY - time.monotonic()))
    await made
    return sorted(found)


async def _make(store: RedisStore, rate: int, seconds: int) -> None:
    """Arms what comes due a second later, ten times a second."""
    start = present() + SECOND
    for turn in range(10 * seconds):
        due = start + turn * SECOND // 10
        names = (f"due-{turn}-{number}" for number in range(rate // 10))
        await store.arm({name: due + random.randrange(SECOND // 10) for name in names})
        await asyncio.sleep(max(0.0, (due - present()) / SECOND - 0.9))


@asynccontextmanager
async def started(redis: str | None) -> AsyncIterator[RedisStore]:
    """A store in a server of its own."""
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedRedis(folder, binary=redis) as url,
    ):
        store = RedisStore(url, timeout=60.0)
        await store.start()
        yield store
        await store.close()


async def measure(options: argparse.Namespace) -> bool:
    count, good = options.timers, True
    for what, number, name, first, last, bound in (
        ("near, numbered", count, numbered, 0, 2 * HOUR, NEAR_BOUND),
        ("near, UUIDs", count // 10, of_uuid, 0, 2 * HOUR, None),
        ("far, a month, UUIDs", count // 10, of_uuid, 3 * HOUR, 30 * DAY, None),
        ("far, a month, numbered", count, numbered, 3 * HOUR, 30 * DAY, FAR_BOUND),
        ("far, a year, numbered", count, numbered, 3 * HOUR, 365 * DAY, FAR_BOUND),
    ):
        async with started(options.redis) as store:
            await set_file(store, "no")
            begun = time.monotonic()
            each = await fill(store, number, first, last, name)
            rate = number / (time.monotonic() - begun)
            bounded = "" if bound is None else f"at most {bound:.0f}"
            said = f"{each:6.1f} bytes each   {bounded:12}{rate:12,.0f} made/s"
            print(f"{what:24}{number:>12,} timers{said}", flush=True)
            good = good and (bound is None or each <= bound)
            if what == "far, a year, numbered":
                await set_file(store, "yes")
                good = await on_time(store, options) and good
    return good


async def set_file(store: RedisStore, on: str) -> None:
    """Says whether there is an append-only file; waits until it is written."""
    await store.connection.call(("CONFIG", "SET", "appendonly", on), 60.0)
    while (await store.file_state()).busy:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.2)


async def on_time(store: RedisStore, options: argparse.Namespace) -> bool:
    late = await lags(store, options.rate, options.seconds)
    at = [late[int(len(late) * share)] * 1000 for share in (0.5, 0.99)] + [late[-1] * 1000]
    said = "p50 {:.0f} ms   p99 {:.0f} ms   most {:.0f} ms".format(*at)
    print(f"{len(late):,} claimed and set anew at {options.rate:,}/s   {said}")
    complete = len(late) == options.rate // 10 * 10 * options.seconds
    return complete and at[1] < LAG_BOUND * 1000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.timers", description=__doc__)
    parser.add_argument("--timers", type=int, default=10_000_000, help="how many")
    parser.add_argument("--rate", type=int, default=2_000, help="how many come due a second")
    parser.add_argument("--seconds", type=int, default=30, help="for how long")
    parser.add_argument("--redis", help="the server's path; left out, the embedded one")
    options = parser.parse_args()
    return 0 if asyncio.run(measure(options)) else 1


if __name__ == "__main__":
    sys.exit(main())
