"""A time limit for what is awaited."""

from __future__ import annotations

import asyncio
import math
from typing import Any, ClassVar, Final

_TICK: Final = 0.001
"""Seconds between two looks at the least: that is how exact the timers of uvloop are. One which
comes too early would come again at once, and again, until its time is there."""


class Within:
    """A time limit for the task that enters it, which is cancelled once so many seconds passed.

    It does what `asyncio.timeout` does, at a fraction of the cost: every decision has a deadline.
    `until` is when that passes, by the time of the loop; `passed` is whether it has passed.

    Raises:
        TimeoutError: what is done within it took longer.

    >>> async def wait() -> str:
    ...     try:
    ...         with Within(0.001):
    ...             await asyncio.sleep(60)
    ...     except TimeoutError:
    ...         return "too late"
    ...     return "done"
    >>> asyncio.run(wait())
    'too late'
    """

    __slots__ = ("_cancelled_before", "_limits", "passed", "task", "until")

    def __init__(self, seconds: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        loop = task.get_loop()
        self.task: asyncio.Task[Any] = task
        self.until = loop.time() + seconds
        self.passed = False
        self._cancelled_before = task.cancelling()
        self._limits = _Limits.of(loop)

    def __enter__(self) -> None:
        limits = self._limits
        limits.open[self] = None
        if self.until < limits.comes_at:
            limits.come_at(self.until)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._limits.open.pop(self, None)
        if self.passed:
            by_us_alone = self.task.uncancel() <= self._cancelled_before
            if by_us_alone and isinstance(error, asyncio.CancelledError):
                raise TimeoutError from error


class _Limits:
    """The limits under way on an event loop. One timer serves them all.

    Nearly all end before they pass, so a timer for each would only be made and taken back. This one
    comes when the earliest would have passed, whether or not that has ended.
    """

    _latest: ClassVar[_Limits | None] = None

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.open: dict[Within, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.comes_at = math.inf

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> _Limits:
        """Those of a loop; a process has one loop, as a rule."""
        found = cls._latest
        if found is None or found.loop is not loop:
            found = cls._latest = cls(loop)
        return found

    def come_at(self, time: float) -> None:
        """Looks at that time, and not later."""
        if self._timer is not None:
            self._timer.cancel()
        self.comes_at = time
        self._timer = self.loop.call_at(time, self._look)

    def _look(self) -> None:
        now = self.loop.time()
        self._timer, self.comes_at = None, math.inf
        for limit in [limit for limit in self.open if limit.until <= now]:
            del self.open[limit]
            limit.passed = True
            limit.task.cancel()
        if self.open:
            earliest = min(limit.until for limit in self.open)
            self.come_at(max(earliest, now + _TICK))
