"""Events recorded in a customer's document: counters, contacts, consents, signals (not the log).

Applying the same events in another order gives the same contacts: what the customer is known to
have seen stays confirmed; between *sent* and *failed* the later time wins.
"""

from __future__ import annotations

import string
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product
from operator import attrgetter
from typing import Any, Final

import msgspec

from decision.core import consent, events
from decision.core.clock import SECOND
from decision.core.document import (
    ConsentChange,
    Contact,
    ContactKind,
    ContactState,
    Document,
    EventHistory,
    Signal,
)
from decision.core.errors import InputError, NextbestError, meant, unknown
from decision.core.events import Measure
from decision.core.identifiers import contact_tag, decision_tag, rank_of
from decision.core.journeys.definition import MOMENT
from decision.core.machines import MACHINE, SEEN, by_machine
from decision.core.policy import Policy

SENT: Final = ("message.sent", "message.delivered")
RELEASING: Final = ("message.failed", "message.not_shown", "message.bounced")
DENYING: Final = ("message.complained", "message.unsubscribed")
OPTING_OUT: Final = (*DENYING, "message.bounced")
CONFIRMING: Final = (*SENT, *SEEN)
SETTLING: Final = (*CONFIRMING, *RELEASING)
CONTACT_EVENTS: Final = (*SETTLING, *DENYING)
"""Every type of event about a contact; the tuples above are what each one does to it."""
_BOOLEANS: Final = ("permanent", MACHINE)
_WITH_EFFECT: Final = ("channel", "purpose", "contact", *_BOOLEANS)
"""Properties of these events that say what becomes of them."""

_SETTLED: Final = (ContactState.CONFIRMED, ContactState.RELEASED)
_COUNTING: Final = (ContactState.CONFIRMED, ContactState.RESERVED_THEN_COUNT)
GATEWAY: Final = "gateway"
"""The property by which a report names the gateway that it is about."""

_LONGEST_SOURCE: Final = 128

FINAL_MARK: Final = (1 << 31) - 1
MOST_SIGNALS: Final = 500
"""Beyond so many signals of a customer, those are forgotten that no pause depends on any more; then
the oldest."""

_BLANKS: Final = f"{string.whitespace}\u00a0\u3000\u200b\ufeff"


class Occurrence(msgspec.Struct, frozen=True, kw_only=True):
    """One event, checked: `at` in microseconds, `id` unique.

    `given_rank` is its place among events of the same time; left out, it follows from the id.
    """

    id: str
    type: str
    at: int
    properties: Mapping[str, Any] = {}
    decision_id: str | None = None
    message: str | None = None
    value: float | None = None
    given_rank: int | None = None

    @property
    def rank(self) -> int:
        """Its place among events of the same time, the same whenever it is applied."""
        return rank_of(self.id) if self.given_rank is None else self.given_rank

    @property
    def measured(self) -> Mapping[str, Any]:
        """The properties as measures see them: the event's value is one of them."""
        if self.value is None:
            return self.properties
        return {"value": self.value, **self.properties}


class AmbiguousContact(NextbestError, ValueError):
    """The decision had several messages and the event names none of them."""


def contacts_of(document: Document, decision_id: str) -> list[Contact]:
    """The contacts that a decision has left with the customer."""
    tag = decision_tag(decision_id)
    return [contact for contact in document.contacts if contact.tag == tag]


def kind_of(document: Document, occurrence: Occurrence) -> ContactKind | None:
    """The kind of the contact that an event is about; None where it is not known.

    Raises:
        AmbiguousContact: see `find_contact`.
    """
    place = find_contact(document, occurrence)
    return None if place is None else document.kinds[document.contacts[place].kind]


def find_contact(document: Document, occurrence: Occurrence) -> int | None:
    """The place of the contact that an event is about, or None.

    Raises:
        AmbiguousContact: the decision made several contacts and no `message` tells which.
    """
    tag = reference_tag(occurrence)
    if tag is None:
        return None
    message = occurrence.message if occurrence.decision_id else message_of(occurrence)
    found = [
        index
        for index, contact in enumerate(document.contacts)
        if contact.tag == tag and message in (None, document.kinds[contact.kind].message)
    ]
    if len(found) > 1:
        names = ", ".join(document.kinds[document.contacts[index].kind].message for index in found)
        about = f"decision {occurrence.decision_id}"
        if occurrence.decision_id is None:
            about = f"the contact {occurrence.properties['contact']}"
        raise AmbiguousContact(f"{about} had several messages ({names}); give `message`")
    return found[0] if found else None


def reference_tag(occurrence: Occurrence) -> int | None:
    """The tag of the contacts that an event is about: of its decision, else of the reference by
    which another tool knows its contact; None where it is about none."""
    if occurrence.decision_id is not None:
        return decision_tag(occurrence.decision_id)
    if occurrence.type not in CONTACT_EVENTS:
        return None
    named = occurrence.properties.get("contact")
    return contact_tag(named if isinstance(named, str) else occurrence.id)


