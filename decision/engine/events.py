"""Events: checked, applied to the customer, logged; each once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import islice
from typing import Final, Literal

import msgspec

from decision.core import contacts_elsewhere, event_effects, event_references
from decision.core.clock import MILLISECOND, to_micros
from decision.core.coupons import in_no_pool
from decision.core.delivery import SettledDelivery
from decision.core.document import ConsentChange, ContactState, Document
from decision.core.errors import InputError
from decision.core.event_effects import (
    SETTLING,
    AmbiguousContact,
    Occurrence,
    contacts_of,
    kind_of,
)
from decision.core.identifiers import parse_decision_id, partition_of
from decision.core.machines import by_machine
from decision.core.ports import Commit, LogRecord, ReadResult, Section
from decision.core.schema import (
    Alias,
    Event,
    EventsAnswer,
    Identifier,
    Moment,
    Name,
    Notice,
    Properties,
    Rejected,
    TriggerEvent,
)
from decision.core.sending import OutcomeKind
from decision.engine.crediting import Crediting
from decision.engine.identity import (
    alias_id,
    clean_id,
    customer_id_of,
    named_by,
    resolve,
    unite_if_claimed,
)
from decision.engine.journeys.work import begin
from decision.engine.log_records import event_record, opt_out_records
from decision.engine.runtime import Runtime
from decision.engine.settling import check_redeemed, redeem, settle, takings_now
from decision.engine.takings import Takings
from decision.engine.transaction import Moved, commit_of, update


class PastEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An event of a customer's past."""

    type: Name
    at: Moment
    properties: Properties = {}
    id: Identifier | None = None
    message: Name | None = None
    value: float | None = None


def occurrence_of(event: Event | TriggerEvent | PastEvent, event_id: str, now: int) -> Occurrence:
    """The event with its time and id settled."""
    return Occurrence(
        id=event_id,
        type=event.type,
        at=now if event.at is None else to_micros(event.at),
        properties=event.properties,
        decision_id=getattr(event, "decision_id", None),
        message=getattr(event, "message", None),
        value=getattr(event, "value", None),
    )


_REPORTS: Final[dict[str, OutcomeKind]] = {
    "message.bounced": "bounced",
    "message.complained": "complained",
}
"""Reports by whose share in what was sent a gateway is paused."""

Result = Literal["accepted", "duplicate"] | Rejected
"""What became of one event."""

Unit = tuple[str, str, int]
"""(decision id, message, rank), see `settle`."""


