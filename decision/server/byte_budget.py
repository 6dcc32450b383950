"""A bound on the bytes that a worker holds of requests at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Final

from decision.decoding import MOST_VALUES

_PER_VALUE: Final = 256
"""Bytes that a value of JSON takes when it is decoded, with its key; about, and at most."""


def weight(body: bytes) -> int:
    """Bytes that JSON takes while it is answered: its own, and those of what it becomes."""
    return len(body) + _PER_VALUE * min(body.count(b","), MOST_VALUES)


class ByteBudget:
    """Bytes that may be taken at once. What is too large for it is let in when it comes alone."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def take(self, size: int, mine: int = 0) -> bool:
        """Takes bytes, where they are there; `mine` of those taken are the caller's already."""
        if self.taken + size > self.limit and self.taken > mine:
            return False
        self.taken += size
        return True

    async def wait(self, size: int) -> None:
        """Takes bytes, in the order of calls, as soon as they are there."""
        if not self._waiting and self.take(size):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(size)
            else:
                with contextlib.suppress(ValueError):
                    self._waiting.remove((size, turn))
                self.give(0)
            raise

    def give(self, size: int) -> None:
        """Gives bytes back; less than nothing: takes them, whether they are there or not."""
        self.taken -= size
        while self._waiting and (self._waiting[0][1].done() or self.take(self._waiting[0][0])):
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)


class Share:
    """What one request has taken of a budget. It is given back when the request is answered."""

    __slots__ = ("_budget", "_taken")

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._taken = 0

    def grow(self, size: int) -> bool:
        """Makes it as large as `size`, if there is room."""
        if not self._budget.take(size - self._taken, self._taken):
            return False
        self._taken = size
        return True

    def give(self) -> None:
        """Gives it back."""
        self._budget.give(self._taken)
        self._taken = 0
