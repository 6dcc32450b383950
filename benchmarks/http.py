"""What a decision costs over HTTP, against an empty route of the same framework.

    python -m benchmarks.http

Each server runs alone, pinned to one core, and the load to another: an empty Litestar `@post`
with a struct in and out, then `/v1/decisions` with the sample's rules, in memory and on an
embedded Redis. The ratio to the empty route says what nextbest itself costs; the figures depend on
the machine. CPU is that of the server process alone, and stays comparable on a busy machine. With `wrk` where it is installed, else a small client of our own, which costs more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Final

from litestar import Litestar

ROOT: Final = Path(__file__).parents[1]
CONNECTIONS: Final = 16
CUSTOMERS: Final = 5_000
SERVERS: Final = {
    "empty": ("an empty @post", "/empty"),
    "memory": ("/v1/decisions in memory", "/v1/decisions"),
    "redis": ("/v1/decisions, embedded Redis", "/v1/decisions"),
}
_BODY: Final = '{"customer_id": "c-%d", "placement": "%s", "context": {"device": "ios"}}'
_LUA: Final = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
function request()
  return wrk.format(nil, nil, nil, string.format([[%s]], math.random(%d)))
end
done = function(summary, latency)
  io.write(string.format('RESULT {"requests": %%d, "seconds": %%f, "p50": %%f, "p99": %%f, "bad": %%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, summary.errors.status + summary.errors.timeout))
end
"""


def empty_app() -> Litestar:
    """What the framework itself costs: a struct in, a struct out."""
    import msgspec
    from litestar import post

    class Ask(msgspec.Struct):
        customer_id: str
        placement: str
        context: dict[str, Any] = {}

    class Told(msgspec.Struct):
        decision_id: str
        customer_id: str

    @post("/empty", status_code=200)
    async def empty(data: Ask) -> Told:
        return Told(decision_id="01KAK0V4R0GZ8M4T1S8Q2W5X7C", customer_id=data.customer_id)

    empty.signature_namespace = {"Ask": Ask, "Told": Told}
    return Litestar([empty], openapi_config=None, logging_config=None)


def memory_app() -> Litestar:
    """nextbest with everything in the process."""
    from decision.api.app import create_app
    from decision.engine import Engine
    from decision.store import MemoryStore

    return create_app(Engine(MemoryStore()), _settings())


def redis_app() -> Litestar:
    """nextbest on an embedded Redis in the current folder."""
    from decision.api.app import create_app
    from decision.engine import Engine
    from decision.store import EmbeddedRedis, RedisStore

    return create_app(Engine(RedisStore(EmbeddedRedis("redis").start())), _settings())


def _settings() -> Any:
    from decision.server.settings import ServerSettings

    return ServerSettings(rules=str(ROOT / "rules"), models=None)


def serve(name: str, port: int) -> None:
    """Runs one of the servers until it is told to stop."""
    import uvicorn

    from decision.observability import configure_logging

    configure_logging("error")
    factory = {"empty": empty_app, "memory": memory_app, "redis": redis_app}[name]
    uvicorn.run(
        factory(), port=port, loop="uvloop", http="httptools", log_config=None, access_log=False
    )


def pinned(core: int, command: list[str]) -> list[str]:
    """The command on one core, where the machine has more than one and can pin."""
    if shutil.which("taskset") is None or (os.cpu_count() or 1) < 2:
        return command
    return ["taskset", "-c", str(core), *command]


