"""Many customers at once: everything known of one customer in one write.

Loading the same row again changes nothing: attributes and consents stay the same, and an event
without an id gets one from its content. Event ids are remembered for
`EngineSettings.event_ids_last`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from hashlib import blake2b
from weakref import WeakValueDictionary

import msgspec

from decision.core import recording
from decision.core.clock import to_micros
from decision.core.document import Document
from decision.core.errors import InputError
from decision.core.ports import Commit, LogRecord, ReadResult, Section
from decision.core.recording import Occurrence
from decision.core.schema import ConsentUpdate, CustomerUpdate, Identifier
from decision.engine import changes, transaction
from decision.engine.events import PastEvent, occurrence_of
from decision.engine.identity import claimed_aliases, clean_id, resolve
from decision.engine.log_records import change_record, event_record
from decision.engine.runtime import Runtime

SOURCE = "load"
_ID_BYTES = 12


class CustomerRow(CustomerUpdate, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One customer with consents and past events; what is left out stays as it is."""

    customer_id: Identifier
    consents: ConsentUpdate = msgspec.field(default_factory=dict)
    events: list[PastEvent] = msgspec.field(default_factory=list)


class Loaded(msgspec.Struct, frozen=True):
    """The events of one row: how many are new, and how many were known already."""

    events: int = 0
    known_events: int = 0


class Loading:
    """Loads customers. Rows of one customer are written one after another, in the order given."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def check(self, row: CustomerRow, *, now: int | None = None) -> CustomerRow:
        """The row with its identifiers cleaned; refuses one that cannot be stored.

        Aliases of others show only when it is written.

        Raises:
            InputError: what is wrong with it.
        """
        policy = self.runtime.snapshot.policy
        now = self.runtime.clock() if now is None else now
        customer_id = clean_id("customer_id", row.customer_id)
        row = changes.checked(row, policy, self.runtime.settings)
        try:
            changes.check_consents(row.consents, policy)
        except InputError as error:
            raise InputError(f"consents.{error.path}", error.detail) from None
        for index, event in enumerate(row.events):
            self.runtime.check_time(f"events[{index}].at", to_micros(event.at), now)
            if event.id is not None:
                clean_id(f"events[{index}].id", event.id)
        return msgspec.structs.replace(row, customer_id=customer_id)

    async def put(self, row: CustomerRow, *, now: int | None = None) -> Loaded:
        """Writes one row. `now` in microseconds is the present; left out, the clock is asked.

        Raises:
            InputError: the row cannot be stored; nothing of it was.
            StoreUnavailable: it may or may not be stored; loading it again is safe.
        """
        now = self.runtime.clock() if now is None else now
        row = self.check(row, now=now)
        async with self._locks.setdefault(row.customer_id, asyncio.Lock()):
            return await self._put(row, now)

    async def _put(self, row: CustomerRow, now: int) -> Loaded:
        runtime, snapshot = self.runtime, self.runtime.snapshot
        occurrences = _occurrences(row)
        removed: list[tuple[str, str, str]] = []

        async def change(found: ReadResult) -> tuple[Loaded, Commit]:
            document, customer_id = found.document, found.document.customer_id
            aliases = changes.apply_update(document, row, now)
            removed[:] = [(kind, value, customer_id) for kind, value in aliases]
            log: list[LogRecord] = []
            consents = _changed_consents(document, row.consents)
            if consents:
                changes.apply_consents(document, consents, now, SOURCE)
                record_id = runtime.new_id(customer_id)
                said = {"consents": consents, "source": SOURCE}
                log.append(change_record("consent", record_id, customer_id, now, said))
            sections: tuple[Section, ...] = ("profile", "contacts")
            new = [one for one in occurrences if one.id not in found.known_events]
            if new:
                sections = (*sections, "events")
            for occurrence in new:
                recording.apply(document, occurrence, snapshot.policy, snapshot.measures, now)
                log.append(event_record(occurrence, customer_id, now))
            changes.check_size(document, runtime)
            write_id, new_ids = runtime.new_id(customer_id), [occurrence.id for occurrence in new]
            lasts = runtime.settings.event_ids_last if new else 0
            commit = transaction.commit_of(found, write_id, sections, log, new_ids, lasts)
            return Loaded(events=len(new), known_events=len(occurrences) - len(new)), commit

        ids = tuple(occurrence.id for occurrence in occurrences)
        read = partial(resolve, runtime, event_ids=ids)
        async with claimed_aliases(runtime, row.customer_id, row):
            loaded = await transaction.update(runtime, read, row.customer_id, change)
            for alias in removed:
                await runtime.store.delete_alias(*alias)
            return loaded


def _changed_consents(document: Document, update: ConsentUpdate) -> ConsentUpdate:
    """The part of an update that differs from what is stored."""
    changed: ConsentUpdate = {}
    for purpose, channels in update.items():
        stored = document.consents.get(purpose, {})
        for channel, state in channels.items():
            before = stored.get(channel)
            said = None if before is None else "granted" if before.granted else "denied"
            if state != said:
                changed.setdefault(purpose, {})[channel] = state
    return changed


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
        found.setdefault(event_id, occurrence_of(event, event_id, 0))  # its time is given
    return sorted(found.values(), key=lambda occurrence: occurrence.at)
