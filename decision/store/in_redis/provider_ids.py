"""Provider ids in Redis: a string each, which no customer's slot can hold, and a list per customer
by which an erasure finds them."""

from __future__ import annotations

import msgspec

from decision.core.provider_ids import LASTS, DeliveredTo
from decision.store.damage import damaged
from decision.store.in_redis.base import RedisBase
from decision.store.pipelined_connection import Argument

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(DeliveredTo).decode


class RedisProviderIds(RedisBase):
    """Implements `ProviderIdStore`."""

    async def note_provider_id(
        self, gateway: str, provider_id: str, to: DeliveredTo, lasts_ms: int = LASTS
    ) -> bool:
        own = self.keys.provider_ids(to.customer_id)
        key = self.keys.provider_id(gateway, provider_id)
        member = f"{gateway}\0{provider_id}"
        document = self.keys.customer(to.customer_id).document
        keys = [document, self.keys.outbox(to.customer_id), own]
        arguments: list[Argument] = [f"{to.decision_id}.{to.message}", member, lasts_ms]
        if not await self._run("note_provider_id", keys, arguments):
            return False
        call = self._caller(write=True)
        await call(("SET", key, _encode(to), "PX", lasts_ms))
        if (await call(("ZMSCORE", own, member)))[0] is not None:
            return True
        await call(("DEL", key))  # an erasure came in between, and did not find it yet
        return False

    async def find_provider_id(self, gateway: str, provider_id: str) -> DeliveredTo | None:
        key = self.keys.provider_id(gateway, provider_id)
        raw = await self._caller()(("GET", key))
        try:
            return None if raw is None else _decode(raw)
        except (msgspec.MsgspecError, ValueError) as error:
            raise damaged(key, "it is no provider's id") from error

    async def _forget_provider_ids(self, customer_id: str) -> int:
        """Removes those of a customer whose document and deliveries are gone already; how many."""
        own = self.keys.provider_ids(customer_id)
        members = await self._caller()(("ZRANGE", own, 0, -1))
        pairs = [member.decode().partition("\0") for member in members]
        keys = [self.keys.provider_id(gateway, name) for gateway, _, name in pairs]
        removed = 0
        for key in keys:  # some have expired by themselves
            removed += int(await self._caller(write=True)(("DEL", key)))
        if keys:
            await self._caller(write=True)(("DEL", own))
        return removed