def measure(name: str, seconds: float, placement: str) -> dict[str, float]:
    """Starts a server, loads it, stops it."""
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="nextbest-bench-") as folder:
        command = [sys.executable, "-m", "benchmarks.http", "--serve", name, "--port", str(port)]
        server = subprocess.Popen(
            pinned(0, command), cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        try:
            url = f"http://127.0.0.1:{port}{SERVERS[name][1]}"
            _wait_until_served(server, url, _BODY % (1, placement))
            load(url, min(1.0, seconds), placement)  # warm caches on both sides
            before = cpu_seconds(server.pid)
            found = load(url, seconds, placement)
            used = cpu_seconds(server.pid) - before
            return {**found, "cpu_us": used / found["requests"] * 1e6}
        finally:
            server.terminate()
            server.wait(30)


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used, where the system tells (Linux)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(url: str, seconds: float, placement: str) -> dict[str, float]:
    """Requests for so many seconds: how many, how many a second, the latencies in ms."""
    if shutil.which("wrk") is not None:
        found = _wrk(url, seconds, placement)
    else:
        found = asyncio.run(_own_load(url, seconds, placement))
    if found["bad"]:
        raise SystemExit(f"{found['bad']:.0f} requests to {url} failed")
    return {**found, "rate": found["requests"] / found["seconds"]}


def _wrk(url: str, seconds: float, placement: str) -> dict[str, float]:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_LUA % (_BODY.replace('"%s"', f'"{placement}"'), CUSTOMERS))
        script.flush()
        wrk = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "-s", script.name, url]
        run = subprocess.run(pinned(1, wrk), capture_output=True, text=True, check=True)
    result = re.search(r"^RESULT (.*)$", run.stdout, re.MULTILINE)
    assert result is not None, run.stdout
    found: dict[str, float] = json.loads(result[1])
    return found


async def _own_load(url: str, seconds: float, placement: str) -> dict[str, float]:
    """A client on raw sockets, in this process."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {1})
    host, port = url.split("/")[2].split(":")
    path = "/" + url.split("/", 3)[3]
    bodies = [(_BODY % (number, placement)).encode() for number in range(CUSTOMERS)]
    requests = [
        b"POST %s HTTP/1.1\r\nhost: %s\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%s" % (path.encode(), host.encode(), len(body), body)
        for body in bodies
    ]
    until = time.perf_counter() + seconds
    latencies: list[float] = []
    bad = 0

    async def client(number: int) -> None:
        nonlocal bad
        reader, writer = await asyncio.open_connection(host, int(port))
        while (began := time.perf_counter()) < until:
            number = (number * 31 + 7) % CUSTOMERS
            writer.write(requests[number])
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
            await reader.readexactly(length)
            bad += not head.startswith(b"HTTP/1.1 200")
            latencies.append(time.perf_counter() - began)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(CONNECTIONS)))
    taken = time.perf_counter() - began
    latencies.sort()
    return {
        "requests": len(latencies),
        "seconds": taken,
        "p50": latencies[len(latencies) // 2] * 1000,
        "p99": latencies[len(latencies) * 99 // 100] * 1000,
        "bad": bad,
    }


def _wait_until_served(server: subprocess.Popen[bytes], url: str, body: str) -> None:
    until = time.monotonic() + 60
    request = urllib.request.Request(url, body.encode(), {"content-type": "application/json"})
    while time.monotonic() < until:
        if server.poll() is not None:
            raise SystemExit(f"the server for {url} ended with {server.returncode}")
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{url} does not answer")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def main() -> None:
    """Measures and prints, or serves for a measurement."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http", description=__doc__)
    parser.add_argument("--serve", choices=SERVERS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=5, help="for each server (5)")
    parser.add_argument("--placement", default="app_home", help="placement asked for (app_home)")
    parser.add_argument("--only", choices=SERVERS, nargs="+", default=list(SERVERS))
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    if given.serve:
        serve(given.serve, given.port)
        return
    found = {name: measure(name, given.seconds, given.placement) for name in given.only}
    if given.json:
        print(json.dumps(found))
        return
    base = found.get("empty")
    print(f"{'':32} {'requests/s':>10} {'CPU us':>7} {'of empty':>9} {'p50 ms':>8} {'p99 ms':>8}")
    for name, row in found.items():
        times = f"{row['cpu_us'] / base['cpu_us']:.2f}x" if base and base["cpu_us"] else "-"
        print(
            f"{SERVERS[name][0]:32} {row['rate']:10,.0f} {row['cpu_us']:7.0f} {times:>9}"
            f" {row['p50']:8.2f} {row['p99']:8.2f}"
        )


if __name__ == "__main__":
    main()
