"""What is kept beside a customer's document, for those who look at all of it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import msgspec


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of one id beside its document.

    `answers` is request id → answer; `event_ids` is how many events are known, each by a digest
    of its id; `provider_ids` are (gateway, id) by which providers know what they delivered.
    """

    answers: dict[str, bytes] = {}
    event_ids: int = 0
    provider_ids: list[tuple[str, str]] = []


class LookingStore(Protocol):
    """Everything that an erasure of one id would remove and nothing else reads; it reads only."""

    async def kept_of(self, customer_id: str) -> Kept: ...

    async def codes_of(
        self, pool: str, tags: Collection[int], partitions: Collection[int]
    ) -> dict[str, str]:
        """Decision and message (`01J…/winback`) → the code of a pool that it took.

        `tags` and `partitions` are as in `CouponStore.forget_codes`.
        """
