"""Segment's calls as what they mean here: an event, a change of a customer, or a merge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec

from decision.core.errors import InputError
from decision.core.schema import Alias, CustomerUpdate, Event
from decision.decoding import JsonDecoder
from decision.decoding.explaining import time_like

T = TypeVar("T")
KINDS: Final = ("track", "identify", "page", "screen", "group", "alias")
LARGEST_EVENT: Final = 32 * 1024
"""Bytes that one call may have, as JSON."""

ANONYMOUS: Final = "anonymous_id"
"""The type of alias that an `anonymousId` is."""

_VIEWS: Final = {"page": "page_view", "screen": "screen_view"}
_PAGE: Final = ("path", "referrer", "search", "title", "url")
_LIFTED: Final = ("decision_id", "message", "value")
_THEIR_NAMES: Final = {
    "type": "event",
    "id": "messageId",
    "customer_id": "userId",
    "at": "timestamp",
}


class SegmentOptions(msgspec.Struct, frozen=True):
    """`traits` is trait → attribute, for those that are stored; `events` is Segment's name of an
    event → its type here, where they differ; `merges` is whether `alias` merges."""

    traits: Mapping[str, str] = {}
    events: Mapping[str, str] = {}
    merges: bool = False


class Profile(msgspec.Struct, frozen=True):
    """A change of the customer who is named by exactly one of id and alias."""

    customer_id: str | None
    alias: Alias | None
    update: CustomerUpdate


class Merge(msgspec.Struct, frozen=True):
    """`other`, a customer id or an `anonymousId`, is to be one with the customer `into`."""

    into: str
    other: str


Action = Event | Profile | Merge | None
"""What a call asks for; None where nothing is to be stored."""

_object: JsonDecoder[dict[str, Any]] = JsonDecoder(dict[str, Any], noun="event")
_event: JsonDecoder[Event] = JsonDecoder(Event)
_update: JsonDecoder[CustomerUpdate] = JsonDecoder(CustomerUpdate)


def names_of(text: str | None) -> dict[str, str]:
    """Names in a setting, some with what they are called here.

    Raises:
        ValueError: a name is missing.

    >>> names_of("plan, firstName=first_name")
    {'plan': 'plan', 'firstName': 'first_name'}
    """
    found = {}
    for part in filter(str.strip, (text or "").split(",")):
        theirs, _, ours = part.partition("=")
        if not theirs.strip() or (not ours.strip() and "=" in part):
            raise ValueError(f'"{part.strip()}" is no name; write name, or name=name here')
        found[theirs.strip()] = ours.strip() or theirs.strip()
    return found


def action_of(
    raw: bytes,
    options: SegmentOptions,
    received: datetime,
    *,
    kind: str | None = None,
    sent_at: Any = None,
) -> Action:
    """What a call asks for. `kind` is its type where its path says so, `sent_at` its batch's.

    Raises:
        InputError: what is wrong with it.

    >>> raw = b'{"type": "track", "userId": "c-1", "event": "Order Completed", "messageId": "m-1"}'
    >>> action_of(raw, SegmentOptions(events={"Order Completed": "purchase"}), datetime.now(UTC))
    Event(type='purchase', customer_id='c-1', alias=None, id='m-1', ...)
    """
    if len(raw) > LARGEST_EVENT:
        raise InputError("", f"the event has {len(raw)} bytes, may have {LARGEST_EVENT}")
    call = _object.decode(raw)
    kind = kind or call.get("type")
    if kind not in KINDS:
        raise InputError("type", f"{_shown(kind)} is none of {', '.join(KINDS)}")
    if kind == "alias":
        return _merge(call, options)
    user, anonymous = _text(call, "userId"), _text(call, "anonymousId")
    if user is None and anonymous is None:
        raise InputError("userId", "give userId or anonymousId")
    alias = None if user is not None else Alias(ANONYMOUS, anonymous or "")
    if kind == "identify":
        return _profile(call, options, user, alias, anonymous)
    at = _time(call, call.get("sentAt", sent_at), received)
    name, properties = _happened(kind, call)
    name = options.events.get(name, name)
    fields: dict[str, Any] = {
        "type": name,
        "id": _text(call, "messageId"),
        "at": at,
        "properties": properties,
        "customer_id": user,
        "alias": alias,
    }
    if name.startswith("message."):
        fields |= {key: properties.pop(key) for key in _LIFTED if key in properties}
    return _checked(_event, fields)


def about(raw: bytes) -> dict[str, str]:
    """What a call says of itself, for lists of rejects: nothing that names the customer."""
    try:
        call = msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    names = {"type": "kind", "event": "event", "messageId": "id"}
    return {ours: call[one][:128] for one, ours in names.items() if isinstance(call.get(one), str)}


def _merge(call: dict[str, Any], options: SegmentOptions) -> Merge | None:
    user, other = _text(call, "userId"), _text(call, "previousId")
    if user is None or other is None:
        raise InputError("userId" if user is None else "previousId", "is missing")
    return Merge(user, other) if options.merges and user != other else None


def _profile(
    call: dict[str, Any],
    options: SegmentOptions,
    user: str | None,
    alias: Alias | None,
    anonymous: str | None,
) -> Profile | None:
    traits = _mapping(call, "traits") or _mapping(_mapping(call, "context"), "traits")
    kept = {}
    for name, ours in options.traits.items():
        if (found := _trait(traits, name)) is not _MISSING:
            kept[ours] = found
    aliases = {ANONYMOUS: anonymous} if user is not None and anonymous is not None else {}
    if not kept and not aliases:
        return None
    return Profile(user, alias, _checked(_update, {"attributes": kept, "aliases": aliases}))


_MISSING: Final = object()


def _trait(traits: dict[str, Any], name: str) -> Any:
    """The trait of a name; `address.city` is also `city` in the object `address`."""
    if name in traits:
        return traits[name]
    outer, dot, inner = name.partition(".")
    nested = traits.get(outer) if dot else None
    return _trait(nested, inner) if isinstance(nested, dict) else _MISSING


def _happened(kind: str, call: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The type of an event, and its properties."""
    properties = dict(_mapping(call, "properties"))
    if kind == "track":
        name = call.get("event")
        if not isinstance(name, str) or not name:
            raise InputError("event", f"{_shown(name)} is no name of an event")
        return name, properties
    if kind == "group":
        return "group", {"group_id": _text(call, "groupId")}
    for key in ("name", "category"):
        if isinstance(call.get(key), str):
            properties.setdefault(key, call[key])
    if kind == "page":
        page = _mapping(_mapping(call, "context"), "page")
        for key in _PAGE:
            if key in page:
                properties.setdefault(key, page[key])
    return _VIEWS[kind], properties


