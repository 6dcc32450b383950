"""What events about contacts refer to: refused where they could not find it.

An opt-out and a permanent bounce are obeyed all the same: of nothing known, they are of everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from decision.core.errors import InputError, meant
from decision.core.event_effects import DENYING, OPTING_OUT, SETTLING, Occurrence
from decision.core.identifiers import is_decision_id
from decision.core.policy import Policy
from decision.core.schema import Event

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


def of_value(event: Event) -> Iterator[str]:
    """Says of a conversion that its value is not where reports and models look for it."""
    if event.type == "message.converted" and event.value is None and "value" in event.properties:
        yield "properties.value: counts as no value of the conversion; give value beside properties"


def of_opt_out(event: Event, policy: Policy, is_stranger: bool) -> Iterator[str]:
    """What an opt-out does not do, though it is kept; nothing of other events.

    `is_stranger` is whether nothing was known of the customer before.
    """
    if event.type not in OPTING_OUT:
        return
    purpose = policy.purposes.get(str(event.properties.get("purpose")))
    if event.type in DENYING and purpose is not None and purpose.consent == "not_required":
        yield (
            f"properties.purpose: messages of {purpose.name} need no consent and are given all the "
            "same; left out, everything that can be refused is denied"
        )
    if is_stranger and (event.type in DENYING or event.properties.get("permanent")):
        who = "customer_id" if event.alias is None else "alias"
        yield f"{who}: nothing was known of this customer; look whether it is written as stored"


def _settles_alone(event_type: str, properties: Mapping[str, Any]) -> bool:
    return event_type in SETTLING and not properties.get("permanent")
