"""What the shop sends with: a few customers cannot be reached, as it is with every provider."""

from __future__ import annotations

from typing import Final

from decision.gateways.protocol import (
    Accepted,
    Gateway,
    OnUnknown,
    Outgoing,
    Rejected,
    Result,
    Unknown,
)
from decision.simulation.people import number_of

_GONE: Final = {
    "email": "550 5.1.1 the mailbox does not exist",
    "push": "the app was removed from this device",
}
_GONE_FOR, _LOST_FOR = 97, 7
"""Of so many customers one cannot be reached at all; of so many, one text message is not answered
for."""


class Provider:
    """Hands deliveries on, to nobody where `onward` is left out.

    Nobody can be reached who has lost the mailbox or removed the app; of some text messages it
    never says what became of them.
    """

    on_unknown_default: OnUnknown = "hold"

    def __init__(self, onward: Gateway | None = None) -> None:
        self._onward = onward

    async def send(self, outgoing: Outgoing) -> Result:
        """What becomes of a delivery; of those to one customer by one channel always the same."""
        number = number_of(outgoing.customer_id)
        if number is not None and number % _GONE_FOR == 0 and outgoing.channel in _GONE:
            return Rejected(_GONE[outgoing.channel])
        if number is not None and number % _LOST_FOR == 0 and outgoing.channel == "sms":
            return Unknown("no answer within 15 s")
        return Accepted() if self._onward is None else await self._onward.send(outgoing)

    async def close(self) -> None:
        """Closes what it hands on to."""
        if self._onward is not None:
            await self._onward.close()