class Events:
    """Records events."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    async def record(self, events: Sequence[Event], *, now: int | None = None) -> EventsAnswer:
        """Records events, those of one customer in the order given and in one write.

        An event that cannot be used is listed in `rejected`; the others are recorded.

        Raises:
            StoreUnavailable: nothing is known to be recorded from the first failing customer on;
                sending the same events again is safe where they have ids.
        """
        now = self.runtime.clock() if now is None else now
        results: dict[int, Result] = {}
        by_customer: dict[str, list[tuple[int, Event]]] = {}
        aliases: dict[str, list[Alias]] = {}
        for index, event in enumerate(events):
            try:
                named = named_by(self.runtime.settings, event.customer_id, event.alias)
                with self.runtime.answers.of(str(named)):
                    customer_id = await customer_id_of(self.runtime, named)
                self._check(event, now)
                await self._give_way(event)
                if isinstance(named, Alias):
                    aliases.setdefault(customer_id, []).append(named)
                by_customer.setdefault(customer_id, []).append((index, event))
            except InputError as error:
                results[index] = Rejected(index, str(error))
        self._tell(events, results)
        strangers: set[int] = set()
        for customer_id, own in by_customer.items():
            with self.runtime.answers.of(customer_id):
                known_as = aliases.get(customer_id, ())
                written = await self._record_for(
                    customer_id, own, now, aliases=known_as, strangers=strangers
                )
            self._tell(events, written)
            results |= written
        found = list(results.values())
        return EventsAnswer(
            accepted=found.count("accepted"),
            duplicates=found.count("duplicate"),
            rejected=[row for _, row in sorted(results.items()) if isinstance(row, Rejected)],
            notices=self._notices(events, results, strangers) or msgspec.UNSET,
        )

    def _notices(
        self, events: Sequence[Event], results: dict[int, Result], strangers: set[int]
    ) -> list[Notice]:
        """What accepted events do not do, and were probably meant to.

        `strangers` are those of customers of whom nothing was known.
        """
        policy, names = self.runtime.snapshot.policy, self.runtime.snapshot.event_names
        derivations = policy.derivations
        found = []
        for index, result in sorted(results.items()):
            event = events[index]
            if result != "accepted":
                continue
            if (meant := names.meant_by(event.type)) is not None:
                text = f'type: no rule reads "{event.type}"; did you mean "{meant}"?'
                found.append(Notice(index, text))
            found += [
                Notice(index, text)
                for text in (
                    *event_references.of_opt_out(event, policy, index in strangers),
                    *event_references.of_value(event),
                )
            ]
            if self.runtime.snapshot.pools and (why := in_no_pool(event.type, event.properties)):
                found.append(Notice(index, f"{why}: it is a code of no pool"))
            if event.type in derivations.for_others:
                nobody = derivations.counts_for_nobody(event.type, event.properties)
                found += [Notice(index, text) for text in islice(dict.fromkeys(nobody), 3)]
        return found

    async def record_of(
        self, customer_id: str, event: Event, settled: SettledDelivery | None = None
    ) -> None:
        """Records what came of a delivery; with `settled`, in the commit that takes it out.

        That is done also where the event is known already, or cannot be used.

        Raises:
            NotAsSaid: the delivery is not as `settled` says; nothing is recorded.
            Moved: with `settled`, the customer was merged into another one; nothing is recorded.
            StoreUnavailable: perhaps it is not recorded; recording it again is the same.
        """
        with self.runtime.answers.of(customer_id):
            own, now = [(0, event)], self.runtime.clock()
            self._tell([event], await self._record_for(customer_id, own, now, settled))

    def _tell(self, events: Sequence[Event], results: dict[int, Result]) -> None:
        observer = self.runtime.observer
        if observer is not None:
            for index, result in results.items():
                said = result if isinstance(result, str) else "rejected"
                observer.recorded(events[index].type, said)

    def _check(self, event: Event, now: int) -> None:
        if event.id is not None:
            clean_id("id", event.id)
        policy, told = self.runtime.snapshot.policy, event.decision_id is not None
        named = told or contacts_elsewhere.refers(event.properties)
        event_effects.check(event.type, event.properties, policy, contact=named)
        if not told:
            event_references.check_place(event.type, event.properties)
            contacts_elsewhere.kind_told(event.type, event.message, event.properties, policy)
        check_redeemed(self.runtime, event.type, event.properties)
        if event.at is not None:
            self.runtime.check_time("at", to_micros(event.at), now)
        if event.decision_id is not None:
            try:
                parse_decision_id(event.decision_id)
            except ValueError as error:
                raise InputError("decision_id", str(error)) from None

    async def _record_for(
        self,
        customer_id: str,
        own: list[tuple[int, Event]],
        now: int,
        settled: SettledDelivery | None = None,
        aliases: Sequence[Alias] = (),
        strangers: set[int] | None = None,
    ) -> dict[int, Result]:
        """Records the events of one customer, in one commit, which may take a delivery out.

        `aliases` are those by which events name the customer. Of one who was not known their
        indices are added to `strangers`.
        """
        ids = tuple(event.id for _, event in own if event.id is not None)
        # Between an alias being set and who had it alone being merged, what was recorded before is
        # known under the alias' own id.
        alone = {alias_id(alias): alias for alias in aliases}
        read = partial(resolve, self.runtime, event_ids=ids, also_under=alone)
        # Settled once: what an event counts as for others goes by its id.
        occurrences = {
            index: occurrence_of(event, event.id or self.runtime.new_id(customer_id), now)
            for index, event in own
        }
        takings = await self._takings(own)
        crediting = Crediting(self.runtime, now, own=True)
        change = partial(self._apply, own, occurrences, takings, set(), crediting, now)
        if settled is not None:
            change = partial(_with_delivery, customer_id, settled, change, self.runtime)
        created = False

        async def apply(found: ReadResult) -> Applied:
            nonlocal created
            created = not found.raw
            return await change(found)

        write = partial(update, self.runtime, read, customer_id, apply)
        results, document = await crediting.before(write)
        if created and strangers is not None:
            strangers.update(results)
        if created and document.customer_id in alone:
            await unite_if_claimed(self.runtime, alone[document.customer_id])
        # Also for events that are known already: the first time may have ended before this.
        for unit in _units(own, document, ContactState.RELEASED, takings):
            await settle(self.runtime, takings, *unit)
        for index, event in own:
            if results[index] == "accepted" and (kind := _REPORTS.get(event.type)) is not None:
                contact = kind_of(document, occurrences[index])
                channel = contact.channel if contact else event.properties.get("channel")
                if channel is not None and channel in self.runtime.snapshot.policy.channels:
                    await self.runtime.store.count_outcome(channel, kind)
        return results

    async def _give_way(self, event: Event) -> None:
        """Lets others go on after an event that may count as thousands."""
        if self.runtime.snapshot.policy.derivations.concerns(event.type):
            await asyncio.sleep(0)

    async def _takings(self, own: list[tuple[int, Event]]) -> Takings:
        """What the decisions that these events settle may have taken of."""
        if any(event.decision_id and event.type in SETTLING for _, event in own):
            return await takings_now(self.runtime)
        return Takings()

    async def _apply(
        self,
        own: list[tuple[int, Event]],
        occurrences: dict[int, Occurrence],
        takings: Takings,
        settled: set[Unit],
        crediting: Crediting,
        now: int,
        found: ReadResult,
    ) -> tuple[tuple[dict[int, Result], Document], Commit | None]:
        """Applies those events to the customer that are not known yet.

        Units that are `settled` are so already, by an attempt that was overtaken.
        """
        runtime, snapshot = self.runtime, self.runtime.snapshot
        document = found.document
        confirmed = _units(own, document, ContactState.CONFIRMED, takings)
        known = set(found.known_events)
        new_ids: list[str] = []
        log: list[LogRecord] = []
        results: dict[int, Result] = {}
        sections: tuple[Section, ...] = ()
        applied: list[Occurrence] = []
        journeys = begin(snapshot, document, now, known)
        for index, event in own:
            if event.id in known:
                results[index] = "duplicate"
                continue
            occurrence = occurrences[index]
            try:
                heard: list[ConsentChange] = []
                late = await self._is_late(occurrence, document)
                if not (late or by_machine(occurrence.type, occurrence.properties)):
                    if journeys is not None:
                        journeys.look()
                    await add_told_contact(runtime, document, occurrence)
                    heard = event_effects.apply(
                        document, occurrence, snapshot.policy, snapshot.measures, now
                    )
                    sections = ("contacts", "events")
                    applied.append(occurrence)
                    if journeys is not None:
                        journeys.applied(occurrence)
                    await self._give_way(event)
            except (AmbiguousContact, InputError) as error:
                results[index] = Rejected(index, str(error))
                continue
            if event.id is not None:
                known.add(event.id)
                new_ids.append(event.id)
            kind = kind_of(document, occurrence)
            log.append(event_record(occurrence, document.customer_id, now, kind))
            log += opt_out_records(occurrence, document.customer_id, now, heard)
            results[index] = "accepted"
        if not log:
            return (results, document), None
        moments = journeys.moments if journeys is not None else ()
        happened = [*applied, *moments]
        new_ids += await crediting.count_all(document, happened, found.known_events, journeys)
        await redeem(runtime, applied, now, crediting.redeemed)
        # Before the write, so that a reservation never ends after it was confirmed.
        newly = _units(own, document, ContactState.CONFIRMED, takings) - confirmed
        for unit in newly - settled:
            await settle(runtime, takings, *unit)
            settled.add(unit)
        write_id, lasts = runtime.new_id(document.customer_id), runtime.settings.event_ids_last
        commit = commit_of(found, write_id, sections, log, new_ids, lasts)
        if journeys is not None:
            journeys.write(commit, lasts)
        return (results, document), commit

    async def _is_late(self, occurrence: Occurrence, document: Document) -> bool:
        """Whether this is a delivery report about a customer who is not known (any more).

        It is logged, but it does not bring an erased customer back.

        Raises:
            InputError: the decision that it is about was never made for this customer, or did not
                give its message.
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
        contacts = contacts_of(document, decision_id) if document.exists else []
        if contacts:
            if contacts[0].at > self.runtime.clock() - self.runtime.settings.contacts_kept:
                names = [document.kinds[contact.kind].message for contact in contacts]
                event_references.check_message(occurrence, names)
            return False
        age = time.time_ns() // 1_000_000 - made
        recent = age * MILLISECOND < self.runtime.settings.records_kept
        settles = occurrence.type in SETTLING and not occurrence.properties.get("permanent")
        store = self.runtime.store
        if settles and recent and await store.find_record(decision_id) is None:
            begins = await store.log_begins(partition)
            if begins is None or begins <= made:  # else its record may have been trimmed
                raise InputError("decision_id", f"there is no decision {decision_id}")
        return not document.exists and settles


