"""Child processes: none that tries what may hang outlives a killed parent; how one has ended."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

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
