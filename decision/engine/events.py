"""Events: checked, applied to the customer, logged; each once."""

from __future__ import annotations

import time
from collections.abc import Sequence

from decision.core import recording, records
from decision.core.clock import MILLISECOND, to_micros
from decision.core.document import Document
from decision.core.errors import InputError, StoreUnavailable
from decision.core.identifiers import parse_decision_id, partition_of
from decision.core.ports import Commit, Conflict, LogRecord, Section
from decision.core.recording import SETTLING, AmbiguousContact, Occurrence, has_contact
from decision.core.schema import Event, EventsAnswer, Rejected, TriggerEvent
from decision.engine.context import Context


def occurrence_of(event: Event | TriggerEvent, event_id: str, now: int) -> Occurrence:
    """The event with its time and id settled."""
    about = event if isinstance(event, Event) else None
    return Occurrence(
        id=event_id,
        type=event.type,
        at=now if event.at is None else to_micros(event.at),
        properties=event.properties,
        decision_id=about.decision_id if about else None,
        message=about.message if about else None,
        value=about.value if about else None,
    )


class Events:
    """Records events."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def record(self, events: Sequence[Event], *, now: int | None = None) -> EventsAnswer:
        """Records events, those of one customer in the order given and in one write.

        An event that cannot be used is listed in `rejected`; the others are recorded.

        Raises:
            StoreUnavailable: nothing is known to be recorded from the first failing customer on;
                sending the same events again is safe where they have ids.
        """
        now = self.context.clock() if now is None else now
        rejected: list[Rejected] = []
        by_customer: dict[str, list[tuple[int, Event]]] = {}
        for index, event in enumerate(events):
            try:
                customer_id = await self.context.customer_id(event.customer_id, event.alias)
                self._check(event, now)
                by_customer.setdefault(customer_id, []).append((index, event))
            except InputError as error:
                rejected.append(Rejected(index, str(error)))
        accepted = 0
        duplicates: list[int] = []
        for customer_id, own in by_customer.items():
            added, known, refused = await self._record_for(customer_id, own, now)
            accepted += added
            duplicates.extend(known)
            rejected.extend(refused)
        self._tell(events, duplicates, rejected)
        rejected.sort(key=lambda row: row.index)
        return EventsAnswer(accepted=accepted, duplicates=len(duplicates), rejected=rejected)

    def _tell(
        self, events: Sequence[Event], duplicates: list[int], rejected: list[Rejected]
    ) -> None:
        observer = self.context.observer
        if observer is not None:
            results = dict.fromkeys(duplicates, "duplicate")
            results.update((row.index, "rejected") for row in rejected)
            for index, event in enumerate(events):
                observer.recorded(event.type, results.get(index, "accepted"))

    def _check(self, event: Event, now: int) -> None:
        self.context.moment("at", None if event.at is None else to_micros(event.at), now)
        if event.decision_id is not None:
            try:
                parse_decision_id(event.decision_id)
            except ValueError as error:
                raise InputError("decision_id", str(error)) from None

    async def _record_for(
        self, customer_id: str, own: list[tuple[int, Event]], now: int
    ) -> tuple[int, list[int], list[Rejected]]:
        """(how many accepted, which are duplicates, rejected) of one customer, in one commit."""
        context = self.context
        snapshot = context.snapshot
        ids = tuple(event.id for _, event in own if event.id is not None)
        found = await context.read(customer_id, event_ids=ids)
        known: set[str] = set()
        for _ in range(context.settings.attempts):
            document = found.document
            known |= found.known_events
            log: list[LogRecord] = []
            fresh_ids: list[str] = []
            rejected: list[Rejected] = []
            duplicates: list[int] = []
            changed = False
            for index, event in own:
                if event.id is not None and (event.id in known or event.id in fresh_ids):
                    duplicates.append(index)
                    continue
                event_id = event.id or context.new_id(customer_id)
                occurrence = occurrence_of(event, event_id, now)
                try:
                    if not await self._is_late(occurrence, document):
                        recording.apply(
                            document, occurrence, snapshot.policy, snapshot.measures, now
                        )
                        changed = True
                except (AmbiguousContact, InputError) as error:
                    rejected.append(Rejected(index, str(error)))
                    continue
                if event.id is not None:
                    fresh_ids.append(event.id)
                log.append(event_record(occurrence, document.customer_id, now))
            if not log:
                return 0, duplicates, rejected
            sections: tuple[Section, ...] = ("contacts", "events") if changed else ()
            result = await context.store.commit(
                Commit(
                    id=context.new_id(document.customer_id),
                    customer_id=document.customer_id,
                    document=document,
                    version=found.version,
                    expect=sections,
                    write=sections,
                    records=log,
                    event_ids=fresh_ids,
                    event_ids_last=context.settings.event_ids_last,
                )
            )
            if not isinstance(result, Conflict):
                return len(log), duplicates, rejected
            found = result.latest
            if found.document.moved_to is not None:
                found = await context.read(found.document.moved_to, event_ids=ids)
        raise StoreUnavailable(f"too many writes at once for customer {customer_id!r}; try again")

    async def _is_late(self, occurrence: Occurrence, document: Document) -> bool:
        """Whether the event is what is left of a customer who is not known (any more).

        Such a delivery report is logged, but it does not bring an erased customer back.

        Raises:
            InputError: the decision that it is about was never made for this customer.
        """
        decision_id = occurrence.decision_id
        if decision_id is None:
            return False
        made, partition, _ = parse_decision_id(decision_id)
        if partition != partition_of(document.customer_id) and not document.merged:
            raise InputError(
                "decision_id",
                f"{decision_id} is not a decision for customer {document.customer_id[:60]!r}",
            )
        if document.exists and has_contact(document, decision_id):
            return False
        age = time.time_ns() // 1_000_000 - made
        recent = age * MILLISECOND < self.context.settings.records_kept
        settles = occurrence.type in SETTLING and not occurrence.properties.get("permanent")
        if settles and recent and await self.context.store.find_record(decision_id) is None:
            raise InputError("decision_id", f"there is no decision {decision_id}")
        return not document.exists and settles


def event_record(occurrence: Occurrence, customer_id: str, now: int) -> LogRecord:
    """The log's record of an event received at `now`."""
    return LogRecord(
        kind="event",
        id=occurrence.id,
        body=records.encode(
            records.EventRecord(
                event_id=occurrence.id,
                customer_id=customer_id,
                type=occurrence.type,
                at=occurrence.at,
                received_at=now,
                properties=occurrence.properties,
                decision_id=occurrence.decision_id,
                message=occurrence.message,
                value=occurrence.value,
            )
        ),
    )
