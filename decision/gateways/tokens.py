"""Access tokens that a provider gives for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from decision.gateways.protocol import Retry

_EARLY = 300.0
"""Seconds before its end at which a token is renewed, where it lasts long enough."""


class Granted(msgspec.Struct, frozen=True):
    """A token, and for how many seconds it is valid."""

    value: str
    lasts: float


class Token:
    """A token that is asked for once, however many wait for it.

    `renew` asks for one; it is told whether the one before was refused, so that the same would be
    again. `clock` is in seconds.
    """

    def __init__(
        self,
        renew: Callable[[bool], Awaitable[Granted | Retry]],
        clock: Callable[[], float],
    ) -> None:
        self._renew = renew
        self._clock = clock
        self._value = ""
        self._until = 0.0
        self._refused = False
        self._problem: tuple[float, Retry] | None = None
        self._lock = asyncio.Lock()

    async def get(self) -> str | Retry:
        """A valid token; without one nothing can be sent now."""
        asked = self._clock()
        async with self._lock:
            if self._clock() < self._until:
                return self._value
            if self._problem is not None and self._problem[0] >= asked:
                return self._problem[1]  # it failed while we waited: asking again would, too
            found = await self._renew(self._refused)
            if isinstance(found, Retry):
                self._problem = self._clock(), found
                return found
            self._problem, self._refused = None, False
            self._value = found.value
            self._until = self._clock() + max(found.lasts - _EARLY, found.lasts / 2)
            return self._value

    def forget(self, token: str) -> None:
        """Notes that this token was refused; a newer one stays."""
        if token == self._value:
            self._refused, self._until = True, 0.0