def _time(call: dict[str, Any], sent_at: Any, received: datetime) -> datetime:
    """When it happened by our clock: the client's may be wrong, but what it measures is not.

    A `timestamp` beside `originalTimestamp` is what the application says, as of a past that it
    imports. With `receivedAt` the call was passed on by who has corrected it already.

    Raises:
        InputError: the time cannot be read.
    """
    given = call.get("timestamp") or call.get("originalTimestamp")
    if given is None:
        return received
    try:
        at = _moment(given)
    except (TypeError, ValueError, OverflowError):
        problem = f"{_shown(given)} is no time of RFC 3339, such as {time_like(given)}"
        raise InputError("timestamp", problem) from None
    if call.get("timestamp") and call.get("receivedAt"):
        return at
    try:
        return at + (received - _moment(sent_at))
    except (TypeError, ValueError, OverflowError):
        return at  # without a time of sending there is nothing to correct by


def _moment(given: Any) -> datetime:
    found = datetime.fromisoformat(given)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)


def _text(call: dict[str, Any], name: str) -> str | None:
    value = call.get(name)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is not None and not isinstance(value, str):
        raise InputError(name, f"{_shown(value)} is no text")
    return value or None


def _mapping(call: dict[str, Any], name: str) -> dict[str, Any]:
    value = call.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(name, f"{_shown(value)} is no object")
    return value


def _checked(decoder: JsonDecoder[T], fields: dict[str, Any]) -> T:
    """The fields as that type, by the rules that hold for our own requests."""
    try:
        return decoder.decode(msgspec.json.encode(fields))
    except InputError as error:
        raise InputError(_THEIR_NAMES.get(error.path, error.path), error.detail) from None


def _shown(value: Any) -> str:
    return "null" if value is None else json.dumps(value)[:60]
