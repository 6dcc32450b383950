"""Standard decisions by workers and by Redis servers: whose CPU they cost, process by process."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks._http.cases import STANDARD, standard
from benchmarks._http.machine import children_of, cpu_seconds
from benchmarks._http.measure import Effort, closed, warm
from benchmarks._http.servers import served
from tests.cluster.servers import Cluster, Server, why_not
from tests.ports import free_port

WORKERS: Final = (1, 2, 4, 8)
CLUSTER: Final = 3
"""Primaries of the cluster that is measured beside one Redis."""


class Missing(Exception):
    """There is no `redis-server` that could be a node of a cluster."""


def nodes(home: Path, models: Path, effort: Effort) -> list[dict[str, Any]]:
    """A row for one Redis and for a cluster, with each number of `WORKERS`.

    Workers share a core, and the servers another: so rates do not grow, and CPU says what each
    process would need of a core of its own.

    Raises:
        Missing: there is no server to start.
    """
    if reason := why_not():
        raise Missing(reason)
    rows = []
    customers = min(10_000, effort.customers)
    for count in (1, CLUSTER):
        with _servers(home / f"nodes-{count}", count) as (url, servers):
            site = standard(home / f"of-{count}", url, customers, STANDARD, models)
            pids = [server.info("process_id") for server in servers]
            for number in WORKERS:
                with served(site, f"{number}-workers", "--workers", str(number)) as (port, pid):
                    own = children_of(pid) if number > 1 else [pid]
                    for _ in range(number):  # each has to warm
                        warm(port, site, effort.seconds)
                    before = [cpu_seconds(one) for one in (*own, *pids)]
                    load = closed(port, site, effort.seconds)
                    each = 1e6 / load.answers
                    used = [
                        (cpu_seconds(one) - then) * each
                        for one, then in zip((*own, *pids), before, strict=True)
                    ]
                    rows.append(
                        {
                            "servers": count,
                            "workers": number,
                            "rate": load.rate,
                            "cpu_us": sum(used[: len(own)]),
                            "redis_us": used[len(own) :],
                            "p50_ms": statistics.median(load.times) * 1000,
                        }
                    )
    return rows


@contextmanager
def _servers(folder: Path, count: int) -> Iterator[tuple[str, Sequence[Server]]]:
    """One Redis, or a cluster of so many primaries: its URL, and its servers."""
    if count > 1:
        cluster = Cluster(folder, count, 0)
        try:
            cluster.start()
            yield cluster.url, cluster.servers
        finally:
            cluster.stop()
        return
    single = Server(folder, free_port())
    try:
        single.start()
        yield f"redis://{single.where}", [single]
    finally:
        single.stop()
