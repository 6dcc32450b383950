"""Timers: when somebody has to look at a customer of whom nobody asks.

Only a customer's earliest wake-up has a timer. Near ones, which are due within some `NEAR` or
claimed, are kept with their time; far ones only by the hour, day or week, in *buckets*, and brought
near before these begin. A timer may come too early, or for nothing: whoever claims it reads the
customer, does what is due by the document, and sets the timer anew. Where a document's earliest
wake-up is T, there is a timer at or before T: so none is lost.

Times are microseconds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Protocol

import msgspec

from decision.core.clock import DAY, HOUR
from decision.core.document import Document
from decision.core.journeys.state import JourneyState

NEAR: Final = 2 * HOUR
"""What is due within is kept with its time. Buckets that begin within it are brought near."""

_UNITS: Final = {"h": HOUR, "d": DAY, "w": 7 * DAY}
_BY_HOUR: Final = 7 * DAY
_BY_DAY: Final = 56 * DAY
"""Within these, buckets are of hours and of days. The more entries one has, the less each costs."""

_MOST_ARMED: Final = 8


class Wake(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a customer's timer: due `at`, None for no timer any more. `held`: whoever has
    claimed it keeps it until then, when the lease ends.

    A far one goes to the `bucket` named, unless there `stands` an entry already. Where the store
    has brought that bucket near meanwhile, the timer is kept near.
    """

    at: int | None
    bucket: str | None = None
    stands: bool = False
    held: bool = False


def set_wake(document: Document, at: int | None, now: int) -> Wake:
    """The change of a customer's timer, so that it comes `at`; a far one is noted in the document.

    An entry that stands in an earlier bucket is enough: it comes too early, and the timer is set
    again then.

    >>> customer = Document(customer_id="c-1")
    >>> set_wake(customer, 3 * DAY, now=DAY)
    Wake(at=259200000000, bucket='h72', stands=False, held=False)
    >>> set_wake(customer, 30 * DAY, now=DAY)
    Wake(at=2592000000000, bucket='h72', stands=True, held=False)
    >>> set_wake(customer, DAY + HOUR, now=DAY)
    Wake(at=90000000000, bucket=None, stands=False, held=False)
    """
    state = document.journeys or JourneyState()
    armed = [one for one in state.armed if bucket_begins(one) > now + NEAR]
    wake = Wake(at=at)
    if at is not None and bucket_begins(bucket := bucket_of(at, now)) > now + NEAR:
        standing = [one for one in armed if bucket_begins(one) <= at]
        if standing:
            wake = Wake(at=at, bucket=max(standing, key=bucket_begins), stands=True)
        elif len(armed) < _MOST_ARMED:
            armed.append(bucket)
            wake = Wake(at=at, bucket=bucket)
    state.armed = armed
    document.journeys = state if state != JourneyState() else None
    return wake


def bucket_of(at: int, now: int) -> str:
    """The bucket of a time: an hour's, beyond a week a day's, beyond eight a week's, by UTC.

    >>> [bucket_of(DAY + ahead, now=DAY) for ahead in (HOUR, 9 * DAY, 70 * DAY)]
    ['h25', 'd10', 'w10']
    """
    unit = "h" if at - now <= _BY_HOUR else "d" if at - now <= _BY_DAY else "w"
    return f"{unit}{at // _UNITS[unit]}"


def bucket_begins(bucket: str) -> int:
    """When a bucket begins.

    >>> bucket_begins("d9") == 9 * DAY
    True
    """
    return int(bucket[1:]) * _UNITS[bucket[0]]


class ClaimedWake(msgspec.Struct, frozen=True):
    """A timer that somebody has claimed: `lease` is when its lease ends, which tells whose it is;
    `due` when it was due. Both by the store's clock.
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
    """Timers, in the customer's own slot; `DocumentStore.commit` sets them. What is due, and when a
    lease ends, goes by the store's clock.
    """

    async def claim_wakes(
        self, partitions: Collection[int], most: int, lease_ms: int
    ) -> list[ClaimedWake]:
        """Claims what is due in these partitions, the earliest first, at most so many of each.

        Far timers of buckets that begin within `NEAR` are brought near first.
        """

    async def rearm(self, claimed: ClaimedWake, wake: Wake) -> bool:
        """Sets a timer that was claimed and found nothing to do; False where the lease is lost.

        One that the store's clock says is due, and the caller's does not yet, comes a bit later.
        """

    async def arm(self, wakes: Mapping[str, int]) -> None:
        """Makes sure of a timer at these times or before, by customer id.

        For walks over customers whose documents need not be written; what is past is due now. It
        never makes one later. Who
        has claimed one near loses the lease, as what was read may know nothing of this.
        """

    async def next_wake(self, partitions: Collection[int]) -> int | None:
        """When there is something for `claim_wakes` to do, by the store's clock."""

    async def first_wakes(self, each: int) -> list[tuple[str, int]]:
        """(customer id, when) of the near timers that come first, so many of each partition.

        One that is claimed comes when its lease ends. Far ones are not among them.
        """

    async def count_wakes(self) -> WakeCounts: ...

    async def tallies(self) -> dict[str, int]:
        """The counts of all partitions together, see `tally_of`."""


HELD_BACK: Final = "!~"
"""What counts, instead of a step, customers whose runs are due and do not go on."""


def tally_of(journey: str, what: str) -> str:
    """The name of a count: of runs that wait in a step, with `!` that ended for a reason; of
    customers that are `HELD_BACK`.

    >>> tally_of("welcome", "pause"), tally_of("welcome", "!goal")
    ('welcome\\x00pause', 'welcome\\x00!goal')
    """
    return f"{journey}\0{what}"
