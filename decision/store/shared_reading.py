"""What is the same for many works for a moment, read from the store once for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from decision.store.uptime import uptime

T = TypeVar("T")

LASTS: Final = 1.0
"""Seconds for which what was read is told again."""


class SharedReading(Generic[T]):
    """A value of the store that is read for all who ask at about the same time.

    >>> async def read() -> str:
    ...     print("read")
    ...     return "value"
    >>> async def ask() -> list[str]:
    ...     shared, now = SharedReading(read), uptime()
    ...     return await asyncio.gather(shared.since(now), shared.since(now))
    >>> asyncio.run(ask())
    read
    ['value', 'value']
    """

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        self._begun = 0.0
        self._task: asyncio.Task[T] | None = None

    async def since(self, moment: float) -> T:
        """The value, read after a moment of `uptime` and at most `LASTS` seconds ago.

        Raises:
            StoreUnavailable: it could not be read; who asks next tries again.
        """
        while True:
            task, now = self._task, uptime()
            if task is None or (task.done() and self._begun < max(moment, now - LASTS)):
                self._begun = now
                task = self._task = asyncio.create_task(self._asked())
            if self._begun >= moment:
                return await asyncio.shield(task)
            await asyncio.wait([task])  # one at a time: who came after it began shares the next

    def forget(self) -> None:
        """What was read may no longer hold."""
        self._task = None

    async def _asked(self) -> T:
        own = asyncio.current_task()
        assert own is not None
        own.add_done_callback(_retrieved)  # where nobody waits for it any more
        try:
            return await self._read()
        except BaseException:
            if self._task is own:
                self.forget()
            raise


def _retrieved(task: asyncio.Task[T]) -> None:
    if not task.cancelled():
        task.exception()
