"""Child processes: none that tries what may hang outlives a killed parent; how one has ended."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from decision.environment import without_secrets

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


class Child:
    """A child process without secrets: started and awaited in a thread, ended from the event loop.

    `subprocess` starts it without copying this process's memory tables, in a fraction of a
    millisecond; asyncio needs tens of milliseconds, in which the server answers nothing.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = False

    def run(self, data: bytes, time_limit: float) -> tuple[bytes, bytes, int]:
        """Output, errors and exit code. Blocks.

        Raises:
            subprocess.TimeoutExpired: it took longer, and was ended.
        """
        with subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=without_secrets(),
            start_new_session=True,
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
