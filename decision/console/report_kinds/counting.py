"""Reports counted beside the event loop: a few at once, and none that nobody waits for.

Who asks the same meanwhile waits for the same; an answer is kept for a minute, so that its JSON and
its pictures are not counted again. A reader who has gone, or asks no more, ends the counting.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from decision.console.errors import PageError
from decision.console.language import N_
from decision.core.errors import NextbestError
from decision.engine.worker import uncollected
from decision.server.aside import Aside

if TYPE_CHECKING:
    from decision.analytics.reports import Report
    from decision.analytics.reports.source import Source

    Make = Callable[[Callable[[Source], None]], Report]
    """Counts a report, and tells of the source that it reads."""

AT_ONCE: Final = 2
"""How many reports a worker counts at once."""
MOST: Final = 8
"""How many it counts or lets wait."""
PATIENCE: Final = 8.0
"""Seconds that a page waits before it says how long it has been."""
LEFT: Final = 10.0
"""Seconds without a reader after which the counting ends."""
WITHIN: Final = 600.0
KEPT: Final = 60.0
_REMEMBERED: Final = 50
_LOOK: Final = 0.25


class Waiting(NamedTuple):
    """A report that is counted for so many seconds, or waits for its turn."""

    seconds: int
    turn: bool


class Stopped(NextbestError):
    """Nobody waits for the report any more, or it takes too long."""


class _Counting:
    """One report: counted now, or a moment ago."""

    def __init__(self) -> None:
        self.readers = 0
        self.begun = self.seen = time.monotonic()
        self.turn = False
        self.stopped = False
        self.source: Source | None = None
        self.task: asyncio.Task[Report]

    def opened(self, source: Source) -> None:
        """In the thread: what it reads is known, and can be stopped."""
        self.source = source
        if self.stopped:
            raise Stopped

    def stop(self) -> None:
        """Ends the query under way. Between two queries it has no effect: call it again."""
        self.stopped = True
        if not self.turn:
            self.task.cancel()
        elif self.source is not None:
            with suppress(Exception):  # it was closed just now
                self.source.database.connection.interrupt()

    def left(self, now: float) -> bool:
        """Whether nobody has waited for it lately, or it takes too long."""
        return (not self.readers and now > self.seen + LEFT) or now > self.begun + WITHIN


class Reports:
    """The reports of one worker on one archive."""

    def __init__(self, what: str) -> None:
        self._aside = Aside(what, AT_ONCE)
        self._counted: dict[Hashable, _Counting] = {}

    async def get(self, asked: Hashable, make: Make, gone: Awaitable[None]) -> Report | Waiting:
        """A report, as soon as it is there; after `PATIENCE` how long it has been. `gone` ends when
        the reader does.

        Raises:
            PageError: 503, too many are counted.
            InputError, NothingFound, ArchiveError: as what counts it.
        """
        leaving = asyncio.ensure_future(gone)
        try:
            one = self._counted.get(asked)
            if one is None or one.stopped:
                one = self._start(asked, make)
            await self._wait(one, leaving)
        finally:
            leaving.cancel()
        if not one.task.done():
            return Waiting(round(time.monotonic() - one.begun), one.turn)
        try:
            return one.task.result()
        except asyncio.CancelledError:
            raise PageError(503, _STOPPED) from None
        except Stopped:
            raise PageError(503, _STOPPED) from None
        finally:
            if one.task.cancelled() or one.task.exception() is not None:
                self._forget(asked, one)

    async def _wait(self, one: _Counting, leaving: asyncio.Future[None]) -> None:
        """For the report, or until this reader has gone; the last one ends it."""
        one.readers += 1
        try:
            both: set[asyncio.Future[Any]] = {one.task, leaving}
            await asyncio.wait(both, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        finally:
            one.readers -= 1
            one.seen = time.monotonic()
            if leaving.done() and not one.readers and not one.task.done():
                one.stop()

    def _start(self, asked: Hashable, make: Make) -> _Counting:
        if sum(not one.task.done() for one in self._counted.values()) >= MOST:
            raise PageError(503, _TOO_MANY)
        one = _Counting()
        one.task = asyncio.create_task(self._count(one, make))
        self._counted[asked] = one
        one.task.add_done_callback(lambda _: self._ended(asked, one))
        while len(self._counted) > _REMEMBERED:
            oldest = next(name for name, other in self._counted.items() if other.task.done())
            del self._counted[oldest]
        return one

    async def _count(self, one: _Counting, make: Make) -> Report:
        def work() -> Report:
            one.turn = True
            try:
                if one.stopped:
                    raise Stopped
                return make(one.opened)
            except Exception:
                if one.stopped:
                    raise Stopped from None
                raise

        watching = asyncio.create_task(_watch(one))
        try:
            with uncollected():
                return await self._aside.run(work, WITHIN + LEFT)
        finally:
            watching.cancel()

    def _ended(self, asked: Hashable, one: _Counting) -> None:
        if one.task.cancelled() or isinstance(one.task.exception(), Stopped):
            self._forget(asked, one)
        asyncio.get_running_loop().call_later(KEPT, self._forget, asked, one)

    def _forget(self, asked: Hashable, one: _Counting) -> None:
        if self._counted.get(asked) is one:
            del self._counted[asked]


async def _watch(one: _Counting) -> None:
    while True:
        await asyncio.sleep(_LOOK)
        if one.stopped or one.left(time.monotonic()):
            one.stop()


_STOPPED: Final = N_("The counting was stopped: it took too long, or nobody waited for it.")
_TOO_MANY: Final = N_("Too many reports are counted at this moment. Try again in a minute.")
