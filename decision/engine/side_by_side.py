"""Decisions side by side: those that are ready at the same time, each step for all of them.

A decision runs much code once, and the next time all of it again: each step is slow, as the others
have pushed its code out of the processor's caches. Under load, the store's replies come several at
a time. So the decisions that are ready in one turn of the event loop wait for its end, and then
take their steps together. A decision that is alone does not wait.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, TypeVar

from decision.core.steps import Steps

T = TypeVar("T")

AT_ONCE: Final = 16
"""So many decisions take their steps together. With more, the data of each would leave the caches,
and the event loop would answer nothing else for longer than some milliseconds."""


class SideBySide:
    """The decisions of one event loop at a time. `alone`: one is under way, and no other."""

    def __init__(self) -> None:
        self._under_way = 0
        self.alone = False
        self._ready: list[tuple[Steps[Any], asyncio.Future[Any]]] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> None:
        """A decision is under way."""
        self._under_way += 1
        self.alone = self._under_way == 1

    def __exit__(self, *_: object) -> None:
        self._under_way -= 1
        self.alone = self._under_way == 1

    async def run(self, work: Steps[T]) -> T:
        """The result of the work, done beside that of others who are ready by now.

        Who is `alone` finishes it at once instead.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # those of one that has ended have nobody who runs them
            self._ready, self._loop = [], loop
        if not self._ready:
            loop.call_soon(self._run, loop)
        result: asyncio.Future[T] = loop.create_future()
        self._ready.append((work, result))
        return await result

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        """Takes those who are ready through their steps; more than `AT_ONCE` wait for a turn."""
        ready, self._ready = self._ready[:AT_ONCE], self._ready[AT_ONCE:]
        if self._ready:
            loop.call_soon(self._run, loop)
        while ready:
            ready = [one for one in ready if _goes_on(*one)]


def _goes_on(work: Steps[T], result: asyncio.Future[T]) -> bool:
    """Takes one step; whether more follow."""
    if result.done():  # nobody waits for it any more
        work.close()
        return False
    try:
        next(work)
    except StopIteration as ended:
        result.set_result(ended.value)
    except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
        result.set_exception(error)
    else:
        return True
    return False
