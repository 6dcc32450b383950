"""What senders share, in Redis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import msgspec

from decision.core.sending import OUTCOMES_LAST, GatewayPause, OutcomeKind, Outcomes
from decision.store import damage
from decision.store.in_redis.base import RedisBase

_PART = OUTCOMES_LAST // 12
_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(GatewayPause).decode


class RedisSending(RedisBase):
    """Implements `SendingStore`."""

    async def take_slot(self, channel: str, amount: int, period: int) -> int:
        wait: int = await self._run("take_slot", [self.keys.slots(channel)], [amount, period])
        return wait

    async def count_outcome(self, channel: str, kind: OutcomeKind) -> None:
        arguments = [kind, _PART, OUTCOMES_LAST]
        await self._run("count_outcome", [self.keys.outcomes(channel)], arguments)

    async def outcomes(self, channel: str) -> Outcomes:
        call = self._caller()
        key = self.keys.outcomes(channel)
        fields = await call(("HGETALL", key))
        seconds, _ = await call(("TIME",))
        first = (int(seconds) * 1000 - OUTCOMES_LAST) // _PART
        found: Counter[str] = Counter()
        for field, count in damage.counts(key, fields):
            part, _, kind = field.partition(":")
            if part.isascii() and part.isdigit() and int(part) > first:
                found[kind] += count
        return Outcomes(
            sent=found["sent"], bounced=found["bounced"], complained=found["complained"]
        )

    async def pause_gateway(self, name: str, pause: GatewayPause) -> bool:
        call = self._caller(write=True)
        if await call(("HGET", self.keys.paused, name)) is not None:
            return False
        return bool(await call(("HSET", self.keys.paused, name, _encode(pause))))

    async def resume_gateway(self, name: str, channels: Collection[str]) -> bool:
        call = self._caller(write=True)
        if channels:
            await call(("DEL", *(self.keys.outcomes(channel) for channel in channels)))
        return bool(await call(("HDEL", self.keys.paused, name)))

    async def paused_gateways(self) -> dict[str, GatewayPause]:
        key = self.keys.paused
        pairs = damage.fields(key, await self._caller()(("HGETALL", key)))
        return {name: damage.decoded(key, pause, _decode) for name, pause in pairs}
