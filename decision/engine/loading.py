"""Many customers at once: everything known of one customer in one write.

Loading the same row again changes nothing: attributes and consents come out the same, and an
event without an id gets one from its content. Event ids are remembered for
`EngineSettings.event_ids_last`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from decision.core import recording, records
from decision.core.clock import to_micros
from decision.core.document import Document
from decision.core.errors import InputError, StoreUnavailable
from decision.core.ports import Commit, Conflict, LogRecord, ReadResult, Section
from decision.core.recording import Occurrence
from decision.core.schema import (
    ConsentUpdate,
    CustomerUpdate,
    Identifier,
    Moment,
    Name,
    Properties,
)
from decision.engine.changes import (
    apply_consents,
    apply_update,
    check_consents,
    check_size,
    check_update,
    claimed_aliases,
)
from decision.engine.context import Context, clean_id
from decision.engine.events import event_record

SOURCE = "load"
_ID_BYTES = 12


class PastEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An event of a customer's past."""

    type: Name
    at: Moment
    properties: Properties = {}
    id: Identifier | None = None
    message: Name | None = None
    value: float | None = None


class CustomerRow(CustomerUpdate, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One customer with consents and past events; what is left out stays as it is."""

    customer_id: Identifier
    consents: ConsentUpdate = msgspec.field(default_factory=dict)
    events: list[PastEvent] = msgspec.field(default_factory=list)


class Loaded(msgspec.Struct, frozen=True):
    """What one row came to: events that are new, and events that were known already."""

    events: int = 0
    known_events: int = 0


class Loading:
    """Loads customers. Rows of one customer are written one after another, in the order given."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._locks: dict[str, _Lock] = {}

    def check(self, row: CustomerRow, *, now: int | None = None) -> None:
        """Refuses a row that cannot be stored; aliases of others show only when it is written.

        Raises:
            InputError: what is wrong with it.
        """
        policy = self.context.snapshot.policy
        now = self.context.clock() if now is None else now
        clean_id("customer_id", row.customer_id)
        check_update(row, policy)
        try:
            check_consents(row.consents, policy)
        except InputError as error:
            raise InputError(f"consents.{error.path}", error.detail) from None
        for index, event in enumerate(row.events):
            self.context.moment(f"events[{index}].at", to_micros(event.at), now)

    async def put(self, row: CustomerRow, *, now: int | None = None) -> Loaded:
        """Writes one row. `now` in microseconds is the present; left out, the clock is asked.

        Raises:
            InputError: the row cannot be stored; nothing of it was.
            StoreUnavailable: it may or may not be stored; loading it again is safe.
        """
        now = self.context.clock() if now is None else now
        self.check(row, now=now)
        lock = self._locks.setdefault(row.customer_id, _Lock())
        lock.waiting += 1
        try:
            async with lock.lock:
                return await self._put(row, now)
        finally:
            lock.waiting -= 1
            if not lock.waiting:
                del self._locks[row.customer_id]

    async def _put(self, row: CustomerRow, now: int) -> Loaded:
        context = self.context
        occurrences = _occurrences(row)
        ids = tuple(occurrence.id for occurrence in occurrences)
        async with claimed_aliases(context, row.customer_id, row):
            return await self._write(row, occurrences, ids, now)

    async def _write(
        self,
        row: CustomerRow,
        occurrences: Sequence[Occurrence],
        ids: tuple[str, ...],
        now: int,
    ) -> Loaded:
        context = self.context
        found = await context.read(row.customer_id, event_ids=ids)
        for _ in range(context.settings.attempts):
            attempt = _Attempt(context, row, occurrences, found, now)
            result = await context.store.commit(attempt.commit)
            if not isinstance(result, Conflict):
                for kind, value in attempt.removed:
                    await context.store.delete_alias(kind, value, attempt.document.customer_id)
                fresh = len(attempt.fresh)
                return Loaded(events=fresh, known_events=len(occurrences) - fresh)
            # Read again, and not from the conflict, for what is known of the events by now.
            found = await context.read(result.latest.document.customer_id, event_ids=ids)
        raise StoreUnavailable(
            f"too many writes at once for customer {row.customer_id!r}; load the file again"
        )


class _Lock:
    """A lock, and how many hold it or wait for it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0


class _Attempt:
    """A row applied to one state of the customer, as a commit."""

    def __init__(
        self,
        context: Context,
        row: CustomerRow,
        occurrences: Sequence[Occurrence],
        found: ReadResult,
        now: int,
    ) -> None:
        snapshot = context.snapshot
        self.document = document = found.document
        self.removed = apply_update(document, row, now)
        changes = _news(document, row.consents)
        log: list[LogRecord] = []
        if changes:
            apply_consents(document, changes, now, SOURCE)
            record = records.ChangeRecord(
                customer_id=document.customer_id,
                at=now,
                change={"consents": changes, "source": SOURCE},
            )
            log.append(
                LogRecord(
                    kind="consent",
                    id=context.new_id(document.customer_id),
                    body=records.encode(record),
                )
            )
        self.fresh = [one for one in occurrences if one.id not in found.known_events]
        for occurrence in self.fresh:
            recording.apply(document, occurrence, snapshot.policy, snapshot.measures, now)
            log.append(event_record(occurrence, document.customer_id, now))
        check_size(document, context)
        sections: tuple[Section, ...] = ("profile", "contacts")
        if self.fresh:
            sections = (*sections, "events")
        self.commit = Commit(
            id=context.new_id(document.customer_id),
            customer_id=document.customer_id,
            document=document,
            version=found.version,
            expect=sections,
            write=sections,
            records=log,
            event_ids=[occurrence.id for occurrence in self.fresh],
            event_ids_last=context.settings.event_ids_last if self.fresh else 0,
        )


def _news(document: Document, update: ConsentUpdate) -> ConsentUpdate:
    """The part of an update that says something else than what is stored."""
    changes: ConsentUpdate = {}
    for purpose, channels in update.items():
        stored = document.consents.get(purpose, {})
        for channel, state in channels.items():
            before = stored.get(channel)
            said = None if before is None else "granted" if before.granted else "denied"
            if state != said:
                changes.setdefault(purpose, {})[channel] = state
    return changes


def _occurrences(row: CustomerRow) -> list[Occurrence]:
    """The row's events, the earliest first, each with an id; an id given twice counts once."""
    found: dict[str, Occurrence] = {}
    alike: Counter[bytes] = Counter()
    for event in row.events:
        event_id = event.id
        if event_id is None:
            content = msgspec.json.encode(event, order="sorted")
            alike[content] += 1
            text = content + alike[content].to_bytes(4, "big")
            event_id = f"load-{blake2b(text, digest_size=_ID_BYTES).hexdigest()}"
        found.setdefault(
            event_id,
            Occurrence(
                id=event_id,
                type=event.type,
                at=to_micros(event.at),
                properties=event.properties,
                message=event.message,
                value=event.value,
            ),
        )
    return sorted(found.values(), key=lambda occurrence: occurrence.at)
