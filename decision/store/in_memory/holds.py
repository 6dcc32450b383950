"""What processes that run journeys share, in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from decision.core.clock import SECOND
from decision.core.journeys.holds import JourneyHold, place_of
from decision.core.journeys.state import JourneyState
from decision.store.in_memory.base import Clock, MemoryBase


class MemoryHolds(MemoryBase):
    """Implements `HoldStore`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._holds: dict[str, JourneyHold] = {}
        self._parked: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self._taken_places: defaultdict[str, dict[str, int]] = defaultdict(dict)

    async def hold_journey(self, name: str, hold: JourneyHold) -> None:
        self._holds[name] = hold

    async def release_journey(self, name: str) -> bool:
        return self._holds.pop(name, None) is not None

    async def held_journeys(self) -> dict[str, JourneyHold]:
        return dict(self._holds)

    async def park(self, journey: str, customer_id: str, since: int) -> None:
        self._parked[journey].setdefault(customer_id, since)

    async def parked(self) -> dict[str, int]:
        return {name: len(own) for name, own in self._parked.items() if own}

    async def first_parked(self, journey: str, most: int, before: int | None = None) -> list[str]:
        every = self._parked[journey]
        own = {one: at for one, at in every.items() if before is None or at <= before}
        return sorted(own, key=lambda one: (own[one], one))[:most]

    async def unpark(self, journey: str, customers: Collection[str]) -> None:
        for one in customers:
            self._parked[journey].pop(one, None)

    async def take_place(self, journey: str, run: str, most: int) -> bool:
        own = self._taken_places[journey]
        if run in own:
            return True
        if len(own) >= most:
            return False
        own[run] = int(self._clock() * SECOND)
        return True

    async def free_places(self, journey: str, most: int) -> int:
        return max(0, most - len(self._taken_places[journey]))

    async def places(self, journey: str, most: int, before: int) -> list[str]:
        own = self._taken_places[journey]
        old = [one for one, at in own.items() if at <= before]
        return sorted(old, key=lambda one: (own[one], one))[:most]

    async def look_at_places(
        self, journey: str, there: Collection[str], gone: Collection[str]
    ) -> None:
        own = self._taken_places[journey]
        for one in there:
            if one in own:
                own[one] = int(self._clock() * SECOND)
        for one in gone:
            own.pop(one, None)

    def _forget_parked(self, customer_id: str, state: JourneyState | None) -> None:
        """A part of an erasure."""
        for own in self._parked.values():
            own.pop(customer_id, None)
        for journey, runs in state.runs.items() if state else ():
            for run in runs:
                self._taken_places[journey].pop(place_of(customer_id, run.id), None)
