"""Customers' documents in Redis, with their answers and event ids: one batch read, one script."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from struct import Struct
from typing import Any, Final
from weakref import WeakKeyDictionary

from decision.core.clock import SECOND
from decision.core.coupons import counter_of, pool_of
from decision.core.errors import StoreUnavailable
from decision.core.identifiers import partition_of
from decision.core.ports import (
    Commit,
    Committed,
    Conflict,
    LogRecord,
    ReadResult,
    Removed,
    Version,
)
from decision.observability import named
from decision.store import codec
from decision.store.commits import EncodedCommit, commit_digest, encode_commit
from decision.store.connection import SharedConnection
from decision.store.damage import damaged, note
from decision.store.deliveries import member_of, pack
from decision.store.in_redis.aliases import RedisAliases
from decision.store.in_redis.budgets import RedisBudgets, Written, units_argument
from decision.store.in_redis.coupons import read_pool
from decision.store.in_redis.holds import RedisHolds
from decision.store.in_redis.outbox import RedisOutbox, outbox_arguments
from decision.store.in_redis.provider_ids import RedisProviderIds
from decision.store.in_redis.timers import RedisTimers
from decision.store.keys import ERASURE_LASTS, event_digest
from decision.store.pipelined_connection import Argument, Command, PipelinedConnection
from decision.store.register import UnknownNumber
from decision.store.scripts import SCRIPTS, Call
from decision.store.shared_reading import SharedReading
from decision.store.timers import tally_of_erasure
from decision.store.uptime import uptime

REPEATED_WITHIN: Final = 100.0
"""Seconds within which a commit may be tried again; `commit.lua` looks back a little longer."""

_EXPIRY: Final = Struct("<d")
_AFTER_POOLS: Final = chr(ord(counter_of("")[0]) + 1)
"""Names of coupon pools come before it, in the order of letters."""
_ERASE_ATTEMPTS: Final = 64
_TRIES: Final = 3
"""How often it is asked whether an erasure was later, which a slow reply only makes likely."""
_log = logging.getLogger(__name__)


class RedisDocuments(
    RedisAliases, RedisOutbox, RedisProviderIds, RedisTimers, RedisHolds, RedisBudgets
):
    """Implements `DocumentStore`."""

    async def read(
        self,
        customer_id: str,
        *,
        request_id: str | None = None,
        budgets: Sequence[str] = (),
        event_ids: Sequence[str] = (),
        timeout: float | None = None,
    ) -> ReadResult:
        timeout = self._timeout if timeout is None else timeout
        if request_id is None and not budgets and not event_ids:
            raw = await self.connection.call(("GET", self.keys.document(customer_id)), timeout)
            found = self._decoded_at_once(customer_id, raw)
            return found or await self._decoded(customer_id, raw, timeout)
        keys = self.keys.customer(customer_id)
        pools: list[str] = []
        if budgets and min(budgets) < _AFTER_POOLS:
            pools = [pool for name in budgets if (pool := pool_of(name)) is not None]
        counted = budgets if not pools else [name for name in budgets if pool_of(name) is None]
        peeks = bool(counted) and self._peeks(counted)
        if request_id is None and not event_ids and not pools and not peeks:
            raw = await self.connection.call(("GET", keys.document), timeout)
            return self._with_budgets(await self._decoded(customer_id, raw, timeout), counted)
        commands: list[Command] = [("GET", keys.document)]
        if request_id is not None:
            commands.append(("HGET", keys.answers, request_id))
        if event_ids:
            commands.append(("ZMSCORE", keys.events, *map(event_digest, event_ids)))
        commands += [("GET", f"{self.keys.pool(pool)}left") for pool in pools]
        sent, asked = uptime(), self._home_calls
        if peeks:
            commands.append(("MGET", *map(self.keys.budget, counted)))
        raw, *replies = await self.connection.pipeline(commands, timeout)
        result = await self._decoded(customer_id, raw, timeout)
        if peeks:
            self._peeked(counted, replies.pop(), sent, asked)
        self._with_budgets(result, counted)
        for pool in reversed(pools):
            read_pool(result, pool, replies.pop())
        now = self._time() * 1000
        if event_ids:
            scores = zip(event_ids, replies.pop(), strict=True)
            result.known_events = frozenset(
                name for name, score in scores if score is not None and float(score) > now
            )
        if request_id is not None:
            result.answer = _live_answer(keys.answers, replies.pop(), now)
        return result

    def _with_budgets(self, found: ReadResult, counters: Sequence[str]) -> ReadResult:
        """Adds what is known of budgets by now."""
        if counters:
            found.budgets = self._seen(counters)
            found.budgets_end = self._first_end
        return found

    def _decoded_at_once(self, customer_id: str, raw: bytes | None) -> ReadResult | None:
        """As `_decoded`; None where that has to look for what others wrote, or cannot read it."""
        raw = raw or b""
        try:
            document, version = codec.decode(customer_id, raw, self._register)
        except (UnknownNumber, codec.UnreadableDocument):
            return None
        return ReadResult(document=document, version=version, raw=raw)

    async def _decoded(
        self, customer_id: str, raw: bytes | None, timeout: float | None = None
    ) -> ReadResult:
        raw, register = raw or b"", self._register
        try:
            try:
                document, version = codec.decode(customer_id, raw, register)
            except UnknownNumber:
                await self._refresh(timeout)
                document, version = codec.decode_or_refuse(customer_id, raw, register)
        except codec.UnreadableDocument as error:
            key = self.keys.customer(customer_id).document
            note(key, error.reason or "it is of another format")
            raise
        return ReadResult(document=document, version=version, raw=raw)

    async def commit(self, commit: Commit, *, timeout: float | None = None) -> Committed | Conflict:
        now = asyncio.get_running_loop().time
        timeout = min(self._timeout if timeout is None else timeout, REPEATED_WITHIN)
        deadline, tries = now() + timeout, _TRIES
        while True:
            by: list[tuple[SharedConnection, str]] = []
            if commit.units is None:
                reply = await self._send(commit, deadline, now, by)
            else:
                send = partial(self._send, commit, deadline, now, by)
                token = commit.units.token or commit.id
                reply = await self._taking(token, commit.units, send, lambda: deadline - now())
            if isinstance(reply, Written):
                if commit.deliveries:
                    self._note_fresh(partition_of(commit.customer_id))
                if self._replicas:
                    return await self._confirmed(commit, deadline - now(), by)
                return Committed()
            raw, answer, known, *more = reply
            erased, places = bool(more and more[0]), more[1] if len(more) > 1 else ()
            tries -= 1
            if not (erased and tries):
                break
            self._clocks.clear()
        latest = await self._decoded(commit.customer_id, raw)
        latest.answer = answer
        latest.known_events = frozenset(commit.event_ids[place - 1] for place in known)
        unsettled = [commit.settled[place - 1].id for place in places]
        return Conflict(latest=latest, erased=erased, unsettled=unsettled)

    async def _confirmed(
        self, commit: Commit, left: float, by: list[tuple[SharedConnection, str]]
    ) -> Committed:
        """What is told of a commit that is written; waits for the replicas of who wrote it."""
        node, run_id = by[-1]
        key = self.keys.wait(partition_of(commit.customer_id))
        if await node.replica_wait(self._replicas).reached(key, run_id, left):
            return Committed()
        self.connection.counts.unconfirmed += 1
        return Committed(durable=False)

    async def _asked(
        self,
        by: list[tuple[SharedConnection, str]],
        timeout: float,
        through_outage: bool,
        command: Command,
    ) -> Any:
        """The reply to one command; notes who gave it."""
        reply, node, run_id = await self.connection.ask(command, timeout, True, through_outage)
        by.append((node, run_id))
        return reply

    async def _send(
        self,
        commit: Commit,
        deadline: float,
        now: Callable[[], float],
        by: list[tuple[SharedConnection, str]],
        lease: str = "",
    ) -> Any:
        """What came of a commit: whether it is `Written`, what is in the way, None where the lease
        of the units that it takes is over. Tries again, and says so, where a connection was lost.

        A commit that comes to Redis after the deadline is refused there, because nobody waits for
        it any more. Where it is refused and the deadline has not passed, Redis' clock was set
        forward, or is ahead of ours: what it said is noted, and the commit sent again.
        Who answered is added to `by`, where that is of use.
        """
        keys = list(self.keys.customer(commit.customer_id))
        tail: list[Argument] = []
        if (unless := commit.unless_erased) is not None:
            keys.append(self.keys.erased(commit.customer_id, unless.pseudonym))
        if commit.deliveries or commit.settled or commit.wake is not None or commit.tally:
            own, told = outbox_arguments(self.keys, commit)
            if unless is None:
                keys.append(keys[1])  # nothing is compared with it
                tail.append("")
            keys += own
            tail += told
        elif unless is None and not commit.request_id and not commit.event_ids:
            del keys[2:]  # neither answers nor event ids are read or written
        taking: list[Argument] = []
        if (units := commit.units) is not None:
            token = units.token or commit.id
            keys += self._keys(token)
            taking.append(units_argument(units, token, lease))
        encoded: EncodedCommit | None = None
        lost, sent, again = False, commit.repeated, Written.BEFORE
        unchanged = len(keys) == 2  # as far as is known; and nothing more is asked for
        while True:
            left = deadline - now()
            call = self._caller(left, write=True, through_outage=lost)
            if self._replicas:
                call = partial(self._asked, by, left, lost)
            try:
                since = [await self._clock_at(keys[0], unless.since, left)] if unless else []
                encoded = encoded or encode_commit(commit, self._register)
                while wanted := self._register.names.take_wanted():
                    await self._guarded(self.register.add(call, self._register.names, wanted))
                    encoded = encode_commit(commit, self._register)
                node = self.connection.node(keys[0])
                if node.clock_ahead is None:
                    node.clock_ahead = (self._time() - now()) * 1000
                until = deadline * 1000 + node.clock_ahead + 1
                if unchanged and not sent and (whole := encoded.as_read(until)) is not None:
                    reply = await SCRIPTS["commit_as_read"].run(call, keys, whole)
                else:
                    arguments = [*encoded.arguments(until, sent), *since, *tail, *taking]
                    reply = await SCRIPTS["commit"].run(call, keys, arguments)
            except StoreUnavailable as error:
                lost = lost or error.uncertain
                if error.uncertain and encoded is not None:
                    sent, again = True, Written.NOW
                if not error.uncertain or now() >= deadline:
                    error.uncertain = sent
                    raise
                continue
            if isinstance(reply, bytes):
                self._last_logged[keys[1]] = reply
                return Written.NOW
            if reply == 0:
                unchanged = False
                continue
            if reply in (1, 2):
                return Written.NOW if reply == 1 else again
            if not isinstance(reply, int):
                return reply
            if now() >= deadline:
                raise StoreUnavailable("the write came to Redis after its deadline")
            self.connection.node(keys[0]).clock_ahead = reply - now() * 1000

    @cached_property
    def _clocks(self) -> WeakKeyDictionary[SharedConnection, SharedReading[tuple[int, float]]]:
        return WeakKeyDictionary()

    async def _on_connect(self, connection: PipelinedConnection) -> None:
        self._clocks.clear()  # one may be of another server
        await super()._on_connect(connection)

    async def _clock_at(self, key: str, moment: float, left: float) -> int:
        """What the clock of the Redis that has a key showed at a moment of `uptime`, in
        microseconds; or earlier.

        Earlier by what the reply takes at most: so no erasure after that moment seems to be before
        it. Where the reading that works share fails, this one tries for as long as it may.
        """
        node = self.connection.node(key)
        clock = self._clocks.get(node)
        if clock is None:
            clock = SharedReading(partial(_read_clock, partial(node.call, timeout=self._timeout)))
            self._clocks[node] = clock
        try:
            shown, known = await clock.since(moment)
        except StoreUnavailable:
            shown, known = await _read_clock(partial(node.call, timeout=left, through_outage=True))
        return math.floor(shown - (known - moment) * SECOND)

    async def claim_answer(
        self,
        customer_id: str,
        request_id: str,
        decision_id: str,
        claim: str,
        *,
        timeout: float | None = None,
    ) -> bool:
        keys = [self.keys.customer(customer_id).answers]
        arguments = _claim_arguments(request_id, decision_id, claim)
        return bool(await self._run("claim_answer", keys, arguments, timeout=timeout))

    async def disclaim_answer(
        self, customer_id: str, request_id: str, decision_id: str, claim: str
    ) -> bool:
        keys = [self.keys.customer(customer_id).answers]
        arguments = _claim_arguments(request_id, decision_id, claim)
        return bool(await self._run("disclaim_answer", keys, arguments))

    async def erase(
        self, customer_id: str, record: LogRecord, pseudonym: str | None = None
    ) -> Removed:
        keys: list[str] = [*self.keys.customer(customer_id)]
        logged: list[Argument] = [record.kind, record.id, record.body, commit_digest(record.id)]
        noted = keys[1] if pseudonym is None else self.keys.erased(customer_id, pseudonym)
        lasts: Argument = "" if pseudonym is None else ERASURE_LASTS
        partition = partition_of(customer_id)
        outbox = [noted, self.keys.outbox(customer_id), self.keys.held(partition)]
        outbox.append(self.keys.timers(partition)[2])
        channels: dict[str, None] = {}
        for _ in range(_ERASE_ATTEMPTS):
            version, aliases, runs = Version(-1, -1, -1), 0, None
            try:
                found = await self.read(customer_id)
            except codec.UnreadableDocument:
                text = "erasing a customer with an unreadable document"
                _log.warning(text, extra=named("unreadable_document_erased"))
                aliases = await self.delete_aliases_to(customer_id)
            else:
                version, runs = found.version, found.document.journeys
                for kind, values in found.document.aliases.items():
                    aliases += len(values)
                    for value in values:
                        await self.delete_alias(kind, value, customer_id)
            due = [self.keys.due(partition, channel) for channel in channels]
            arguments = [version.profile, *logged, lasts, member_of(customer_id, "")]
            arguments += [version.events, pack(tally_of_erasure(runs)), *channels]
            reply = await self._run("erase", [*keys, *outbox, *due], arguments)
            if reply == -1:
                continue
            if isinstance(reply[0], bytes):
                channels.update((channel.decode(), None) for channel in reply)
            else:
                names = await self._forget_provider_ids(customer_id)
                await self._forget_timers(customer_id)
                await self._forget_parked(customer_id, runs)
                documents, answers, event_ids, deliveries = reply
                return Removed(documents, aliases, answers, event_ids, deliveries, names)
        raise StoreUnavailable(
            f"customer {customer_id!r} changed {_ERASE_ATTEMPTS} times "
            "while being erased; try again"
        )


async def _read_clock(call: Call) -> tuple[int, float]:
    """Redis' clock in microseconds, and `uptime` once it is known."""
    seconds, micros = await call(("TIME",))
    return int(seconds) * SECOND + int(micros), uptime()


def _claim_arguments(request_id: str, decision_id: str, claim: str) -> list[Argument]:
    return [request_id, decision_id, commit_digest(decision_id), commit_digest(claim)]


def _live_answer(key: str, kept: bytes | None, now: float) -> bytes | None:
    """A kept answer without its expiry, unless that has come. `now` is in milliseconds.

    Raises:
        DamagedValue: it is too short to be one. Nothing else is decided for its request id.
    """
    if kept is None:
        return None
    if len(kept) < _EXPIRY.size:
        raise damaged(key, "an answer in it is cut short")
    if _EXPIRY.unpack_from(kept)[0] <= now:
        return None
    return kept[_EXPIRY.size :]
