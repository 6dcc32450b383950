"""A process that ends when the one that started it has ended, however that ended.

The kernel closes a killed process's end of a pipe; its child waits for that. Unlike a death
signal, which Linux ties to the thread that started the child, this works with threads.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from decision.observability import get_logger

_VARIABLE: Final = "_NEXTBEST_LIFELINE"
_MORE: Final = 5.0
"""Seconds beyond those in which it may stop properly, until it ends without."""

_log = get_logger()


def end_with_supervisor(seconds: float) -> None:
    """Makes a worker stop, as on SIGTERM and within those seconds, when its supervisor has gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        _end_after(parent.join, seconds)


@contextmanager
def lifeline() -> Iterator[tuple[int, dict[str, str]]]:
    """The descriptor and variables for a `serve` of our own that is to end with this process."""
    ours, theirs = os.pipe()
    try:
        yield ours, {_VARIABLE: str(ours)}
    finally:
        os.close(ours)
        os.close(theirs)


def end_with_lifeline(seconds: float) -> None:
    """Makes this process stop, as on SIGTERM and within those seconds, at the end of its lifeline.

    Without one, nothing happens.
    """
    held = os.environ.pop(_VARIABLE, None)
    if held is None:
        return
    descriptor = int(held)
    os.set_inheritable(descriptor, False)

    def ended() -> None:
        with suppress(OSError):
            os.read(descriptor, 1)  # nothing is ever written

    _end_after(ended, seconds)


def _end_after(wait: Callable[[], object], seconds: float) -> None:
    def run() -> None:
        wait()
        _log.warning("parent_ended", pid=os.getpid())
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(seconds + _MORE)
        os._exit(1)

    threading.Thread(target=run, name="lifeline", daemon=True).start()