def message_of(occurrence: Occurrence) -> str | None:
    """The message that an event without a decision names, beside its properties or in them."""
    named = occurrence.properties.get("message")
    return occurrence.message or (named if isinstance(named, str) else None)


def check(
    event_type: str,
    properties: dict[str, Any],
    policy: Policy,
    *,
    path: str = "properties",
    contact: bool = False,
) -> None:
    """Refuses an event about a contact that could not do what its properties say.

    `contact` is whether the event names the decision or the contact that it is about, which tells
    the channel when it is applied.

    Raises:
        InputError: a channel or purpose is not one of the policy's, a value has another type, or
            the channel of a permanent bounce is left out; its type is derived or cannot be, or it
            counts for too much.
    """
    if not _is_type(event_type):
        _check_type(event_type, f"{path.removesuffix('properties')}type")
    if policy.derivations.definitions:
        policy.derivations.check(event_type, properties, path)
    if event_type not in CONTACT_EVENTS:
        return
    denies = event_type in DENYING
    for kind, names in (("channel", policy.channels), ("purpose", policy.purposes)):
        named = properties.get(kind)
        if named is None or (denies and named == consent.ANY):
            continue
        if not isinstance(named, str):
            raise InputError(f"{path}.{kind}", f"must be the name of a {kind}, not {_shown(named)}")
        if named not in names:
            raise unknown(f"{path}.{kind}", kind, named, names)
    for name in _BOOLEANS:
        told = properties.get(name, False)
        if not isinstance(told, bool):
            raise InputError(f"{path}.{name}", f"must be true or false, not {_shown(told)}")
    for name in properties:
        meant_by = name.strip().casefold()
        if meant_by in _WITH_EFFECT and meant_by not in properties:
            raise InputError(f"{path}.{name}", f'has no effect; did you mean "{meant_by}"?')
    if event_type == "message.bounced" and properties.get("permanent") and not contact:
        _need_channel(path, properties.get("channel"))


@lru_cache(256)
def _is_type(event_type: str) -> bool:
    """Whether `_check_type` does not refuse it."""
    try:
        _check_type(event_type, "")
    except InputError:
        return False
    return True


def _check_type(event_type: str, path: str) -> None:
    """Refuses a type that only looks like one with an effect: by blanks, or as `message.…`.

    Raises:
        InputError: it is such a type.
    """
    name = event_type.strip(_BLANKS)
    if name != event_type:
        fix = f"send {_shown(name)}" if name else "say what happened, such as purchase"
        raise InputError(path, f"{_shown(event_type)} has blanks around it; {fix}")
    about = event_type.startswith("message.") or event_type.casefold() in CONTACT_EVENTS
    if about and event_type not in CONTACT_EVENTS:
        hint = meant(event_type, CONTACT_EVENTS) or f"; known are {', '.join(CONTACT_EVENTS)}"
        raise InputError(
            path,
            f"{_shown(event_type)} is no event about a message{hint}; names that begin with "
            "message. are kept for these",
        )
    if event_type.casefold().startswith(MOMENT):
        raise InputError(
            path,
            f"{_shown(event_type)}: names that begin with {MOMENT} are kept for the moments of the "
            "rule files, which happen by themselves; send the events that they are made of",
        )


def _shown(value: Any) -> str:
    return msgspec.json.encode(value).decode()[:60]


def _need_channel(path: str, channel: str | None) -> str:
    """The channel of a permanent bounce.

    Raises:
        InputError: nobody knows it.
    """
    if channel is None:
        raise InputError(
            f"{path}.channel",
            "is missing, and no contact is known that tells it: a permanent bounce needs the "
            "channel, or the decision_id of the contact",
        )
    return channel


def apply(
    document: Document,
    occurrence: Occurrence,
    policy: Policy,
    measures: dict[str, Measure],
    now: int,
    *,
    derive: bool = True,
) -> list[ConsentChange]:
    """Applies an event to the document; unless `derive` is false, with what is derived from it.

    One that a machine made changes nothing. Returns the consents that it has changed.

    Raises:
        AmbiguousContact: see `find_contact`; the document is unchanged.
        InputError: see `opt_out`; the document is unchanged.
    """
    place = find_contact(document, occurrence)
    kind = None if place is None else document.kinds[document.contacts[place].kind]
    if by_machine(occurrence.type, occurrence.properties):
        return []
    occurrence = logged(occurrence, kind)
    trail = document.consent_trail
    opt_out(document, occurrence, kind, policy, now)
    heard = [] if document.consent_trail is trail else consent.heard_since(document, trail)
    if place is not None:
        contact = document.contacts[place]
        document.contacts[place] = settle(contact, occurrence.type, occurrence.at)
    count(document, occurrence, policy, measures, now, kind)
    if derive and policy.derivations.concerns(occurrence.type):
        for one in policy.derivations.of(occurrence.type, occurrence.measured):
            if one.customer is None:
                # The value of the event is among these properties.
                derived = msgspec.structs.replace(
                    occurrence, type=one.type, properties=one.properties, value=None
                )
                count(document, derived, policy, measures, now, kind)
    return heard


