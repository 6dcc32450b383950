"""One report of a provider, in the types of events and reasons of django-anymail."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from decision.core.provider_ids import LONGEST, bare
from decision.decoding import decode_leniently

Kind = Literal[
    "queued",
    "sent",
    "rejected",
    "failed",
    "bounced",
    "deferred",
    "delivered",
    "autoresponded",
    "opened",
    "clicked",
    "complained",
    "unsubscribed",
    "subscribed",
    "unknown",
]

EVENT_TYPES: Final = {
    "sent": "message.sent",
    "delivered": "message.delivered",
    "rejected": "message.failed",
    "failed": "message.failed",
    "bounced": "message.bounced",
    "opened": "message.opened",
    "clicked": "message.clicked",
    "complained": "message.complained",
    "unsubscribed": "message.unsubscribed",
}
"""Type of report → type of event; others change nothing."""

_MACHINES: Final = re.compile(
    r"bot\b|crawler|spider|barracuda|proofpoint|mimecast|safelinks|scanner", re.IGNORECASE
)
_PREFETCHING: Final = ("Mozilla/5.0",)
"""What Apple's mail privacy protection calls itself, and nobody else."""

VARIABLE: Final = "nextbest"
"""The name of our delivery's id in a provider's metadata."""

CUSTOMER: Final = "nextbest-customer"
"""The name of the customer's id in a provider's metadata."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One report. `id` is the provider's, or what makes the report unique; `at` in seconds.

    `delivery` and `customer` are our ids, as they were sent along; `message_id` is the Message-ID
    of a mail, `provider_ids` are the provider's own names of the message.
    `permanent`: nothing will ever arrive there. `machine`: a program opened or clicked, nobody
    read it. `link` is what was clicked.
    """

    kind: Kind
    id: str
    at: float | None = None
    delivery: str | None = None
    customer: str | None = None
    message_id: str | None = None
    provider_ids: tuple[str, ...] = ()
    reject_reason: str | None = None
    permanent: bool = False
    machine: bool = False
    link: str | None = None


def variable(metadata: Any, name: str = VARIABLE) -> str | None:
    """A text of a provider's metadata."""
    found = metadata.get(name) if isinstance(metadata, Mapping) else None
    return found if isinstance(found, str) else None


def names(*found: Any) -> tuple[str, ...]:
    """The provider's ids among what was found; each once, as they are compared.

    >>> names("<a@x>", None, "a@x", 7)
    ('a@x',)
    """
    bare_ones = (bare(one) for one in found if isinstance(one, str))
    return tuple(dict.fromkeys(one for one in bare_ones if 0 < len(one) <= LONGEST))


def json_object(text: Any) -> Any:
    """What a text in JSON says; None where it says nothing."""
    try:
        return decode_leniently(text) if isinstance(text, str) else text
    except (msgspec.DecodeError, RecursionError):
        return None


def is_machine(kind: str, agent: Any) -> bool:
    """Whether the user agent of an open or a click is a program of nobody."""
    if kind not in ("opened", "clicked") or not isinstance(agent, str):
        return False
    return agent in _PREFETCHING or _MACHINES.search(agent) is not None


def seconds(time: Any) -> float | None:
    """A time as seconds since 1970; None where there is none that can be read."""
    try:
        return float(time)
    except (TypeError, ValueError):
        pass
    try:
        found = datetime.fromisoformat(time)
    except (TypeError, ValueError):
        return None
    return found.timestamp() if found.tzinfo is not None else None


def content(data: Any) -> str:
    """An id for a report that has none: all that it says."""
    return msgspec.json.encode(data, order="sorted").decode()
