"""Rounds of whoever claims what is due: one after another, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from decision.core.errors import NotReady, StoreUnavailable
from decision.observability import named

_UNAVAILABLE: Final = 1.0
"""Seconds until the store is asked again after it did not answer."""

_log = logging.getLogger(__name__)


class Rounds:
    """Rounds, and the tasks that they began.

    That the store does not answer is said once, and once that it is back. `what` waits for it;
    `event` is how the log's events begin.
    """

    def __init__(self, what: str, event: str) -> None:
        self.working: set[asyncio.Task[None]] = set()
        self._what = what
        self._event = event
        self._unavailable = False

    async def run(
        self, play: Callable[[], Awaitable[float]], stop: asyncio.Event, patience: float
    ) -> None:
        """Plays rounds until `stop` is set, then waits up to `patience` seconds for their tasks.

        A round answers how many seconds to wait before the next one.
        """
        try:
            while not stop.is_set():
                wait = await self._one(play)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), wait)
        finally:
            await self._end(patience)

    async def _one(self, play: Callable[[], Awaitable[float]]) -> float:
        try:
            wait = await play()
        except NotReady:
            return _UNAVAILABLE
        except StoreUnavailable as error:
            if not self._unavailable:
                event = named(f"{self._event}_unavailable")
                _log.warning("%s wait: %s", self._what, error, extra=event)
            self._unavailable = True
            return _UNAVAILABLE
        if self._unavailable:
            event = named(f"{self._event}_back")
            _log.info("%s go on: the store is back", self._what, extra=event)
        self._unavailable = False
        return wait

    async def _end(self, patience: float) -> None:
        if self.working:
            _, late = await asyncio.wait(self.working, timeout=patience)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
