"""Child processes that try what may hang."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
