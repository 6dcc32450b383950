"""All that the store in memory keeps of a customer beside the document."""

from __future__ import annotations

from collections.abc import Collection

from decision.core.identifiers import decision_tag
from decision.core.looking import Kept
from decision.store.coupon_tokens import belongs
from decision.store.in_memory.documents import MemoryDocuments


class MemoryLooking(MemoryDocuments):
    """Implements `LookingStore`."""

    async def kept_of(self, customer_id: str) -> Kept:
        answers = self._answers.get(customer_id)
        return Kept(
            answers={name: answer for name, (_, answer) in answers.items()} if answers else {},
            event_ids=len(self._events.get(customer_id, ())),
            provider_ids=sorted(
                key for key, (_, to) in self._provider_ids.items() if to.customer_id == customer_id
            ),
        )

    async def codes_of(
        self, pool: str, tags: Collection[int], partitions: Collection[int]
    ) -> dict[str, str]:
        known = self._pools.get(pool)
        return {
            f"{token}/{message}": one.code
            for token, (_, taken) in (known.tokens.items() if known is not None else ())
            if decision_tag(token) in tags and belongs(token, partitions)
            for message, one in taken.items()
        }