def count(
    document: Document,
    occurrence: Occurrence,
    policy: Policy,
    measures: Mapping[str, Measure],
    now: int,
    kind: ContactKind | None = None,
) -> None:
    """Counts an event, sent or derived, in histories, scores and suppressions.

    `kind` is that of the contact that the event is about.
    """
    measure = measures.get(occurrence.type)
    if measure is not None:
        history = document.events.get(occurrence.type)
        if history is None:
            history = document.events[occurrence.type] = EventHistory(last={}, buckets=[], days=[])
        zone, measured = policy.zone_of(document), occurrence.measured
        if occurrence.type in CONTACT_EVENTS and (measure.last or measure.sums):
            measured = events.on_channel(measured, _channel(occurrence, kind))
        rank = occurrence.rank if measure.last else 0
        events.record(history, measure, occurrence.at, measured, now, zone, rank)
    if occurrence.type in policy.scores.event_types:
        at = min(occurrence.at, now)  # before it arrived it would add more than it does
        policy.scores.count(document, occurrence.type, at, occurrence.measured)
    if policy.contact_policy.counts_signals_of(occurrence.type):
        _add_signal(document, occurrence, kind, policy, now)


def logged(occurrence: Occurrence, kind: ContactKind | None) -> Occurrence:
    """An event as the log has it, so that live and rebuilt measures are of the same properties.

    An event about a contact, whose kind is `kind` where it is known, has that contact's channel as
    `contact_channel`; what the sender gave by this name is left out.
    """
    properties = occurrence.properties
    if kind is not None:
        properties = {**properties, events.CONTACT_CHANNEL: kind.channel}
    elif events.CONTACT_CHANNEL in properties and occurrence.type in CONTACT_EVENTS:
        properties = {key: one for key, one in properties.items() if key != events.CONTACT_CHANNEL}
    else:
        return occurrence
    return msgspec.structs.replace(occurrence, properties=properties)


def for_others(
    occurrence: Occurrence, policy: Policy, sender: str
) -> Iterator[tuple[str, Occurrence]]:
    """(customer, event) of what is derived from a sender's event for the customers that it names.

    The event is as `logged`. Each has an id of its own, the same whenever it is derived; nothing of
    it is about a contact.
    """
    for customer, one, _ in for_others_by_every_id(occurrence, policy, [sender]):
        yield customer, one


def for_others_by_every_id(
    occurrence: Occurrence, policy: Policy, senders: Sequence[str]
) -> Iterator[tuple[str, Occurrence, list[str]]]:
    """As `for_others`, derived once, with its id by each name of the sender."""
    if by_machine(occurrence.type, occurrence.properties):
        return
    if policy.derivations.concerns(occurrence.type):
        for one in policy.derivations.of(occurrence.type, occurrence.measured):
            if one.customer is not None:
                ids = [one.id(sender, occurrence.id) for sender in senders]
                derived = Occurrence(
                    id=ids[0], type=one.type, at=occurrence.at, properties=one.properties
                )
                yield one.customer, derived, ids


