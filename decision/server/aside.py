"""Reading files off the event loop, and with a time limit: a file system may never answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Any, TypeVar

from decision.core.errors import FileError

T = TypeVar("T")


class Unanswered(FileError):
    """A file or folder that cannot be read in time."""


class Aside:
    """Runs work that may block for ever, each piece in a thread of its own.

    The threads do not keep the process from ending, as those of `asyncio.to_thread` do. One that is
    stuck keeps its place: there are never more than `at_once`, and while all are stuck, more work
    is refused at once. `what` names what is read in errors.
    """

    def __init__(self, what: str, at_once: int = 1) -> None:
        self._what = what
        self._at_once = at_once
        self._places = asyncio.Semaphore(at_once)
        self._stuck = 0

    async def run(self, work: Callable[[], T], seconds: float) -> T:
        """What the work returns or raises, if it ends in that time.

        Raises:
            Unanswered: it does not.
        """
        refused = Unanswered(f"{self._what} does not answer within {seconds:g} s")
        if self._stuck >= self._at_once:
            raise refused
        try:
            async with asyncio.timeout(seconds):
                await self._places.acquire()
                return await self._started(work)
        except TimeoutError:
            raise refused from None

    async def _started(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        result: list[Any] = []

        def do() -> None:
            try:
                result.append(work())
            except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
                result.append(error)
                result.append(None)
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._end, ended)

        try:
            Thread(target=do, name=f"reads {self._what}", daemon=True).start()
        except BaseException:
            self._places.release()
            raise
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:
            self._stuck += 1
            ended.add_done_callback(self._unstuck)
            raise
        if len(result) > 1:
            raise result[0]
        found: T = result[0]
        return found

    def _end(self, ended: asyncio.Future[None]) -> None:
        self._places.release()
        ended.set_result(None)

    def _unstuck(self, _: object) -> None:
        self._stuck -= 1
