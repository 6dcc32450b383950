"""Timers in Redis: near ones in a sorted set of each partition, far ones in lists."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from decision.core.clock import SECOND
from decision.core.identifiers import PARTITIONS, partition_of
from decision.core.ports import Commit
from decision.core.timers import (
    NEAR,
    ClaimedWake,
    Wake,
    WakeCounts,
    bucket_begins,
    bucket_of,
)
from decision.store import damage
from decision.store.in_redis.base import RedisBase
from decision.store.keys import Keys
from decision.store.pipelined_connection import Argument, Command
from decision.store.timers import score_of, split_id

_LISTS: Final = 17
"""Lists of far timers of a partition that are brought near together, and the mark beside them."""

_NEVER: Final = 1 << 62

_ARMED: Final = 500
"""Timers that one script makes sure of: Redis does nothing else meanwhile."""


class _First(NamedTuple):
    """When the first near timer of a partition is due, and when its first bucket begins."""

    partition: int
    due: int
    begins: int


class RedisTimers(RedisBase):
    """Implements `TimerStore`."""

    async def claim_wakes(
        self, partitions: Collection[int], most: int, lease_ms: int
    ) -> list[ClaimedWake]:
        now, firsts = await self._firsts(partitions)
        until = now + NEAR
        calls = [
            self._claim_of(one.partition, until if one.begins <= until else None, most, lease_ms)
            for one in firsts
            if one.due <= now or one.begins <= until
        ]
        return [one for found in await asyncio.gather(*calls) for one in found]

    async def _firsts(self, partitions: Collection[int]) -> tuple[int, list[_First]]:
        """The time, and what comes first in each partition."""
        commands: list[Command] = [("TIME",)]
        for number in partitions:
            near, buckets, _ = self.keys.timers(number)
            commands.append(("ZRANGE", near, 0, 0, "WITHSCORES"))
            commands.append(("ZRANGE", buckets, 0, 1, "WITHSCORES"))
        (seconds, micros), *replies = await self.connection.pipeline(commands, self._timeout)
        firsts = [
            _First(number, min((at for _, at in _pairs(near)), default=_NEVER), _begins(buckets))
            for number, near, buckets in zip(partitions, replies[::2], replies[1::2], strict=True)
        ]
        return int(seconds) * SECOND + int(micros), firsts

    async def _claim_of(
        self, number: int, until: int | None, most: int, lease_ms: int
    ) -> list[ClaimedWake]:
        """Claims of one partition; brings buckets near that begin until a time, if there is one."""
        keys = [*self.keys.timers(number)]
        arguments: list[Argument] = [lease_ms * 1000, most, str(random.random())]
        if until is not None:
            command = ("ZRANGEBYSCORE", keys[1], "-inf", until, "WITHSCORES", "LIMIT", 0, _LISTS)
            for name, begins in _pairs(await self._caller()(command)):
                bucket, _, prefix = (member := name.decode()).partition(":")
                if member:
                    keys.append(self.keys.far(number, bucket, prefix))
                    arguments += [member, begins, prefix]
        ends, *found = await self._run("claim_wakes", keys, arguments)
        lease = int(ends)
        return [ClaimedWake(customer.decode(), at, lease) for customer, at in _pairs(found)]

    async def rearm(self, claimed: ClaimedWake, wake: Wake) -> bool:
        keys, arguments = _change(self.keys, claimed.customer_id, wake)
        keys = [*self.keys.timers(partition_of(claimed.customer_id)), *keys]
        return bool(
            await self._run("rearm_wake", keys, [claimed.customer_id, claimed.lease, *arguments])
        )

    async def arm(self, wakes: Mapping[str, int]) -> None:
        seconds, _ = await self._caller()(("TIME",))
        by_partition = defaultdict(list)
        for customer_id, at in wakes.items():
            by_partition[partition_of(customer_id)].append((customer_id, at))
        calls = [
            self._arm(number, own[first : first + _ARMED], int(seconds) * SECOND)
            for number, own in by_partition.items()
            for first in range(0, len(own), _ARMED)
        ]
        await asyncio.gather(*calls)

    async def _arm(self, number: int, own: Sequence[tuple[str, int]], now: int) -> None:
        keys = [*self.keys.timers(number)]
        arguments: list[Argument] = []
        for customer_id, at in own:
            bucket = bucket_of(at, now)
            begins = bucket_begins(bucket)
            place, prefix, rest = 0, *split_id(customer_id)
            if begins > now + NEAR:
                key = self.keys.far(number, bucket, prefix)
                if key not in keys:
                    keys.append(key)
                place = keys.index(key) + 1
            arguments += [customer_id, max(at, now), place, begins, f"{bucket}:{prefix}", rest]
        await self._run("arm_wakes", keys, arguments)

    async def _forget_timers(self, customer_id: str) -> None:
        """Removes the timers of a customer who was erased."""
        number = partition_of(customer_id)
        near, buckets, counts = self.keys.timers(number)
        prefix, rest = split_id(customer_id)
        found = await self._caller()(("ZRANGE", buckets, 0, -1))
        members = [one.decode() for one in found if one.endswith(f":{prefix}".encode())]
        lists = [self.keys.far(number, one.partition(":")[0], prefix) for one in members]
        keys = [self.keys.customer(customer_id).document, near, buckets, counts, *lists]
        await self._run("forget_timers", keys, [customer_id, rest, *members])

    async def next_wake(self, partitions: Collection[int]) -> int | None:
        _, firsts = await self._firsts(partitions)
        first = min((min(one.due, one.begins - NEAR) for one in firsts), default=_NEVER)
        return None if first >= _NEVER - NEAR else first

    async def first_wakes(self, each: int) -> list[tuple[str, int]]:
        commands: list[Command] = [
            ("ZRANGE", self.keys.timers(number)[0], 0, each - 1, "WITHSCORES")
            for number in range(PARTITIONS)
        ]
        replies = await self.connection.pipeline(commands, self._timeout)
        found = [(customer.decode(), at) for reply in replies for customer, at in _pairs(reply)]
        return sorted(found, key=lambda one: one[::-1])

    async def count_wakes(self) -> WakeCounts:
        commands: list[Command] = [("TIME",)]
        for number in range(PARTITIONS):
            near, _, counts = self.keys.timers(number)
            commands += [
                ("ZCARD", near),
                ("HGET", counts, "far"),
                ("ZRANGE", near, 0, 0, "WITHSCORES"),
            ]
        (seconds, micros), *replies = await self.connection.pipeline(commands, self._timeout)
        now = int(seconds) * SECOND + int(micros)
        firsts = [at for reply in replies[2::3] for _, at in _pairs(reply)]
        far = sum(damage.whole(count or b"0") or 0 for count in replies[1::3])
        return WakeCounts(sum(replies[::3]), far, max(0, now - min(firsts, default=now)) // 1000)

    async def tallies(self) -> dict[str, int]:
        keys = [self.keys.timers(n)[2] for n in range(PARTITIONS)]
        commands: list[Command] = [("HGETALL", key) for key in keys]
        found: Counter[str] = Counter()
        replies = await self.connection.pipeline(commands, self._timeout)
        for key, reply in zip(keys, replies, strict=True):
            for name, count in damage.counts(key, reply):
                if name != "far":
                    found[name] += count
        return {name: count for name, count in found.items() if count}


def timer_arguments(keys: Keys, commit: Commit) -> tuple[list[str], list[Any]]:
    """The last keys of a commit with a timer or counts, and what `commit.lua` is told of them."""
    wake, customer_id = commit.wake, commit.customer_id
    own = [*keys.timers(partition_of(customer_id))]
    if wake is None:
        return own, [commit.tally, customer_id, False]
    far, arguments = _change(keys, customer_id, wake)
    return [*own, *far], [commit.tally, customer_id, *arguments]


def _change(keys: Keys, customer_id: str, wake: Wake) -> tuple[list[str], list[Argument]]:
    """The list of a far timer; when one is due, and what is written to the list."""
    at = "" if wake.at is None else str(score_of(wake.at, held=wake.held))
    if wake.at is None or wake.bucket is None:
        return [], [at]
    prefix, rest = split_id(customer_id)
    key = keys.far(partition_of(customer_id), wake.bucket, prefix)
    begins = str(bucket_begins(wake.bucket))
    return [key], [at, begins, f"{wake.bucket}:{prefix}", "" if wake.stands else rest]


def _begins(buckets: Sequence[bytes]) -> int:
    """When the first bucket begins; among them is the mark, which has no name."""
    return min((at for name, at in _pairs(buckets) if name), default=_NEVER)


def _pairs(reply: Sequence[bytes]) -> Iterator[tuple[bytes, int]]:
    """(member, time) of a reply with scores."""
    return ((name, int(at)) for name, at in zip(reply[::2], reply[1::2], strict=True))
