"""Timers: when somebody has to look at a customer of whom nobody asks.

Only a customer's earliest wake-up has a timer. Near ones, which are due within `NEAR` or claimed,
are kept with their time; far ones only with the hour or day, in *buckets*, and brought near before
these begin. A timer may come too early, or for nothing: whoever claims it reads the customer, does
what is due by the document, and sets the timer anew. Where a document's earliest wake-up is T,
there is a timer at or before T: so none is lost.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Protocol

import msgspec

from decision.core.clock import HOUR

NEAR: Final = 2 * HOUR
"""Microseconds: what is due within is kept with its time."""


class Wake(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a customer's timer: due `at` (microseconds), None for no timer any more.

    A far one goes to the `bucket` named, unless it is "": then an entry stands there already.
    """

    at: int | None
    bucket: str | None = None


class ClaimedWake(msgspec.Struct, frozen=True):
    """A timer that somebody has claimed: `lease` is when its lease ends, which tells whose it is;
    `due` when it was due. Both in milliseconds of the store's clock.
    """

    customer_id: str
    due: int
    lease: int


class WakeCounts(msgspec.Struct, frozen=True):
    """How many timers there are, near and far, and for how many ms the earliest has been due."""

    near: int
    far: int
    behind: int


class TimerStore(Protocol):
    """Timers, in the customer's own slot; `DocumentStore.commit` sets them. Times are of the
    store's clock, in milliseconds.
    """

    async def claim_wakes(
        self, partitions: Collection[int], most: int, lease_ms: int
    ) -> list[ClaimedWake]:
        """Claims what is due in these partitions, the earliest first, at most so many of each.

        Far timers of buckets that begin within `NEAR` are brought near first.
        """

    async def rearm(self, claimed: ClaimedWake, wake: Wake) -> bool:
        """Sets a timer that was claimed and found nothing to do; False where the lease is lost."""

    async def arm(self, wakes: Mapping[str, int]) -> None:
        """Makes sure of a timer at these times (microseconds) or before, by customer id.

        For walks over customers whose documents need not be written. It never makes one later.
        """

    async def next_wake(self, partitions: Collection[int]) -> int | None:
        """When the earliest near timer is due."""

    async def count_wakes(self) -> WakeCounts: ...

    async def tallies(self) -> dict[str, int]:
        """The counts of all partitions together, see `tally_of`."""


def tally_of(journey: str, what: str) -> str:
    """The name of a count: of runs waiting in a step, or, with `!` before it, ended for a reason.

    >>> tally_of("welcome", "pause"), tally_of("welcome", "!goal")
    ('welcome\\x00pause', 'welcome\\x00!goal')
    """
    return f"{journey}\0{what}"
