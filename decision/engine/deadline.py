"""A time limit for what is awaited."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from typing import Any, ClassVar, Final, TypeVar

T = TypeVar("T")

_TICK: Final = 0.001
"""Seconds between two looks at the least: that is how exact the timers of uvloop are. One which
comes too early would come again at once, and again, until its time is there."""


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """The result of work, which is cancelled once so many seconds have passed.

    It does what `asyncio.timeout` does, at a fraction of the cost: every decision has a deadline.

    Raises:
        TimeoutError: it took longer.
    """
    task = asyncio.current_task()
    assert task is not None
    cancelled_before = task.cancelling()
    limits = _Limits.of(task.get_loop())
    limit = limits.begin(task, seconds)
    try:
        return await work
    except asyncio.CancelledError as error:
        if limit.passed and task.cancelling() - 1 <= cancelled_before:
            raise TimeoutError from error
        raise  # somebody else has cancelled it as well
    finally:
        limits.end(limit)
        if limit.passed:
            task.uncancel()


class _Limit:
    """When a task is cancelled, by the time of its loop, and whether it was."""

    __slots__ = ("passed", "task", "until")

    def __init__(self, task: asyncio.Task[Any], until: float) -> None:
        self.task = task
        self.until = until
        self.passed = False


class _Limits:
    """The limits under way on an event loop. One timer serves them all.

    Nearly all end before they pass, so a timer for each would only be made and taken back. This one
    comes when the earliest would have passed, whether or not that has ended.
    """

    _latest: ClassVar[_Limits | None] = None

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._open: dict[_Limit, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._comes_at = math.inf

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> _Limits:
        """Those of a loop; a process has one loop, as a rule."""
        found = cls._latest
        if found is None or found.loop is not loop:
            found = cls._latest = cls(loop)
        return found

    def begin(self, task: asyncio.Task[Any], seconds: float) -> _Limit:
        """Cancels the task after so many seconds, unless the limit has ended before."""
        limit = _Limit(task, self.loop.time() + seconds)
        self._open[limit] = None
        if limit.until < self._comes_at:
            self._come_at(limit.until)
        return limit

    def end(self, limit: _Limit) -> None:
        """Cancels nothing any more."""
        self._open.pop(limit, None)

    def _come_at(self, time: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._comes_at = time
        self._timer = self.loop.call_at(time, self._look)

    def _look(self) -> None:
        now = self.loop.time()
        self._timer, self._comes_at = None, math.inf
        for limit in [limit for limit in self._open if limit.until <= now]:
            del self._open[limit]
            limit.passed = True
            limit.task.cancel()
        if self._open:
            earliest = min(limit.until for limit in self._open)
            self._come_at(max(earliest, now + _TICK))
