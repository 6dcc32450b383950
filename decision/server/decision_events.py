"""What happened to one decision: its contacts, deliveries, and events about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from decision.archive.customers import days_of, rows_of
from decision.archive.layout import day_of
from decision.archive.location import location
from decision.core.clock import DAY, to_micros
from decision.core.document import Document
from decision.core.errors import NextbestError
from decision.core.event_effects import contacts_of
from decision.core.identifiers import parse_decision_id
from decision.core.records import EventRecord
from decision.engine.erasing import ids_of
from decision.engine.identity import resolve
from decision.engine.own_log import OwnLog, read_record
from decision.engine.runtime import Runtime
from decision.engine.timeline import (
    TimelineRow,
    delivery_row,
    event_row,
    rows_of_document,
)
from decision.server.archived import missing
from decision.server.aside import Aside, Unanswered

DAYS: Final = 31
"""How many days after a decision the archive is looked at."""

_WITHIN: Final = 10.0


class DecisionEvents(msgspec.Struct, frozen=True, kw_only=True):
    """What happened, the earliest first. Not `complete`: the archive could not be read."""

    rows: list[TimelineRow]
    complete: bool = True


async def events_about(
    runtime: Runtime, archive: str | None, customer_id: str, decision_id: str
) -> DecisionEvents:
    """The contacts, deliveries and events of a decision, from the store and the archive.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    document = (await resolve(runtime, customer_id)).document
    ids, found, complete = ids_of(document, customer_id), {}, True
    for row in _contacts(document, decision_id, runtime.clock()):
        found[row.place] = row
    for one in ids:
        for listed in await runtime.store.deliveries_of(one):
            if listed.delivery.decision_id == decision_id:
                found[(row := delivery_row(listed)).place] = row
    async for _, record in OwnLog(runtime, ids).records():
        if record.kind == "event" and decision_id.encode() in record.body:
            event = read_record(record)
            if isinstance(event, EventRecord) and event.decision_id == decision_id:
                row = event_row(msgspec.structs.asdict(event), event.at, event.properties)
                found[row.place] = row
    if archive is not None:
        try:
            aside = Aside(f"the archive {archive}", 1)
            rows = await aside.run(lambda: _archived(location(archive), ids, decision_id), _WITHIN)
            for row in rows:
                found.setdefault(row.place, row)
        except (Unanswered, NextbestError, OSError, LookupError, ValueError):
            complete = False
    return DecisionEvents(rows=[found[place] for place in sorted(found)][::-1], complete=complete)


def _contacts(document: Document, decision_id: str, now: int) -> list[TimelineRow]:
    tags = {f"{one.tag:08x}" for one in contacts_of(document, decision_id)}
    rows = rows_of_document(document, now)
    return [row for row in rows if row.kind == "contact" and row.id.split(".")[0] in tags]


def _archived(archive: Path, ids: Sequence[str], decision_id: str) -> list[TimelineRow]:
    """The archived events about it. It blocks."""
    if not archive.is_dir():
        raise missing(archive)
    millis, _, _ = parse_decision_id(decision_id)
    first, last = day_of(millis * 1000 - DAY), day_of(millis * 1000 + DAYS * DAY)
    found: list[TimelineRow] = []
    for day, paths in days_of(archive, "events").items():
        if first <= day <= last:
            for row in rows_of(archive, "events", day, ids, paths=paths):
                if row["decision_id"] == decision_id:
                    properties = msgspec.json.decode(row["properties"], type=dict[str, Any])
                    found.append(event_row(row, to_micros(row["at"]), properties))
    return found
