"""Merging two customers, who may live in different partitions, so that no step loses a contact.

Three writes: the other customer is marked as moving, and from then on nothing is decided on its
own document; the target takes over everything; the other is emptied and stays as a pointer.
Whoever reads a marked document that is not yet empty carries its merge on first, so that a crash
between two writes delays a merge and never tears it.

Merges that race in a circle mark each other. Then the smallest id of the circle gives up its
mark: whoever notices first decides the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from decision.core import attributes, consent, events, records
from decision.core.document import Contact, Document
from decision.core.errors import InputError, NotFound, StoreUnavailable
from decision.core.ports import Commit, Conflict, LogRecord, ReadResult, Section
from decision.core.recording import later_state

if TYPE_CHECKING:
    from decision.engine.context import Context

ALL_SECTIONS: tuple[Section, ...] = ("profile", "contacts", "events")
LONGEST_CHAIN = 64
"""How many merges in a row are followed from an old customer id to the one in use."""


async def merge(context: Context, customer_id: str, other_id: str) -> Document:
    """Merges the other customer into this one; doing it again changes nothing.

    Raises:
        NotFound: the other customer is not known.
        InputError: the two are the same, or the other was merged elsewhere.
    """
    other = (await context.store.read(other_id)).document
    if other.moved_to is not None:
        if not is_empty(other):
            await carry_on(context, other)
        end = await _end(context, other_id)
        into = await _end(context, customer_id)
        if end.document.customer_id != into.document.customer_id:
            raise InputError(
                "from",
                f"{other_id[:60]!r} was merged into {end.document.customer_id[:60]!r} before; "
                "merge that one",
            )
        return into.document
    into = await _end(context, customer_id)
    target = into.document.customer_id
    if customer_id == other_id:
        raise InputError("from", "a customer cannot be merged into itself")
    if target == other_id:
        return into.document  # this one was merged into the other before: they are one already
    if not other.exists:
        raise NotFound(f"customer {other_id[:60]!r} is not known")

    def mark(document: Document) -> bool:
        if document.moved_to is not None:
            return False
        document.moved_to = target
        return True

    marked = await _change(context, other_id, mark, ("contacts",))
    if not is_empty(marked):
        await carry_on(context, marked)
    return (await _end(context, customer_id)).document


async def carry_on(context: Context, moving: Document) -> None:
    """Completes the merge of a marked document, from wherever it was left."""
    assert moving.moved_to is not None
    for _ in range(LONGEST_CHAIN):
        end = await _end(context, moving.moved_to)
        target = end.document.customer_id
        if target == moving.customer_id:
            return

        def take_over(document: Document) -> bool:
            if document.moved_to is not None or moving.customer_id in document.merged:
                return False
            unite(document, moving)
            return True

        record = records.ChangeRecord(
            customer_id=target, at=context.clock(), change={"from": moving.customer_id}
        )
        taken = await _change(context, target, take_over, ALL_SECTIONS, record)
        if taken.moved_to is None:
            break
    else:
        raise StoreUnavailable(f"customer {moving.customer_id!r} is in too many merges at once")
    for kind, values in moving.aliases.items():
        for value in values:
            await context.store.delete_alias(kind, value, moving.customer_id)
            await context.store.set_alias(kind, value, target)

    def leave(document: Document) -> bool:
        if document.moved_to is None:
            return False
        empty_out(document)
        document.moved_to = target
        return True

    await _change(context, moving.customer_id, leave, ALL_SECTIONS)


async def _end(context: Context, customer_id: str) -> ReadResult:
    """The customer that an id leads to by now; opens a circle of marks where there is one."""
    path: list[str] = []
    while len(path) < LONGEST_CHAIN:
        found = await context.store.read(customer_id)
        onward = found.document.moved_to
        if onward is None:
            return found
        if customer_id in path:
            keeper = min(path[path.index(customer_id) :])
            circle = set(path)

            def unmark(document: Document, circle: set[str] = circle) -> bool:
                if document.moved_to not in circle:
                    return False
                document.moved_to = None
                return True

            await _change(context, keeper, unmark, ("contacts",))
            path = []
            continue
        path.append(customer_id)
        customer_id = onward
    raise StoreUnavailable(f"customer {customer_id!r} was merged too many times in a row")


async def _change(
    context: Context,
    customer_id: str,
    change: Callable[[Document], bool],
    sections: tuple[Section, ...],
    record: records.ChangeRecord | None = None,
) -> Document:
    """Changes one document, marks not followed; `change` says whether anything is to be written."""
    found = await context.store.read(customer_id)
    for _ in range(context.settings.attempts):
        document = found.document
        if not change(document):
            return document
        write_id = context.new_id(customer_id)
        log = [LogRecord(kind="merge", id=write_id, body=records.encode(record))] if record else []
        result = await context.store.commit(
            Commit(
                id=write_id,
                customer_id=customer_id,
                document=document,
                version=found.version,
                expect=sections,
                write=sections,
                records=log,
            )
        )
        if not isinstance(result, Conflict):
            return document
        found = result.latest
    raise StoreUnavailable(f"too many writes at once for customer {customer_id!r}; try again")


def is_empty(document: Document) -> bool:
    """Whether a marked document has nothing left to be taken over."""
    return not (
        document.attributes
        or document.aliases
        or document.consents
        or document.contacts
        or document.signals
        or document.events
        or document.unreachable
        or document.merged
        or document.timezone
        or document.reachable is not None
    )


def unite(document: Document, other: Document) -> None:
    """Adds everything of another customer to the document."""
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
    if other.reachable is not None:
        document.reachable = (
            other.reachable
            if document.reachable is None
            else [channel for channel in document.reachable if channel in other.reachable]
        )
    document.unreachable = sorted({*document.unreachable, *other.unreachable})
    document.contacts = _united_contacts(document.contacts, other.contacts)
    document.signals = sorted({*document.signals, *other.signals}, key=lambda row: row.at)
    for name, history in other.events.items():
        if name in document.events:
            events.merge_histories(document.events[name], history)
        else:
            document.events[name] = history
    earlier = [old for old in other.merged if old != document.customer_id]
    document.merged = list(dict.fromkeys([*document.merged, other.customer_id, *earlier]))


def _united_contacts(own: list[Contact], others: list[Contact]) -> list[Contact]:
    """Both histories in order of time; a contact that stands in both counts once."""
    found: dict[tuple[int, int, int], Contact] = {}
    for contact in (*own, *others):
        key = (contact.kind, contact.at, contact.tag)
        known = found.get(key)
        found[key] = contact if known is None else later_state(known, contact)
    return sorted(found.values(), key=lambda contact: contact.at)


def empty_out(document: Document) -> None:
    """Leaves of a merged customer only where it went."""
    blank = Document(customer_id=document.customer_id)
    for name in (
        "attributes",
        "attribute_runs",
        "aliases",
        "timezone",
        "consents",
        "consent_trail",
        "reachable",
        "unreachable",
        "contacts",
        "signals",
        "events",
        "merged",
    ):
        setattr(document, name, getattr(blank, name))
