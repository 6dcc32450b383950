"""SIGHUP: a reload, or the end where the terminal of this process has been closed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_TERMINAL = "/dev/tty"


def _has_terminal() -> bool:
    try:
        os.close(os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


_HAD_TERMINAL = _has_terminal()


def terminal_is_gone() -> bool:
    """Whether this process was started from a terminal that has been closed.

    A SIGHUP then means what it always meant, the end, and not a reload.
    """
    return _HAD_TERMINAL and not _has_terminal()


@contextmanager
def on_hangup(ask: Callable[[], object]) -> Iterator[None]:
    """While it lasts, a SIGHUP calls `ask`, or ends this process where its terminal is gone."""

    def hung_up() -> None:
        if terminal_is_gone():
            signal.raise_signal(signal.SIGTERM)
        else:
            ask()

    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGHUP, hung_up)
    except (RuntimeError, ValueError, NotImplementedError):  # not the main thread
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
