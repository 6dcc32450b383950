"""Coupon pools in Redis: the keys of a pool share a hash tag, and one script changes them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from decision.core.clock import MILLISECOND
from decision.core.coupons import CouponCounts, WantedCode, counter_of
from decision.core.identifiers import decision_tag
from decision.core.ports import ReadResult
from decision.store import damage
from decision.store.coupon_tokens import belongs
from decision.store.damage import whole
from decision.store.in_redis.base import RedisBase
from decision.store.keys import TOKEN_LASTS
from decision.store.pipelined_connection import Argument

_KEYS: Final = ("codes", "queue", "ends", "left", "counts")


def read_pool(found: ReadResult, pool: str, left: bytes | None) -> None:
    """Adds how many codes of a pool are free, below zero, from its `left`; damaged is none."""
    free, _, end = (left or b"0 ").partition(b" ")
    found.budgets[counter_of(pool)] = -(whole(free) or 0)
    if not found.budgets[counter_of(pool)] and (first := whole(end)) is not None:
        found.pools_end = {**(found.pools_end or {}), pool: first}


class RedisCoupons(RedisBase):
    """Implements `CouponStore`."""

    async def _pool(
        self,
        act: str,
        pool: str,
        *arguments: Argument,
        now: int = 0,
        tag: int | None = None,
        timeout: float | None = None,
    ) -> Any:
        """What the script says; `tag` is that of the token which it is about."""
        begin = self.keys.pool(pool)
        keys = [begin + name for name in _KEYS]
        if tag is not None:
            keys.append(f"{begin}t:{tag}")
        return await self._run("coupons", keys, [act, now, *arguments], timeout=timeout)

    async def add_codes(self, pool: str, codes: Sequence[str]) -> int:
        return await self.open_codes(pool, await self.stage_codes(pool, codes))

    async def stage_codes(self, pool: str, codes: Sequence[str]) -> list[str]:
        await self._caller(write=True)(("HSET", self.keys.pools, pool, ""))
        return [codes[place - 1] for place in await self._pool("stage", pool, *codes)]

    async def open_codes(self, pool: str, codes: Sequence[str]) -> int:
        return int(await self._pool("open", pool, *codes))

    async def drop_codes(self, pool: str, codes: Sequence[str]) -> None:
        await self._pool("drop", pool, *codes)

    async def pools_with(self, codes: Sequence[str], pools: Collection[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for pool in pools:
            for place in await self._pool("known", pool, *codes):
                found.setdefault(codes[place - 1], pool)
        return found

    async def coupon_pools(self, *, timeout: float | None = None) -> list[str]:
        found = await self._caller(timeout)(("HGETALL", self.keys.pools))
        return sorted(name for name, _ in damage.fields(self.keys.pools, found))

    async def count_codes(self, pool: str, now: int) -> CouponCounts:
        loaded, free, given, redeemed, back = await self._pool("count", pool, now=now)
        return CouponCounts(
            loaded=loaded,
            free=free,
            held=loaded - free - given - redeemed,
            given=given,
            redeemed=redeemed,
            given_back=back,
        )

    async def take_codes(
        self,
        pool: str,
        wanted: Sequence[WantedCode],
        token: str,
        *,
        now: int,
        lasts: int,
        timeout: float | None = None,
    ) -> list[str] | None:
        arguments: list[Argument] = [token, -(-lasts // MILLISECOND)]
        for one in wanted:
            due, back = one.due, one.back
            arguments += [
                one.message,
                "" if due is None else due,
                "" if back is None else back,
                one.rest,
            ]
        tag = decision_tag(token)
        found = await self._pool("take", pool, *arguments, now=now, tag=tag, timeout=timeout)
        return None if found is None else [code.decode() for code in found]

    async def return_codes(self, pool: str, token: str, now: int) -> None:
        await self._pool("back", pool, token, TOKEN_LASTS, now=now, tag=decision_tag(token))

    async def settle_code(self, pool: str, token: str, message: str, rank: int, now: int) -> bool:
        tag, taken = decision_tag(token), f"{token}/{message}"
        return bool(await self._pool("settle", pool, taken, rank, now=now, tag=tag))

    async def expire_codes(self, pool: str, now: int, *, timeout: float | None = None) -> None:
        await self._pool("count", pool, now=now, timeout=timeout)

    async def redeem_code(self, pool: str, code: str, now: int) -> bool:
        return bool(await self._pool("redeem", pool, code, now=now))

    async def forget_codes(
        self, pool: str, tags: Collection[int], partitions: Collection[int]
    ) -> int:
        gone = 0
        for tag in tags:
            known = await self._caller()(("HGETALL", f"{self.keys.pool(pool)}t:{tag}"))
            own = [name for name in known[::2] if belongs(name.decode(), partitions)]
            if own:
                gone += int(await self._pool("forget", pool, *own, tag=tag))
        return gone
