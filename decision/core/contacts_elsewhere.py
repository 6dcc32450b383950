"""Contacts that other tools made, told by events: they count against caps like our own.

An event that names no decision, but a message, a channel and a purpose, makes such a contact or
settles it. Its *reference* is `properties.contact`; left out, it is the event's own id. By it later
events find the contact again, whenever they come and in whatever order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from decision.core.clock import SECOND
from decision.core.document import Contact, ContactKind, ContactState, Document
from decision.core.errors import InputError, meant
from decision.core.event_effects import (
    CONFIRMING,
    FINAL_MARK,
    SENT,
    SETTLING,
    Occurrence,
    add_contact,
    find_contact,
    message_of,
    reference_tag,
)
from decision.core.machines import by_machine
from decision.core.policy import Policy

KINDS_KEPT: Final = 16_384
"""Kinds of contacts from which on a message that the policy does not have is kept without its name,
category and tags: kinds are never forgotten."""

_LONGEST: Final = 128
_MOST_TAGS: Final = 50


def kind_told(
    event_type: str,
    message: str | None,
    properties: Mapping[str, Any],
    policy: Policy,
    path: str = "properties",
) -> ContactKind | None:
    """What contact an event without a decision tells of; None where it tells of none.

    A message of the policy brings its purpose, category and tags of now, where they are not given,
    and its channel, where it has one. Channel and purpose are those that `event_effects.check` has
    let pass.

    Raises:
        InputError: it cannot be a contact, since something is missing or of another type.
    """
    if event_type not in SETTLING or by_machine(event_type, properties):
        return None
    name = _text(properties, "message", path) if message is None else message
    channel, purpose = properties.get("channel"), properties.get("purpose")
    referred = _text(properties, "contact", path) is not None
    category, tags = _text(properties, "category", path), _tags(properties, path)
    known = policy.messages.get(name) if name is not None else None
    if known is not None:
        purpose = purpose or known.purpose
        if channel is None and len(known.channels) == 1:
            channel = known.channels[0]
    if channel is None or purpose is None:
        told = name is not None and (channel is not None or event_type in SENT)
        if event_type in CONFIRMING and told and not referred:
            raise _missing(path, name or "", "channel" if channel is None else "purpose", policy)
        return None
    if event_type not in CONFIRMING and not referred:
        return None  # nothing that comes later could be about it
    if known is not None:
        category = known.category if category is None else category
        tags = known.tags if tags is None else tags
    return ContactKind(name or "", channel, purpose, category or "", tuple(tags or ()))


def refers(properties: Mapping[str, Any]) -> bool:
    """Whether an event names a contact by its reference: only the customer's document tells which.

    >>> refers({"contact": "send-881", "permanent": True}), refers({"permanent": True})
    (True, False)
    """
    return isinstance(properties.get("contact"), str)


def kept_kind(kind: ContactKind, policy: Policy, kinds: int) -> ContactKind:
    """The kind as it is kept, where there are so many kinds already."""
    if kinds < KINDS_KEPT:
        return kind
    known = policy.messages.get(kind.message)
    if known is None:
        return ContactKind("", kind.channel, kind.purpose, "", ())
    return kind._replace(purpose=known.purpose, category=known.category, tags=tuple(known.tags))


def add(document: Document, occurrence: Occurrence, kind: int) -> None:
    """Adds the contact that an event tells of, still to be settled by it; `kind` is its number.

    One that is known stays, and is as early as the earliest event about it.

    Raises:
        AmbiguousContact: see `find_contact`; the document is unchanged.
    """
    place, tag = find_contact(document, occurrence), reference_tag(occurrence)
    if tag is None:
        return
    if place is None:
        state = ContactState.RESERVED_THEN_COUNT
        add_contact(document, Contact(kind=kind, at=occurrence.at, state=state, mark=0, tag=tag))
        return
    contact = document.contacts[place]
    if occurrence.at < contact.at:
        mark = contact.mark
        if mark != FINAL_MARK:
            mark = min(mark + (contact.at - occurrence.at) // SECOND, FINAL_MARK - 1)
        document.contacts = [*document.contacts[:place], *document.contacts[place + 1 :]]
        add_contact(document, contact._replace(at=occurrence.at, mark=mark))


def told_by(occurrence: Occurrence, policy: Policy) -> ContactKind | None:
    """The contact that an event tells of; None where it names a decision, or tells of none."""
    if occurrence.decision_id is not None or occurrence.type not in SETTLING:
        return None
    message = message_of(occurrence)
    return kind_told(occurrence.type, message, occurrence.properties, policy)


def _missing(path: str, name: str, what: str, policy: Policy) -> InputError:
    known = policy.messages.get(name)
    if known is not None:
        fix = f"the message {name} has several channels ({', '.join(known.channels)}); say which"
    else:
        fix = (
            "a contact that another tool made needs channel and purpose, unless the policy has "
            f"the message {name[:60]}{meant(name, policy.messages)}"
        )
    return InputError(f"{path}.{what}", f"is missing: {fix}")


def _text(properties: Mapping[str, Any], key: str, path: str) -> str | None:
    found = properties.get(key)
    if found is None:
        return None
    if not isinstance(found, str) or not 0 < len(found) <= 2 * _LONGEST:
        raise InputError(f"{path}.{key}", f"must be a text of at most {2 * _LONGEST} characters")
    return found


def _tags(properties: Mapping[str, Any], path: str) -> Sequence[str] | None:
    found = properties.get("tags")
    if found is None:
        return None
    right = isinstance(found, list) and len(found) <= _MOST_TAGS
    if not right or not all(isinstance(one, str) and len(one) <= _LONGEST for one in found):
        raise InputError(f"{path}.tags", f"must be a list of at most {_MOST_TAGS} texts")
    return [*found]
