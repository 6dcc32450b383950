"""CloudEvents 1.0 in the three modes of their HTTP binding, as our own events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from decision.core.errors import InputError
from decision.core.schema import Event
from decision.decoding import JsonDecoder

STRUCTURED: Final = b"application/cloudevents+json"
BATCHED: Final = b"application/cloudevents-batch+json"
_LONGEST_ID: Final = 256
_THEIR_NAMES: Final = {"at": "time", "customer_id": "subject", "properties": "data"}

_event: JsonDecoder[Event] = JsonDecoder(Event)
_object: JsonDecoder[dict[str, Any]] = JsonDecoder(dict[str, Any], noun="event")
_batch: JsonDecoder[list[msgspec.Raw]] = JsonDecoder(
    list[msgspec.Raw], numbers=False, most=1_000_000
)


def cloud_events(headers: Iterable[tuple[bytes, bytes]], body: bytes) -> list[bytes] | None:
    """The CloudEvents of a request, each in JSON; None where it has none.

    Raises:
        InputError: what should have some cannot be read.
    """
    found = dict(headers)
    content = found.get(b"content-type", b"").split(b";", 1)[0].strip().lower()
    if content == STRUCTURED:
        return [body]
    if content == BATCHED:
        return [bytes(one) for one in _batch.decode(body)]
    if b"ce-specversion" not in found:
        return None
    return [
        binary_event(
            {
                name[3:].decode("latin-1"): unquote(value.decode("latin-1"))
                for name, value in found.items()
                if name.startswith(b"ce-")
            },
            body,
        )
    ]


def binary_event(attributes: Mapping[str, str], body: bytes) -> bytes:
    """A CloudEvent whose attributes came apart from its data, in JSON.

    Raises:
        InputError: the data cannot be read.
    """
    event: dict[str, Any] = dict(attributes)
    if body.strip():
        event["data"] = _object.decode(body)
    return msgspec.json.encode(event)


def event_of(raw: bytes) -> Event:
    """The event that a CloudEvent is. Who sends the same `source` and `id` again means the same.

    Raises:
        InputError: what is wrong with it.

    >>> event_of(b'{"specversion": "1.0", "type": "purchase", "source": "/shop", "id": "7", '
    ...          b'"subject": "c-1", "data": {"amount": 80}}')
    Event(type='purchase', customer_id='c-1', alias=None, id='/shop 7', ...)
    """
    given = _object.decode(raw)
    for name in ("specversion", "type", "source", "id"):
        if not isinstance(given.get(name), str) or not given[name]:
            raise InputError(name, "is missing, or no text")
    if given["specversion"] != "1.0":
        raise InputError("specversion", f'is "{given["specversion"][:20]}", must be "1.0"')
    for name in given:
        if name != "decisionid" and name.replace("_", "").lower() == "decisionid":
            raise InputError(name, 'is no name of an attribute; did you mean "decisionid"?')
    if "data_base64" in given:
        raise InputError("data_base64", "is not read; send data as a JSON object")
    who = "customerid" if given.get("customerid") is not None else "subject"
    if given.get(who) is None:
        raise InputError("subject", "name the customer by subject, or by customerid")
    event_id = f"{given['source']} {given['id']}"
    if len(event_id) > _LONGEST_ID:
        event_id = blake2b(event_id.encode(), digest_size=16).hexdigest()
    data = given.get("data")
    fields = {
        "type": given["type"],
        "id": event_id,
        "customer_id": given[who],
        "at": given.get("time"),
        "properties": {} if data is None else data,
        "decision_id": given.get("decisionid"),
        "message": given.get("message"),
    }
    try:
        return _event.decode(msgspec.json.encode(fields))
    except InputError as error:
        names = {**_THEIR_NAMES, "customer_id": who, "decision_id": "decisionid"}
        raise InputError(names.get(error.path, error.path), error.detail) from None
