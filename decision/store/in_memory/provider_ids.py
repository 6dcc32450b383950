"""Provider ids in memory."""

from __future__ import annotations

from decision.core.provider_ids import LASTS, DeliveredTo
from decision.store.in_memory.base import Clock, Expiring
from decision.store.in_memory.outbox import MemoryOutbox


class MemoryProviderIds(MemoryOutbox):
    """Implements `ProviderIdStore`."""

    _documents: dict[str, bytes]

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._provider_ids: Expiring[tuple[str, str], DeliveredTo] = Expiring()

    async def note_provider_id(
        self, gateway: str, provider_id: str, to: DeliveredTo, lasts_ms: int = LASTS
    ) -> bool:
        sending = f"{to.decision_id}.{to.message}" in self._outbox.get(to.customer_id, {})
        if not sending and to.customer_id not in self._documents:
            return False
        self._provider_ids.forget_expired(self._clock())
        self._provider_ids[gateway, provider_id] = (self._clock() + lasts_ms / 1000, to)
        return True

    async def find_provider_id(self, gateway: str, provider_id: str) -> DeliveredTo | None:
        return self._provider_ids.live((gateway, provider_id), self._clock())

    def _forget_provider_ids(self, customer_id: str) -> int:
        """How many there were."""
        self._provider_ids.forget_expired(self._clock())
        theirs = [
            key for key, (_, to) in self._provider_ids.items() if to.customer_id == customer_id
        ]
        for key in theirs:
            del self._provider_ids[key]
        return len(theirs)
