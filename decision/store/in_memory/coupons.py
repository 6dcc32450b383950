"""Coupon pools in memory."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from heapq import heappop, heappush

from decision.core.clock import SECOND
from decision.core.coupons import PLACEHOLDER, CouponCounts, WantedCode, counter_of
from decision.core.identifiers import decision_tag
from decision.core.ports import ReadResult
from decision.store.coupon_tokens import belongs
from decision.store.in_memory.base import Clock, Expiring, MemoryBase
from decision.store.keys import TOKEN_LASTS

_ENDLESS = 1 << 40
"""How many codes a pool seems to have that never runs dry."""

_FREE, _HELD, _GIVEN, _REDEEMED, _STAGED = "free", "held", "given", "redeemed", "staged"


class _Taken:
    """A code that a token has taken; `number` is that of the taking."""

    def __init__(self, code: str, number: int, wanted: WantedCode) -> None:
        self.code = code
        self.number = number
        self.back = wanted.back
        self.rest = wanted.rest
        self.rank = -1


class _Pool:
    """One pool: code → its state, and the number of the taking by which it is held or given."""

    def __init__(self) -> None:
        self.codes: dict[str, tuple[str, int]] = {}
        self.states: Counter[str] = Counter()
        self.queue: deque[str] = deque()
        self.ends: dict[str, int] = {}
        self._by_end: list[tuple[int, str]] = []
        self.tokens: Expiring[str, dict[str, _Taken]] = Expiring()
        self.done: Expiring[str, bool] = Expiring()
        self.endless = False
        self.takings = 0
        self.back = 0

    def put(self, code: str, state: str, number: int = 0, end: int | None = None) -> None:
        if code in self.codes:
            self.states[self.codes[code][0]] -= 1
        self.states[state] += 1
        self.codes[code] = (state, number)
        self.ends.pop(code, None)
        if end is not None:
            self.ends[code] = end
            heappush(self._by_end, (end, code))

    def staged(self, codes: Iterable[str]) -> list[str]:
        """Those of the codes that nobody gets yet."""
        return [one for one in dict.fromkeys(codes) if self.codes.get(one, ("",))[0] == _STAGED]

    def first_end(self) -> int | None:
        """When the first code is free again."""
        while self._by_end and self.ends.get(self._by_end[0][1]) != self._by_end[0][0]:
            heappop(self._by_end)
        return self._by_end[0][0] if self._by_end else None

    def free(self, code: str) -> None:
        self.put(code, _FREE)
        self.queue.append(code)
        self.back += 1

    def free_what_is_due(self, now: int) -> None:
        while (end := self.first_end()) is not None and end <= now:
            self.free(heappop(self._by_end)[1])

    def make_up(self) -> None:
        """Adds one more code that nobody made."""
        code = f"{PLACEHOLDER}-{len(self.codes) + 1}"
        self.put(code, _FREE)
        self.queue.append(code)

    def next_free(self, wanted: int) -> list[str] | None:
        while self.endless and self.states[_FREE] < wanted:
            self.make_up()
        found: list[str] = []
        while self.queue and len(found) < wanted:
            code = self.queue.popleft()
            if self.codes[code][0] == _FREE and code not in found:
                found.append(code)
        if len(found) == wanted:
            return found
        self.queue.extend(found)
        return None


class MemoryCoupons(MemoryBase):
    """Implements `CouponStore` as `coupons.lua` does."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._pools: dict[str, _Pool] = {}
        self._made_up: Mapping[str, int] | None = None

    def make_up_codes(self, left: Mapping[str, int]) -> None:
        """From now on, pools without codes have made-up ones: as many as `left` says, or no end."""
        self._made_up = left

    def _pool(self, name: str) -> _Pool:
        """A pool; one that is not known yet has no codes, or those that are made up."""
        found = self._pools.get(name)
        if found is None:
            found = self._pools[name] = _Pool()
            if self._made_up is not None:
                left = self._made_up.get(name)
                found.endless = left is None
                for _ in range(left or 0):
                    found.make_up()
        return found

    def _read_pool(self, found: ReadResult, pool: str) -> None:
        """Adds how many codes are free, below zero."""
        known = self._pool(pool)
        if known.endless:
            found.budgets[counter_of(pool)] = -_ENDLESS
            return
        left, end = known.states[_FREE], known.first_end()
        found.budgets[counter_of(pool)] = -left
        if not left and end is not None:
            found.pools_end = {**(found.pools_end or {}), pool: end}

    async def add_codes(self, pool: str, codes: Sequence[str]) -> int:
        return await self.open_codes(pool, await self.stage_codes(pool, codes))

    async def stage_codes(self, pool: str, codes: Sequence[str]) -> list[str]:
        into = self._pools.get(pool) or self._pools.setdefault(pool, _Pool())
        for code in codes:
            if code not in into.codes:
                into.put(code, _STAGED)
        return [code for code in codes if into.codes[code][0] == _STAGED]

    async def open_codes(self, pool: str, codes: Sequence[str]) -> int:
        into = self._pools.get(pool, _Pool())
        staged = into.staged(codes)
        for code in staged:
            into.put(code, _FREE)
        into.queue.extend(staged)
        return len(staged)

    async def drop_codes(self, pool: str, codes: Sequence[str]) -> None:
        into = self._pools.get(pool, _Pool())
        for code in into.staged(codes):
            del into.codes[code]
            into.states[_STAGED] -= 1

    async def pools_with(self, codes: Sequence[str], pools: Collection[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for pool in pools:
            known = self._pools[pool].codes if pool in self._pools else {}
            for code in codes:
                if code in known:
                    found.setdefault(code, pool)
        return found

    async def coupon_pools(self, *, timeout: float | None = None) -> list[str]:
        return sorted(name for name, pool in self._pools.items() if pool.codes)

    async def count_codes(self, pool: str, now: int) -> CouponCounts:
        found = self._pool(pool)
        found.free_what_is_due(now)
        states = Counter(found.states)
        states[_HELD] += states.pop(_STAGED, 0)
        return CouponCounts(loaded=len(found.codes), given_back=found.back, **states)

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
        found = self._pool(pool)
        found.free_what_is_due(now)
        if found.done.live(token, self._clock()):
            return None
        before = found.tokens.live(token, self._clock()) or {}
        if again := [before[one.message].code for one in wanted if one.message in before]:
            return again
        codes = found.next_free(len(wanted))
        if codes is None:
            return None
        taken = {}
        for one, code in zip(wanted, codes, strict=True):
            found.takings += 1
            found.put(code, _HELD, found.takings, one.due)
            taken[one.message] = _Taken(code, found.takings, one)
        found.tokens[token] = (self._clock() + lasts / SECOND, taken)
        return codes

    async def return_codes(self, pool: str, token: str, now: int) -> None:
        found = self._pool(pool)
        taken = found.tokens.live(token, self._clock()) or {}
        for message, one in list(taken.items()):
            if found.codes[one.code] == (_HELD, one.number):
                found.free(one.code)
                del taken[message]
        found.done[token] = (self._clock() + TOKEN_LASTS / 1000, True)

    async def settle_code(self, pool: str, token: str, message: str, rank: int, now: int) -> bool:
        found = self._pools.get(pool)
        if found is None:
            return False
        one = (found.tokens.live(token, self._clock()) or {}).get(message)
        if one is None:
            return False
        if rank <= one.rank:
            return True
        one.rank = rank
        state, number = found.codes[one.code]
        own = state in (_HELD, _GIVEN) and number == one.number
        if rank % 2 and (own or (state == _FREE and (one.back is None or now < one.back))):
            found.put(one.code, _GIVEN, one.number, one.back)
        elif not rank % 2 and own and now < one.rest:
            found.put(one.code, _HELD, one.number, one.rest)
        elif not rank % 2 and own:
            found.free(one.code)
        return True

    async def expire_codes(self, pool: str, now: int, *, timeout: float | None = None) -> None:
        if pool in self._pools:
            self._pools[pool].free_what_is_due(now)

    async def redeem_code(self, pool: str, code: str, now: int) -> bool:
        found = self._pool(pool)
        if code not in found.codes:
            return False
        found.put(code, _REDEEMED)
        return True

    async def forget_codes(
        self, pool: str, tags: Collection[int], partitions: Collection[int]
    ) -> int:
        found, gone = self._pools.get(pool, _Pool()), 0
        for token in list(found.tokens):
            if decision_tag(token) in tags and belongs(token, partitions):
                for one in (found.tokens.live(token, self._clock()) or {}).values():
                    gone += 1
                    if found.codes[one.code] == (_HELD, one.number):
                        found.put(one.code, _GIVEN, one.number, one.back)
                del found.tokens[token]
        return gone
