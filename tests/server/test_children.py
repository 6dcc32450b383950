"""Child processes that try what may hang."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from decision.children import NICENESS, Child
from tests.waiting import until

_CHILD = """
from decision.children import end_with_parent
end_with_parent()
print("runs", flush=True)
while True:
    pass
"""
_PARENT = """
import subprocess, sys, threading
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
print(child.pid, child.stdout.readline(), flush=True)
threading.Thread(target=child.wait).start()
"""
_TELLS = """
import os, sys
sys.stdin.read()
print(os.getpriority(os.PRIO_PROCESS, 0), os.getsid(0), os.getpgid(0) == os.getpid())
"""


def test_a_child_gives_way_in_the_session_of_its_parent() -> None:
    """In one of its own, Linux would give it half of the processor whatever its niceness."""
    output, errors, code = Child([sys.executable, "-S", "-c", _TELLS]).run(b"", 60)
    assert (errors, code) == (b"", 0)
    niceness = min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
    assert output.split() == f"{niceness} {os.getsid(0)} True".encode().split()


def test_a_child_is_ended_with_all_that_it_has_started(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    child = Child(["sh", "-c", f"sleep 600 & echo $! > {told}; sleep 600"])
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(child.run, b"", 600)
        until(lambda: told.exists() and told.read_text().endswith("\n"))
        child.end()
        assert running.result()[2] == -signal.SIGKILL
    until(lambda: not _lives(told.read_text().strip()))


def _lives(pid: str) -> bool:
    """A process that has ended may wait for the system to take note of it."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_a_child_that_hangs_ends_when_its_parent_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, _CHILD], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid, said = parent.stdout.readline().split()
    assert said == "runs"
    parent.kill()
    parent.wait()
    until(lambda: not Path(f"/proc/{pid}").exists())
