"""Providers' own names of what was delivered, for reports that bring back nothing else."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

LASTS: Final = 7 * 24 * 3600 * 1000
"""Milliseconds for which a provider's id is remembered."""

LONGEST: Final = 256
"""Characters of an id that is remembered."""


class DeliveredTo(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What a provider's id stands for: the delivery, and the customer id that it was made for."""

    customer_id: str
    decision_id: str
    message: str
    channel: str


class ProviderIdStore(Protocol):
    """Provider ids, each of one gateway, in no order; `erase` removes those of a customer.

    They are noted before it is recorded that the delivery was sent: so, whenever a process ends,
    one that is recorded can be found, and a report of one that is not finds it as well.
    """

    async def note_provider_id(
        self, gateway: str, provider_id: str, to: DeliveredTo, lasts_ms: int = LASTS
    ) -> bool:
        """Remembers an id; noting it again is the same.

        False, with nothing kept, where the customer was erased: neither a document nor the
        delivery is there.
        """

    async def find_provider_id(self, gateway: str, provider_id: str) -> DeliveredTo | None:
        """What an id stands for, if it is remembered."""


def bare(provider_id: str) -> str:
    """An id as it is compared: providers write the same one with and without brackets.

    >>> bare(" <0100@mail.example> ")
    '0100@mail.example'
    """
    return provider_id.strip().strip("<>")
