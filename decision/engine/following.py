"""Decisions whose answer did not reach their caller, followed to their end aside.

A commit whose reply is late or lost may have happened, or may still happen. The caller has been
given another answer by then, or none. So, as soon as the store answers again:

- it is withdrawn (`withdrawing`), unless the kept answer was given to another caller meanwhile (see
  `DocumentStore.claim_answer`), or its message is being sent;
- the answer that was given instead is logged, unless the customer was erased since.

A read that is sent after a commit sees what came of it, because commands of a process go to Redis
in order, and what is left of a lost connection is ended there before the next one is used.

All of it may be repeated. If the process dies, a reservation stays until it ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import msgspec

from decision.core.document import Document
from decision.core.errors import StoreUnavailable
from decision.core.ports import (
    Commit,
    Conflict,
    LogRecord,
    ReadResult,
    UnlessErased,
    Version,
)
from decision.core.schema import Alias
from decision.engine.identity import resolve, unite_alone, unite_if_claimed
from decision.engine.runtime import Runtime
from decision.engine.withdrawing import UngivenDecision, withdraw
from decision.observability import named
from decision.store.pseudonyms import pseudonyms
from decision.store.shared_reading import SharedReading
from decision.store.uptime import uptime

MOST_AT_ONCE: Final = 24
"""Works done at a time. They share the event loop with decisions, of which a busy one makes about
as many at once; with far fewer, what waits would grow for as long as it is busy."""

AT_THE_END: Final = 256
"""Works done at a time once no more decisions are made."""

MOST_DECISIONS: Final = 50_000
"""Decisions followed at most; what more there are stay reserved until the reservation ends."""

MOST_BYTES: Final = 64 << 20
"""Bytes that records take while they wait, with what holds them: about 60,000 records."""

LONGEST: Final = 3600.0
"""Seconds for which something is tried."""

_OF_A_RECORD: Final = 800
_OF_AN_ALIAS: Final = 200
_FIRST_DELAY: Final = 0.02
_LONGEST_DELAY: Final = 1.0
_log = logging.getLogger(__name__)


class _Work(msgspec.Struct, frozen=True):
    """What is to be done aside, until a time of the loop.

    `size` is the bytes that the record `record_id` takes, 0 for a decision to follow.
    """

    run: Callable[[], Awaitable[str]]
    until: float
    size: int = 0
    record_id: str = ""


class _LateRecord(msgspec.Struct, gc=False):
    """A record that waits, in as few bytes as it takes: its commit is made when it is written.

    `version` is None where nothing is known of the customer, `given` of `uptime`.
    """

    record: LogRecord
    customer_id: str
    version: Version | None
    given: float
    repeated: bool = False

    def commit(self) -> Commit:
        """What writes it."""
        return Commit(
            id=self.record.id,
            customer_id=self.customer_id,
            document=Document(customer_id=self.customer_id),
            version=self.version or Version(),
            expect=() if self.version is None else ("profile",),
            records=[self.record],
            repeated=self.repeated,
        )


class Following:
    """Follows decisions, and logs answers that were given without the store; bounded in memory."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._works: deque[_Work] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._decisions = 0
        """How many decisions are followed."""
        self._bytes = 0
        """The bytes of the records that wait."""
        self._dropped = 0
        self._names = SharedReading(lambda: pseudonyms(runtime.store))
        runtime.unclaim = self.unclaim

    def unclaim(self, customer_id: str, aliases: Sequence[tuple[str, str]]) -> None:
        """Releases aliases that were claimed for a customer who was perhaps not written."""
        size = sum(len(kind) + len(value) + _OF_AN_ALIAS for kind, value in aliases)
        if self._bytes + size > MOST_BYTES:
            self._drop()
            return
        self._add(partial(self._unclaim, customer_id, aliases), size)

    def unite(self, alias: Alias) -> None:
        """Merges who was just created under an alias alone, where it is somebody's by now."""
        if self._bytes + _OF_AN_ALIAS <= MOST_BYTES:
            self._add(partial(self._unite, alias), _OF_AN_ALIAS)

    def withdraw(self, decision: UngivenDecision) -> None:
        """Sees to it that nothing stays reserved for a decision that nobody was given."""
        if self._decisions >= MOST_DECISIONS:
            self._drop()
            return
        self._add(partial(withdraw, self.runtime, decision))

    def log(self, record: LogRecord, customer_id: str, seen: ReadResult | None) -> None:
        """Logs an answer that was given without the store; `seen` is what was read, if anything."""
        size = len(record.body) + _OF_A_RECORD
        if self._bytes + size > MOST_BYTES:
            self._drop()
            return
        version = seen.version if seen is not None and seen.raw else None
        late = _LateRecord(record, customer_id, version, uptime())
        self.runtime.unlogged[record.id] = record
        self._add(partial(self._write, late), size, record.id)

    async def drain(self, timeout: float) -> None:
        """Waits until all is done, up to `timeout` seconds; then gives up what is left."""
        self._begin(AT_THE_END)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._works:
            _log.warning(
                "%d decisions without an answer, and records of answers given without the store, "
                "were left at the end: what they reserved stays until the reservations end",
                len(self._works),
                extra=named("followed_left", left=len(self._works)),
            )
            self._works.clear()

    def _add(self, run: Callable[[], Awaitable[str]], size: int = 0, record_id: str = "") -> None:
        loop = asyncio.get_running_loop()
        self._bytes += size
        self._decisions += not size
        self._works.append(_Work(run, loop.time() + LONGEST, size, record_id))
        self._begin(min(len(self._tasks) + 1, MOST_AT_ONCE))

    def _begin(self, at_once: int) -> None:
        """Sees to it that so many works are done at a time, or all that there are."""
        for _ in range(min(at_once - len(self._tasks), len(self._works))):
            task = asyncio.get_running_loop().create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _drop(self) -> None:
        self._tell("dropped")
        self._dropped += 1
        if self._dropped == 1:
            _log.error(
                "too much waits for the store: from now on answers given without it are not "
                "logged, or reservations without an answer stay until they end; more are counted "
                "in nextbest_followed_total",
                extra=named("followed_dropped"),
            )

    def _tell(self, result: str) -> None:
        if result and self.runtime.observer is not None:
            self.runtime.observer.followed(result)

    async def _work(self) -> None:
        delay, now = _FIRST_DELAY, asyncio.get_running_loop().time
        while self._works:
            work = self._works.popleft()
            try:
                result = await work.run()
            except asyncio.CancelledError:
                self._works.append(work)
                raise
            except StoreUnavailable:
                if now() < work.until:
                    self._works.append(work)
                    await asyncio.sleep(delay)
                    delay = min(2 * delay, _LONGEST_DELAY)
                    continue
                result = "too_late"
            self._tell(result)
            self._bytes -= work.size
            self._decisions -= not work.size
            self.runtime.unlogged.pop(work.record_id, None)
            delay = _FIRST_DELAY
        self._dropped = 0

    async def _unite(self, alias: Alias) -> str:
        await unite_if_claimed(self.runtime, alias)
        return ""

    async def _unclaim(self, customer_id: str, aliases: Sequence[tuple[str, str]]) -> str:
        store, released = self.runtime.store, []
        known = (await resolve(self.runtime, customer_id)).document.aliases
        for kind, value in aliases:
            if value not in known.get(kind, []):
                await store.delete_alias(kind, value, customer_id)
                released.append((kind, value))
        # Who wrote the customer meanwhile may have found the alias claimed already.
        known = (await resolve(self.runtime, customer_id)).document.aliases
        for kind, value in released:
            if value in known.get(kind, []):
                await store.set_alias(kind, value, customer_id)
                await unite_alone(self.runtime, customer_id, Alias(kind, value))
        return "released" if released else "not_written"

    async def _write(self, late: _LateRecord) -> str:
        store, commit = self.runtime.store, late.commit()
        pseudonym = (await self._names.since(late.given)).of(commit.customer_id)
        commit.unless_erased = UnlessErased(pseudonym, late.given)
        while True:
            if uptime() - late.given > LONGEST:
                return "too_late"  # this process stood still: erasures may be forgotten by now
            try:
                reply = await store.commit(commit)
            except StoreUnavailable as error:
                self._names.forget()  # what comes back may have another key
                late.version = commit.version if commit.expect else None
                late.repeated = late.repeated or error.uncertain
                raise
            if not isinstance(reply, Conflict):
                return "logged"
            if reply.erased or not reply.latest.raw:
                return "erased"
            commit.version = reply.latest.version
