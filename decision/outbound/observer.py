"""What is told of deliveries and timers; metrics listen here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Literal, Protocol

from decision.engine.journeys.stepping import Looked

DeliveryResult = Literal["sent", "retried", "failed", "unknown", "dropped"]
RESULTS: Final = ("sent", "retried", "failed", "unknown", "dropped")


class DeliveryObserver(Protocol):
    """Is told what became of attempts, and which gateways are paused."""

    def delivered(self, channel: str, result: DeliveryResult, seconds: float) -> None:
        """What became of a delivery that was looked at, and how long that took."""

    def paused(self, gateways: Mapping[str, bool]) -> None:
        """Which gateways there are, and whether each is paused."""

    def failing(self, channels: Mapping[tuple[str, str], bool]) -> None:
        """Gateway and channel, and whether so many attempts failed that it is left alone."""

    def without_gateway(self, channels: Collection[str]) -> None:
        """The channels with deliveries for which the gateways file names no gateway."""


class WakeObserver(Protocol):
    """Is told of looks at customers whose timers were due."""

    def claimed(self, number: int) -> None:
        """So many timers were claimed."""

    def looked(self, lag: float, looked: Looked) -> None:
        """A look is done: seconds since its timer was due, and what it came to."""

    def failed(self) -> None:
        """A look failed for a defect; it is tried again later."""


class Unobserved:
    """An observer that does nothing."""

    def claimed(self, number: int) -> None: ...

    def looked(self, lag: float, looked: Looked) -> None: ...

    def failed(self) -> None: ...

    def delivered(self, channel: str, result: DeliveryResult, seconds: float) -> None: ...

    def paused(self, gateways: Mapping[str, bool]) -> None: ...

    def failing(self, channels: Mapping[tuple[str, str], bool]) -> None: ...

    def without_gateway(self, channels: Collection[str]) -> None: ...
