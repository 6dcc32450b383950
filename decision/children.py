"""Child processes: they give way to the requests that are answered meanwhile, and none that tries
what may hang outlives a killed parent."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from decision.environment import without_secrets

NICENESS: Final = 10
"""How much less of a busy processor a child gets: about a tenth of what it would."""

_PR_SET_PDEATHSIG: Final = 1


def end_with_parent() -> None:
    """Has the kernel kill this process when the thread that started it has ended (Linux).

    Only for a child that its parent's thread waits for; elsewhere the parent's time limit holds.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended just before
        sys.exit(1)


def how_it_ended(code: int | None) -> dict[str, int | str]:
    """The exit code of a process or the name of the signal that ended it, for a line of the log."""
    if code is None:
        return {}
    if code >= 0:
        return {"exit_code": code}
    try:
        return {"signal": signal.Signals(-code).name}
    except ValueError:
        return {"signal": str(-code)}


def started(
    command: Sequence[str], niceness: int = NICENESS, **given: Any
) -> subprocess.Popen[bytes]:
    """A child without secrets, in a process group of its own, which gives way from its start.

    Not in a session of its own: Linux may share the processor between sessions first
    (`sched_autogroup_enabled`), where niceness does not count, and the child would get half.
    Niceness is set here, as a child that sets its own has imported for a second before.
    `given` is for `subprocess.Popen`.
    """
    own = os.getpriority(os.PRIO_PROCESS, 0)
    process = subprocess.Popen(command, env=without_secrets(), process_group=0, **given)
    with suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, process.pid, own + niceness)
    return process


class Child:
    """A child process without secrets: started and awaited in a thread, ended from the event loop.

    `subprocess` starts it without copying this process's memory tables, in a fraction of a
    millisecond; asyncio needs tens of milliseconds, in which the server answers nothing.
    """

    def __init__(self, command: Sequence[str], niceness: int = NICENESS) -> None:
        self._command = command
        self._niceness = niceness
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = False

    def run(self, data: bytes, time_limit: float) -> tuple[bytes, bytes, int]:
        """Output, errors and exit code. Blocks.

        Raises:
            subprocess.TimeoutExpired: it took longer, and was ended; `output` is what it had said.
        """
        with started(
            self._command,
            self._niceness,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as self._process:
            try:
                if self._ended:
                    self.end()
                output, errors = self._process.communicate(data, time_limit)
            except BaseException:
                self.end()
                raise
            return output, errors, self._process.returncode

    def end(self) -> None:
        """Ends it and what it has started, even if it has not started yet."""
        self._ended = True
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
