"""Rows of files that are events: recognised by `type` and `at`, and never taken for attributes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from decision.core.coupons import REDEEMED
from decision.core.errors import FileError, InputError

PROPERTY: Final = "property."
TEXTS: Final = ("type", "at", "event_id", "message")
_FIELDS: Final = (*TEXTS, "value")


_ABOUT_CONTACTS: Final = ("contact", "message", "channel", "purpose", "category")


_TYPES: Final = ("type", "event", "event_type", "event_name")
_TIMES: Final = ("at", "timestamp", "time", "ts", "event_time", "event_at", "occurred_at")
"""What other tools call the two columns by which events are recognised."""


def are_events(
    names: Sequence[str], path: str, id_column: str, *, objects: Collection[str] = ()
) -> bool:
    """Whether each row of a table is an event: it has a type and a time.

    `objects` are the columns whose cells are objects; of these, `properties` may be there.

    Raises:
        FileError: it also has columns that no event has, or it is one of events whose type and
            time have other names: as attributes of customers, each row would replace the last.
    """
    if not {"type", "at"} <= {*names}:
        _check_names(names, path, id_column)
        return False
    for name in names:
        if name == "properties" and name in objects:
            continue
        if name not in (*_FIELDS, id_column) and not name.startswith(PROPERTY):
            raise FileError(
                f"{path}: with the columns type and at each row is an event, which has no column "
                f"{name} (only {', '.join(_FIELDS)} and property.<name>); name it property.{name}, "
                "or rename type or at if they are attributes"
            )
    return True


def texts_in(event_type: Any) -> tuple[str, ...]:
    """The properties that are ids or names where an event is of this type, so always text.

    >>> texts_in("coupon.redeemed"), texts_in("purchase")
    (('code',), ())
    """
    if event_type == REDEEMED:
        return ("code",)
    about = isinstance(event_type, str) and event_type.startswith("message.")
    return _ABOUT_CONTACTS if about else ()


def _check_names(names: Sequence[str], path: str, id_column: str) -> None:
    plain = {name.strip().lower(): name for name in reversed(names) if name != id_column}
    kinds = [plain[name] for name in _TYPES if name in plain]
    times = [plain[name] for name in _TIMES if name in plain]
    if kinds and times:
        raise FileError(
            f"{path}: with the columns {kinds[0]} and {times[0]} it looks like a table of events; "
            "name them type and at if each row is an event (what else there is of it: "
            f"property.<name>), or rename {kinds[0]} if they are attributes of customers"
        )


def event_of(found: dict[str, Any]) -> dict[str, Any]:
    """A past event, from the columns or keys of a row without the customer.

    >>> event_of({"type": "purchase", "at": "2026-11-02T10:00:00Z", "property.amount": 80})
    {'properties': {'amount': 80}, 'type': 'purchase', 'at': '2026-11-02T10:00:00Z'}

    Raises:
        InputError: a key is none of an event.
    """
    given = found.get("properties") or {}
    if not isinstance(given, dict):
        raise InputError("properties", "must be an object")
    for name in ("type", "at"):
        if name not in found:
            raise InputError(name, "is missing; an event has type and at")
    event: dict[str, Any] = {"properties": dict(given)}
    for name, value in found.items():
        if name.startswith(PROPERTY):
            event["properties"][name.removeprefix(PROPERTY)] = value
        elif name == "event_id":
            event["id"] = value
        elif name in _FIELDS:
            event[name] = value
        elif name != "properties":
            raise InputError(name, "is no key of an event; put it into properties")
    return event
