"""Backup and restore: what they cost for each customer, and what customers take in Redis.

    python -m benchmarks.backup --customers 100000

One embedded Redis over a Unix socket. Customers are those of `benchmarks.store` (40 attributes, 20
contacts, 12 event types), each with an alias, an answer kept for a request id, and two event ids. A
backup is taken, and put back under another prefix of the same Redis. Each is done in a process of its
own, for its peak of memory; the CPU is that of this process, Redis's own beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.store import typical_document
from decision.core.clock import DAY, HOUR
from decision.core.document import ContactKind
from decision.core.ports import Commit
from decision.maintenance.backups.restoring import RestoreOptions, restore_backup, survey_backup
from decision.maintenance.backups.taking import take_backup
from decision.store import EmbeddedRedis, RedisStore

KINDS: Final = 300
_AT_ONCE: Final = 50
_DIFFERENT: Final = 500
"""Documents; gzip does not find one of before again."""
_SAMPLE: Final = 2_000
_FROM, _TO = "from:", "to:"
_ANSWER: Final = b"x" * 600
"""About as long as an answer with one selection."""


async def fill(url: str, customers: int) -> None:
    """Writes customers."""
    store = RedisStore(url, prefix=_FROM, timeout=60)
    await store.start()
    await store.register_kinds([ContactKind(f"m-{n}", "push", "p", "c", ()) for n in range(KINDS)])
    rng = random.Random(7)
    documents = [typical_document(rng, KINDS) for _ in range(_DIFFERENT)]
    for first in range(0, customers, _AT_ONCE):
        names = [f"c-{number}" for number in range(first, min(customers, first + _AT_ONCE))]
        await asyncio.gather(*(_write(store, rng.choice(documents), name) for name in names))
    await store.close()


async def _write(store: RedisStore, document: Any, name: str) -> None:
    await store.set_alias("email", f"{name}@shop.example", name)
    own = msgspec.structs.replace(document, customer_id=name)
    read = await store.read(name)
    await store.commit(
        Commit(
            id=name,
            customer_id=name,
            document=own,
            version=read.version,
            expect=(),
            write=("profile", "contacts", "events"),
            request_id="r-1",
            answer=_ANSWER,
            answer_lasts=24 * HOUR,
            event_ids=["e-1", "e-2"],
            event_ids_last=7 * DAY,
        )
    )


async def sizes(url: str, customers: int) -> dict[str, float]:
    """Bytes of keys of a customer, as Redis counts them, of some."""
    store = RedisStore(url, prefix=_FROM, timeout=60)
    await store.start()
    names = [f"c-{number}" for number in range(min(customers, _SAMPLE))]
    found = {}
    for what, keys in {
        "document": [store.keys.customer(name).document for name in names],
        "alias": [store.keys.alias("email", f"{name}@shop.example") for name in names],
        "answer": [store.keys.customer(name).answers for name in names],
        "two event ids": [store.keys.customer(name).events for name in names],
    }.items():
        commands = [("MEMORY", "USAGE", key, "SAMPLES", 0) for key in keys]
        found[what] = sum(await store.connection.pipeline(commands, 60)) / len(keys)
    await store.close()
    return found


async def _back_up(url: str, path: Path) -> None:
    store = RedisStore(url, prefix=_FROM, timeout=60)
    await store.start()
    await take_backup(store, path, _FROM)
    await store.close()


async def _put_back(url: str, path: Path) -> None:
    options = RestoreOptions(_TO, _FROM)
    survey = survey_backup(path, options)
    store = RedisStore(url, prefix=_TO, timeout=60)
    await store.start()
    await restore_backup(store, path, survey, options)
    await store.close()


def _measured(
    sender: Any, work: Callable[[str, Path], Awaitable[None]], url: str, path: Path
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clock, cpu = time.perf_counter(), time.process_time()
    asyncio.run(work(url, path))  # type: ignore[arg-type]
    spent = (time.perf_counter() - clock, time.process_time() - cpu)
    sender.send((*spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, before))


def alone(
    work: Callable[[str, Path], Awaitable[None]], url: str, path: Path
) -> tuple[float, float, float, float]:
    """Seconds, seconds of CPU, and MiB at the peak, of work in a process of its own, and before."""
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(sender, work, url, path))
    process.start()
    seconds, cpu, peak, before = receiver.recv()
    process.join()
    return seconds, cpu, peak / 1024, before / 1024


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backup", description=__doc__)
    parser.add_argument("--customers", type=int, default=100_000)
    customers = parser.parse_args().customers
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedRedis(Path(folder) / "redis", fsync="everysec") as url,
    ):
        asyncio.run(fill(url, customers))
        print(f"{customers:,} customers; bytes in Redis (MEMORY USAGE), by key of a customer\n")
        for what, size in asyncio.run(sizes(url, customers)).items():
            print(f"{what:<16}{size:>10,.0f}")
        path = Path(folder) / "a.backup"
        print(f"\n{'':<16}{'customers/s':>12}{'µs CPU each':>13}{'MiB peak':>10}{'MiB before':>12}")
        for name, work in (("backup", _back_up), ("restore", _put_back)):
            seconds, cpu, peak, before = alone(work, url, path)
            each = cpu / customers * 1e6
            print(
                f"{name:<16}{customers / seconds:>12,.0f}{each:>13,.0f}{peak:>10,.0f}{before:>12,.0f}"
            )
        print(f"\nfile: {path.stat().st_size / customers:,.0f} bytes for each customer")
    return 0


if __name__ == "__main__":
    sys.exit(main())
