"""What a server still does when more is asked of it than it can do, from 0.5 to 5 times as much.

    python -m benchmarks.overload [--picture docs/overload.svg]

The sample's rules, model and customers: one worker and its Redis on one core, what asks on
another. First the capacity: decisions per second while 64 are always under way, over 1,000
connections in turn. Then an open loop for each load: requests come at fixed times over as many
connections, whether earlier ones are answered or not. Nobody obeys `Retry-After`. Goodput is
decisions per second that were answered within the deadline (1 s); `refused` were answered 503; `unsent` had no free connection when their time came. `cpu_us` is the
server's CPU per decision served, refusals included: what another program takes of the core does
not change it. `live` is `/health/live`, asked for every 50 ms on a new connection. All times are in
ms, from when a request was due.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks._http.machine import ROOT, cpu_seconds, pin, pinned

CONNECTIONS: Final = 1_000
UNDER_WAY: Final = 64
CUSTOMERS: Final = 5_000
FACTORS: Final = (0.5, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0)
DEADLINE: Final = 1.0

_HEAD: Final = (
    b"POST /v1/decisions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%s"
)
_LIVE: Final = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def requests() -> Iterator[bytes]:
    """Requests for one customer after another, for ever."""
    bodies = (
        b'{"customer_id":"c-%d","placement":"app_home","context":{"device":"ios"}}' % number
        for number in range(CUSTOMERS)
    )
    return itertools.cycle([_HEAD % (len(body), body) for body in bodies])


class Load:
    """What came of the requests of one run. Latencies are in seconds, from when one was due."""

    def __init__(self) -> None:
        self.served: list[float] = []
        self.refused = 0
        self.failed = 0
        self.unsent = 0

    def answered(self, answer: bytes, due: float, now: float) -> None:
        """Counts an answer."""
        status = answer[9:12]
        if status == b"200":
            self.served.append(now - due)
        elif status == b"503":
            self.refused += 1
        else:
            self.failed += 1


class Client:
    """Connections of which each has at most one request under way."""

    def __init__(self, port: int, connections: int) -> None:
        self.poll = select.epoll()
        self.wires: dict[int, socket.socket] = {}
        self.free: deque[int] = deque()
        self.due: dict[int, float] = {}
        self.parts: dict[int, bytes] = {}
        self.asks = requests()
        self.port = port
        for _ in range(connections):
            self._connect()

    def _connect(self) -> None:
        wire = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire.setblocking(False)
        self.wires[wire.fileno()] = wire
        self.poll.register(wire.fileno(), select.EPOLLIN)
        self.free.append(wire.fileno())

    def ask(self, due: float) -> bool:
        """Sends a request on a free connection, if there is one."""
        if not self.free:
            return False
        number = self.free.popleft()
        self.due[number] = due
        self.wires[number].send(next(self.asks))
        return True

    def take(self, load: Load, timeout: float) -> int:
        """Takes the answers that are there; how many."""
        found = self.poll.poll(timeout)
        for number, _ in found:
            try:
                part = self.wires[number].recv(65536)
            except ConnectionError:
                part = b""
            if not part:
                self.poll.unregister(number)
                self.wires.pop(number).close()
                load.failed += number in self.due
                self.due.pop(number, None)
                self._connect()
                continue
            whole = self.parts.pop(number, b"") + part
            if not whole.endswith(b"}"):  # a part of the JSON that each answer is
                self.parts[number] = whole
                continue
            load.answered(whole, self.due.pop(number), time.perf_counter())
            self.free.append(number)
        return len(found)


def capacity(port: int, seconds: float) -> float:
    """Decisions per second with 64 always under way, over all connections in turn."""
    client, load = Client(port, CONNECTIONS), Load()
    for _ in range(2):  # the first time warms what is cold
        load = Load()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            while len(client.due) < UNDER_WAY and client.ask(time.perf_counter()):
                pass
            client.take(load, 0.1)
    return len(load.served) / seconds


def offer(port: int, rate: float, seconds: float) -> Load:
    """Requests at fixed times, `rate` per second."""
    client, load = Client(port, CONNECTIONS), Load()
    time.sleep(0.5)  # until all are accepted
    began = time.perf_counter()
    asked, total = 0, int(rate * seconds)
    while asked < total or client.due:
        now = time.perf_counter()
        while asked < total and (due := began + asked / rate) <= now:
            load.unsent += not client.ask(due)
            asked += 1
        if now > began + seconds + 30:
            break
        wait = 0.05 if asked >= total else max(0.0, began + asked / rate - time.perf_counter())
        client.take(load, min(wait, 0.001))
    load.failed += len(client.due)
    for wire in client.wires.values():
        wire.close()
    return load


def probe(port: int, seconds: float) -> list[float]:
    """Seconds that `/health/live` took on a new connection, every 50 ms."""
    found = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as wire:
                wire.sendall(_LIVE)
                good = wire.recv(4096).startswith(b"HTTP/1.1 200")
        except OSError:
            good = False
        found.append(time.perf_counter() - began if good else 10.0)
        time.sleep(max(0.0, began + 0.05 - time.perf_counter()))
    return found


def quantile(values: list[float], share: float) -> float:
    """A quantile in milliseconds; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else 0.0


