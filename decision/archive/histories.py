"""Archived events per customer, in the order they were applied, and the histories they give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import tzinfo
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from decision.archive.damage import naming_damage
from decision.archive.query import open_database
from decision.archive.tables import files
from decision.core import events
from decision.core.document import Document, EventHistory, KeptScore
from decision.core.event_effects import CONTACT_EVENTS
from decision.core.events import Measure
from decision.core.identifiers import rank_of
from decision.core.machines import by_machine
from decision.core.policy import Policy
from decision.core.records import EventRecord
from decision.store.log import place_of

_ROWS_AT_ONCE = 10_000


class AppliedEvent(NamedTuple):
    """An event as it was applied. Times are microseconds; `place` orders a customer's events.

    One of a derived type counts for another customer than its sender (see `core.derived`).
    """

    place: tuple[int, int]
    customer_id: str
    type: str
    at: int
    received_at: int
    properties: dict[str, Any]
    id: str


def applied_event(entry_id: str, record: EventRecord) -> AppliedEvent:
    """An event that is still in the log."""
    return AppliedEvent(
        place_of(entry_id),
        record.customer_id,
        record.type,
        record.at,
        record.received_at,
        _properties(record.properties, record.value),
        record.event_id,
    )


def archived_events(
    archive: Path, types: Sequence[str]
) -> Iterator[tuple[str, list[AppliedEvent]]]:
    """(customer, their events of these types in order) for all customers by id, in bounded memory.

    Raises:
        ArchiveError: the archive lacks a file, one is damaged, or its events have no order.
    """
    with naming_damage(archive), open_database() as database:
        paths = files(archive, "events")
        if not paths:
            return
        database.view_files("events", paths, union=True)
        found = database.execute(
            'SELECT customer_id, type, epoch_us("at"), epoch_us(received_at), properties, value, '
            "entry_id, event_id FROM events WHERE list_contains($1, type) "
            "ORDER BY customer_id, split_part(entry_id, '-', 1)::BIGINT, "
            "split_part(entry_id, '-', 2)::BIGINT",
            [list(types)],
        )
        for customer, rows in groupby(_rows(found), attrgetter("customer_id")):
            yield customer, list(rows)


def _rows(found: Any) -> Iterator[AppliedEvent]:
    while rows := found.fetchmany(_ROWS_AT_ONCE):
        for customer, kind, at, received_at, properties, value, entry_id, event_id in rows:
            given = _properties(msgspec.json.decode(properties), value)
            yield AppliedEvent(place_of(entry_id), customer, kind, at, received_at, given, event_id)


def archived_erasures(archive: Path) -> dict[str, int]:
    """Pseudonym → when that customer was erased last, in microseconds, as the archive knows it.

    Raises:
        ArchiveError: the archive lacks a file, or one is damaged.
    """
    with naming_damage(archive), open_database() as database:
        paths = files(archive, "changes")
        if not paths:
            return {}
        database.view_files("changes", paths, union=True)
        return dict(
            database.rows(
                'SELECT customer_id, max(epoch_us("at")) FROM changes '
                "WHERE kind = 'erasure' GROUP BY customer_id"
            )
        )


def _properties(properties: dict[str, Any], value: float | None) -> dict[str, Any]:
    """The properties as measures see them: the event's value is one of them."""
    return properties if value is None else {"value": value, **properties}


def fold(
    rows: Iterable[AppliedEvent], measures: Mapping[str, Measure], policy: Policy, zone: tzinfo
) -> Document:
    """The histories and scores of a customer's events, as if they had always been kept."""
    found = Document(customer_id="")

    def count(row: AppliedEvent, kind: str, properties: Mapping[str, Any]) -> None:
        policy.scores.count(found, kind, min(row.at, row.received_at), properties)
        measure = measures.get(kind)
        if measure is not None:
            history = found.events.setdefault(kind, EventHistory(last={}, buckets=[], days=[]))
            if kind in CONTACT_EVENTS and (measure.last or measure.sums):
                named = properties.get(events.CHANNEL)
                properties = events.on_channel(
                    properties, properties.get(events.CONTACT_CHANNEL, named)
                )
            rank = rank_of(row.id)
            events.record(history, measure, row.at, properties, row.received_at, zone, rank)

    for row in sorted(rows, key=attrgetter("place")):
        if by_machine(row.type, row.properties):
            continue
        count(row, row.type, row.properties)
        if row.type not in policy.derivations:
            for one in policy.derivations.of(row.type, row.properties):
                if one.customer is None:
                    count(row, one.type, one.properties)
    return found


def rebuilt_score(kept: KeptScore | None, folded: KeptScore | None) -> KeptScore | None:
    """The score to store: what was counted stays where fewer events are archived."""
    if kept is None or (folded is not None and folded.digest != kept.digest):
        return folded
    return kept if folded is None or folded.events < kept.events else folded


def rebuilt(kept: EventHistory | None, folded: EventHistory) -> tuple[EventHistory, bool]:
    """(the history to store, whether all events were there).

    If fewer events are archived than were counted (old dates may have been removed), nothing that
    was counted is lost: the higher total is kept, and the buckets with the higher count.
    """
    if kept is None or folded.total >= kept.total:
        return folded, True
    latest = max(folded, kept, key=attrgetter("last_at", "last_rank"))
    fuller = folded if _counted(folded) >= _counted(kept) else kept
    return (
        EventHistory(
            total=kept.total,
            last_at=latest.last_at,
            last=dict(latest.last),
            buckets=[list(bucket) for bucket in fuller.buckets],
            days=sorted({*kept.days, *folded.days}),
            sums=list(fuller.sums),
            last_rank=latest.last_rank,
        ),
        False,
    )


def _counted(history: EventHistory) -> float:
    return sum(bucket[1] for bucket in history.buckets)
