"""What a program did with a message, and not its reader: `properties.machine: true` says so.

Mail programs load pictures before anybody looks, and scanners follow links. Such an event is kept,
in the log and the archive, and has no other effect, whoever reads it: it confirms no contact, is
counted in no history, score or signal, derives nothing, and no model or report takes it for a
response. Only what tells that somebody has seen a message can be made by a machine in this sense;
an opt-out is one, whoever made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

MACHINE: Final = "machine"
"""The property that says so."""

SEEN: Final = (
    "message.shown",
    "message.opened",
    "message.clicked",
    "message.replied",
    "message.dismissed",
    "message.converted",
)
"""Types of events that tell that a message was seen."""


def by_machine(event_type: str, properties: Mapping[str, Any]) -> bool:
    """Whether a program made an event that only counts when a person did.

    >>> by_machine("message.opened", {"machine": True}), by_machine("purchase", {"machine": True})
    (True, False)
    """
    return properties.get(MACHINE) is True and event_type in SEEN
