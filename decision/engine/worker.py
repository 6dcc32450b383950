"""Long work in a thread, without delaying the requests that are answered meanwhile.

Two things would delay them. At every turn of the event loop a thread keeps the interpreter for
5 ms before it gives way; here it gives way after 0.1 ms. And a full garbage collection stops every
thread while it looks at all objects; here none happens.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

T = TypeVar("T")

GIVES_WAY_AFTER: Final = 0.0001
"""Seconds after which the working thread lets the event loop go on."""

_under_way = 0
_usual = 0.0


async def run_in_worker(work: Callable[[], T]) -> T:
    """The result of some seconds of pure work, done in a thread that gives way often."""
    with giving_way():
        return await asyncio.to_thread(work)


@contextmanager
def giving_way() -> Iterator[None]:
    """Entered from event loops of one thread; may be entered again while it is."""
    global _under_way, _usual  # noqa: PLW0603 - both settings are the process's
    if _under_way == 0:
        _usual = sys.getswitchinterval()
        sys.setswitchinterval(GIVES_WAY_AFTER)
        gc.disable()
    _under_way += 1
    try:
        yield
    finally:
        _under_way -= 1
        if _under_way == 0:
            sys.setswitchinterval(_usual)
            gc.enable()
