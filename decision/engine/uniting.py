"""Uniting the documents of two customers who are one person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from decision.core import attributes, consent, events, scores
from decision.core.document import Contact, Document
from decision.core.event_effects import later_state

_PARTS = (
    *("attributes", "attribute_runs", "aliases", "timezone", "consents", "consent_trail"),
    *("reachable", "unreachable", "contacts", "earlier", "signals", "events", "scores", "merged"),
    "journeys",
)


def is_empty(document: Document) -> bool:
    """Whether a marked document has nothing left to be taken over."""
    blank = Document(customer_id="")
    return all(getattr(document, name) == getattr(blank, name) for name in _PARTS)


def empty_out(document: Document) -> None:
    """Leaves of a merged customer only where it went."""
    blank = Document(customer_id="")
    for name in _PARTS:
        setattr(document, name, getattr(blank, name))


def unite(document: Document, other: Document, digests: Mapping[str, int] = {}) -> None:
    """Adds everything of another customer to the document.

    `digests` are those of the scores in force, by name: what counts by them is not lost.
    """
    if document.customer_id in other.merged:
        # The other had taken this one over before the two merges met: what is here is there too.
        empty_out(document)
    attributes.merge(document, other)
    document.timezone = document.timezone or other.timezone
    for kind, values in other.aliases.items():
        own = document.aliases.get(kind, [])
        document.aliases[kind] = [*own, *(value for value in values if value not in own)]
    document.consents = consent.merge(document.consents, other.consents)
    document.consent_trail = sorted(
        [*document.consent_trail, *other.consent_trail], key=lambda change: change.at
    )[-consent.TRAIL_LENGTH :]
    document.reachable = _united_reach(document, other)
    document.unreachable = sorted({*document.unreachable, *other.unreachable})
    document.contacts = _united_contacts(document.contacts, other.contacts)
    earlier = Counter(document.earlier)
    earlier.update(other.earlier)
    document.earlier = dict(earlier)
    # One that stands in both counts once; of one customer, two at the same time are two.
    signals = Counter(document.signals) | Counter(other.signals)
    document.signals = sorted(signals.elements(), key=lambda row: row.at)
    for name, history in other.events.items():
        if name in document.events:
            events.merge_histories(document.events[name], history)
        else:
            document.events[name] = history
    for name, kept in other.scores.items():
        here = document.scores.get(name)
        both = kept if here is None else scores.united(here, kept, digests.get(name))
        document.scores = {**document.scores, name: both}
    before = [old for old in other.merged if old != document.customer_id]
    document.merged = list(dict.fromkeys([*document.merged, other.customer_id, *before]))


def _united_reach(document: Document, other: Document) -> list[str] | None:
    """Where either can be reached; of a customer who is not known yet nothing is."""
    if not document.exists:
        return other.reachable
    if document.reachable is None or other.reachable is None:
        return None
    return list(dict.fromkeys([*document.reachable, *other.reachable]))


def _united_contacts(own: list[Contact], others: list[Contact]) -> list[Contact]:
    """Both histories in order of time; a contact that stands in both counts once."""
    found: dict[tuple[int, int, int], Contact] = {}
    for contact in (*own, *others):
        key = (contact.kind, contact.at, contact.tag)
        known = found.get(key)
        found[key] = contact if known is None else later_state(known, contact)
    return sorted(found.values(), key=lambda contact: contact.at)
