"""Log records of events and of changes of a customer."""

from __future__ import annotations

from typing import Any, Literal

from decision.core import records
from decision.core.ports import LogRecord
from decision.core.recording import Occurrence


def event_record(occurrence: Occurrence, customer_id: str, received_at: int) -> LogRecord:
    """The record of an event."""
    record = records.EventRecord(
        event_id=occurrence.id,
        customer_id=customer_id,
        type=occurrence.type,
        at=occurrence.at,
        received_at=received_at,
        properties=occurrence.properties,
        decision_id=occurrence.decision_id,
        message=occurrence.message,
        value=occurrence.value,
    )
    return LogRecord(kind="event", id=occurrence.id, body=records.encode(record))


def change_record(
    kind: Literal["consent", "merge", "erasure"],
    record_id: str,
    customer_id: str,
    at: int,
    change: dict[str, Any] | None = None,
) -> LogRecord:
    """The record of a change that is no event."""
    record = records.ChangeRecord(customer_id=customer_id, at=at, change=change or {})
    return LogRecord(kind=kind, id=record_id, body=records.encode(record))
