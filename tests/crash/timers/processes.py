"""What is killed: runners, of which some have other clocks, and a Redis of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from decision.store.embedded.process import find_binary
from tests.ports import free_port

AHEAD: Final = 300
"""Seconds by which the clock of one runner is ahead."""

_SYSTEM = "/usr/bin/redis-server"
_ROOT = str(Path(__file__).resolve().parents[3])
_CLOCK = """
import time
now = time.time_ns
time.time_ns = lambda: now() + ({seconds}) * 1_000_000_000
import runpy
runpy.run_module("decision.cli", run_name="__main__")
"""
CLOCKS: Final = {
    "right": None,
    "ahead": f"{AHEAD}",
    "jumping": f"(0, -3600, 0, {AHEAD}, -60)[now() // 20_000_000_000 % 5]",
}
"""What is added to the clock of a runner: the last one's is set anew every 20 seconds."""


class Runner:
    """One `nextbest outbound`, which follows the rules folder."""

    def __init__(self, folder: Path, url: str, clock: str) -> None:
        code = CLOCKS[clock]
        run = ["-m", "decision.cli"] if code is None else ["-c", _CLOCK.format(seconds=code)]
        self.command = [sys.executable, *run]
        self.command += ["outbound", "--rules", "rules", "--watch", "--redis-url", url]
        self.folder = folder
        self.log = folder / f"runner-{clock}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.kill()

    def kill(self, *, again: bool = True) -> None:
        """Signal 9; then it is started again."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        if again:
            with self.log.open("ab") as out:
                self.process = subprocess.Popen(
                    self.command,
                    cwd=self.folder,
                    env={**os.environ, "PYTHONPATH": _ROOT, "NEXTBEST_LOG_LIMIT_MB": "0"},
                    stdout=out,
                    stderr=out,
                )


class OwnRedis:
    """A Redis of the system, else the embedded one, with its append-only file at `always`.

    It is started as it is, so that what the embedded one does at its start does not count here.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        binary = _SYSTEM if Path(_SYSTEM).exists() else find_binary()
        options = {"port": self._port, "bind": "127.0.0.1", "dir": folder, "save": ""}
        options |= {"appendonly": "yes", "appendfsync": "always", "logfile": folder / "redis.log"}
        self._command = [binary]
        for name, value in options.items():
            self._command += [f"--{name}", str(value)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, patience: float = 900.0) -> None:
        """Starts it, and waits until it has its data."""
        self._process = subprocess.Popen(self._command)
        ends = time.monotonic() + patience
        while time.monotonic() < ends:
            assert self._process.poll() is None, "Redis has ended; see its log"
            try:
                with Redis.from_url(self.url) as redis:
                    redis.ping()
                    return
            except RedisError:
                time.sleep(0.1)
        raise AssertionError("Redis does not answer")

    def kill(self) -> None:
        """Signal 9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
