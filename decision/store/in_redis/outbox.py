"""Deliveries in Redis: a hash per customer, and what is due by partition and channel."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import uuid4

from decision.core.delivery import (
    REQUEUED,
    Claimed,
    DeliveryCounts,
    DeliveryPage,
    DeliveryState,
    ListedDelivery,
)
from decision.core.identifiers import PARTITIONS, partition_of
from decision.core.ports import Commit
from decision.store.deliveries import (
    Place,
    decided_at,
    decode_delivery,
    decode_status,
    encode_delivery,
    in_order,
    member_of,
    pack,
    place_of,
    split_member,
)
from decision.store.in_redis.fresh import RedisFresh
from decision.store.in_redis.timers import timer_arguments
from decision.store.keys import Keys
from decision.store.pipelined_connection import Argument, Command

_AT_A_TIME: Final = 100
"""Deliveries that one script claims: Redis does nothing else meanwhile."""

_SAMPLE: Final = 8
"""Entries at each end of a list that are looked at for the oldest delivery."""

_BEFORE: Final = 6
"""The place of the key that follows those which every commit has, and that of an erasure."""

_LISTED: Final = 200
"""Entries of a list that are read together."""


class _Due(NamedTuple):
    """An entry of a list: since when it is due, the channel, the member."""

    score: float
    channel: str
    member: str


class RedisOutbox(RedisFresh):
    """Implements `OutboxStore`."""

    async def claim_deliveries(
        self, partitions: Collection[int], room: Mapping[str, int], owner: str, lease_ms: int
    ) -> list[Claimed]:
        wanted = {channel: number for channel, number in room.items() if number > 0}
        if not wanted or not partitions:
            return []
        found = await self._find_due(partitions, wanted)
        lease = _lease(owner)
        batches = [
            own[at : at + _AT_A_TIME] for own in found for at in range(0, len(own), _AT_A_TIME)
        ]
        claimed = await asyncio.gather(*(self._claim(own, lease, lease_ms) for own in batches))
        return [one for own in claimed for one in own]

    async def _find_due(
        self, partitions: Collection[int], wanted: Mapping[str, int]
    ) -> list[list[_Due]]:
        """What is due, the earliest first, by partition; no more than is wanted."""
        seconds, micros = await self._caller()(("TIME",))
        now = int(seconds) * 1000 + int(micros) // 1000
        lists = [(number, channel) for number in partitions for channel in wanted]
        commands: list[Command] = [
            (
                *("ZRANGEBYSCORE", self.keys.due(number, channel), "-inf", now),
                *("WITHSCORES", "LIMIT", 0, wanted[channel]),
            )
            for number, channel in lists
        ]
        replies = await self.connection.pipeline(commands, self._timeout)
        found: list[_Due] = []
        for (_, channel), reply in zip(lists, replies, strict=True):
            found += [_Due(score, channel, member) for member, score in _entries(reply)]
        left, chosen = dict(wanted), defaultdict(list)
        for one in sorted(found):
            if left[one.channel] > 0:
                left[one.channel] -= 1
                chosen[partition_of(split_member(one.member)[0])].append(one)
        return list(chosen.values())

    async def _claim(
        self, found: Sequence[_Due], lease: str, lease_ms: int, *, due: bool = True
    ) -> list[Claimed]:
        keys: list[str] = []
        arguments: list[Argument] = [lease, lease_ms, "1" if due else "0"]
        for one in found:
            customer_id, name = split_member(one.member)
            keys += [self.keys.due(partition_of(customer_id), one.channel)]
            keys += [self.keys.outbox(customer_id)]
            arguments += [name, one.member]
        reply = await self._run("claim_deliveries", keys, arguments)
        return [Claimed(decode_delivery(body), decode_status(raw)) for _, raw, body in reply]

    async def claim_delivery(
        self, customer_id: str, delivery_id: str, owner: str, lease_ms: int
    ) -> Claimed | None:
        listed = await self._listed(customer_id, [delivery_id])
        if not listed or listed[0].due is None:
            return None
        one = _Due(0, listed[0].status.channel, member_of(customer_id, delivery_id))
        claimed = await self._claim([one], _lease(owner), lease_ms, due=False)
        return claimed[0] if claimed else None

    async def _change(
        self, act: str, customer_id: str, name: str, channel: str, *arguments: Argument
    ) -> bool:
        partition = partition_of(customer_id)
        keys = [
            self.keys.outbox(customer_id),
            self.keys.due(partition, channel),
            self.keys.held(partition),
        ]
        member = member_of(customer_id, name)
        return bool(await self._run("change_delivery", keys, [act, name, member, *arguments]))

    async def _change_claimed(self, act: str, claimed: Claimed, *arguments: Argument) -> bool:
        one = claimed.delivery
        lease = claimed.status.lease
        return await self._change(act, one.customer_id, one.id, one.channel, lease, *arguments)

    async def begin_delivery(self, claimed: Claimed, lease_ms: int) -> bool:
        return await self._change_claimed("begin", claimed, lease_ms)

    async def postpone_delivery(
        self,
        claimed: Claimed,
        delay_ms: int,
        reason: str,
        *,
        state: DeliveryState = "queued",
        doubtful: bool = False,
    ) -> bool:
        said = (claimed.attempts, state, "1" if doubtful else "0", reason, delay_ms)
        return await self._change_claimed("release", claimed, *said)

    async def hold_delivery(self, claimed: Claimed, state: DeliveryState, reason: str) -> bool:
        doubtful = "1" if state == "unknown" else "0"
        said = (claimed.attempts, state, doubtful, reason, "")
        return await self._change_claimed("release", claimed, *said)

    async def requeue_delivery(self, listed: ListedDelivery) -> bool:
        one = listed.delivery
        if listed.status.state not in REQUEUED:
            return False
        said = (listed.status.state, listed.status.since)
        done = await self._change("requeue", one.customer_id, one.id, one.channel, *said)
        if done:
            self._note_fresh(partition_of(one.customer_id))
        return done

    async def discard_delivery(self, customer_id: str, delivery_id: str, channel: str) -> bool:
        return await self._change("discard", customer_id, delivery_id, channel)

    async def deliveries(
        self,
        state: DeliveryState | None = None,
        channel: str | None = None,
        cursor: str = "",
        limit: int = 100,
    ) -> DeliveryPage:
        rows: list[ListedDelivery] = []
        async for place, row in self._places(place_of(cursor), channel):
            if state in (None, row.status.state):
                rows.append(row)
                if len(rows) >= limit:
                    return DeliveryPage(rows, place.text())
        return DeliveryPage(rows)

    async def _places(
        self, after: Place, channel: str | None
    ) -> AsyncIterator[tuple[Place, ListedDelivery]]:
        """Every delivery after a place, in the order in which they are listed."""
        lists = [one for one in await self._lists() if one[:2] >= after[:2] and one[3]]
        for partition, source, key, _ in lists:
            if source and channel not in (None, self._channels()[source - 1]):
                continue
            own = after if (partition, source) == after[:2] else Place(partition, source)
            offset = 0
            while True:
                command = ("ZRANGEBYSCORE", key, str(own.score), "+inf", "WITHSCORES")
                reply = await self._caller()((*command, "LIMIT", offset, _LISTED))
                entries = list(_entries(reply))
                for member, score in entries:
                    place = Place(partition, source, score, member)
                    customer_id, name = split_member(member)
                    if place > own:
                        for row in await self._listed(customer_id, [name]):
                            if channel in (None, row.delivery.channel):
                                yield place, row
                offset += len(entries)
                if len(entries) < _LISTED:
                    break

    async def _lists(self) -> list[tuple[int, int, str, int]]:
        """Partition, number in it, key and length of every list: first what is held."""
        await self._refresh()
        lists = [
            (partition, source, key)
            for partition in range(PARTITIONS)
            for source, key in enumerate(
                [
                    self.keys.held(partition),
                    *(self.keys.due(partition, channel) for channel in self._channels()),
                ]
            )
        ]
        commands: list[Command] = [("ZCARD", key) for *_, key in lists]
        lengths = await self.connection.pipeline(commands, self._timeout)
        return [(*one, length) for one, length in zip(lists, lengths, strict=True)]

    def _channels(self) -> list[str]:
        """Every channel on which a policy ever had a message; new ones come at the end."""
        return list(dict.fromkeys(kind.channel for kind in self._register.kinds.numbers))

    async def _listed(
        self, customer_id: str, names: Sequence[str] | None = None
    ) -> list[ListedDelivery]:
        """Those of a customer's deliveries that there are."""
        key = self.keys.outbox(customer_id)
        if names is None:
            fields = await self._caller()(("HGETALL", key))
            names = [name[1:].decode() for name in fields[::2] if name.startswith(b"s")]
            held = dict(zip(fields[::2], fields[1::2], strict=True))
        else:
            wanted = [f"{letter}{name}".encode() for name in names for letter in "ds"]
            commands: list[Command] = [("HGET", key, field) for field in wanted]
            replies = await self.connection.pipeline(commands, self._timeout)
            held = dict(zip(wanted, replies, strict=True))
        rows = []
        for name in names:
            body, raw = held.get(b"d" + name.encode()), held.get(b"s" + name.encode())
            if body is None or raw is None:
                continue
            status = decode_status(raw)
            due = self.keys.due(partition_of(customer_id), status.channel)
            score = (await self._caller()(("ZMSCORE", due, member_of(customer_id, name))))[0]
            when = None if score is None else int(float(score))
            rows.append(ListedDelivery(decode_delivery(body), status, when))
        return rows

    async def deliveries_of(self, customer_id: str) -> list[ListedDelivery]:
        return in_order(await self._listed(customer_id))

    async def count_deliveries(self) -> DeliveryCounts:
        lists = await self._lists()
        held = sum(length for _, source, _, length in lists if not source)
        due = [
            (self._channels()[source - 1], key, length)
            for _, source, key, length in lists
            if source and length
        ]
        waiting: Counter[str] = Counter()
        behind = dict.fromkeys((channel for channel, *_ in due), 0)
        oldest = behind.copy()
        if due:
            # What was never tried stands by when it was decided, what is tried again comes later:
            # the oldest is near one of the ends.
            ends: list[Command] = [
                ("ZRANGE", key, first, last, "WITHSCORES")
                for _, key, _ in due
                for first, last in ((0, _SAMPLE - 1), (-_SAMPLE, -1))
            ]
            commands: list[Command] = [("TIME",), *ends]
            (seconds, micros), *found = await self.connection.pipeline(commands, self._timeout)
            now = int(seconds) * 1000 + int(micros) // 1000
            for number, (channel, _, length) in enumerate(due):
                waiting[channel] += length
                for member, score in _entries(found[2 * number] + found[2 * number + 1]):
                    behind[channel] = max(behind[channel], now - int(score))
                    decided = decided_at(member) or now
                    oldest[channel] = max(oldest[channel], now - decided)
        return DeliveryCounts(dict(waiting), held, behind, oldest)


