"""Customers' documents in Redis, with their answers and event ids: one batch read, one script."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from struct import Struct
from time import time
from typing import Any, Final

from decision.core.errors import StoreUnavailable
from decision.core.ports import Commit, Committed, Conflict, LogRecord, ReadResult, Removed
from decision.store import codec
from decision.store.commits import EncodedCommit, commit_digest, encode_commit
from decision.store.in_redis.aliases import RedisAliases
from decision.store.keys import event_digest
from decision.store.pipelined_connection import Argument, Command
from decision.store.register import UnknownNumber
from decision.store.scripts import SCRIPTS, Call

REPEATED_WITHIN: Final = 100.0
"""Seconds within which a commit may be tried again; `commit.lua` looks back a little longer."""

_EXPIRY: Final = Struct("<d")
_ERASE_ATTEMPTS: Final = 64
_log = logging.getLogger(__name__)


class RedisDocuments(RedisAliases):
    """Implements `DocumentStore`."""

    _clock_ahead: float | None = None
    """What Redis' clock is ahead of the event loop's, in milliseconds; at most that, or Redis' has
    been set back since."""

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
        keys = self.keys.customer(customer_id)
        if request_id is None and not event_ids and not budgets:
            raw = await self.connection.call(("GET", keys.document), timeout)
            return await self._decoded(customer_id, raw, timeout)
        commands: list[Command] = [("GET", keys.document)]
        if request_id is not None:
            commands.append(("HGET", keys.answers, request_id))
        if event_ids:
            commands.append(("ZMSCORE", keys.events, *map(event_digest, event_ids)))
        if budgets:
            counters = map(self.keys.budget, budgets)
            commands.append(("MGET", *counters, self.keys.budget_first_end))
        raw, *replies = await self.connection.pipeline(commands, timeout)
        result = await self._decoded(customer_id, raw, timeout)
        if budgets:
            *spent, end = replies.pop()
            result.budgets = dict(zip(budgets, (int(count or 0) for count in spent), strict=True))
            result.budgets_end = None if end is None else int(end)
        now = time() * 1000
        if event_ids:
            scores = zip(event_ids, replies.pop(), strict=True)
            result.known_events = frozenset(
                name for name, score in scores if score is not None and float(score) > now
            )
        if request_id is not None:
            result.answer = _live_answer(replies.pop(), now)
        return result

    async def _decoded(
        self, customer_id: str, raw: bytes | None, timeout: float | None = None
    ) -> ReadResult:
        raw, register = raw or b"", self._register
        try:
            document, version = codec.decode(customer_id, raw, register)
        except UnknownNumber:
            await self._refresh(timeout)
            document, version = codec.decode_or_refuse(customer_id, raw, register)
        return ReadResult(document=document, version=version, raw=raw)

    async def commit(self, commit: Commit, *, timeout: float | None = None) -> Committed | Conflict:
        loop = asyncio.get_running_loop()
        timeout = min(self._timeout if timeout is None else timeout, REPEATED_WITHIN)
        reply = await self._send(commit, loop.time() + timeout)
        if reply == 1:
            return Committed()
        raw, answer, known = reply
        latest = await self._decoded(commit.customer_id, raw)
        latest.answer = answer
        latest.known_events = frozenset(commit.event_ids[place - 1] for place in known)
        return Conflict(latest=latest)

    async def _send(self, commit: Commit, deadline: float) -> Any:
        """The reply of `commit.lua`; tries again, and says so, where a connection was lost.

        A commit that comes to Redis after the deadline is refused there, because nobody waits for
        it any more. Where it is refused and the deadline has not passed, Redis' clock was set
        forward, or is ahead of ours: what it said is noted, and the commit sent again.
        """
        loop = asyncio.get_running_loop()
        keys = self.keys.customer(commit.customer_id)
        encoded: list[Argument] = []
        if self._clock_ahead is None:
            self._clock_ahead = (time() - loop.time()) * 1000
        lost, sent = False, commit.repeated
        while True:
            call = self._caller(deadline - loop.time(), write=True, through_outage=lost)
            try:
                encoded = encoded or (await self._encoded(commit, call)).arguments()
                until = int(deadline * 1000 + self._clock_ahead) + 1
                arguments = ["1" if sent else "0", until, *encoded]
                reply = await SCRIPTS["commit"].run(call, keys, arguments)
            except StoreUnavailable as error:
                lost = lost or error.uncertain
                sent = sent or (error.uncertain and bool(encoded))
                if not error.uncertain or loop.time() >= deadline:
                    error.uncertain = sent
                    raise
                continue
            if reply == 1 or not isinstance(reply, int):
                return reply
            if loop.time() >= deadline:
                raise StoreUnavailable("the write came to Redis after its deadline")
            self._clock_ahead = reply - loop.time() * 1000

    async def _encoded(self, commit: Commit, call: Call) -> EncodedCommit:
        names = self._register.names
        encoded = encode_commit(commit, self._register)
        while wanted := names.take_wanted():
            await self._guarded(self.register.add(call, names, wanted))
            encoded = encode_commit(commit, self._register)
        return encoded

    async def claim_answer(
        self,
        customer_id: str,
        request_id: str,
        decision_id: str,
        claim: str,
        *,
        timeout: float | None = None,
    ) -> bool:
        call = self._caller(timeout, write=True)
        keys = [self.keys.customer(customer_id).answers]
        arguments = _claim_arguments(request_id, decision_id, claim)
        return bool(await SCRIPTS["claim_answer"].run(call, keys, arguments))

    async def disclaim_answer(
        self, customer_id: str, request_id: str, decision_id: str, claim: str
    ) -> bool:
        call = self._caller(write=True)
        keys = [self.keys.customer(customer_id).answers]
        arguments = _claim_arguments(request_id, decision_id, claim)
        return bool(await SCRIPTS["disclaim_answer"].run(call, keys, arguments))

    async def erase(self, customer_id: str, record: LogRecord) -> Removed:
        keys = self.keys.customer(customer_id)
        logged = (record.kind, record.id, record.body, commit_digest(record.id))
        call = self._caller(write=True)
        for _ in range(_ERASE_ATTEMPTS):
            version, aliases = -1, 0
            try:
                found = await self.read(customer_id)
            except codec.UnreadableDocument:
                _log.warning("erasing a customer with an unreadable document")
                aliases = await self._delete_aliases_to(customer_id)
            else:
                version = found.version.profile
                for kind, values in found.document.aliases.items():
                    aliases += len(values)
                    for value in values:
                        await self.delete_alias(kind, value, customer_id)
            reply = await SCRIPTS["erase"].run(call, keys, [version, *logged])
            if reply != -1:
                documents, answers, event_ids = reply
                return Removed(documents, aliases, answers, event_ids)
        raise StoreUnavailable(
            f"customer {customer_id!r} changed {_ERASE_ATTEMPTS} times "
            "while being erased; try again"
        )


def _claim_arguments(request_id: str, decision_id: str, claim: str) -> list[Argument]:
    return [request_id, decision_id, commit_digest(decision_id), commit_digest(claim)]


def _live_answer(kept: bytes | None, now: float) -> bytes | None:
    """A kept answer without its expiry, unless that has come. `now` is in milliseconds."""
    if kept is None or _EXPIRY.unpack_from(kept)[0] <= now:
        return None
    return kept[_EXPIRY.size :]
