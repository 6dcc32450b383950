"""`nextbest serve` as processes: started, killed, stopped, and looked at from outside."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Final

from benchmarks.campaign.waiting import until

ROOT: Final = Path(__file__).parents[2]
MARK: Final = "NEXTBEST_CAMPAIGN"
"""The variable by which every process that a server starts is found again."""


_DROPPED: Final = 'nextbest_followed_total{result="dropped"}'


class Count:
    """Adds up a counter that begins anew with each start."""

    def __init__(self) -> None:
        self._before = self._last = 0

    def take(self, value: int) -> None:
        """Takes the counter's present value."""
        if value < self._last:
            self._before += self._last
        self._last = value

    @property
    def total(self) -> int:
        """What was counted so far."""
        return self._before + self._last


class Server:
    """One `nextbest serve` on a port, with its workers."""

    def __init__(self, folder: Path, port: int, redis_url: str, workers: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.workers = workers
        self.log = folder / f"server-{port}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.kills: list[float] = []
        """When it, or one of its workers, was killed with signal 9."""
        self._dropped = Count()
        self._mark = f"{folder}:{port}"
        self._command = [
            *(sys.executable, "-m", "decision.cli", "serve"),
            *("--rules", str(folder / "rules"), "--models", str(folder / "no-models")),
            *("--redis-url", redis_url, "--port", str(port), "--workers", str(workers)),
        ]

    async def start(self, *, ready: bool = True) -> None:
        """Starts it; `ready`: and waits until it can decide."""
        environ = {
            "NEXTBEST_ARCHIVE": str(self.log.parent / "archive"),
            **{name: each for name, each in os.environ.items() if not name.startswith("NEXTBEST_")},
            MARK: self._mark,
            "PYTHONPATH": str(ROOT),
        }
        with self.log.open("ab") as out:
            self.process = await asyncio.to_thread(
                subprocess.Popen,
                self._command,
                stdout=out,
                stderr=out,
                cwd=self.log.parent,
                env=environ,
            )
        if ready:
            await until(self._ready, 120)

    async def _ready(self) -> bool:
        if not self.alive:
            raise AssertionError(f"{self.url} did not start: {self.text()[-3000:]}")
        return await asyncio.to_thread(self._answers)

    def _answers(self) -> bool:
        return bool(self._get("/health/ready"))

    def _get(self, path: str) -> str:
        """What it answers with 200; nothing where it does not."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return str(answer.read().decode()) if answer.status == 200 else ""
        except OSError:
            return ""

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    async def dropped(self) -> int:
        """How much it could not keep for later, as it has counted so far, over all its lives."""
        lines = (await asyncio.to_thread(self._get, "/metrics")).splitlines()
        counts = [int(float(line.split()[-1])) for line in lines if line.startswith(_DROPPED)]
        if counts:
            self._dropped.take(sum(counts))
        return self._dropped.total

    def processes(self) -> list[int]:
        """The ids of all processes of this server, whether their parent lives or not."""
        mark = f"{MARK}={self._mark}".encode()
        return [
            int(folder.name)
            for folder in Path("/proc").glob("[0-9]*")
            if mark in _read(folder / "environ").split(b"\0")
        ]

    @property
    def first(self) -> int:
        """The id of the process that was started: the supervisor, or the only one."""
        assert self.process is not None
        return self.process.pid

    def answering(self) -> list[int]:
        """The processes that answer requests: the workers, or the only one."""
        if self.workers == 1:
            return [each for each in self.processes() if each == self.first]
        return [
            each
            for each in self.processes()
            if each != self.first and b"spawn_main" in _read(Path(f"/proc/{each}/cmdline"))
        ]

    def kill_process(self, process: int) -> None:
        """Signal 9 to one of its processes."""
        self.kills.append(time.time())
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)

    async def kill(self) -> None:
        """Signal 9 to all of its processes, the first one first."""
        assert self.process is not None
        for process in sorted(self.processes(), key=lambda each: each != self.first):
            self.kill_process(process)
        await asyncio.to_thread(self.process.wait)

    async def stop(self, seconds: float = 40) -> int | None:
        """SIGTERM; its exit code, or None where it had to be killed after so many seconds."""
        assert self.process is not None
        await self.dropped()  # what it has counted ends with it
        self.process.terminate()
        try:
            return await asyncio.to_thread(self.process.wait, seconds)
        except subprocess.TimeoutExpired:
            await self.kill()
            return None

    async def orphans(self, seconds: float = 10) -> int:
        """How many processes are left this long after the first one has ended; they are killed."""
        assert self.process is not None and not self.alive
        with contextlib.suppress(TimeoutError):
            await until(lambda: not self.processes(), seconds)
        left = self.processes()
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        return len(left)

    def memory(self) -> int:
        """Bytes (RSS) of its largest process."""
        pages = [
            int((_read(Path(f"/proc/{each}/statm")).split() or [0, 0])[1])
            for each in self.processes()
        ]
        return max(pages, default=0) * os.sysconf("SC_PAGE_SIZE")

    def text(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def _read(path: Path) -> bytes:
    """A file of /proc; nothing where the process has ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
