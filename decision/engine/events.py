"""Events: checked, applied to the customer, logged; each once."""

from __future__ import annotations

from collections.abc import Sequence

from decision.core import recording
from decision.core.clock import to_micros
from decision.core.identifiers import parse_decision_id, partition_of
from decision.core.ports import Commit, Conflict, LogRecord, Section, StoreUnavailable
from decision.core.recording import AmbiguousContact, Occurrence
from decision.core.schema import Event, EventsAnswer, Rejected, TriggerEvent
from decision.engine import records
from decision.engine.context import Context
from decision.engine.errors import InputError


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
        accepted = duplicates = 0
        for customer_id, own in by_customer.items():
            added, known, refused = await self._record_for(customer_id, own, now)
            accepted += added
            duplicates += known
            rejected.extend(refused)
        self._tell(events, rejected)
        rejected.sort(key=lambda row: row.index)
        return EventsAnswer(accepted=accepted, duplicates=duplicates, rejected=rejected)

    def _tell(self, events: Sequence[Event], rejected: list[Rejected]) -> None:
        observer = self.context.observer
        if observer is not None:
            refused = {row.index for row in rejected}
            for index, event in enumerate(events):
                observer.recorded(event.type, "rejected" if index in refused else "accepted")

    def _check(self, event: Event, now: int) -> None:
        self.context.moment("at", None if event.at is None else to_micros(event.at), now)
        if event.decision_id is not None:
            try:
                parse_decision_id(event.decision_id)
            except ValueError as error:
                raise InputError("decision_id", str(error)) from None

    async def _record_for(
        self, customer_id: str, own: list[tuple[int, Event]], now: int
    ) -> tuple[int, int, list[Rejected]]:
        """(accepted, duplicates, rejected) for the events of one customer, in one commit."""
        context = self.context
        snapshot = context.snapshot
        ids = tuple(event.id for _, event in own if event.id is not None)
        found = await context.read(customer_id, event_ids=ids)
        for _ in range(context.settings.attempts):
            document = found.document
            log: list[LogRecord] = []
            seen = set(found.known_events)
            fresh_ids: list[str] = []
            rejected: list[Rejected] = []
            duplicates = 0
            for index, event in own:
                if event.id is not None and event.id in seen:
                    duplicates += 1
                    continue
                event_id = event.id or context.new_id(customer_id)
                occurrence = occurrence_of(event, event_id, now)
                try:
                    self._check_decision(occurrence, document.customer_id, bool(document.merged))
                    recording.apply(document, occurrence, snapshot.policy, snapshot.measures, now)
                except (AmbiguousContact, InputError) as error:
                    rejected.append(Rejected(index, str(error)))
                    continue
                if event.id is not None:
                    seen.add(event.id)
                    fresh_ids.append(event.id)
                log.append(event_record(occurrence, document.customer_id, now))
            if not log:
                return 0, duplicates, rejected
            sections: tuple[Section, ...] = ("contacts", "events")
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

    @staticmethod
    def _check_decision(occurrence: Occurrence, customer_id: str, merged: bool) -> None:
        """Refuses an event about a decision that cannot be this customer's."""
        if occurrence.decision_id is None or merged:
            return
        _, partition, _ = parse_decision_id(occurrence.decision_id)
        if partition != partition_of(customer_id):
            raise InputError(
                "decision_id",
                f"{occurrence.decision_id} is not a decision for customer {customer_id[:60]!r}",
            )


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