def _units(
    own: list[tuple[int, Event]], document: Document, state: ContactState, takings: Takings
) -> set[Unit]:
    """(decision id, message, rank) of the contacts in a state that may have taken of something.

    Whatever the policy in force says: another may have been when the decision was made.
    """
    found: set[Unit] = set()
    if not takings.budgets and not takings.pools:
        return found
    for _, event in own:
        if event.decision_id is None or event.type not in SETTLING:
            continue
        for contact in contacts_of(document, event.decision_id):
            if contact.state == state:
                name = document.kinds[contact.kind].message
                confirmed = state == ContactState.CONFIRMED
                found.add((event.decision_id, name, 2 * contact.mark + confirmed))
    return found


async def add_told_contact(runtime: Runtime, document: Document, occurrence: Occurrence) -> None:
    """Adds the contact of another tool that an event tells of, before the event is applied to it.

    Raises:
        AmbiguousContact: see `find_contact`; the document is unchanged.
        InputError: the policy has changed, and the event tells of no contact any more.
    """
    policy = runtime.snapshot.policy
    told = contacts_elsewhere.told_by(occurrence, policy)
    if told is not None:
        kept = contacts_elsewhere.kept_kind(told, policy, len(document.kinds))
        [number] = await runtime.store.register_kinds([kept])
        contacts_elsewhere.add(document, occurrence, number)


Applied = tuple[tuple[dict[int, Result], Document], Commit | None]


async def _with_delivery(
    customer_id: str,
    settled: SettledDelivery,
    change: Callable[[ReadResult], Awaitable[Applied]],
    runtime: Runtime,
    found: ReadResult,
) -> Applied:
    """The change, with a commit that takes a delivery of this very customer id out.

    Raises:
        Moved: the id leads to another customer by now.
    """
    if found.document.customer_id != customer_id:
        raise Moved
    results, commit = await change(found)
    commit = commit or commit_of(found, runtime.new_id(customer_id), ())
    commit.settled = [settled]
    return results, commit
