"""What templates of customers and decisions can name."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from decision.console.language import N_
from decision.console.people.grid import place_of
from decision.console.rules.sources import source_link
from decision.console.words import OUTCOMES, REASONS
from decision.core.reasons import Reason
from decision.engine.timeline import TimelineRow

KINDS: Final = {
    "decision": N_("decision"),
    "contact": N_("contact"),
    "event": N_("event"),
    "consent": N_("consent"),
    "delivery": N_("delivery"),
    "journey": N_("journey"),
}
CONTACTS: Final = {
    "reserved": N_("reserved"),
    "confirmed": N_("confirmed"),
    "released": N_("released"),
    "expired": N_("expired"),
}
DELIVERIES: Final = {
    "queued": N_("queued"),
    "sending": N_("being sent"),
    "failing": N_("failing"),
    "dropping": N_("being dropped"),
    "failed": N_("failed"),
    "unknown": N_("nobody knows whether it was sent"),
}


def as_text(value: object) -> str:
    """A value of a customer or an event as text: JSON, where it is none.

    >>> as_text("li"), as_text(["a", 1])
    ('li', '["a",1]')
    """
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def given(row: TimelineRow) -> dict[str, Any]:
    """The fields of a row, with null for what does not belong to its kind."""
    found = {name: getattr(row, name) for name in row.__struct_fields__}
    return {name: None if value is msgspec.UNSET else value for name, value in found.items()}


NAMES: Final[dict[str, Any]] = {
    "shown": as_text,
    "given": given,
    "place_of": place_of,
    "stages_in_all": len(Reason),
    "reasons": REASONS,
    "outcomes": OUTCOMES,
    "source_link": source_link,
    "kind_words": KINDS,
    "contact_words": CONTACTS,
    "delivery_words": DELIVERIES,
}
