"""What all processes that run journeys share: which of them stand still, and who waits to go on.

Times are microseconds.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import msgspec


class JourneyHold(msgspec.Struct, frozen=True, kw_only=True):
    """A journey stands still since `at`, for the reason `why`: no run of it goes on.

    With `ends`, every run that had started by then ends as `cancelled`.
    """

    why: str
    at: int
    ends: bool = False


class HoldStore(Protocol):
    """Holds, places, and who is *parked*: due, but not to go on yet.

    A parked customer still has a timer, some time ahead. Being parked twice is being parked once.
    """

    async def hold_journey(self, name: str, hold: JourneyHold) -> None:
        """Has a journey stand still; instead of the hold there is, if any."""

    async def release_journey(self, name: str) -> bool:
        """Ends a hold; False where there is none."""

    async def held_journeys(self) -> dict[str, JourneyHold]: ...

    async def park(self, journey: str, customer_id: str, since: int) -> None:
        """Parks a customer, behind those that wait since before."""

    async def parked(self) -> dict[str, int]:
        """Journey → how many are parked."""

    async def first_parked(self, journey: str, most: int, before: int | None = None) -> list[str]:
        """Those that are parked longest; with `before`, since that time or before."""

    async def unpark(self, journey: str, customers: Collection[str]) -> None: ...

    async def take_place(self, journey: str, run: str, most: int) -> bool:
        """Whether a run has one of `most` places, or takes one now. `run` names the customer, too,
        see `place_of`."""

    async def free_places(self, journey: str, most: int) -> int:
        """How many of `most` places nobody has."""

    async def places(self, journey: str, most: int, before: int) -> list[str]:
        """Runs that have places, those that were looked at longest ago, if that is before a time of
        the store's clock."""

    async def look_at_places(
        self, journey: str, there: Collection[str], gone: Collection[str]
    ) -> None:
        """Notes of runs that have places that they are there, and frees the places of others."""


def place_of(customer_id: str, run_id: str) -> str:
    """What a run's place is called.

    >>> customer_of(place_of("c-1", "0a3f"))
    ('c-1', '0a3f')
    """
    return f"{customer_id}\0{run_id}"


def customer_of(place: str) -> tuple[str, str]:
    """The customer and the run of a place."""
    customer_id, _, run_id = place.rpartition("\0")
    return customer_id, run_id
