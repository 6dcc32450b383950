"""What all processes that send deliveries share: channels' limits, their outcomes, and pauses."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal, Protocol

import msgspec

OutcomeKind = Literal["sent", "bounced", "complained"]

OUTCOMES_LAST: Final = 3_600_000
"""Milliseconds over which outcomes are counted."""


class Outcomes(msgspec.Struct, frozen=True, kw_only=True):
    """How many deliveries of a channel were sent in the last hour, and what was reported then.

    >>> Outcomes(sent=200, bounced=0, complained=3).share("complained")
    0.015
    >>> Outcomes(sent=0, bounced=0, complained=1).share("complained")
    1.0
    """

    sent: int = 0
    bounced: int = 0
    complained: int = 0

    def share(self, kind: OutcomeKind) -> float:
        """The share of an outcome in what was sent; 1 at most, as reports come later."""
        number: int = getattr(self, kind)
        return min(1.0, number / max(self.sent, 1))


class GatewayPause(msgspec.Struct, frozen=True):
    """Why a gateway sends nothing until somebody resumes it, and since when, microseconds."""

    why: str
    at: int


class SendingStore(Protocol):
    """Shared by senders. Times are of the store's clock."""

    async def take_slot(self, channel: str, amount: int, period: int) -> int:
        """Counts one delivery of a channel: at most `amount` in any `period` milliseconds.

        0 where it may be sent; else it is not counted, and this is for how many milliseconds none
        may be.
        """

    async def count_outcome(self, channel: str, kind: OutcomeKind) -> None:
        """Counts what became of a delivery of a channel."""

    async def outcomes(self, channel: str) -> Outcomes:
        """What was counted in the last hour, to five minutes."""

    async def pause_gateway(self, name: str, pause: GatewayPause) -> bool:
        """Pauses a gateway for all processes; False where it is paused already."""

    async def resume_gateway(self, name: str, channels: Collection[str]) -> bool:
        """Ends a pause, and forgets the outcomes of these channels; False where there is none."""

    async def paused_gateways(self) -> dict[str, GatewayPause]: ...