def run_load(pid: int, port: int, rate: float, seconds: float) -> dict[str, float]:
    """One load on the server `pid`: what came of it."""
    command = [sys.executable, "-m", "benchmarks.overload", "--probe", str(port)]
    probing = subprocess.Popen(
        pinned(1, [*command, "--seconds", str(seconds)]), cwd=ROOT, stdout=subprocess.PIPE
    )
    before = cpu_seconds(pid)
    load = offer(port, rate, seconds)
    used = cpu_seconds(pid) - before
    live = json.loads(probing.communicate()[0])
    in_time = sum(taken <= DEADLINE for taken in load.served)
    return {
        "offered": rate,
        "goodput": in_time / seconds,
        "p50": quantile(load.served, 0.5),
        "p99": quantile(load.served, 0.99),
        "refused": load.refused / seconds,
        "unsent": load.unsent / seconds,
        "failed": load.failed,
        "cpu_us": used / max(1, len(load.served)) * 1e6,
        "live_p50": quantile(live, 0.5),
        "live_p99": quantile(live, 0.99),
    }


def measure(seconds: float, port: int, factors: Sequence[float]) -> dict[str, Any]:
    """Prepares the sample, serves it, and offers each load."""
    from decision.cli.policies import read_rules
    from decision.simulation.sample import prepare
    from decision.store import EmbeddedRedis

    with tempfile.TemporaryDirectory(prefix="nextbest-bench-") as folder:
        home, rules = Path(folder), ROOT / "rules"
        prepared = asyncio.run(prepare(CUSTOMERS, home, rules, read_rules(str(rules))))
        pin(0)  # for Redis, which inherits it
        with EmbeddedRedis(home / "redis") as url:
            pin(1)
            serve = [sys.executable, "-m", "decision.cli", "serve", "--redis-url", url]
            server = subprocess.Popen(
                pinned(0, [*serve, *prepared.flags("127.0.0.1", port)]), cwd=ROOT
            )
            try:
                _wait(server, port)
                most = capacity(port, seconds)
                print(f"capacity: {most:,.0f} decisions per second\n", flush=True)
                rows = []
                for factor in factors:
                    rows.append(
                        {"factor": factor, **run_load(server.pid, port, most * factor, seconds)}
                    )
                    show(rows[-1], first=len(rows) == 1)
                return {"capacity": most, "rows": rows}
            finally:
                server.terminate()
                server.wait(30)


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if server.poll() is not None:
            raise SystemExit(f"the server ended with {server.returncode}")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as wire:
                wire.sendall(_LIVE.replace(b"live", b"ready"))
                if wire.recv(4096).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit("the server does not get ready")


COLUMNS: Final = (
    "goodput",
    "p50",
    "p99",
    "refused",
    "unsent",
    "failed",
    "cpu_us",
    "live_p50",
    "live_p99",
)


def show(row: dict[str, float], *, first: bool) -> None:
    """Prints a row of the table."""
    if first:
        print(f"{'load':>5} {'offered':>8}" + "".join(f" {name:>8}" for name in COLUMNS))
    figures = "".join(f" {row[name]:8,.0f}" for name in COLUMNS)
    print(f"{row['factor']:4g}x {row['offered']:8,.0f}{figures}", flush=True)


def draw(found: dict[str, Any], path: Path) -> None:
    """The curve: what is offered against what is served, and how long that takes."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "overload"  # the same figures give the same file
    from matplotlib import pyplot as plt

    rows = found["rows"]
    offered = [row["offered"] / found["capacity"] for row in rows]
    figure, (above, below) = plt.subplots(2, 1, figsize=(7, 6), sharex=True, layout="constrained")
    for name, style in (("goodput", "o-"), ("refused", "s--")):
        above.plot(offered, [row[name] / found["capacity"] for row in rows], style, label=name)
    above.axhline(0.9, color="grey", linewidth=0.8, linestyle=":")
    above.set_ylabel("share of the capacity")
    above.set_ylim(bottom=0)
    above.legend(frameon=False)
    series = (("p99", "decisions, p99"), ("p50", "decisions, median"), ("live_p99", "live, p99"))
    for name, text in series:
        below.plot(offered, [row[name] for row in rows], "o-", label=text)
    below.set_yscale("log")
    below.axhline(DEADLINE * 1000, color="grey", linewidth=0.8, linestyle=":")
    below.set_ylabel("ms, from when it was due")
    below.set_xlabel(f"offered, as a multiple of the capacity ({found['capacity']:,.0f} per s)")
    below.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measures, prints a table, and draws a picture where one is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="for each load (5)")
    parser.add_argument("--factors", type=float, nargs="+", default=FACTORS, help="loads")
    parser.add_argument("--port", type=int, default=18_790, help="that the server listens on")
    parser.add_argument("--picture", type=Path, help="draw the curve into this file (.svg, .png)")
    parser.add_argument("--json", type=Path, help="write the figures into this file")
    parser.add_argument("--probe", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.probe:
        print(json.dumps(probe(given.probe, given.seconds)))
        return
    found = measure(given.seconds, given.port, given.factors)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))
    if given.picture:
        draw(found, given.picture)


if __name__ == "__main__":
    main()
