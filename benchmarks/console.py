"""Every page of the console over an archive of a million decisions: how long it takes.

    python -m benchmarks.console --decisions 1000000

The archive is made once, below `--folder` (about a minute and 300 MB for a million), of the sample's
policy, with customers, merges, outcomes, events, journeys and control groups. A server process is
started on it, with an embedded Redis in which a customer has just been decided for. Then each page
is asked for, from one connection, one after another: those of `tests/console/addresses.py`, and
others with the ranges and break-downs that people choose.

- *cold*: there are no summaries of the archive's files yet: until the page has its figures.
- *kept*: they are there, and the server has just started: the same.
- *warm*: `--times` more requests of each page: p50 and p95 in milliseconds, and milliseconds of CPU
  of the server for each, because whatever else the machine does only adds to the clock.

The size is that of the page compressed by gzip. It fails where a page is slower (p95, warm) or
larger than it may be.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow.parquet as pq

from benchmarks._large_archive import make
from decision.archive.forgetting import FOLDER
from decision.archive.tables import files

ROOT: Final = Path(__file__).resolve().parents[1]
P95_MS: Final = 200.0
KB: Final = 150.0
READY_WITHIN: Final = 120.0
FIRST_WITHIN: Final = 600.0
WAITS: Final = 'aria-busy="true"'
HOST: Final = "127.0.0.1"


class Timed(NamedTuple):
    """One page: milliseconds, and bytes when compressed."""

    address: str
    p50: float
    p95: float
    cpu: float
    size: int


class Server:
    """A server process with an embedded Redis in a folder of its own."""

    def __init__(self, archive: Path, home: Path) -> None:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port: int = probe.getsockname()[1]
        command = [sys.executable, "-m", "decision.cli", "serve", "--port", str(self.port)]
        command += ["--rules", str(ROOT / "rules"), "--archive", str(archive)]
        command += ["--models", "", "--log-level", "warning"]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("NEXTBEST_")}
        with (home / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=home,
                env=environment | {"PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=log,
            )
        self._connection = HTTPConnection(HOST, self.port, timeout=FIRST_WITHIN)
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if self.get("/health/ready")[0] == 200:
                    return
            self._connection.close()
            time.sleep(0.1)
        raise SystemExit("the server was not ready in time")

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body."""
        self._connection.request("GET", path, headers={"accept": "text/html"})
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def send(self, method: str, path: str, body: object) -> None:
        """Sends JSON; it must be taken."""
        headers = {"content-type": "application/json"}
        self._connection.request(method, path, json.dumps(body), headers)
        answer = self._connection.getresponse()
        text = answer.read()
        assert answer.status < 300, (path, answer.status, text)

    def cpu(self) -> float:
        """Seconds of CPU of the server so far, without Redis and children that have not ended."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Bytes that the server holds."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * 4096

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(60)


@contextlib.contextmanager
def serving(archive: Path) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as home:
        server = Server(archive, Path(home))
        try:
            server.send("PUT", "/v1/customers/li", {"attributes": {"first_name": "Li"}})
            for placement in ("outbound", "app_home") * 10:
                server.send("POST", "/v1/decisions", {"customer_id": "li", "placement": placement})
            server.send("PUT", "/v1/customers/c-17", {"attributes": {"first_name": "Wang"}})
            yield server
        finally:
            server.stop()


def addresses(archive: Path) -> list[str]:
    """Every page, and what people choose on those that read the archive."""
    from tests.console.addresses import every_page

    middle = files(archive, "decisions")[len(files(archive, "decisions")) // 2]
    decision_id = pq.ParquetFile(middle).read_row_group(0, ["decision_id"]).column(0)[0].as_py()
    today = datetime.now(UTC).date()
    two_weeks = f"from={today - timedelta(days=45)}&to={today - timedelta(days=32)}"
    reports, found = "/console/reports/found?kind", "/console/candidates/found?range"
    return [
        *every_page(),
        f"/console/decisions/{decision_id}",
        "/console/customers/c-17/timeline",
        *(f"/console/experiments/found?range={name}" for name in ("week", "quarter", "all")),
        f"/console/experiments/found?{two_weeks}",
        *(f"{found}={name}" for name in ("week", "all")),
        *(f"{found}=all&view={name}" for name in ("win-loss", "sensitivity")),
        *(f"{found}=quarter&by={name}" for name in ("candidate", "day", "placement")),
        *(f"{reports}={kind}&range={name}" for kind in ("retention", "segments") for name in ("quarter", "all")),
        f"{reports}=retention&by=message&weeks=12&range=all",
        f"{reports}=segments&{two_weeks}",
        "/console/journeys/welcome/report?range=all",
    ]  # fmt: skip


def first(server: Server, page: str) -> float:
    """Seconds until a page has its figures."""
    began = time.perf_counter()
    while time.perf_counter() - began < FIRST_WITHIN:
        status, body = server.get(page)
        if status == 200 and WAITS not in body.decode():
            return time.perf_counter() - began
        time.sleep(0.2)
    raise SystemExit(f"{page} has no figures after {FIRST_WITHIN:g} s")


def timed(server: Server, address: str, times: int) -> Timed:
    """A page, asked for again and again."""
    _, body = server.get(address)
    spent, cpu = [], server.cpu()
    for _ in range(times):
        began = time.perf_counter()
        server.get(address)
        spent.append((time.perf_counter() - began) * 1000)
    cpu = (server.cpu() - cpu) / times * 1000
    p95 = statistics.quantiles(spent, n=20, method="inclusive")[-1]
    return Timed(address, statistics.median(spent), p95, cpu, len(gzip.compress(body)))


FIRST: Final = (
    "/console/candidates/found?range=all",
    "/console/experiments/found?range=all",
    "/console/reports/found?kind=retention&range=all",
    "/console/reports/found?kind=segments&range=all",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.console", description=__doc__)
    parser.add_argument("--decisions", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "console")
    parser.add_argument("--warm", action="store_true", help="leave the cold start out")
    parser.add_argument("--only", default="", metavar="TEXT", help="pages with this in the address")
    given = parser.parse_args()
    archive = given.folder / str(given.decisions)
    if not archive.is_dir():
        print(f"making {archive}", flush=True)
        make(archive, given.decisions, datetime.now(UTC))
    for name in ("kept",) if given.warm else ("cold", "kept"):
        if name == "cold":
            shutil.rmtree(archive / FOLDER, ignore_errors=True)
        with serving(archive) as server:
            for page in FIRST:
                print(f"{name}: {first(server, page):6.1f} s {page}", flush=True)
            if name == "kept":
                pages = [page for page in addresses(archive) if given.only in page]
                rows = [timed(server, page, given.times) for page in pages]
                print(f"server: {server.memory() / 1e6:.0f} MB")
    print(f"\n{'p50':>6}{'p95':>7}{'CPU':>7}{'KB':>6}  page (milliseconds; size compressed)")
    for one in rows:
        late = "  <<" if one.p95 > P95_MS or one.size > KB * 1000 else ""
        size = one.size / 1000
        print(f"{one.p50:6.0f}{one.p95:7.0f}{one.cpu:7.0f}{size:6.0f}  {one.address}{late}")
    slow = [one for one in rows if one.p95 > P95_MS]
    large = [one for one in rows if one.size > KB * 1000]
    print(
        f"\n{len(rows)} pages; p95 above {P95_MS:g} ms: {len(slow)}; above {KB:g} KB: {len(large)}"
    )
    return 1 if slow or large else 0


if __name__ == "__main__":
    sys.exit(main())
