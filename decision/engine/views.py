"""What is stored of a customer, as callers read it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from decision.core import consent
from decision.core.clock import MILLISECOND, SECOND, from_micros
from decision.core.contact_policy import counts_until
from decision.core.delivery import DeliveryState, ListedDelivery
from decision.core.document import Contact, ContactKind, ContactState, Document
from decision.core.fields import Situation
from decision.core.policy import Policy
from decision.core.schema import RefusedAlias


class ContactView(msgspec.Struct, frozen=True, kw_only=True):
    """One contact, for reading. `state` is `reserved`, `confirmed`, `expired` or `released`."""

    message: str
    channel: str
    at: datetime
    state: str
    counts: bool
    expires_at: datetime | None = None


class EarlierContactsView(msgspec.Struct, frozen=True, kw_only=True):
    """How many contacts of a kind count that are too old to be kept one by one."""

    message: str
    channel: str
    purpose: str
    category: str
    count: int


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of one event type."""

    count: int
    last_at: datetime | None


class ConsentView(msgspec.Struct, frozen=True, kw_only=True):
    """One consent, since when and from where; `evidence`, where there is some, proves it."""

    state: str
    at: datetime | None
    source: str
    evidence: str | msgspec.UnsetType = msgspec.UNSET


class ConsentLine(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a consent; `state` null: it was taken back."""

    at: datetime
    purpose: str
    channel: str
    state: str | None
    source: str


class DeliveryView(msgspec.Struct, frozen=True, kw_only=True):
    """A message in the outbox. `due_at` is when somebody looks at it next, null where nobody does.

    `reason` says what came of the latest attempt.
    """

    id: str
    message: str
    channel: str
    at: datetime
    expires_at: datetime
    state: DeliveryState
    attempts: int
    reason: str | None
    due_at: datetime | None
    content: dict[str, Any]


class CustomerView(msgspec.Struct, frozen=True, kw_only=True):
    """Everything stored about one customer, with what is derived from it.

    `deliveries` are those not sent yet; left out where there are none, and where it was changed.
    """

    customer_id: str
    attributes: dict[str, Any]
    timezone: str | None
    aliases: dict[str, list[str]]
    reachable: list[str] | None
    unreachable: list[str]
    consents: dict[str, dict[str, ConsentView]]
    state: str | None
    events: dict[str, EventView]
    scores: dict[str, float]
    contacts: list[ContactView]
    earlier_contacts: list[EarlierContactsView]
    merged: list[str]
    consent_trail: list[ConsentLine]
    deliveries: list[DeliveryView] | msgspec.UnsetType = msgspec.UNSET


class UpdatedCustomer(CustomerView, frozen=True, kw_only=True, omit_defaults=True):
    """The customer as changed; `refused_aliases` belong to others, and were left there."""

    refused_aliases: list[RefusedAlias] = []


class ShownCustomer(CustomerView, frozen=True, kw_only=True, omit_defaults=True):
    """The customer as a caller may see it; `hidden` names the fields that are left empty."""

    hidden: list[str] = []


def without_values(view: CustomerView) -> ShownCustomer:
    """What says how somebody stands, without who it is: no attributes, aliases and other ids."""
    shown = msgspec.structs.asdict(view)
    empty: dict[str, Any] = {"attributes": {}, "aliases": {}, "merged": []}
    hidden = list(empty)
    if view.deliveries:
        silent = [msgspec.structs.replace(one, content={}) for one in view.deliveries]
        empty["deliveries"] = silent
        hidden.append("deliveries.content")
    if any(one.evidence for channels in view.consents.values() for one in channels.values()):
        empty["consents"] = {
            purpose: {
                channel: msgspec.structs.replace(one, evidence=msgspec.UNSET)
                for channel, one in channels.items()
            }
            for purpose, channels in view.consents.items()
        }
        hidden.append("consents.evidence")
    return ShownCustomer(**{**shown, **empty}, hidden=hidden)


def customer_view(document: Document, policy: Policy, now: int) -> CustomerView:
    """The customer at a time in microseconds; `state` is that of the policy in force."""
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
                    state=_in_words(stated.granted),
                    at=from_micros(stated.at) if stated.at else None,
                    source=stated.source,
                    evidence=stated.evidence or msgspec.UNSET,
                )
                for channel, stated in channels.items()
            }
            for purpose, channels in consent.effective(document.consents).items()
        },
        state=_state(document, policy, now),
        events={
            name: EventView(
                count=history.total,
                last_at=from_micros(history.last_at) if history.last_at else None,
            )
            for name, history in sorted(document.events.items())
        },
        scores={
            name: policy.scores.value(document, name, now) for name in policy.scores.definitions
        },
        contacts=[
            _contact_view(contact, document.kinds[contact.kind], now)
            for contact in document.contacts
        ],
        earlier_contacts=[
            EarlierContactsView(
                message=document.kinds[kind].message,
                channel=document.kinds[kind].channel,
                purpose=document.kinds[kind].purpose,
                category=document.kinds[kind].category,
                count=count,
            )
            for kind, count in document.earlier.items()
        ],
        merged=document.merged,
        consent_trail=[
            ConsentLine(
                at=from_micros(change.at),
                purpose=change.purpose,
                channel=change.channel,
                state=None if change.granted is None else _in_words(change.granted),
                source=change.source,
            )
            for change in document.consent_trail
        ],
    )


def delivery_view(row: ListedDelivery) -> DeliveryView:
    """A delivery, for reading."""
    one, status = row.delivery, row.status
    return DeliveryView(
        id=one.id,
        message=one.message,
        channel=one.channel,
        at=from_micros(one.at),
        expires_at=from_micros(one.expires),
        state=status.state,
        attempts=status.attempts,
        reason=status.reason or None,
        due_at=None if row.due is None else from_micros(row.due * MILLISECOND),
        content=one.content,
    )


def _in_words(granted: bool) -> str:
    return "granted" if granted else "denied"


def _contact_view(contact: Contact, kind: ContactKind, now: int) -> ContactView:
    expires = None
    if contact.state in (ContactState.CONFIRMED, ContactState.RELEASED):
        state = "confirmed" if contact.state == ContactState.CONFIRMED else "released"
    else:
        expires = contact.at + contact.mark * SECOND
        state = "reserved" if now < expires else "expired"
    return ContactView(
        message=kind.message,
        channel=kind.channel,
        at=from_micros(contact.at),
        state=state,
        counts=counts_until(contact) > now,
        expires_at=from_micros(expires) if expires is not None else None,
    )


def _state(document: Document, policy: Policy, now: int) -> str | None:
    situation = Situation(document, "", now, policy.zone_of(document), variants=policy.variant)
    state = policy.read(situation)[policy.state_slot]
    return state if isinstance(state, str) else None