def outbox_arguments(keys: Keys, commit: Commit) -> tuple[list[str], list[Argument]]:
    """The keys and arguments at whose end `commit.lua` finds deliveries, timer and counts."""
    customer_id = commit.customer_id
    partition = partition_of(customer_id)
    places: dict[str, int] = {}

    def place(channel: str) -> int:
        return places.setdefault(channel, len(places) + 1)

    added = [
        (one.id, member_of(customer_id, one.id), one.channel, place(one.channel))
        for one in commit.deliveries
    ]
    settled = [
        (
            *(one.id, member_of(customer_id, one.id), place(one.channel)),
            *(one.only, one.lease, False if one.failed is None else one.failed),
        )
        for one in commit.settled
    ]
    due = [keys.due(partition, channel) for channel in places]
    own = [keys.outbox(customer_id), keys.held(partition), *due]
    told: list[Any] = [added, settled]
    if commit.wake is not None or commit.tally:
        timer_keys, timer = timer_arguments(keys, commit)
        told.append([_BEFORE + len(own), *timer])
        own += timer_keys
    return own, [*map(encode_delivery, commit.deliveries), pack(told)]


def _entries(reply: Sequence[Any]) -> Iterator[tuple[str, float]]:
    """(member, score) of a reply with scores."""
    pairs = zip(reply[::2], reply[1::2], strict=True)
    return ((member.decode(), float(score)) for member, score in pairs)


def _lease(owner: str) -> str:
    """A name that no other lease has, also of those who call themselves the same."""
    return f"{owner}/{uuid4().hex}"
