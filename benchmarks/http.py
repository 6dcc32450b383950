"""What a whole decision costs over HTTP: its CPU beside an empty route's, rates and times.

    python -m benchmarks.http                   # quick: 10,000 customers, some minutes
    python -m benchmarks.http --customers 100000 --seconds 10 --turns 5
    python -m benchmarks.http --grid            # candidates, rules and contacts around the standard

Servers run on one core, one at a time and in turns; what asks them, and Redis, on another:

- `empty`: a bare Litestar `@post`, with the structs of a decision's request and answer.
- `store`: the same, with the two calls of the store that a decision makes: a read, and a commit with
  a record of 1.2 KB.
- `light`: `nextbest serve`, a customer whom nobody knows, one placement, no model.
- `standard`: `nextbest serve` with the standard of `_standard.py`.

`CPU` is user and system time of the server, for each answer; `Redis` is Redis's. The ratio to the
empty route says what nextbest costs, and depends least on the machine. Rates are of a closed loop of
16 connections. Times (ms) are of one connection that has the server for itself, and of an open loop
with half of the highest rate: requests come at random times, whether earlier ones are answered or
not, and are counted from when they were due. Each figure is the median of its turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks._standard import EVENT_TYPES, fill, rules_text, train_standard

ROOT: Final = Path(__file__).parents[1]
CONNECTIONS: Final = 16
PREFIX: Final = "nb:"
SERVERS: Final = {
    "empty": "an empty @post",
    "store": "the same, with a read and a commit",
    "light": "a light decision",
    "standard": "the standard decision",
}
_LIGHT: Final = """
purposes: {news: {consent: not_required}}
channels: {web: {}}
placements: {outbound: {channels: [web]}}
messages:
  hello: {purpose: news, channels: [web], value: 1, content: {title: Hello}}
  again: {purpose: news, channels: [web], value: 2, content: {title: Welcome}}
"""


class Case(NamedTuple):
    """A standard, or one that differs from it: what the grid varies."""

    messages: int = 50
    rules: int = 50
    contacts: int = 20

    @property
    def name(self) -> str:
        return f"{2 * self.messages} candidates, {self.rules} rules, {self.contacts} contacts"


GRID: Final = (
    Case(),
    *(Case(messages=one) for one in (5, 500, 1250)),
    *(Case(rules=one) for one in (10, 200, 1000)),
    *(Case(contacts=one) for one in (5, 200)),
)


class Load(NamedTuple):
    """What came of a load: answers, seconds, and each answer's time in seconds."""

    answers: int
    seconds: float
    times: list[float]

    def at(self, share: float) -> float:
        """A quantile of the times, in ms."""
        return sorted(self.times)[min(len(self.times) - 1, int(len(self.times) * share))] * 1000


# ------------------------------------------------------------------- what is asked


def reference_app(calls: bool) -> Any:
    """What the framework costs, and with the two calls of the store."""
    from datetime import UTC, datetime

    from litestar import Litestar, post

    from decision.core.ports import Commit, LogRecord
    from decision.core.schema import Decision, DecisionRequest, Selection
    from decision.engine.runtime import wall_clock
    from decision.store import RedisStore

    store = RedisStore(os.environ["NEXTBEST_REDIS_URL"], prefix=PREFIX) if calls else None
    body = random.Random(1).randbytes(1_200)
    selection = Selection(
        message="m1", channel="push", content={"title": "Hello Ann 1"}, priority=0.4
    )

    @post("/v1/decisions", status_code=200)
    async def decide(data: DecisionRequest) -> Decision:
        if store is not None:
            found = await store.read(data.customer_id)
            number = f"{wall_clock()}-{random.getrandbits(32)}"
            await store.commit(
                Commit(
                    id=number,
                    customer_id=data.customer_id,
                    document=found.document,
                    version=found.version,
                    expect=("contacts",),
                    write=("contacts",),
                    records=(LogRecord(kind="decision", id=number, body=body),),
                )
            )
        return Decision(
            decision_id="01KAK0V4R0GZ8M4T1S8Q2W5X7C",
            customer_id=data.customer_id,
            placement=data.placement,
            decided_at=datetime.now(UTC),
            outcome="selected",
            selections=[selection],
            policy_version="2f5f5a6f5b0d",
        )

    @asynccontextmanager
    async def with_store(app: Litestar) -> AsyncIterator[None]:
        if store is None:
            yield
            return
        await store.start()
        yield
        await store.close()

    decide.signature_namespace = {"DecisionRequest": DecisionRequest, "Decision": Decision}
    return Litestar([decide], openapi_config=None, logging_config=None, lifespan=[with_store])


def serve_reference(name: str, port: int) -> None:
    """Runs a reference until it is told to stop."""
    import uvicorn

    app = reference_app(name == "store")
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", log_config=None, access_log=False)


def command_of(name: str, folder: Path, port: int) -> list[str]:
    """What starts a server, on the first core."""
    if name in ("empty", "store"):
        started = [sys.executable, "-m", "benchmarks.http", "--serve", name, "--port", str(port)]
    else:
        rules, models = folder / name / "rules", folder / name / "models"
        given = ["--rules", str(rules), "--models", str(models), "--port", str(port)]
        started = [sys.executable, "-m", "decision.cli", "serve", *given, "--log-level", "error"]
    return pinned(0, started)


