"""What is measured of a server: CPU, rates and times, over load, in its steps, and in a grid."""

from __future__ import annotations

import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks._http import marks
from benchmarks._http.cases import Case, Site, scored_for, standard
from benchmarks._http.load import CONNECTIONS, Load, closed_loop, open_loop, request_of, run
from benchmarks._http.machine import all_cpu_seconds, children_of, redis_cpu_seconds
from benchmarks._http.servers import served

Row = dict[str, float]

WARM: Final = 1.5
"""Seconds of load at most before anything counts."""


class Effort(NamedTuple):
    """How long is measured: seconds of a load, turns of each server, and customers."""

    seconds: float
    turns: int
    customers: int


class Used(NamedTuple):
    """A closed loop, and µs of CPU for each answer: of what answers, and of Redis."""

    load: Load
    cpu: float
    redis: float


def medians(turns: Sequence[Row]) -> Row:
    """Of each figure the median of the turns."""
    return {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}


def requests_of(site: Site) -> list[bytes]:
    """A request for each customer."""
    return [request_of(one) for one in site.customers]


def warm(port: int, site: Site, seconds: float) -> None:
    """A short load, after which others count."""
    closed(port, site, min(WARM, seconds))


def closed(port: int, site: Site, seconds: float) -> Load:
    """A closed loop, over all customers in turn."""
    return run(closed_loop(port, requests_of(site), seconds, CONNECTIONS))


def busy(port: int, pids: Sequence[int], site: Site, seconds: float) -> Used:
    """A closed loop, after a shorter one that warms."""
    warm(port, site, seconds)
    before = all_cpu_seconds(pids), redis_cpu_seconds(site.url)
    load = closed(port, site, seconds)
    used = all_cpu_seconds(pids) - before[0], redis_cpu_seconds(site.url) - before[1]
    return Used(load, *(one / load.answers * 1e6 for one in used))


def whole(
    site: Site, name: str, seconds: float, path: str = "", command: Sequence[str] = ()
) -> Row:
    """One turn of one server: closed loop, alone, and an open loop at half of the highest rate."""
    with served(site, name, path=path, command=command) as (port, pid):
        most = busy(port, [pid], site, seconds)
        requests = requests_of(site)
        alone = run(closed_loop(port, requests, seconds / 2, 1))
        half = run(open_loop(port, requests, seconds, most.load.rate / 2))
    return {
        "rate": most.load.rate,
        "cpu_us": most.cpu,
        "redis_us": most.redis,
        "p50_alone_ms": alone.at(0.5),
        "p50_half_ms": half.at(0.5),
        "p99_half_ms": half.at(0.99),
    }


def floor(site: Site, seconds: float, rate: float) -> float:
    """p99 (ms) of the empty route, asked at a rate that is not its own."""
    with served(site, "empty") as (port, _):
        requests = requests_of(site)
        run(closed_loop(port, requests, min(WARM, seconds), CONNECTIONS))
        return run(open_loop(port, requests, seconds, rate)).at(0.99)


def survivors(site: Site) -> int:
    """How many candidates are scored for the first customers, in their median."""
    with served(site) as (port, _):
        return int(statistics.median(scored_for(port, one) for one in site.customers[:9]))


def grid(
    home: Path, url: str, models: Path, cases: Sequence[Case], effort: Effort
) -> dict[str, Row]:
    """Case → the CPU of a decision, all with the same model; cases take turns.

    Loads are short: who is asked for too often has no candidate left that is scored.
    """
    customers, seconds = min(10_000, effort.customers), min(2.0, effort.seconds)
    apart = home / "grid"  # the standard is one of the cases, and has a site already
    sites = {case: standard(apart, url, customers, case, models) for case in cases}
    turns: dict[Case, list[Row]] = {case: [] for case in cases}
    for _ in range(effort.turns):
        for case, site in sites.items():
            with served(site) as (port, pid):
                used = busy(port, [pid], site, seconds)
                row = {"rate": used.load.rate, "cpu_us": used.cpu, "redis_us": used.redis}
                turns[case].append({**row, "scored": scored_for(port, site.customers[0])})
    return {case.name: {**case._asdict(), **medians(rows)} for case, rows in turns.items()}


def curve(site: Site, shares: Sequence[float], seconds: float) -> list[Row]:
    """Times over load: an open loop at each share of the highest rate."""
    requests, rows = requests_of(site), []
    with served(site) as (port, pid):
        most = busy(port, [pid], site, seconds).load.rate
        for share in shares:
            load = run(open_loop(port, requests, seconds, most * share))
            times = {f"p{at}_ms": load.at(at / 100) for at in (50, 90, 99)}
            counts = {"rate": load.rate, "refused": load.refused / load.seconds}
            rows.append({"share": share, "asked": most * share, **counts, **times})
    return rows


def steps(site: Site, seconds: float) -> dict[str, Row]:
    """Step → µs of CPU of a decision in it, and how often it is run for one."""
    path = site.folder / "marks.json"
    command = [sys.executable, "-m", "benchmarks._http.marks", str(path), *site.serve()]
    with served(site, "marks", command=command) as (port, pid):
        requests = requests_of(site)
        run(closed_loop(port, requests, min(WARM, seconds), CONNECTIONS))
        before, used = told(pid, path), all_cpu_seconds([pid])
        load = run(closed_loop(port, requests, seconds, CONNECTIONS))
        after, used = told(pid, path), all_cpu_seconds([pid]) - used
    each = 1e6 / load.answers
    found = {
        step: {"us": taken * each, "times": calls / load.answers}
        for step, taken, calls in marks.between(before, after)
    }
    together = sum(row["us"] for row in found.values())
    found["other threads"] = {"us": used * each - together, "times": 0}
    return found


def told(pid: int, path: Path) -> dict[str, Row]:
    """What a server writes into a file where it is asked to, by SIGUSR1."""
    path.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    until = time.monotonic() + 10
    while not path.exists():
        if time.monotonic() > until:
            raise SystemExit(f"process {pid} does not write {path}")
        time.sleep(0.01)
    found: dict[str, Row] = json.loads(path.read_text())
    return found


def workers(site: Site, effort: Effort) -> dict[str, Row]:
    """Workers → the CPU of a decision, with one worker and with two, on the same core, in turns."""
    turns: dict[int, list[Row]] = {1: [], 2: []}
    for _ in range(effort.turns):
        for count, rows in turns.items():
            with served(site, f"workers{count}", "--workers", str(count)) as (port, pid):
                pids = children_of(pid) if count > 1 else [pid]
                used = busy(port, pids, site, effort.seconds)
                rows.append({"rate": used.load.rate, "cpu_us": used.cpu})
    return {str(count): medians(rows) for count, rows in turns.items()}
