"""Commands of tests, run by processes that have imported already what commands import.

A page of the documentation runs dozens of `nextbest …`, each of which imports for half a second. Here
a server imports once, and forks for each command: a process of its own all the same, with its own
arguments, folder, environment, standard files, signals and exit code.

Commands that serve, and those whose environment sets how Python or a library starts, run as they do
elsewhere. `NEXTBEST_TEST_PLAIN=1` has all of them run so.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

REAL = Path(sys.executable).with_name("nextbest")
_ROOT = Path(__file__).parents[2]
_PLAIN = os.environ.get("NEXTBEST_TEST_PLAIN") == "1" or not hasattr(os, "pidfd_open")


def command_path() -> Path:
    """The executable `nextbest` to run in tests, in a folder of its own."""
    return REAL if _PLAIN else _started() / "nextbest"


@cache
def _started() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="nextbest-"))
    client = Path(__file__).with_name("client.py").read_text("utf-8")
    (folder / "nextbest").write_text(f"#!{sys.executable} -IS\n{client}", "utf-8")
    (folder / "nextbest").chmod(0o755)
    (folder / "real").symlink_to(REAL)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen(100)  # who asks while it imports is answered later
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.forking.server", str(listener.fileno())],
            cwd=_ROOT,
            env={name: value for name, value in os.environ.items() if name[:9] != "NEXTBEST_"},
            stdin=subprocess.PIPE,  # it ends when this is closed, as at our death
            stdout=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
        )
    atexit.register(_stop, server, folder)
    return folder


def _stop(server: subprocess.Popen[bytes], folder: Path) -> None:
    shutil.rmtree(folder)
    server.communicate()