@contextmanager
def served(name: str, folder: Path, url: str) -> Iterator[tuple[int, int]]:
    """A running server: its port, and the id of the process that answers."""
    port = free_port()
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("NEXTBEST_")},
        "PYTHONPATH": str(ROOT),
        "NEXTBEST_REDIS_URL": url,
        "NEXTBEST_KEY_PREFIX": PREFIX,
    }
    with (folder / f"{name}.log").open("ab") as log:
        server = subprocess.Popen(
            command_of(name, folder, port), cwd=folder, env=environment, stdout=log, stderr=log
        )
    try:
        _wait_until_served(server, port, folder / f"{name}.log")
        yield port, server.pid
    finally:
        server.terminate()
        server.wait(30)


# ------------------------------------------------------------------- the load


def request_of(customer: str) -> bytes:
    """A request for a decision."""
    body = json.dumps(
        {
            "customer_id": customer,
            "placement": "outbound",
            "event": {"type": "cart_add", "properties": {"cart_value": 320}},
            "context": {"device": "ios"},
        }
    ).encode()
    head = (
        "POST /v1/decisions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection:
    """One connection to a server, on which requests follow one another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request: bytes) -> bytes:
        """The body of the answer.

        Raises:
            SystemExit: it is none.
        """
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        body = await self._reader.readexactly(int(length[1]) if length else 0)
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"a request failed: {head.decode()}{body.decode()}")
        return body

    def close(self) -> None:
        self._writer.close()


async def closed_loop(port: int, requests: list[bytes], seconds: float, wide: int) -> Load:
    """So many connections, on each of which one request follows the other."""
    until, times = time.perf_counter() + seconds, []
    draw = random.Random(wide)

    async def client() -> None:
        connection = await Connection.open(port)
        while (began := time.perf_counter()) < until:
            await connection.ask(draw.choice(requests))
            times.append(time.perf_counter() - began)
        connection.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(wide)))
    return Load(len(times), time.perf_counter() - began, times)


async def open_loop(port: int, requests: list[bytes], seconds: float, rate: float) -> Load:
    """Requests at random times, `rate` a second, each timed from when it was due."""
    draw, idle, times = random.Random(3), [], []

    async def one(due: float) -> None:
        connection = idle.pop() if idle else await Connection.open(port)
        await connection.ask(draw.choice(requests))
        times.append(time.perf_counter() - due)
        idle.append(connection)

    began = due = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        while (due := due + draw.expovariate(rate)) < began + seconds:
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            group.create_task(one(due))
    for connection in idle:
        connection.close()
    return Load(len(times), time.perf_counter() - began, times)


# ------------------------------------------------------------------- what is measured


def prepare(folder: Path, url: str, customers: int, case: Case) -> list[str]:
    """Writes rules and model of both decisions, and loads the standard's customers."""
    from decision.core.clock import from_micros
    from decision.engine import Engine, EngineSettings, build_snapshot
    from decision.engine.runtime import wall_clock
    from decision.rulebook.reader import load_folder
    from decision.scoring.versions import point_to
    from decision.store import RedisStore

    texts = {"light": _LIGHT, "standard": rules_text(rules=case.rules, messages=case.messages)}
    for name, text in texts.items():
        (folder / name / "rules").mkdir(parents=True)
        (folder / name / "models").mkdir()
        (folder / name / "rules" / "rules.yaml").write_text(text, "utf-8")
    models = folder / "standard" / "models"
    point_to(models, train_standard(models, case.messages))

    async def load() -> list[str]:
        store, now = RedisStore(url, prefix=PREFIX), wall_clock()
        await store.start()
        engine = Engine(store, EngineSettings(timeout=60.0))
        definition = load_folder(folder / "standard" / "rules").definition
        assert definition is not None
        engine.use(await build_snapshot(definition, None, store, from_micros(now)))
        kinds = {"event_types": EVENT_TYPES, "contacts": case.contacts, "now": now}
        names = await fill(engine, store, customers, 24, **kinds)
        await store.close()
        return names

    return asyncio.run(load())


def measure(
    name: str, folder: Path, url: str, names: list[str], seconds: float
) -> dict[str, float]:
    """One turn of one server."""
    redis = redis_pid(url)
    draw = random.Random(5)
    if name == "light":
        names = [f"unknown-{draw.getrandbits(48):x}" for _ in range(20_000)]
    requests = [request_of(one) for one in names]
    with served(name, folder, url) as (port, pid):
        asyncio.run(closed_loop(port, requests, min(2.0, seconds), CONNECTIONS))  # warm
        before = cpu_seconds(pid), cpu_seconds(redis)
        most = asyncio.run(closed_loop(port, requests, seconds, CONNECTIONS))
        used = cpu_seconds(pid) - before[0], cpu_seconds(redis) - before[1]
        alone = asyncio.run(closed_loop(port, requests, seconds / 2, 1))
        rate = most.answers / most.seconds
        half = asyncio.run(open_loop(port, requests, seconds, rate / 2))
    return {
        "rate": rate,
        "cpu_us": used[0] / most.answers * 1e6,
        "redis_us": used[1] / most.answers * 1e6,
        "p50_idle_ms": alone.at(0.5),
        "p50_half_ms": half.at(0.5),
        "p99_half_ms": half.at(0.99),
    }


def survivors(folder: Path, url: str, name: str) -> int:
    """How many candidates are scored for a customer."""
    with served("standard", folder, url) as (port, _):
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/decisions",
            json.dumps(
                {
                    "customer_id": name,
                    "placement": "outbound",
                    "context": {"device": "ios"},
                    "dry_run": True,
                    "explain": True,
                }
            ).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            rows = json.load(answer)["explanation"]
    return sum(row.get("priority") is not None for row in rows)


def redis_pid(url: str) -> int:
    """The process of a Redis on this machine."""
    import redis

    with redis.Redis.from_url(url) as client:
        return int(client.info("server")["process_id"])  # type: ignore[index]


def pinned(core: int, command: list[str]) -> list[str]:
    """The command on one core, where the machine has more than one and can pin."""
    if shutil.which("taskset") is None or (os.cpu_count() or 1) < 2:
        return command
    return ["taskset", "-c", str(core), *command]


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used, where the system tells (Linux)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _wait_until_served(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until, request = time.monotonic() + 120, request_of("c-1")
    while time.monotonic() < until:
        if server.poll() is not None:
            raise SystemExit(
                f"the server ended with {server.returncode}: {log.read_text()[-2000:]}"
            )
        try:
            asyncio.run(_first(port, request))
        except (OSError, asyncio.IncompleteReadError):
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"port {port} does not answer: {log.read_text()[-2000:]}")


async def _first(port: int, request: bytes) -> None:
    connection = await Connection.open(port)
    await connection.ask(request)
    connection.close()


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


# ------------------------------------------------------------------- what is told


def compare(case: Case, names: list[str], given: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Server → its figures, each the median of its turns."""
    from decision.store import EmbeddedRedis

    with tempfile.TemporaryDirectory(prefix="nextbest-bench-") as name:
        folder = Path(name)
        with EmbeddedRedis(folder / "redis", fsync="everysec") as url:
            customers = prepare(folder, url, given.customers, case)
            scored = survivors(folder, url, customers[0])
            turns: dict[str, list[dict[str, float]]] = {one: [] for one in names}
            for _ in range(given.turns):
                for one in names:
                    turns[one].append(measure(one, folder, url, customers, given.seconds))
    found = {
        one: {key: statistics.median(turn[key] for turn in every) for key in every[0]}
        for one, every in turns.items()
    }
    base = found["empty"]
    for one, row in found.items():
        row["cpu_of_empty"] = base["cpu_us"] / row["cpu_us"]
        row["rate_of_empty"] = row["rate"] / base["rate"]
        if one == "standard":
            row["scored"] = scored
    return found


def table(found: dict[str, dict[str, float]]) -> str:
    """The figures as Markdown."""
    lines = [
        "| | answers/s | CPU, µs | Redis, µs | empty's CPU over it | p50 alone | p50 at half | p99 at half |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {SERVERS.get(name, name)} | {row['rate']:,.0f} | {row['cpu_us']:.0f} |"
        f" {row['redis_us']:.0f} | {row['cpu_of_empty']:.3f} | {row['p50_idle_ms']:.2f} |"
        f" {row['p50_half_ms']:.2f} | {row['p99_half_ms']:.2f} |"
        for name, row in found.items()
    ]
    return "\n".join(lines)


def machine() -> dict[str, str]:
    """What the figures are of."""
    names = ("litestar", "uvicorn", "uvloop", "msgspec", "redis", "lleaves", "numpy")
    return {
        "python": platform.python_version(),
        "cpus": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f}",
        **{name: version(name) for name in names},
    }


def main() -> None:
    """Measures and prints, or serves for a measurement."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.http",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--serve", choices=("empty", "store"), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--customers", type=int, default=10_000, help="loaded (10,000)")
    parser.add_argument("--seconds", type=float, default=4, help="of each load (4)")
    parser.add_argument("--turns", type=int, default=3, help="of each server (3)")
    parser.add_argument("--only", choices=SERVERS, nargs="+", default=list(SERVERS))
    parser.add_argument("--grid", action="store_true", help="the standard with more and less")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    given = parser.parse_args()
    if given.serve:
        serve_reference(given.serve, given.port)
        return
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {1})  # also of Redis, which this starts
    names = list(dict.fromkeys(["empty", *given.only]))
    print(" ".join(f"{name} {value}" for name, value in machine().items()), flush=True)
    results = {}
    for case in GRID if given.grid else GRID[:1]:
        found = compare(case, ["empty", "standard"] if given.grid else names, given)
        results[case.name] = found
        scored = f", {found['standard']['scored']:.0f} scored" if "standard" in found else ""
        print(f"\n{case.name}{scored}\n\n{table(found)}", flush=True)
    if given.json:
        given.json.write_text(json.dumps({"machine": machine(), "cases": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
