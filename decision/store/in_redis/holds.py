"""What processes that run journeys share, in Redis."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from decision.core.clock import SECOND
from decision.core.journeys.holds import JourneyHold, place_of
from decision.core.journeys.state import JourneyState
from decision.store import damage
from decision.store.in_redis.base import RedisBase
from decision.store.pipelined_connection import Command

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(JourneyHold).decode


class RedisHolds(RedisBase):
    """Implements `HoldStore`."""

    async def hold_journey(self, name: str, hold: JourneyHold) -> None:
        await self._caller(write=True)(("HSET", self.keys.journeys, name, _encode(hold)))

    async def release_journey(self, name: str) -> bool:
        return bool(await self._caller(write=True)(("HDEL", self.keys.journeys, name)))

    async def held_journeys(self) -> dict[str, JourneyHold]:
        key = self.keys.journeys
        pairs = damage.fields(key, await self._caller()(("HGETALL", key)))
        return {name: damage.decoded(key, hold, _decode) for name, hold in pairs}

    async def park(self, journey: str, customer_id: str, since: int) -> None:
        await self._pipeline(
            ("HSET", self.keys.parking, journey, ""),
            ("ZADD", self.keys.parked(journey), "NX", since, customer_id),
        )

    async def parked(self) -> dict[str, int]:
        key = self.keys.parking
        names = [name for name, _ in damage.fields(key, await self._caller()(("HGETALL", key)))]
        counts = await self._pipeline(*(("ZCARD", self.keys.parked(name)) for name in names))
        return {name: count for name, count in zip(names, counts, strict=True) if count}

    async def first_parked(self, journey: str, most: int, before: int | None = None) -> list[str]:
        until = "+inf" if before is None else before
        found = await self._caller()(
            ("ZRANGEBYSCORE", self.keys.parked(journey), "-inf", until, "LIMIT", 0, most)
        )
        return [damage.text(self.keys.parked(journey), one) for one in found]

    async def unpark(self, journey: str, customers: Collection[str]) -> None:
        if customers:
            await self._caller(write=True)(("ZREM", self.keys.parked(journey), *customers))

    async def take_place(self, journey: str, run: str, most: int) -> bool:
        return bool(await self._run("take_place", [self.keys.places(journey)], [run, most]))

    async def free_places(self, journey: str, most: int) -> int:
        taken: int = await self._caller()(("ZCARD", self.keys.places(journey)))
        return max(0, most - taken)

    async def places(self, journey: str, most: int, before: int) -> list[str]:
        found = await self._caller()(
            ("ZRANGEBYSCORE", self.keys.places(journey), "-inf", before, "LIMIT", 0, most)
        )
        return [damage.text(self.keys.places(journey), one) for one in found]

    async def look_at_places(
        self, journey: str, there: Collection[str], gone: Collection[str]
    ) -> None:
        key, call = self.keys.places(journey), self._caller(write=True)
        seconds, _ = await call(("TIME",))
        if there:
            now = int(seconds) * SECOND
            await call(("ZADD", key, "XX", *(part for one in there for part in (now, one))))
        if gone:
            await call(("ZREM", key, *gone))

    async def _forget_parked(self, customer_id: str, state: JourneyState | None) -> None:
        """A part of an erasure."""
        for journey, runs in state.runs.items() if state else ():
            gone = [place_of(customer_id, run.id) for run in runs]
            await self.look_at_places(journey, (), gone)
        key = self.keys.parking
        names = [name for name, _ in damage.fields(key, await self._caller()(("HGETALL", key)))]
        await self._pipeline(*(("ZREM", self.keys.parked(one), customer_id) for one in names))

    async def _pipeline(self, *commands: Command) -> list[Any]:
        if not commands:
            return []
        return await self.connection.pipeline(list(commands), self._timeout)
