"""Budgets in Redis: units leased to this process, noted where the decision's customer is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import Enum
from functools import partial
from typing import Any, Final, TypeAlias

from decision.core.budgets import BudgetCount, BudgetFull, WantedUnits
from decision.core.clock import MILLISECOND
from decision.core.errors import StoreUnavailable
from decision.core.identifiers import PARTITIONS, partition_in
from decision.store.damage import whole
from decision.store.deliveries import pack
from decision.store.in_redis.leases import RedisLeases, whatever_comes
from decision.store.keys import TOKEN_LASTS
from decision.store.leases import Lease, amounts_of
from decision.store.pipelined_connection import Argument, Command
from decision.store.uptime import uptime

_AT_A_TIME: Final = 100
"""Reservations that one script ends: Redis does nothing else meanwhile."""

_TRIES: Final = 5
"""How often it is counted again because a lease was settled or begun meanwhile."""

_SWEPT: Final = 10.0
"""Seconds after which it is looked again when reservations end that other processes made."""

_Arguments: TypeAlias = Callable[[str], list[Argument]]


class Written(Enum):
    """A commit is written: by this very call, or by one before."""

    NOW = 1
    BEFORE = 2


class RedisBudgets(RedisLeases):
    """Implements `BudgetStore`; the protocol is in `store.leases`."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._first_ends: dict[int, int] = {}
        """Partition → when the first reservation ends there, or earlier."""
        self._swept = float("-inf")

    @property
    def _first_end(self) -> int | None:
        """Not before it is there anything to expire, as far as is known."""
        if self._swept < uptime() - _SWEPT:
            self._swept = uptime()
            self._do_aside(self._sweep(self._timeout))
        return min(self._first_ends.values(), default=None)

    async def prepare_budgets(self) -> None:
        await self._begin_lease(self._timeout)
        await self._sweep(self._timeout)

    async def _taking(
        self,
        token: str,
        units: WantedUnits,
        send: Callable[[str], Awaitable[Any]],
        left: Callable[[], float],
    ) -> Any:
        """What came of a commit that takes units: it is sent with the lease that they are of.

        Without room it is sent with none: it may be written already, or be a conflict.

        Raises:
            BudgetFull: it is neither.
        """
        amounts = amounts_of(units.limits)
        while True:
            try:
                lease = await self._portion(units.limits, left())
            except StoreUnavailable as error:
                error.uncertain = False  # of the commit, nothing was sent
                raise
            if isinstance(lease, str):
                if (reply := await send("")) is None:
                    raise BudgetFull(lease)
                return reply
            try:
                reply = await send(lease.id)
            except BaseException as error:
                if isinstance(error, StoreUnavailable) and not error.uncertain:
                    lease.put_back(amounts)
                else:
                    lease.doubtful[token] = amounts
                raise
            if reply is Written.NOW:
                self._note_ends(token, units.ends)
                return reply
            lease.put_back(amounts)
            if reply is not None:
                return reply
            self._give_up(lease)

    def _note_ends(self, token: str, ends: Mapping[str, int]) -> None:
        if ends:
            number, first = partition_in(token), min(ends.values())
            self._first_ends[number] = min(self._first_ends.get(number, first), first)

    async def return_budgets(self, names: Sequence[str], token: str) -> None:
        arguments = partial(_with_lease, [TOKEN_LASTS, token], names)
        known, *_ = await self._move_units("return_budgets", self._keys(token), arguments, 1)
        if self._lease is not None:
            doubtful = self._lease.doubtful.pop(token, {})
            if not known:  # it never took, and cannot any more
                self._lease.put_back(doubtful)

    async def settle_budgets(self, token: str, message: str, rank: int) -> None:
        arguments = partial(_with_lease, [token, message, rank], ())
        await self._move_units("settle_budgets", self._keys(token), arguments)

    async def expire_budgets(self, now: int, *, timeout: float | None = None) -> None:
        timeout = self._timeout if timeout is None else timeout
        if self._swept < uptime() - _SWEPT:
            await self._sweep(timeout)
        due = [number for number, end in self._first_ends.items() if end <= now]
        while due:
            look: list[Command] = [
                ("ZRANGEBYSCORE", self.keys.budget_ends(one), "-inf", now, "LIMIT", 0, _AT_A_TIME)
                for one in due
            ]
            members = await self.connection.pipeline(look, timeout)
            parts = zip(due, members, strict=True)
            await asyncio.gather(*(self._expire(one, found, now) for one, found in parts))
            due = [number for number in due if self._first_ends.get(number, now + 1) <= now]

    async def budget_counts(self, counters: Sequence[str]) -> dict[str, BudgetCount]:
        given: list[list[Any]] = []
        counts: list[bytes | None] = []
        noted: list[tuple[str, int | None, str]] = []
        leases = await self._leases()
        for _ in range(_TRIES):
            home: list[Command] = [("HGETALL", self.keys.given(one)) for one in leases]
            home.append(("MGET", *map(self.keys.budget, counters)))
            *given, counts = await self.connection.pipeline(home, self._timeout)
            noted = self._noted(await self._fields(), leases) if leases else []
            before, leases = leases, await self._leases()
            if leases == before:  # else one was settled meanwhile
                break
        held: dict[str, int] = {}
        for reply in given:
            for name, amount in zip(reply[::2], reply[1::2], strict=True):
                counter = name.decode(errors="replace")
                held[counter] = held.get(counter, 0) + (whole(amount) or 0)
        for counter, amount, _ in noted:
            held[counter] = held.get(counter, 0) - (amount or 0)
        found = {}
        for counter, count in zip(counters, counts, strict=True):
            taken = self._whole(counter, count)
            idle = min(held.get(counter, 0), taken) if count is not None else 0
            found[counter] = BudgetCount(taken - idle, max(idle, 0))
        return found

    def _keys(self, token: str) -> list[str]:
        number = partition_in(token)
        return [self.keys.token(token), self.keys.leases(number), self.keys.budget_ends(number)]

    async def _move_units(
        self, script: str, keys: Sequence[str], arguments: _Arguments, before: int = 0
    ) -> list[Any]:
        """Runs a script that gives units to this process, or makes it owe some.

        The reply: so much of it is `before` the changes.
        """
        while True:
            lease = self._lease
            reply = await self._run(script, keys, arguments("" if lease is None else lease.id))
            if reply is not None:
                if lease is not None:
                    self._apply(lease, reply[before:])
                return list(reply)
            await self._renew(lease)

    async def _renew(self, lease: Lease | None) -> None:
        """A new lease, where there is none, or this one turned out to be over."""
        if lease is not None:
            self._give_up(lease)
        await whatever_comes(self._begin_lease(self._timeout))

    def _apply(self, lease: Lease, changes: Sequence[Any]) -> None:
        """What came back is this process' own from now on."""
        pairs = zip(changes[::2], changes[1::2], strict=True)
        for counter, change in pairs:
            lease.put_back({counter.decode(): -change})
        if changes:
            self._watch()

    async def _sweep(self, timeout: float) -> None:
        """Learns when reservations end, whoever made them."""
        self._swept, before = uptime(), dict(self._first_ends)
        look: list[Command] = [
            ("ZRANGE", self.keys.budget_ends(one), 0, 0, "WITHSCORES") for one in range(PARTITIONS)
        ]
        try:
            replies = await self.connection.pipeline(look, timeout)
        except BaseException:
            self._swept = float("-inf")
            raise
        for number, reply in enumerate(replies):
            if self._first_ends.get(number) == before.get(number):  # else a decision came meanwhile
                self._note_end(number, reply[1] if reply else b"")

    def _note_end(self, number: int, end: bytes) -> None:
        found = whole(end) if end else None
        if found is None:
            self._first_ends.pop(number, None)
        else:
            self._first_ends[number] = found

    async def _expire(self, number: int, members: Sequence[bytes], now: int) -> None:
        """Ends these reservations of a partition, as far as they are still there."""
        texts = [member.decode(errors="replace") for member in members]
        tokens = [self.keys.token(text.partition(":")[0]) for text in texts]
        keys = [self.keys.leases(number), self.keys.budget_ends(number), *tokens]
        while True:
            lease = self._lease
            if lease is not None:
                arguments: list[Argument] = [now, lease.id, *members]
                reply = await self._run("expire_budgets", keys, arguments)
                if reply is not None:
                    self._note_end(number, reply[0])
                    self._apply(lease, reply[1:])
                    return
            await self._renew(lease)


def units_argument(units: WantedUnits, token: str, lease: str) -> bytes:
    """What `commit.lua` is told of units."""
    names = [part for name in units.limits for part in (name, str(units.ends.get(name, "")))]
    return pack([-(-units.lasts // MILLISECOND), token, lease, names, bool(units.token)])


def _with_lease(before: list[Argument], after: Iterable[Argument], lease: str) -> list[Argument]:
    return [*before, lease, *after]
