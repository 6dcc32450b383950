"""Leases of budgets in Redis: opened, given portions, renewed, settled; see `store.leases`."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias

from decision.core.errors import StoreUnavailable
from decision.core.identifiers import PARTITIONS
from decision.store.damage import note, whole
from decision.store.in_redis.base import RedisBase
from decision.store.leases import (
    BELIEVED,
    LEASE_LASTS,
    RENEWED,
    SPENT,
    Lease,
    Views,
    Wanted,
    amounts_of,
    look_up,
)
from decision.store.pipelined_connection import Argument, Command
from decision.store.uptime import uptime

_TICK: Final = 1.0
"""Seconds after which a lease is looked after."""

_Field: TypeAlias = tuple[int, bytes, bytes]
"""A field of what a partition has of leases: partition, name, value."""

_log = logging.getLogger(__name__)


class RedisLeases(RedisBase):
    """What a process has of budgets. `budget_lease` is in seconds, as `lease_lasts` is."""

    def __init__(self, *args: Any, budget_lease: float = LEASE_LASTS, **more: Any) -> None:
        super().__init__(*args, **more)
        self.lease_lasts = budget_lease
        self._views = Views()
        self._lease: Lease | None = None
        self._home = asyncio.Lock()
        self._home_calls = 0
        """How often the home began or ended to answer."""
        self._peeking = self._held_at = float("-inf")
        self._tick: asyncio.TimerHandle | None = None
        self._aside: set[asyncio.Task[None]] = set()
        self._settling: set[str] = set()

    async def close(self) -> None:
        """Gives back what is leased, as far as Redis answers."""
        await self.give_leases_back()
        await super().close()

    async def give_leases_back(self) -> None:
        """Ends the lease of this process, if Redis answers; it takes another one where it must."""
        lease, self._lease = self._lease, None
        self._views = Views()
        if self._tick is not None:
            self._tick.cancel()
        for task in self._aside:
            task.cancel()
        await asyncio.gather(*self._aside, return_exceptions=True)
        if lease is not None:
            with suppress(StoreUnavailable):
                await self._settle(lease.id)

    def _own_rest(self, counter: str) -> int:
        return 0 if self._lease is None else self._lease.own(counter)

    def _peeks(self, counters: Sequence[str]) -> bool:
        """Whether somebody has to look how much is taken; who is told so does."""
        oldest, now = self._views.oldest(counters), uptime()
        if oldest > now - BELIEVED or (oldest > 0 and self._peeking > now - BELIEVED):
            return False
        self._peeking = now
        return True

    def _peeked(
        self, counters: Sequence[str], counts: Sequence[bytes | None], sent: float, asked: int
    ) -> None:
        """Notes what the home said, unless it was asked for more meanwhile."""
        for counter, count in zip(counters, counts, strict=True):
            if asked == self._home_calls or self._views.taken(counter, 0) is None:
                self._views.note(counter, self._whole(counter, count), sent)

    def _whole(self, counter: str, count: bytes | int | None) -> int:
        """How much of a counter is taken. A damaged one counts as all: no cap is exceeded."""
        if count is None:
            return 0
        found = count if isinstance(count, int) else whole(count)
        if found is None:
            note(self.keys.budget(counter), "it is no whole number; nothing of it is given")
            return SPENT
        return found

    def _seen(self, counters: Sequence[str]) -> dict[str, int]:
        """Counter → how much of it is taken, but for what this process may still give."""
        return {one: self._views.taken(one, self._own_rest(one)) or 0 for one in counters}

    async def _portion(self, limits: Mapping[str, int], timeout: float) -> Lease | str:
        """The lease of which these units are set aside, or the first unit without room."""
        begun, amounts = uptime(), amounts_of(limits)
        while True:
            lease = self._lease
            if lease is not None:
                found = look_up(lease, self._views, limits, begun)
                if isinstance(found, str):
                    return found
                if not found:
                    lease.set_aside(amounts)
                    self._watch()
                    return lease
            await whatever_comes(self._ask_home(begun, limits, timeout))

    async def _ask_home(self, begun: float, limits: Mapping[str, int], timeout: float) -> None:
        """Asks for portions, one process' question at a time; none where it is answered by then."""
        async with self._home:
            fresh = None
            if self._lease is None:
                fresh = await self._opened(timeout)
            lease = self._lease or fresh
            assert lease is not None
            wanted = look_up(lease, self._views, limits, begun)
            if isinstance(wanted, str):
                wanted = {}  # somebody who asked meanwhile was told
            if wanted or fresh is not None:
                await self._call_home(lease, wanted, timeout, new=fresh is not None)
            if fresh is not None:
                self._lease = fresh

    async def _begin_lease(self, timeout: float) -> None:
        """A lease that was given nothing yet, where there is none."""
        await self._ask_home(0.0, {}, timeout)

    async def _opened(self, timeout: float) -> Lease:
        """A new lease, open in all partitions, which the home does not know yet."""
        lease = Lease()
        opening: list[Command] = [
            ("HSET", self.keys.leases(number), lease.id, 1) for number in range(PARTITIONS)
        ]
        await self.connection.pipeline(opening, timeout)
        return lease

    async def _call_home(
        self, lease: Lease, wanted: Mapping[str, Wanted], timeout: float, *, new: bool = False
    ) -> None:
        """Gives back the rests of these counters, and gets portions; renews the lease.

        Where the reply is lost, the lease is given up.
        """
        keys = [self.keys.budget_leases, self.keys.given(lease.id), *map(self.keys.budget, wanted)]
        arguments: list[Argument] = [lease.id, int(self.lease_lasts * 1000), "1" if new else ""]
        left = {one: lease.give_back(one) for one in wanted}
        for counter, what in wanted.items():
            most = lease.most(counter, what.least)
            arguments += [counter, left[counter], what.least, most, what.limit]
        began = uptime()
        self._home_calls += 1
        try:
            reply = await self._run("lease_budgets", keys, arguments, timeout=timeout)
        except StoreUnavailable as error:
            if error.uncertain:
                self._give_up(lease)
            else:
                lease.put_back(left)
            raise
        finally:
            self._home_calls += 1
            for counter, amount in left.items():
                lease.portion(counter).returning -= amount
        if reply is None:
            self._give_up(lease)
            return
        self._held_at = began
        _, over, *found = reply
        for counter, taken, given in zip(wanted, found[::2], found[1::2], strict=True):
            portion = lease.portion(counter)
            portion.rest += given
            if wanted[counter].least:
                portion.limit = wanted[counter].lowest
            if given:
                portion.used, portion.since = 0, began
            self._views.note(counter, SPENT if taken is None else taken, began)
        for other in over:
            if other.decode() != lease.id:
                self._do_aside(self._settle(other.decode()))

    def _give_up(self, lease: Lease) -> None:
        """Ends a lease of this process, of which not all is known."""
        if lease.ended:
            return
        lease.ended = True
        if self._lease is lease:
            self._lease = None
        self._do_aside(self._settle(lease.id))

    def _do_aside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(_quietly(work))
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    async def _settle(self, lease_id: str) -> None:
        """Ends a lease: what nobody took of it comes back."""
        if lease_id in self._settling:
            return
        self._settling.add(lease_id)
        try:
            await self._caller(write=True)(("ZADD", self.keys.budget_leases, "XX", 0, lease_id))
            every = range(PARTITIONS)
            close: list[Command] = [("HDEL", self.keys.leases(one), lease_id) for one in every]
            await self.connection.pipeline(close, self._timeout)
            found = await self._caller()(("HGETALL", self.keys.given(lease_id)))
            held = zip(found[::2], found[1::2], strict=True)
            given = {name.decode(errors="replace"): whole(amount) or 0 for name, amount in held}
            used = dict.fromkeys(given, 0)
            fields = await self._fields()
            noted = self._noted(fields, [lease_id])
            for counter, amount, _ in noted:
                used[counter] = used.get(counter, 0) + (amount or 0)
            for counter in {counter for counter, amount, _ in noted if amount is None}:
                used[counter] = given.get(counter, 0)  # damaged: as if all of it were taken
            keys = [self.keys.budget_leases, self.keys.given(lease_id)]
            arguments: list[Argument] = [lease_id]
            for counter, amount in used.items():
                keys.append(self.keys.budget(counter))
                arguments += [counter, amount]
            await self._run("settle_lease", keys, arguments)
            await self._forget_unknown(fields)
        finally:
            self._settling.discard(lease_id)

    async def _forget_unknown(self, fields: Sequence[_Field]) -> None:
        """Removes what partitions have of leases that the home does not know (any more).

        One that is being opened may be among them: its process finds it closed, and opens another.
        """
        known, gone = {*await self._leases()}, defaultdict(list)
        for number, field, _ in fields:
            if _parts(field)[0] not in known:
                gone[number].append(field)
        remove: list[Command] = [
            ("HDEL", self.keys.leases(number), *names) for number, names in gone.items()
        ]
        if remove:
            await self.connection.pipeline(remove, self._timeout)

    async def _leases(self) -> list[str]:
        """The leases that the home knows."""
        names = await self._caller()(("ZRANGE", self.keys.budget_leases, 0, -1))
        return sorted(name.decode(errors="replace") for name in names)

    async def _fields(self) -> list[_Field]:
        """What partitions have of leases."""
        look: list[Command] = [("HGETALL", self.keys.leases(one)) for one in range(PARTITIONS)]
        replies = await self.connection.pipeline(look, self._timeout)
        return [
            (number, field, value)
            for number, reply in enumerate(replies)
            for field, value in zip(reply[::2], reply[1::2], strict=True)
        ]

    def _noted(
        self, fields: Sequence[_Field], leases: Sequence[str]
    ) -> list[tuple[str, int | None, str]]:
        """Counter, amount and lease of all that was taken for some leases.

        The amount is None where it is damaged.
        """
        wanted, found = set(leases), []
        for number, field, amount in fields:
            lease_id, counter = _parts(field)
            if counter is not None and lease_id in wanted:
                if (count := whole(amount)) is None:
                    note(self.keys.leases(number), "what it says of a lease is no whole number")
                found.append((counter, count, lease_id))
        return found

    def _watch(self) -> None:
        """Sees to it that the lease is looked after while it is in use."""
        if self._tick is None:
            self._tick = asyncio.get_running_loop().call_later(_TICK, self._ticked)

    def _ticked(self) -> None:
        self._tick = None
        if self._lease is not None:
            self._do_aside(self._look_after(self._lease))

    async def _look_after(self, lease: Lease) -> None:
        """Gives back what lies idle, renews the lease, and replaces one that is old."""
        now = uptime()
        self._views.forget(now - RENEWED)
        if lease.began < now - RENEWED:
            self._give_up(lease)
            return
        async with self._home:
            if self._lease is not lease:
                return
            idle = {one: Wanted(0, 0) for one in lease.idle()}
            held = any(portion.rest for portion in lease.portions.values())
            if held:
                self._watch()
            if idle or (held and now - self._held_at > self.lease_lasts / 4):
                await self._call_home(lease, idle, self._timeout)


def _parts(field: bytes) -> tuple[str, str | None]:
    """The lease of which a field is, and the counter, where it says what was taken of that."""
    lease_id, slash, counter = field.decode(errors="replace").partition("/")
    return lease_id, counter if slash else None


async def whatever_comes(work: Coroutine[Any, Any, None]) -> None:
    """Waits for work that goes on where who waits is cancelled: its reply must be known."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.shield(task)


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    """Work that is done again later by itself, or by another process."""
    try:
        await work
    except StoreUnavailable as error:
        _log.debug("a lease of budgets was not looked after: %s", error)
