"""Everything that the store and its log have of a customer, part by part, in bounded memory.

What an erasure would remove is what is exported: both go by the same ids (`erasing.ids_of`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec

from decision.core import logged_scores, records
from decision.core.clock import from_micros
from decision.core.document import ContactState, Document
from decision.core.identifiers import partition_of
from decision.core.ports import LogRecord
from decision.engine.erasing import ids_of
from decision.engine.identity import clean_id, resolve
from decision.engine.own_log import OwnLog, read_record
from decision.engine.runtime import Runtime
from decision.store.codec import UnreadableDocument

Line = dict[str, Any]
"""One line of an export; `kind` says of what."""


async def ids_to_export(runtime: Runtime, customer_id: str) -> list[str]:
    """The ids under which something may be known, the one in use first."""
    asked = clean_id("customer_id", customer_id, stored=True)
    try:
        document = (await resolve(runtime, asked)).document
    except UnreadableDocument:
        document = Document(customer_id=asked)
    return ids_of(document, asked, customer_id)


async def stored(runtime: Runtime, ids: Sequence[str]) -> AsyncIterator[Line]:
    """Documents, kept answers, deliveries, provider ids and coupon codes. Times in a document are
    microseconds."""
    store, tags = runtime.store, set()
    for one in ids:
        try:
            document = (await store.read(one)).document
        except UnreadableDocument as error:
            yield {"kind": "document", "customer_id": one, "unreadable": str(error.reason)}
            document = Document(customer_id=one)
        if document.exists:
            tags |= {contact.tag for contact in document.contacts}
            yield {"kind": "document", "customer_id": one, "document": document_fields(document)}
        kept = await store.kept_of(one)
        for request_id, answer in kept.answers.items():
            line: Line = {"kind": "answer", "customer_id": one, "request_id": request_id}
            yield {**line, "answer": _json(answer)}
        if kept.event_ids:
            yield {"kind": "event_ids", "customer_id": one, "count": kept.event_ids}
        for gateway, provider_id in kept.provider_ids:
            named = {"gateway": gateway, "provider_id": provider_id}
            yield {"kind": "provider_id", "customer_id": one, **named}
        for row in await store.deliveries_of(one):
            yield {
                "kind": "delivery",
                "customer_id": one,
                "delivery": msgspec.structs.asdict(row.delivery),
                "status": msgspec.structs.asdict(row.status),
                "due_ms": row.due,
            }
    partitions = frozenset(map(partition_of, ids))
    for pool in await store.coupon_pools() if tags else ():
        for taken, code in (await store.codes_of(pool, tags, partitions)).items():
            yield {"kind": "coupon", "pool": pool, "taken_by": taken, "code": code}


async def logged(runtime: Runtime, log: OwnLog) -> AsyncIterator[Line]:
    """The records of the log, also those that are not written yet, oldest first."""
    async for entry_id, record in log.records():
        line = record_line(runtime, record)
        yield line if entry_id is None else {**line, "entry_id": entry_id}


def record_line(runtime: Runtime, record: LogRecord) -> Line:
    """A record of the log as a line; one that cannot be read as its bytes."""
    line: Line = {"kind": record.kind, "in": "log", "id": record.id}
    try:
        read = read_record(record)
        fields = msgspec.structs.asdict(read)
        for name in ("at", "received_at", "decided_at", "not_before", "started"):
            if fields.get(name):
                fields[name] = from_micros(fields[name])
        if isinstance(read, records.DecisionRecord):
            fields["document"] = (
                document_fields(runtime.store.unpack(read.customer_id, read.document))
                if read.document
                else None
            )
            scored = logged_scores.unpack_scores(read.candidates)
            names = ("candidate", "response_probability", "priority", "selection_probability")
            fields["candidates"] = [dict(zip(names, row, strict=True)) for row in scored]
            for row, uplift in zip(
                fields["candidates"],
                logged_scores.unpack_uplift(read.candidates).values(),
                strict=False,
            ):
                row["uplift"] = uplift
    except (msgspec.MsgspecError, UnreadableDocument, ValueError, OverflowError):
        return {**line, "unreadable": record.body}
    return {**line, "record": fields}


def document_fields(document: Document) -> Line:
    """A document with the names of its fields; contacts with what the register says of them."""
    kinds = document.kinds
    alone = {
        name: _plain(value)
        for name, value in msgspec.structs.asdict(document).items()
        if name not in ("kinds", "contacts", "earlier", "exists")
    }
    alone["contacts"] = [
        {
            **kinds[one.kind]._asdict(),
            "at": one.at,
            "state": ContactState(one.state).name.lower(),
            "mark": one.mark,
            "decision_tag": one.tag,
        }
        for one in document.contacts
    ]
    alone["earlier"] = [
        {**kinds[kind]._asdict(), "count": count} for kind, count in document.earlier.items()
    ]
    return alone


def _plain(value: Any) -> Any:
    """The same with every field named: also of what is stored as a list."""
    if isinstance(value, msgspec.Struct):
        return {name: _plain(field) for name, field in msgspec.structs.asdict(value).items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _plain(field) for name, field in value._asdict().items()}
    if isinstance(value, Mapping):
        return {name: _plain(field) for name, field in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(field) for field in value]
    return value


def _json(answer: bytes) -> Any:
    try:
        return msgspec.json.decode(answer)
    except (msgspec.MsgspecError, ValueError):
        return answer
