"""What a coupon code costs Redis: taken by decisions, 16 at a time, from one pool.

    python -m benchmarks.coupons [--codes 40000]

All codes of a pool are in one slot, so on one node of a cluster: this says how many it can give.
CPU is that of Redis and of this process, for each code.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import Final

import uvloop

from benchmarks._http.machine import redis_cpu_seconds
from decision.core.clock import DAY, MINUTE
from decision.core.coupons import WantedCode
from decision.core.identifiers import decision_id
from decision.engine.runtime import wall_clock
from decision.store import EmbeddedRedis, RedisStore

AT_ONCE: Final = 16
_ADDED: Final = 5_000
"""Codes that are added with one command."""


async def measure(url: str, number: int) -> str:
    """Adds codes to a pool and takes them all; what each cost."""
    store, now = RedisStore(url, timeout=30), wall_clock()
    await store.start()
    for first in range(0, number, _ADDED):
        last = min(first + _ADDED, number)
        await store.add_codes("spring", [f"SPRING-{one:07}" for one in range(first, last)])
    wanted = [WantedCode("offer", now + 30 * MINUTE, None, now)]
    numbers, given = iter(range(number)), set[str]()

    async def take() -> None:
        for one in numbers:
            own = decision_id(now // 1000, one % 256, one)
            codes = await store.take_codes("spring", wanted, own, now=now, lasts=DAY)
            assert codes is not None
            given.update(codes)

    before, own = redis_cpu_seconds(url), time.process_time()
    await asyncio.gather(*(take() for _ in range(AT_ONCE)))
    own, redis = time.process_time() - own, redis_cpu_seconds(url) - before
    await store.close()
    if len(given) != number:
        raise SystemExit(f"{number:,} codes were taken, but only {len(given):,} different ones")
    each = 1e6 / number
    half = number / redis / 2
    return (
        f"{number:,} codes, each once: {redis * each:.1f} µs of Redis, {own * each:.1f} µs of ours\n"
        f"a node that is half busy gives {half:,.0f} codes of a pool each second"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.coupons",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--codes", type=int, default=40_000)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="nextbest-bench-") as name,
        EmbeddedRedis(Path(name) / "redis", fsync="everysec") as url,
    ):
        print(uvloop.run(measure(url, given.codes)))


if __name__ == "__main__":
    main()
