"""Processes on this machine: which core they are on, what CPU they use, and that all are ended."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
_NAMED: Final = (
    "litestar",
    "uvicorn",
    "uvloop",
    "msgspec",
    "redis",
    "lightgbm",
    "lleaves",
    "numpy",
)


def pin(core: int) -> None:
    """Keeps this process, and what it starts, on one core, where the machine has more and can."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


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


def children_of(pid: int) -> list[int]:
    """The processes that a process has started, and that still run (Linux)."""
    tasks = Path(f"/proc/{pid}/task")
    found = " ".join(each.read_text() for each in tasks.glob("*/children"))
    return [int(one) for one in found.split()]


def all_cpu_seconds(pids: Iterable[int]) -> float:
    """The CPU time of several processes together."""
    return sum(cpu_seconds(pid) for pid in pids)


def redis_cpu_seconds(url: str) -> float:
    """The CPU time that a Redis has used."""
    import redis

    with redis.Redis.from_url(url) as client:
        used: Any = client.info("cpu")
        return float(used["used_cpu_user"] + used["used_cpu_sys"])


def never_rewrite(url: str) -> None:
    """From now on a Redis does not rewrite its append-only file, however long that becomes."""
    import redis

    with redis.Redis.from_url(url) as client:
        client.config_set("auto-aof-rewrite-percentage", 0)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def end_on_sigterm() -> None:
    """Turns SIGTERM into an ordinary end, so that servers and Redis are stopped on it as well."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process, and waits until it is gone; one that does not go is killed."""
    process.terminate()
    try:
        process.wait(30)
    except BaseException:
        process.kill()
        process.wait(10)
        raise


def machine() -> dict[str, Any]:
    """What figures depend on."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "commit": _commit(),
        **{name: version(name) for name in _NAMED},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _commit() -> str:
    """The commit of the checkout, with a + where files differ from it."""
    command = ["git", "describe", "--always", "--abbrev=8", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
