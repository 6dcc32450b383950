"""Timers in memory."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from heapq import heappop, heappush

from decision.core.clock import SECOND
from decision.core.identifiers import partition_of
from decision.core.journeys.state import JourneyState
from decision.core.ports import Commit
from decision.core.timers import (
    NEAR,
    ClaimedWake,
    Wake,
    WakeCounts,
    bucket_begins,
    bucket_of,
)
from decision.store.in_memory.base import Clock, MemoryBase
from decision.store.timers import score_of, tally_of_erasure

_SOON = 20_000
"""Microseconds; as in `rearm_wake.lua`."""


class MemoryTimers(MemoryBase):
    """Implements `TimerStore`, step by step as the Lua scripts do."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._near: dict[str, int] = {}
        self._queues: defaultdict[int, list[tuple[int, str]]] = defaultdict(list)
        """By partition a heap of the near timers; also of some that have changed since."""
        self._far: defaultdict[int, dict[str, list[str]]] = defaultdict(dict)
        """By partition, bucket → customer ids."""
        self._brought: Counter[int] = Counter()
        """Up to when a partition's buckets were brought near."""
        self._tallies: Counter[str] = Counter()

    def _micros(self) -> int:
        return int(self._clock() * SECOND)

    def _put_near(self, customer_id: str, at: int) -> None:
        self._near[customer_id] = at
        heappush(self._queues[partition_of(customer_id)], (at, customer_id))

    def _set_timer(self, customer_id: str, wake: Wake, *, soonest: int = 0) -> None:
        """Sets a timer; a near one is not before the soonest time."""
        partition = partition_of(customer_id)
        if wake.at is None:
            self._near.pop(customer_id, None)
        elif wake.bucket and bucket_begins(wake.bucket) > self._brought[partition]:
            self._near.pop(customer_id, None)
            if not wake.stands:
                self._far[partition].setdefault(wake.bucket, []).append(customer_id)
        else:
            self._put_near(customer_id, score_of(max(wake.at, soonest), held=wake.held))

    def _add_timer(self, customer_id: str, at: int) -> None:
        """Adds one to what there is: the earlier timer stays, and a lease, but for a moment."""
        at = score_of(at)
        score = self._near.get(customer_id, at)
        self._put_near(customer_id, score - 2 if score % 2 else min(score, at))

    def _write_timer(self, commit: Commit) -> None:
        """A part of a commit."""
        self._tallies.update(commit.tally)
        if commit.wake is not None:
            self._set_timer(commit.customer_id, commit.wake)

    def _forget_timers(self, customer_id: str, state: JourneyState | None) -> None:
        """A part of an erasure."""
        self._tallies.update(tally_of_erasure(state))
        self._near.pop(customer_id, None)
        own = self._far[partition_of(customer_id)]
        for bucket, entries in list(own.items()):
            own[bucket] = [one for one in entries if one != customer_id]
            if not own[bucket]:
                del own[bucket]

    async def claim_wakes(
        self, partitions: Collection[int], most: int, lease_ms: int
    ) -> list[ClaimedWake]:
        now = self._micros()
        claimed: list[ClaimedWake] = []
        for partition in partitions:
            self._bring_near(partition, now)
            for _ in range(most):
                first = self._first(partition)
                if first is None or first[0] > now:
                    break
                due, customer_id = first
                del self._near[customer_id]
                claimed.append(ClaimedWake(customer_id, due, now + lease_ms * 1000 | 1))
        for one in claimed:
            self._put_near(one.customer_id, one.lease)
        return claimed

    def _first(self, partition: int) -> tuple[int, str] | None:
        """The earliest near timer of a partition."""
        queue = self._queues[partition]
        while queue and self._near.get(queue[0][1]) != queue[0][0]:
            heappop(queue)
        return queue[0] if queue else None

    def _bring_near(self, partition: int, now: int) -> None:
        for bucket in sorted(self._far[partition], key=bucket_begins):
            begins = bucket_begins(bucket)
            if begins > now + NEAR:
                break
            self._brought[partition] = max(begins, self._brought[partition])
            entries, span = self._far[partition].pop(bucket), max(begins - now, 0)
            for place, customer_id in enumerate(entries):
                at = begins - span + span * (2 * place + 1) // (2 * len(entries))
                self._add_timer(customer_id, at)

    async def rearm(self, claimed: ClaimedWake, wake: Wake) -> bool:
        if self._near.get(claimed.customer_id) != claimed.lease:
            return False
        now, soonest = self._micros(), 0
        if wake.at is not None and wake.at <= now:
            soonest = now + max(_SOON, (now - wake.at) // 4)
        self._set_timer(claimed.customer_id, wake, soonest=soonest)
        return True

    async def arm(self, wakes: Mapping[str, int]) -> None:
        now = self._micros()
        for customer_id, at in wakes.items():
            bucket, partition = bucket_of(at, now), partition_of(customer_id)
            if bucket_begins(bucket) > max(now + NEAR, self._brought[partition]):
                self._far[partition].setdefault(bucket, []).append(customer_id)
            else:
                self._add_timer(customer_id, max(at, now))

    async def next_wake(self, partitions: Collection[int]) -> int | None:
        near = [first[0] for one in partitions if (first := self._first(one)) is not None]
        far = [bucket_begins(bucket) - NEAR for one in partitions for bucket in self._far[one]]
        return min([*near, *far], default=None)

    async def first_wakes(self, each: int) -> list[tuple[str, int]]:
        taken: Counter[int] = Counter()
        found = []
        for customer_id, at in sorted(self._near.items(), key=lambda one: one[::-1]):
            taken[partition_of(customer_id)] += 1
            if taken[partition_of(customer_id)] <= each:
                found.append((customer_id, at))
        return found

    async def count_wakes(self) -> WakeCounts:
        far = sum(len(entries) for own in self._far.values() for entries in own.values())
        now = self._micros()
        behind = max(0, now - min(self._near.values(), default=now)) // 1000
        return WakeCounts(len(self._near), far, behind)

    async def tallies(self) -> dict[str, int]:
        return {name: count for name, count in self._tallies.items() if count}
