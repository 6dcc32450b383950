"""For child processes that try what may hang: none outlives a parent that was killed."""

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
