"""The lane of a channel: how many of its deliveries may be on their way, and when none may be."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final

from decision.gateways.limits import Limit
from decision.gateways.protocol import Gateway, GatewayConfig, OnUnknown

_FAILURES: Final = 10
"""Attempts that must fail in a row before a lane closes."""

_FIRST_CLOSED: Final = 1.0
_LONGEST_CLOSED: Final = 60.0


class Lane:
    """One channel and the gateway that its deliveries go to.

    A gateway that fails again and again is left alone for a while, longer each time; then a single
    delivery tries whether it works again. `clock` counts seconds.
    """

    def __init__(
        self,
        channel: str,
        name: str,
        gateway: Gateway,
        config: GatewayConfig,
        limit: Limit | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.channel = channel
        self.name = name
        self.gateway = gateway
        self.config = config
        self.limit = limit
        self.paused = False
        self.busy = 0
        """How many deliveries are on their way."""
        self._clock = clock
        self._full_until = 0.0
        self._closed_until = 0.0
        self._closed_for = 0.0
        self._failures = 0
        self._reason = ""

    @property
    def on_unknown(self) -> OnUnknown:
        """What to do where the answer to an attempt was lost."""
        return self.config.on_unknown or self.gateway.on_unknown_default

    @property
    def failures(self) -> int:
        """How many attempts have failed in a row."""
        return self._failures

    @property
    def reason(self) -> str:
        """Why the last of them failed, without what is known of a customer."""
        return self._reason

    @property
    def failing(self) -> bool:
        """Whether so many attempts failed in a row that only one at a time tries again."""
        return self._failures >= _FAILURES

    @property
    def room(self) -> int:
        """How many more deliveries may be begun now."""
        now = self._clock()
        if self.paused or now < self._full_until or now < self._closed_until:
            return 0
        most = 1 if self.failing else self.config.concurrency
        return max(0, most - self.busy)

    def full_for(self, seconds: float) -> None:
        """Notes that the channel's limit allows none for a while."""
        self._full_until = max(self._full_until, self._clock() + seconds)

    @property
    def closed_for(self) -> float:
        """Seconds until a lane that is failing tries again."""
        return max(0.0, self._closed_until - self._clock())

    def answered(self) -> bool:
        """Notes that the gateway works: whatever it said of a delivery, it answered.

        Whether that ends a row of failures for which it was left alone.
        """
        was_failing = self.failing
        self._failures = 0
        self._reason = ""
        self._closed_for = self._closed_until = 0.0
        return was_failing

    def failed(self, reason: str = "") -> bool:
        """Notes an attempt that the gateway could not make; whether that closes the lane.

        Those that were on their way when it closed say nothing new.
        """
        self._failures += 1
        self._reason = reason
        if not self.failing or self._clock() < self._closed_until:
            return False
        self._closed_for = min(max(_FIRST_CLOSED, 2 * self._closed_for), _LONGEST_CLOSED)
        self._closed_until = self._clock() + self._closed_for
        return True