def settle(contact: Contact, event_type: str, at: int) -> Contact:
    """The contact after an event about it."""
    if event_type in SEEN:
        return contact._replace(state=ContactState.CONFIRMED, mark=FINAL_MARK)
    confirms = event_type in CONFIRMING
    if not confirms and event_type not in RELEASING:
        return contact
    mark = min(max(0, (at - contact.at) // SECOND), FINAL_MARK - 1)
    if contact.state in _SETTLED and (
        contact.mark > mark or (contact.mark == mark and not confirms)
    ):
        return contact
    state = ContactState.CONFIRMED if confirms else ContactState.RELEASED
    return contact._replace(state=state, mark=mark)


def withhold(contact: Contact) -> Contact:
    """The contact as nobody was given it: released, and only what shows it seen takes that back."""
    return contact._replace(state=ContactState.RELEASED, mark=FINAL_MARK)


def is_withheld(contact: Contact) -> bool:
    """Whether nobody was given the contact, see `withhold`."""
    return contact.state == ContactState.RELEASED and contact.mark == FINAL_MARK


def later_state(one: Contact, other: Contact) -> Contact:
    """The one of two copies of a contact that knows more: settled beats reserved, later earlier."""
    return max(one, other, key=lambda copy: (copy.state in _SETTLED, copy.mark))


def _channel(occurrence: Occurrence, kind: ContactKind | None) -> str | None:
    """The contact's own channel, whatever the event says; else the one that it names."""
    return kind.channel if kind else occurrence.properties.get("channel")


def opt_out(
    document: Document, occurrence: Occurrence, kind: ContactKind | None, policy: Policy, now: int
) -> None:
    """Denies consent or marks a channel as unreachable, where that is what the event says.

    An opt-out that is older than what the customer has said since denies nothing.

    Raises:
        InputError: a permanent bounce of which nobody knows the channel.
    """
    if occurrence.type in DENYING:
        _deny(document, occurrence, kind, policy, now)
    elif occurrence.type in OPTING_OUT and occurrence.properties.get("permanent"):
        channel = _need_channel("properties", _channel(occurrence, kind))
        if channel not in document.unreachable:
            document.unreachable = [*document.unreachable, channel]


def _deny(
    document: Document, occurrence: Occurrence, kind: ContactKind | None, policy: Policy, now: int
) -> None:
    """Denies what the properties name, else the purpose of the contact, on the contact's channel.

    Where no contact is known, or its purpose needs no consent: every purpose that can be refused,
    and those that the policy gets later. A channel named beside a contact is denied as well.
    """
    named = occurrence.properties.get("purpose")
    refusable = [one.name for one in policy.purposes.values() if one.consent != "not_required"]
    if named is not None:
        purposes = {named}
    elif kind is not None and kind.purpose in refusable:
        purposes = {kind.purpose}
    else:
        purposes = {*refusable, consent.ANY}
    told = (occurrence.properties.get("channel"), kind and kind.channel)
    channels = {channel for channel in told if channel is not None}
    if not channels or consent.ANY in channels:
        channels = {consent.ANY}
    at, source = min(occurrence.at, now), opt_out_source(occurrence)
    for purpose, channel in sorted(product(purposes, channels)):
        said = consent.Statement(purpose, channel, False, at, source)
        if at >= now - now % SECOND:
            said = consent.as_of_now(document, said)
        consent.hear(document, said)


def opt_out_source(occurrence: Occurrence) -> str:
    """Where an opt-out comes from: the gateway that reports it, or what the event says of its
    source, else the type of the event."""
    for name in (GATEWAY, "source"):
        named = occurrence.properties.get(name)
        if isinstance(named, str) and 0 < len(named) <= _LONGEST_SOURCE:
            return named
    return occurrence.type


def _add_signal(
    document: Document, occurrence: Occurrence, kind: ContactKind | None, policy: Policy, now: int
) -> None:
    message = occurrence.message or (kind.message if kind else "")
    category = kind.category if kind else ""
    if kind is None and message in policy.messages:
        category = policy.messages[message].category
    signal = Signal(
        type=occurrence.type,
        at=min(occurrence.at, now),  # no pause lasts longer because a clock is ahead
        message=message,
        channel=_channel(occurrence, kind) or "",
        category=category,
    )
    kept = policy.contact_policy.signals_needed
    document.signals = sorted(
        (old for old in (*document.signals, signal) if old.at > now - max(kept(old.type), 1)),
        key=lambda old: old.at,
    )
    if len(document.signals) > MOST_SIGNALS:
        needed = policy.contact_policy.signals_that_pause(document.signals)
        document.signals = needed[-MOST_SIGNALS:]


_at: Final = attrgetter("at")


def prune_contacts(document: Document, oldest: int, now: int, *, count: bool) -> None:
    """Forgets contacts made at `oldest` or before.

    With `count`, and for a customer for whom that was done before, those that count are added to
    `Document.earlier`, and a reservation is kept as long as it is open: it may still be released.
    """
    if not document.contacts or document.contacts[0].at > oldest:
        return
    if not (count or document.earlier):
        first = bisect_right(document.contacts, oldest, key=_at)
        document.contacts = document.contacts[first:]
        return
    kept, earlier = [], Counter(document.earlier)
    for contact in document.contacts:
        if contact.at > oldest or _is_open(contact, now):
            kept.append(contact)
        elif contact.state in _COUNTING:
            earlier[contact.kind] += 1
    document.contacts, document.earlier = kept, dict(earlier)


def _is_open(contact: Contact, now: int) -> bool:
    return contact.state not in _SETTLED and contact.at + contact.mark * SECOND > now


def add_contact(document: Document, contact: Contact) -> None:
    """Adds a contact at its place in time."""
    contacts = document.contacts
    if not contacts or contacts[-1].at <= contact.at:  # as nearly always
        document.contacts = [*contacts, contact]
        return
    index = bisect_right(contacts, contact.at, key=_at)
    document.contacts = [*contacts[:index], contact, *contacts[index:]]
