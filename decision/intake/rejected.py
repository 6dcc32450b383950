"""What a rejected event says of itself, whatever its form, without its content."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from decision.intake.segment import about as about_call

OF_SEGMENT: Final = frozenset({"userId", "anonymousId", "previousId"})
"""Keys that tell Segment's calls from events: of ours, none has one."""

_LONGEST: Final = 128


def about(raw: bytes) -> tuple[dict[str, str], list[str]]:
    """What an event says of itself, for lists of rejects, and what of it names the customer.

    >>> about(b'{"type": "purchase", "id": "7", "customer_id": "c-1", "properties": {"x": 1}}')
    ({'event': 'purchase', 'id': '7'}, ['c-1'])
    """
    try:
        given = msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}, []
    if OF_SEGMENT & given.keys():
        return about_call(raw), [str(given[name]) for name in OF_SEGMENT if given.get(name)]
    told = {"type": "event", "id": "id"}
    alias = given.get("alias")
    names = [given.get(name) for name in ("customer_id", "subject", "customerid")]
    names.append(alias.get("value") if isinstance(alias, dict) else None)
    said = {ours: given[one][:_LONGEST] for one, ours in told.items() if _is_text(given.get(one))}
    return said, [str(name) for name in names if name]


def _is_text(value: object) -> bool:
    return isinstance(value, str)
