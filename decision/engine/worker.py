"""Long work in a thread, without delaying the requests that are answered meanwhile.

Two things would delay them. At every turn of the event loop a thread keeps the interpreter for
5 ms before it gives way; a server has all of its threads give way after 0.1 ms (`give_way_soon`).
And a full garbage collection stops every thread while it looks at all objects; while there is work
here, none happens.
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
"""Seconds after which a thread lets the event loop go on."""

_under_way = 0


def give_way_soon() -> None:
    """From now on each thread of this process gives way after 0.1 ms to another that waits."""
    sys.setswitchinterval(GIVES_WAY_AFTER)


async def run_in_worker(work: Callable[[], T]) -> T:
    """The result of some seconds of pure work, done in a thread."""
    with uncollected():
        return await asyncio.to_thread(work)


@contextmanager
def uncollected() -> Iterator[None]:
    """Without garbage collection. Entered from event loops of one thread; may be entered again
    while it is."""
    global _under_way  # noqa: PLW0603 - the setting is the process's
    if _under_way == 0:
        gc.disable()
    _under_way += 1
    try:
        yield
    finally:
        _under_way -= 1
        if _under_way == 0:
            gc.enable()
