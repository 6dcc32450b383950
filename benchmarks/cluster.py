"""A read and a commit on a single Redis and on clusters: throughput, and whose CPU it costs.

    python -m benchmarks.cluster [--seconds 3]

Each server is a `redis-server` of the system, with an append-only file, and each client process
one of ours, all on this machine. CPU is that of each process in microseconds per read and commit, from the
kernel's account: on a machine with few cores it says more than the rate. With `wait:1` each primary has a
replica that every commit waits for.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import uvloop

from benchmarks.store import typical_document
from decision.core.document import ContactKind
from decision.core.identifiers import decision_id, partition_of
from decision.core.ports import Commit, Committed, LogRecord
from decision.store import RedisStore
from tests.cluster.servers import Cluster, Server, why_not
from tests.ports import free_port

CUSTOMERS: Final = 2_000
AT_ONCE: Final = 32
_TICK: Final = os.sysconf("SC_CLK_TCK")
_KIND: Final = ContactKind("offer", "push", "marketing", "sale", ())
_BODY: Final = b"x" * 1_200


async def load(
    url: str, replicas: int, seconds: float, seed: int, ready: Any
) -> tuple[int, float, list[float]]:
    """Reads and commits made, CPU of this process in seconds, and how long some of them took."""
    store = RedisStore(url, prefix="bench:", timeout=10.0, replicas=replicas)
    await store.start()
    await store.register_kinds([_KIND])
    rng, took, done = random.Random(seed), list[float](), 0
    names = [f"c-{seed}-{number}" for number in range(CUSTOMERS)]
    document = typical_document(rng, 1)
    for first in range(0, CUSTOMERS, 100):
        await asyncio.gather(*(_put(store, name, document) for name in names[first : first + 100]))
    ready.wait()
    began, cpu = time.perf_counter(), time.process_time()
    until = began + seconds

    async def work() -> None:
        nonlocal done
        while time.perf_counter() < until:
            name, at = rng.choice(names), time.perf_counter()
            if await _commit(store, name):
                done += 1
                took.append(time.perf_counter() - at)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    cpu = time.process_time() - cpu
    await store.close()
    return done, cpu, took


async def _put(store: RedisStore, name: str, document: Any) -> None:
    found = await store.read(name)
    found.document.attributes = document.attributes
    found.document.contacts = document.contacts
    await _write(store, name, found, ("profile", "contacts"))


async def _commit(store: RedisStore, name: str) -> bool:
    found = await store.read(name)
    return await _write(store, name, found, ("contacts",))


async def _write(store: RedisStore, name: str, found: Any, sections: Any) -> bool:
    own = decision_id(time.time_ns() // 1_000_000, partition_of(name), random.getrandbits(32))
    commit = Commit(
        id=own,
        customer_id=name,
        document=found.document,
        version=found.version,
        expect=sections,
        write=sections,
        records=[LogRecord(kind="decision", id=own, body=_BODY)],
    )
    return isinstance(await store.commit(commit), Committed)


def _client(url: str, replicas: int, seconds: float, seed: int, ready: Any, queue: Any) -> None:
    queue.put(uvloop.run(load(url, replicas, seconds, seed, ready)))


def cpu_of(server: Server) -> float:
    """Seconds of CPU that a server has used."""
    return float(server.info("used_cpu_user")) + float(server.info("used_cpu_sys"))


def measure(
    name: str, url: str, servers: Sequence[Server], clients: int, replicas: int, seconds: float
) -> str:
    """One row of the table."""
    context = multiprocessing.get_context("spawn")
    queue, ready = context.Queue(), context.Barrier(clients + 1)
    own = [
        context.Process(target=_client, args=(url, replicas, seconds, seed, ready, queue))
        for seed in range(clients)
    ]
    for process in own:
        process.start()
    ready.wait()
    before = {server.port: cpu_of(server) for server in servers}
    found = [queue.get() for _ in own]
    for process in own:
        process.join()
    spent = [cpu_of(server) - before[server.port] for server in servers]
    done = sum(one[0] for one in found)
    cpu = sum(one[1] for one in found) / done * 1e6
    took = sorted(one for _, _, some in found for one in some)
    rows = " ".join(f"{one / done * 1e6:5.1f}" for one in spent)
    return (
        f"{name:<22} {clients:>7} {done / seconds:>9,.0f} {cpu:>9.1f}   {rows:<36}"
        f"{statistics.median(took) * 1e3:>7.2f} {took[int(len(took) * 0.99)] * 1e3:>7.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--nodes", type=int, nargs="*", default=[1, 3])
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 2])
    given = parser.parse_args()
    if reason := why_not():
        raise SystemExit(reason)
    print(
        "                                             CPU, µs for each read and commit         ms"
    )
    print(
        "servers                clients  a second    client   each server                         p50     p99"
    )
    with tempfile.TemporaryDirectory() as folder:
        single = Server(Path(folder) / "single", free_port())
        single.start()
        try:
            for clients in given.clients:
                url = f"redis://{single.where}"
                print(measure("one Redis", url, [single], clients, 0, given.seconds), flush=True)
        finally:
            single.stop()
        for nodes in given.nodes:
            for replicas in (0, 1):
                about = f"cluster of {nodes}" + (", wait:1" if replicas else "")
                cluster = Cluster(Path(folder) / about, nodes, replicas)
                try:
                    cluster.start()
                    for clients in given.clients:
                        args = (cluster.url, cluster.servers, clients, replicas, given.seconds)
                        print(measure(about, *args), flush=True)
                finally:
                    cluster.stop()


if __name__ == "__main__":
    main()
