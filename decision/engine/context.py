"""What all parts of the engine share: the store, the clock, the snapshot in force, settings."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Protocol

import msgspec

from decision.core.clock import DAY, HOUR, MINUTE, format_duration, from_micros
from decision.core.decide import Verdict
from decision.core.document import Document
from decision.core.errors import InputError, NotReady, StoreUnavailable
from decision.core.identifiers import decision_id, partition_of
from decision.core.ports import ReadResult, Store
from decision.core.schema import Alias, Decision
from decision.engine import merging
from decision.engine.snapshot import Snapshot

LONGEST_ID = 256


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What may be set about the engine. Times are microseconds, timeouts seconds.

    `records_kept` is for how long the log surely still holds a decision: an event about a younger
    one that is not there is refused.

    `seed` makes exploration repeatable: the same seed, customer, placement and request id draw
    the same numbers; without a request id the event's id serves, or how many contacts the
    customer has had. It is for replays and tests; left out, every draw is fresh.
    """

    seed: str | None = None
    timeout: float = 1.0
    attempts: int = 16
    clock_skew: int = 5 * MINUTE
    event_ids_last: int = 7 * DAY
    contacts_kept: int = 30 * DAY
    records_kept: int = HOUR
    largest_document: int = 64 * 1024


class Observer(Protocol):
    """Is told of every decision and event; metrics listen here."""

    def decided(
        self, decision: Decision, verdict: Verdict | None, steps: dict[str, float], written: bool
    ) -> None:
        """A decision was made. `steps` is step → seconds."""
        ...

    def recorded(self, event_type: str, result: str) -> None:
        """An event was accepted, a duplicate, or rejected."""
        ...


def wall_clock() -> int:
    """The present in microseconds since the epoch."""
    return time.time_ns() // 1000


class Context:
    """The shared parts. `snapshot` is swapped whole."""

    def __init__(
        self, store: Store, settings: EngineSettings, clock: Callable[[], int] = wall_clock
    ) -> None:
        self.store = store
        self.settings = settings
        self.clock = clock
        self.observer: Observer | None = None
        self._snapshot: Snapshot | None = None

    @property
    def snapshot(self) -> Snapshot:
        """The policy and model in force.

        Raises:
            NotReady: nothing is in force yet.
        """
        if self._snapshot is None:
            raise NotReady("no policy is in force yet; the server is still starting")
        return self._snapshot

    @property
    def ready(self) -> bool:
        """Whether a policy is in force."""
        return self._snapshot is not None

    def use(self, snapshot: Snapshot) -> None:
        """Puts a snapshot in force, from the next decision on."""
        self._snapshot = snapshot

    def new_id(self, customer_id: str) -> str:
        """A fresh id in the customer's partition. It carries the machine's time."""
        randomness = int.from_bytes(os.urandom(9), "little")
        return decision_id(time.time_ns() // 1_000_000, partition_of(customer_id), randomness)

    async def customer_id(
        self, customer_id: str | None, alias: Alias | None, timeout: float | None = None
    ) -> str:
        """The id that a request means. An alias that leads nowhere is a customer of its own.

        Raises:
            InputError: neither or both were given, or the id cannot be one.
        """
        if (customer_id is None) == (alias is None):
            raise InputError("customer_id", "give exactly one of customer_id and alias")
        if customer_id is not None:
            return clean_id("customer_id", customer_id)
        assert alias is not None
        found = await self.store.resolve_alias(alias.type, alias.value, timeout=timeout)
        return found or clean_id("alias.value", alias_id(alias))

    async def read(
        self,
        customer_id: str,
        *,
        request_id: str | None = None,
        budgets: tuple[str, ...] = (),
        event_ids: tuple[str, ...] = (),
        timeout: float | None = None,
    ) -> ReadResult:
        """Reads a customer, following merges to the id in use now.

        Answers and event ids that were kept under ids merged since are found, too.
        """
        known: frozenset[str] = frozenset()
        asked: set[str] = set()
        for _ in range(merging.LONGEST_CHAIN):
            found = await self._read_twice(
                customer_id,
                request_id=request_id,
                budgets=budgets,
                event_ids=event_ids,
                timeout=timeout,
            )
            asked.add(customer_id)
            known |= found.known_events
            if found.document.moved_to is None or found.answer is not None:
                break
            if not merging.is_empty(found.document):
                await merging.carry_on(self, found.document)
            customer_id = found.document.moved_to
        else:
            raise StoreUnavailable(f"customer {customer_id!r} was merged in a circle")
        if found.answer is None and (request_id is not None or event_ids):
            for earlier in found.document.merged:
                if earlier not in asked:
                    kept = await self._read_twice(
                        earlier, request_id=request_id, event_ids=event_ids, timeout=timeout
                    )
                    known |= kept.known_events
                    found.answer = found.answer or kept.answer
        found.known_events = known
        return found

    async def _read_twice(self, customer_id: str, **what: Any) -> ReadResult:
        """One read, and once more where a connection was lost under it: reading harms nothing."""
        try:
            return await self.store.read(customer_id, **what)
        except StoreUnavailable:
            return await self.store.read(customer_id, **what)

    def moment(self, path: str, at: int | None, now: int) -> int:
        """A time given by a caller, or now.

        Raises:
            InputError: it lies in the future or before 1970.
        """
        if at is None:
            return now
        if at > now + self.settings.clock_skew:
            raise InputError(
                path,
                f"{_shown(at)} lies in the future; times may be at most "
                f"{format_duration(self.settings.clock_skew)} ahead of the server's clock",
            )
        if at < HOUR:
            raise InputError(path, f"{_shown(at)} lies before 1970-01-01T01:00Z")
        return at


def _shown(at: int) -> str:
    """The time in words; one that is in no year from 1 to 9999 of UTC cannot be printed."""
    try:
        return from_micros(at).isoformat()
    except OverflowError:
        return "the time"


def alias_id(alias: Alias) -> str:
    """The customer id of whoever is known by an alias alone."""
    plain = f"{alias.type}:{alias.value}"
    if len(plain) <= LONGEST_ID:
        return plain
    return f"{alias.type}:{blake2b(alias.value.encode(), digest_size=16).hexdigest()}"


def clean_id(path: str, value: str) -> str:
    """An identifier that can be stored and printed.

    Raises:
        InputError: it has control characters or cannot be written as UTF-8.
    """
    if not value.isprintable():
        raise InputError(path, "an identifier must not have control characters or line breaks")
    return value


def empty(customer_id: str) -> Document:
    """The document of a customer never seen before."""
    return Document(customer_id=customer_id)
