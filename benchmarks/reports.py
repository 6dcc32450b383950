"""Reports: a funnel of four steps over ten million events, with rows in order and shuffled.

    python -m benchmarks.reports

Two hundred thousand customers and ninety days, in files as the archive has them, on two threads of
DuckDB. The bound is 6 s by the clock for the ordered funnel, which a busy neighbour can break: the
CPU is told beside it, and the load of the machine. Rows that are shuffled give the same counts.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from decision.analytics.reports import answer_to, kind_named
from decision.archive.query import open_database

BOUND = 6.0
EVENTS, CUSTOMERS, DAYS = 10_000_000, 200_000, 90
STEPS = "page_view,search,cart_add,purchase"
_TYPES = (
    *("page_view",) * 4, "search", "search", "cart_add", "cart_add", "checkout", "purchase",
    "app_open", "app_open",
)  # fmt: skip
_FIRST = 1_780_272_000_000_000


def write(archive: Path, events: int, shuffled: bool) -> None:
    """An archive of events, one file per day; shuffled, rows of a day are in no order."""
    with open_database() as database:
        database.execute("SET threads = 2")
        for day in range(DAYS):
            folder = archive / "events" / f"date={_date(day)}"
            folder.mkdir(parents=True)
            database.execute(
                f"""COPY (
                    SELECT 'e-' || n AS event_id, 'c-' || (hash(n) % {CUSTOMERS}) AS customer_id,
                        {list(_TYPES)!r}[1 + (hash(n * 7 + 1) % {len(_TYPES)})::INT] AS type,
                        make_timestamptz({_FIRST} + {day} * 86400000000
                            + (hash(n * 13 + 5) % 86400)::BIGINT * 1000000) AS "at",
                        "at" AS received_at, '{{}}' AS properties
                    FROM range({day * events // DAYS}, {(day + 1) * events // DAYS}) AS t(n)
                    ORDER BY {"hash(n * 31)" if shuffled else '"at"'}
                ) TO '{folder / "part-0.parquet"}' (COMPRESSION zstd, ROW_GROUP_SIZE 16384)"""
            )


def _date(day: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(_FIRST // 1_000_000 + day * 86_400))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(archive: Path, **asked: Any) -> tuple[list[int], float, float]:
    """Customers per step, seconds by the clock, seconds of CPU."""
    clock, cpu = time.perf_counter(), _cpu()
    found = answer_to(kind_named("funnel"), {"steps": STEPS, "within": "7d", **asked}, archive)
    return [one.customers for one in found.steps], time.perf_counter() - clock, _cpu() - cpu


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS)
    events = parser.parse_args().events
    counts, best = [], float("inf")
    print(f"{events:,} events of {CUSTOMERS:,} customers; {os.cpu_count()} CPUs")
    for shuffled in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), events, shuffled)
            for order in ("ordered", "strict", "any"):
                found, clock, cpu = measure(Path(folder), order=order)
                load = os.getloadavg()[0]
                rows = "shuffled" if shuffled else "in order"
                print(
                    f"{order:8} {rows:9} {clock:6.2f} s, CPU {cpu:6.2f} s, load {load:.1f}: {found}"
                )
                counts.append(found)
                if order == "ordered":
                    best = min(best, clock)
    same = counts[:3] == counts[3:]
    print(f"the same counts: {'yes' if same else 'NO'}; ordered {best:.2f} s (bound {BOUND:g} s)")
    return 0 if same and best <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
