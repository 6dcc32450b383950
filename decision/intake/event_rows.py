"""Rows of files that are events: recognised by `type` and `at`, and never taken for attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from decision.core.errors import FileError, InputError

PROPERTY: Final = "property."
TEXTS: Final = ("type", "at", "event_id", "message")
_FIELDS: Final = (*TEXTS, "value")


def are_events(names: Sequence[str], path: str, id_column: str) -> bool:
    """Whether each row of a table is an event: it has a type and a time.

    Raises:
        FileError: it also has columns that no event has.
    """
    if not {"type", "at"} <= {*names}:
        return False
    for name in names:
        if name not in (*_FIELDS, id_column) and not name.startswith(PROPERTY):
            raise FileError(
                f"{path}: with the columns type and at each row is an event, which has no column "
                f"{name} (only {', '.join(_FIELDS)} and property.<name>); name it property.{name}, "
                "or rename type or at if they are attributes"
            )
    return True


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
