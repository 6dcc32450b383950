"""Customers: what is stored of them, changed, merged, erased."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from decision.core import calendar, records
from decision.core.clock import from_micros
from decision.core.contact_policy import counts_until
from decision.core.document import ContactState, Document
from decision.core.errors import NotFound, StoreUnavailable
from decision.core.fields import Situation
from decision.core.identifiers import partition_of
from decision.core.ports import Commit, Conflict, LogRecord, Section
from decision.core.schema import ConsentUpdate, CustomerUpdate
from decision.engine import merging
from decision.engine.changes import (
    apply_consents,
    apply_update,
    check_consents,
    check_size,
    check_update,
    claimed_aliases,
)
from decision.engine.context import Context, clean_id


class ContactView(msgspec.Struct, frozen=True, kw_only=True):
    """One contact, for reading. `state` is `reserved`, `confirmed`, `expired` or `released`."""

    message: str
    channel: str
    at: datetime
    state: str
    counts: bool
    expires_at: datetime | None = None


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of one event type."""

    count: int
    last_at: datetime | None


class ConsentView(msgspec.Struct, frozen=True, kw_only=True):
    """One consent, since when and from where."""

    state: str
    at: datetime | None
    source: str


class ConsentLine(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a consent; `state` null: it was taken back."""

    at: datetime
    purpose: str
    channel: str
    state: str | None
    source: str


class CustomerView(msgspec.Struct, frozen=True, kw_only=True):
    """Everything stored about one customer, with what is derived from it."""

    customer_id: str
    attributes: dict[str, Any]
    timezone: str | None
    aliases: dict[str, list[str]]
    reachable: list[str] | None
    unreachable: list[str]
    consents: dict[str, dict[str, ConsentView]]
    state: str | None
    events: dict[str, EventView]
    contacts: list[ContactView]
    merged: list[str]
    consent_trail: list[ConsentLine]


class Customers:
    """Reads and changes customers."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def get(self, customer_id: str) -> CustomerView:
        """Everything stored about a customer.

        Raises:
            NotFound: nothing is.
        """
        found = await self.context.read(clean_id("customer_id", customer_id))
        if not found.document.exists:
            raise NotFound(f"customer {customer_id[:60]!r} is not known")
        return self._view(found.document)

    async def update(self, customer_id: str, update: CustomerUpdate) -> CustomerView:
        """Merges attributes, aliases, timezone and reachable channels; a null deletes.

        Raises:
            InputError: a value cannot be stored; nothing was changed then.
        """
        clean_id("customer_id", customer_id)
        check_update(update, self.context.snapshot.policy)
        removed: list[tuple[str, str]] = []

        def change(document: Document) -> None:
            removed[:] = apply_update(document, update, self.context.clock())

        async with claimed_aliases(self.context, customer_id, update):
            document = await self._change(customer_id, change, ("profile", "contacts"))
        for kind, value in removed:
            await self.context.store.delete_alias(kind, value, document.customer_id)
        if update.aliases:
            document = (await self.context.read(customer_id)).document
        return self._view(document)

    async def set_consents(
        self, customer_id: str, update: ConsentUpdate, source: str = "api"
    ) -> CustomerView:
        """States consents; null forgets one. They hold from the very next decision on.

        Raises:
            InputError: a purpose or channel is not one of the policy's.
        """
        clean_id("customer_id", customer_id)
        check_consents(update, self.context.snapshot.policy)
        now = self.context.clock()

        def change(document: Document) -> None:
            apply_consents(document, update, now, source)

        record = records.ChangeRecord(
            customer_id=customer_id, at=now, change={"consents": update, "source": source}
        )
        return self._view(
            await self._change(customer_id, change, ("contacts",), ("consent", record))
        )

    async def erase(self, customer_id: str) -> list[str]:
        """Erases a customer with aliases, history and earlier ids.

        Returns the ids of which there was anything; none where nothing was known.
        """
        clean_id("customer_id", customer_id)
        now = self.context.clock()
        store = self.context.store
        document = (await self.context.read(customer_id)).document
        known = []
        for own_id in dict.fromkeys([document.customer_id, customer_id, *document.merged]):
            record = LogRecord(
                kind="erasure",
                id=self.context.new_id(own_id),
                body=records.encode(records.ChangeRecord(customer_id=own_id, at=now)),
            )
            erased = await store.erase(own_id, record)
            forgotten = await store.forget(partition_of(own_id), records.about(own_id))
            if erased or forgotten:
                known.append(own_id)
        return known

    async def merge(self, customer_id: str, other_id: str) -> CustomerView:
        """Merges another customer into this one; the other id then leads here.

        Contacts are united, the stricter consent wins, the later attribute wins.

        Raises:
            NotFound: the other customer is not known.
            InputError: the two are the same, or the other was merged elsewhere before.
        """
        clean_id("customer_id", customer_id)
        clean_id("from", other_id)
        return self._view(await merging.merge(self.context, customer_id, other_id))

    async def _change(
        self,
        customer_id: str,
        change: Callable[[Document], None],
        sections: tuple[Section, ...],
        record: tuple[Any, records.ChangeRecord] | None = None,
    ) -> Document:
        """Reads, changes and commits until nobody else wrote in between."""
        context = self.context
        found = await context.read(customer_id)
        for _ in range(context.settings.attempts):
            document = found.document
            change(document)
            check_size(document, context)
            write_id = context.new_id(document.customer_id)
            log = (
                [LogRecord(kind=record[0], id=write_id, body=records.encode(record[1]))]
                if record
                else []
            )
            result = await context.store.commit(
                Commit(
                    id=write_id,
                    customer_id=document.customer_id,
                    document=document,
                    version=found.version,
                    expect=sections,
                    write=sections,
                    records=log,
                )
            )
            if not isinstance(result, Conflict):
                document.exists = True
                return document
            found = result.latest
            if found.document.moved_to is not None:
                found = await context.read(customer_id)
        raise StoreUnavailable(f"too many writes at once for customer {customer_id!r}; try again")

    def _view(self, document: Document) -> CustomerView:
        now = self.context.clock()
        return CustomerView(
            customer_id=document.customer_id,
            attributes=document.attributes,
            timezone=document.timezone,
            aliases=document.aliases,
            reachable=document.reachable,
            unreachable=document.unreachable,
            consents={
                purpose: {
                    channel: ConsentView(
                        state=_said(stated.granted),
                        at=from_micros(stated.at) if stated.at else None,
                        source=stated.source,
                    )
                    for channel, stated in channels.items()
                }
                for purpose, channels in document.consents.items()
            },
            state=self._state(document, now),
            events={
                name: EventView(
                    count=history.total,
                    last_at=from_micros(history.last_at) if history.last_at else None,
                )
                for name, history in sorted(document.events.items())
            },
            contacts=_contacts(document, now),
            merged=document.merged,
            consent_trail=[
                ConsentLine(
                    at=from_micros(change.at),
                    purpose=change.purpose,
                    channel=change.channel,
                    state=None if change.granted is None else _said(change.granted),
                    source=change.source,
                )
                for change in document.consent_trail
            ],
        )

    def _state(self, document: Document, now: int) -> str | None:
        policy = self.context.snapshot.policy
        zone = calendar.zone(document.timezone) if document.timezone else policy.zone
        values = policy.fields.read(
            Situation(
                document,
                "",
                now,
                zone,
                variants=lambda name: policy.variant(name, document.customer_id),
            )
        )
        return next((state for state, test in policy.states if test(values)), None)


def _said(granted: bool) -> str:
    return "granted" if granted else "denied"


def _contacts(document: Document, now: int) -> list[ContactView]:
    found = []
    for contact in document.contacts:
        kind = document.kinds[contact.kind]
        reserved = contact.state in (
            ContactState.RESERVED_THEN_COUNT,
            ContactState.RESERVED_THEN_RELEASE,
        )
        expires = contact.at + contact.mark * 1_000_000
        if reserved:
            state = "reserved" if now < expires else "expired"
        else:
            state = "confirmed" if contact.state == ContactState.CONFIRMED else "released"
        found.append(
            ContactView(
                message=kind.message,
                channel=kind.channel,
                at=from_micros(contact.at),
                state=state,
                counts=counts_until(contact) > now,
                expires_at=from_micros(expires) if reserved else None,
            )
        )
    return found
