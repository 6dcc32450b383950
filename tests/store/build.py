"""Commits and documents as tests write them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from decision.core.budgets import BudgetFull, WantedUnits
from decision.core.clock import HOUR
from decision.core.document import Contact, ContactKind, Document
from decision.core.identifiers import decision_id, partition_in, partition_of
from decision.core.ports import Commit, LogRecord, ReadResult, Section, Store, Version

NOW = 1_795_000_000_123_456
PUSH = ContactKind("coupon", "push", "marketing", "retention", ("sale", "新"))
EMAIL = ContactKind("tips", "email", "tips", "advice", ())

_numbers = itertools.count(1)


def new_id(customer_id: str = "c-1", millis: int = NOW // 1000) -> str:
    """A fresh decision id in the customer's partition."""
    return decision_id(millis, partition_of(customer_id), next(_numbers))


def record(kind: Any = "decision", record_id: str | None = None, body: bytes = b"{}") -> LogRecord:
    return LogRecord(kind=kind, id=record_id or new_id(), body=body)


def commit_of(
    found: ReadResult,
    *sections: Section,
    expect: Sequence[Section] | None = None,
    records: Sequence[LogRecord] = (),
    commit_id: str | None = None,
    **more: Any,
) -> Commit:
    """A commit of sections of the document that was read, as long as they are unchanged."""
    return Commit(
        id=commit_id or new_id(found.document.customer_id),
        customer_id=found.document.customer_id,
        document=found.document,
        version=found.version,
        expect=tuple(sections if expect is None else expect),
        write=sections,
        records=records,
        **{"raw": found.raw, **more},
    )


async def with_contact(
    store: Store, customer_id: str = "c-1", kind: ContactKind = PUSH, at: int = NOW
) -> ReadResult:
    """What is read of a customer, with one more contact in the document."""
    (number,) = await store.register_kinds([kind])
    found = await store.read(customer_id)
    found.document.contacts.append(Contact(number, at, 0, 3600, 7))
    return found


async def put(store: Store, document: Document) -> None:
    """Writes a whole document, whatever is there."""
    found = await store.read(document.customer_id)
    commit = commit_of(found, "profile", "contacts", "events")
    commit.document = document
    await store.commit(commit)


async def take(
    store: Store,
    limits: Mapping[str, int],
    token: str,
    *,
    ends: Mapping[str, int] | None = None,
    records: Sequence[LogRecord] = (),
) -> str | None:
    """Takes units by a commit of a customer in the token's partition; the one without room.

    Taking again with the token is a conflict, which changes nothing.
    """
    try:
        await store.commit(taking(WantedUnits(limits, ends or {}), token, records))
    except BudgetFull as full:
        return full.unit
    return None


def taking(units: WantedUnits, commit_id: str, records: Sequence[LogRecord] = ()) -> Commit:
    """A commit that takes units, of a customer in the token's partition, and writes little else."""
    return Commit(
        id=commit_id,
        customer_id=customer_in(partition_in(units.token or commit_id)),
        document=Document(customer_id=""),
        version=Version(),
        expect=(),
        records=records,
        units=units,
    )


@cache
def customer_in(partition: int) -> str:
    """A customer of a partition."""
    return next(
        name for name in map("of-{}".format, itertools.count()) if partition_of(name) == partition
    )


LASTS = {"answer_lasts": HOUR, "event_ids_last": HOUR}
