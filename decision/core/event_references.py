"""What events about contacts refer to: refused where they could not find it.

An opt-out and a permanent bounce are obeyed all the same: of nothing known, they are of everything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from decision.core.errors import InputError, meant
from decision.core.event_effects import SETTLING, Occurrence
from decision.core.identifiers import is_decision_id

_SIGNS: Final = re.compile(r"[\W_]+")


def check_place(event_type: str, properties: Mapping[str, Any]) -> None:
    """Refuses an event about a contact whose decision is named where nobody looks for it.

    Raises:
        InputError: one of the properties is the id of a decision, by its name and its value.
    """
    if not _settles_alone(event_type, properties):
        return
    for name, value in properties.items():
        if _SIGNS.sub("", name).casefold() == "decisionid" and is_decision_id(value):
            raise InputError(
                f"properties.{name}",
                "has no effect there; name the decision beside the properties, as decision_id "
                "(in a CloudEvent as decisionid)",
            )


def check_message(occurrence: Occurrence, given: Sequence[str]) -> None:
    """Refuses an event about a message that its decision, which gave others, did not give.

    Raises:
        InputError: it is such an event, and would do nothing.
    """
    name, settles = occurrence.message, _settles_alone(occurrence.type, occurrence.properties)
    if settles and name is not None and name not in given:
        said = f"decision {occurrence.decision_id} gave {', '.join(given)}, and not {name[:60]}"
        raise InputError("message", said + meant(name, given))


def _settles_alone(event_type: str, properties: Mapping[str, Any]) -> bool:
    return event_type in SETTLING and not properties.get("permanent")
