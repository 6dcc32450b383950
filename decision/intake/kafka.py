"""Messages of Kafka: events as our own JSON or as CloudEvents, or Segment's calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final, Protocol

import msgspec

from decision.core.clock import HOUR, from_micros
from decision.core.errors import InputError
from decision.core.schema import Event
from decision.decoding import JsonDecoder
from decision.intake.cloudevents import BATCHED, STRUCTURED, binary_event, cloud_events, event_of
from decision.intake.rejected import OF_SEGMENT
from decision.intake.segment import Action, Merge, Profile, SegmentOptions, action_of

_LONGEST_ID: Final = 256
_CLOUD: Final = "ce_"
"""What names of headers begin with that are attributes of a CloudEvent."""


class Message(Protocol):
    """A message as it was read. `timestamp` is in milliseconds; below zero there is none."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...
    @property
    def value(self) -> bytes | None: ...


class Incoming(msgspec.Struct, frozen=True):
    """What a message asks for: `index` is its place in it, `raw` the event as it came."""

    place: str
    index: int
    raw: bytes
    action: Event | Profile | Merge


class Refused(msgspec.Struct, frozen=True):
    """What of a message cannot be used, and why."""

    place: str
    index: int
    raw: bytes
    detail: str


class _Several(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    events: list[msgspec.Raw]


_object: JsonDecoder[dict[str, msgspec.Raw]] = JsonDecoder(
    dict[str, msgspec.Raw], numbers=False, noun="message", most=1_000_000
)
_several: JsonDecoder[_Several] = JsonDecoder(
    _Several, numbers=False, noun="message", most=1_000_000
)
_call: JsonDecoder[dict[str, Any]] = JsonDecoder(dict[str, Any], noun="event")
_own: JsonDecoder[Event] = JsonDecoder(Event, noun="event")


def actions_of(
    message: Message, now: int, largest: int, segment: SegmentOptions
) -> list[Incoming | Refused]:
    """What a message asks for; events, each with an id and a time.

    An event without an id gets one that is made of the message's place, so that it counts once
    however often the message is read; one without a time has the message's, at most `now`, in
    microseconds. A message without a value, as those that delete a key, has no events. `largest` is
    how many bytes a message may have.
    """
    place = f"{message.topic}/{message.partition}/{message.offset}"
    value = message.value
    if value is None:
        return []
    try:
        if len(value) > largest:
            raise InputError("", f"the message has {len(value)} bytes, may have {largest}")
        raws, decode = _decoding(message, value)
    except InputError as error:
        return [Refused(place, 0, value if len(value) <= largest else b"", str(error))]
    sent = message.timestamp * 1000
    at = from_micros(min(now, sent)) if sent >= HOUR else None
    found: list[Incoming | Refused] = []
    for index, raw in enumerate(raws):
        try:
            action = decode(raw) if decode else _call_of(raw, segment, at or from_micros(now))
        except InputError as error:
            found.append(Refused(place, index, raw, str(error)))
            continue
        if isinstance(action, Event):
            made = f"{place}/{message.timestamp}" + (f"/{index}" if len(raws) > 1 else "")
            action = msgspec.structs.replace(
                action, id=action.id or _short(made), at=action.at or at
            )
        if action is not None:
            found.append(Incoming(place, index, raw, action))
    return found


def _decoding(
    message: Message, value: bytes
) -> tuple[list[bytes], Callable[[bytes], Event] | None]:
    """The events of a message, each in JSON, and what decodes them; None for a call of Segment."""
    headers = {name.lower(): content or b"" for name, content in message.headers}
    content = headers.get("content-type", b"")
    if content.split(b";", 1)[0].strip().lower() in (STRUCTURED, BATCHED):
        return cloud_events([(b"content-type", content)], value) or [], event_of
    if f"{_CLOUD}specversion" in headers:
        attributes = {
            name.removeprefix(_CLOUD): content.decode("utf-8", "replace")
            for name, content in headers.items()
            if name.startswith(_CLOUD)
        }
        return [binary_event(attributes, value)], event_of
    given = _object.decode(value)
    if "specversion" in given:
        return [value], event_of
    if "events" in given:
        return [bytes(one) for one in _several.decode(value).events], _own.decode
    return [value], None if OF_SEGMENT & given.keys() else _own.decode


def _call_of(raw: bytes, segment: SegmentOptions, received: datetime) -> Action:
    """What a call asks for. Its `timestamp` is right: who put it into Kafka has corrected it."""
    call = _call.decode(raw)
    call.pop("sentAt", None)
    if "timestamp" in call:
        call.pop("originalTimestamp", None)
    return action_of(msgspec.json.encode(call), segment, received)


def _short(text: str) -> str:
    if len(text) <= _LONGEST_ID:
        return text
    return blake2b(text.encode(), digest_size=16).hexdigest()
