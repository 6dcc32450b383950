"""Deliveries in memory, in the same bytes as in Redis."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from uuid import uuid4

import msgspec

from decision.core.delivery import (
    REQUEUED,
    Claimed,
    DeliveryCounts,
    DeliveryPage,
    DeliveryState,
    DeliveryStatus,
    ListedDelivery,
    SettledDelivery,
)
from decision.core.identifiers import partition_of
from decision.core.ports import Commit
from decision.store.deliveries import (
    Place,
    decided_at,
    decode_delivery,
    encode_delivery,
    in_order,
    member_of,
    page_of,
    place_of,
)
from decision.store.in_memory.base import Clock, MemoryBase

_DUE, _HELD = 0, 1
_replace = msgspec.structs.replace


class MemoryOutbox(MemoryBase):
    """Implements `OutboxStore`, step by step as the Lua scripts do."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._outbox: defaultdict[str, dict[str, tuple[bytes, DeliveryStatus]]] = defaultdict(dict)
        self._due: dict[tuple[str, str], int] = {}
        """(customer id, delivery id) → when somebody has to look at it."""
        self._held: dict[tuple[str, str], int] = {}
        self._fresh: Counter[int] = Counter()

    def _millis(self) -> int:
        return int(self._clock() * 1000)

    async def claim_deliveries(
        self, partitions: Collection[int], room: Mapping[str, int], owner: str, lease_ms: int
    ) -> list[Claimed]:
        now, left, lease = self._millis(), dict(room), _lease(owner)
        claimed = []
        for (customer_id, name), due in sorted(self._due.items(), key=lambda item: item[1]):
            status = self._outbox[customer_id][name][1]
            if due > now or partition_of(customer_id) not in partitions:
                continue
            if left.get(status.channel, 0) > 0:
                left[status.channel] -= 1
                claimed.append(self._claim(customer_id, name, lease, lease_ms))
        return claimed

    async def fresh_deliveries(self) -> dict[int, bytes]:
        return {partition: b"%d" % count for partition, count in self._fresh.items()}

    async def claim_delivery(
        self, customer_id: str, delivery_id: str, owner: str, lease_ms: int
    ) -> Claimed | None:
        due = self._due.get((customer_id, delivery_id))
        if due is None:
            return None
        if self._outbox[customer_id][delivery_id][1].lease and due > self._millis():
            return None
        return self._claim(customer_id, delivery_id, _lease(owner), lease_ms)

    def _claim(self, customer_id: str, name: str, lease: str, lease_ms: int) -> Claimed:
        body, status = self._outbox[customer_id][name]
        doubtful = status.doubtful or status.state == "sending"
        status = _replace(status, lease=lease, doubtful=doubtful)
        self._outbox[customer_id][name] = (body, status)
        self._due[customer_id, name] = self._millis() + lease_ms
        return Claimed(decode_delivery(body), status)

    def _under_lease(self, claimed: Claimed) -> DeliveryStatus | None:
        """The status of a delivery, unless the lease is somebody else's by now."""
        own = self._outbox.get(claimed.delivery.customer_id, {})
        _, status = own.get(claimed.delivery.id, (b"", None))
        return status if status and status.lease == claimed.status.lease else None

    def _put(
        self, customer_id: str, name: str, status: DeliveryStatus, *, due: int | None = None
    ) -> None:
        """Writes a status that begins now; it is due at a time, or held."""
        status = _replace(status, since=self._millis())
        self._outbox[customer_id][name] = (self._outbox[customer_id][name][0], status)
        self._due.pop((customer_id, name), None)
        self._held.pop((customer_id, name), None)
        if due is None:
            self._held[customer_id, name] = status.since
        else:
            self._due[customer_id, name] = due

    async def begin_delivery(self, claimed: Claimed, lease_ms: int) -> bool:
        status = self._under_lease(claimed)
        if status is None or status.state not in ("queued", "sending"):
            return False
        changed = _replace(status, state="sending", attempts=status.attempts + 1)
        delivery = claimed.delivery
        self._put(delivery.customer_id, delivery.id, changed, due=self._millis() + lease_ms)
        return True

    async def postpone_delivery(
        self,
        claimed: Claimed,
        delay_ms: int,
        reason: str,
        *,
        state: DeliveryState = "queued",
        doubtful: bool = False,
    ) -> bool:
        status = self._under_lease(claimed)
        if status is None:
            return False
        if status.state == "sending" and status.attempts == claimed.attempts:
            state = "sending"  # not begun again: what came of the last attempt is still not known
        doubtful = doubtful or status.doubtful
        changed = _replace(status, state=state, lease="", reason=reason, doubtful=doubtful)
        delivery = claimed.delivery
        self._put(delivery.customer_id, delivery.id, changed, due=self._millis() + delay_ms)
        return True

    async def hold_delivery(self, claimed: Claimed, state: DeliveryState, reason: str) -> bool:
        status = self._under_lease(claimed)
        if status is None:
            return False
        doubtful = status.doubtful or state == "unknown"
        changed = _replace(status, state=state, lease="", reason=reason, doubtful=doubtful)
        self._put(claimed.delivery.customer_id, claimed.delivery.id, changed)
        return True

    async def requeue_delivery(self, listed: ListedDelivery) -> bool:
        delivery = listed.delivery
        held = self._outbox.get(delivery.customer_id, {}).get(delivery.id)
        if held is None or held[1] != listed.status or held[1].lease:
            return False
        if held[1].state not in REQUEUED:
            return False
        now = self._millis()
        due = self._due.get((delivery.customer_id, delivery.id))
        if due is not None and due <= now:
            return True
        changed = _replace(held[1], state="queued", attempts=0)
        self._put(delivery.customer_id, delivery.id, changed, due=now)
        self._fresh[partition_of(delivery.customer_id)] += 1
        return True

    async def discard_delivery(self, customer_id: str, delivery_id: str, channel: str) -> bool:
        self._due.pop((customer_id, delivery_id), None)
        self._held.pop((customer_id, delivery_id), None)
        found = self._outbox.get(customer_id, {}).pop(delivery_id, None)
        if not self._outbox.get(customer_id, True):
            del self._outbox[customer_id]
        return found is not None

    async def deliveries(
        self,
        state: DeliveryState | None = None,
        channel: str | None = None,
        cursor: str = "",
        limit: int = 100,
    ) -> DeliveryPage:
        after = place_of(cursor)
        return page_of((row for row in self._places() if row[0] > after), state, channel, limit)

    def _places(self) -> Iterator[tuple[Place, ListedDelivery]]:
        """Every delivery in the order in which they are listed."""
        places = [
            Place(partition_of(customer_id), source, score, member_of(customer_id, name))
            for source, entries in ((_DUE, self._due), (_HELD, self._held))
            for (customer_id, name), score in entries.items()
        ]
        for place in sorted(places):
            customer_id, _, name = place.member.rpartition("\0")
            yield place, self._listed(customer_id, name)

    def _listed(self, customer_id: str, name: str) -> ListedDelivery:
        body, status = self._outbox[customer_id][name]
        return ListedDelivery(decode_delivery(body), status, self._due.get((customer_id, name)))

    async def deliveries_of(self, customer_id: str) -> list[ListedDelivery]:
        own = self._outbox.get(customer_id, {})
        return in_order([self._listed(customer_id, name) for name in own])

    async def count_deliveries(self) -> DeliveryCounts:
        waiting: Counter[str] = Counter()
        behind: dict[str, int] = {}
        oldest: dict[str, int] = {}
        now = self._millis()
        for (customer_id, name), due in self._due.items():
            channel = self._outbox[customer_id][name][1].channel
            waiting[channel] += 1
            behind[channel] = max(behind.get(channel, 0), now - due)
            decided = decided_at(member_of(customer_id, name)) or now
            oldest[channel] = max(oldest.get(channel, 0), now - decided)
        return DeliveryCounts(dict(waiting), len(self._held), behind, oldest)

    # Parts of a commit and of an erasure.

    def _unsettled(self, commit: Commit) -> list[str]:
        """The deliveries that are not as the commit says."""
        return [one.id for one in commit.settled if not self._is_as_said(commit.customer_id, one)]

    def _is_as_said(self, customer_id: str, one: SettledDelivery) -> bool:
        if one.only == "always":
            return True
        _, status = self._outbox.get(customer_id, {}).get(one.id, (b"", None))
        if status is None:
            return False
        if one.only == "leased":
            return status.lease == one.lease
        return status.state == "queued" and not status.doubtful

    async def _write_deliveries(self, commit: Commit) -> None:
        customer_id = commit.customer_id
        for one in commit.settled:
            if one.failed is None:
                await self.discard_delivery(customer_id, one.id, one.channel)
            elif (held := self._outbox.get(customer_id, {}).get(one.id)) is not None:
                changed = _replace(held[1], state="failed", lease="", reason=one.failed)
                self._put(customer_id, one.id, changed)
        for delivery in commit.deliveries:
            now = self._millis()
            status = DeliveryStatus("queued", delivery.channel, since=now)
            self._outbox[customer_id][delivery.id] = (encode_delivery(delivery), status)
            self._due[customer_id, delivery.id] = now
            self._fresh[partition_of(customer_id)] += 1

    async def _forget_deliveries(self, customer_id: str) -> int:
        own = list(self._outbox.get(customer_id, ()))
        for name in own:
            await self.discard_delivery(customer_id, name, "")
        return len(own)


def _lease(owner: str) -> str:
    """A name that no other lease has, also of those who call themselves the same."""
    return f"{owner}/{uuid4().hex}"
