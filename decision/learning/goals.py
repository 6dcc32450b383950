"""What counts as a response: one rule for training and evaluation.

Which decisions count at all differs on purpose: see `joining` and `evaluation.log`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from decision.core.definition import Goal, PolicyDefinition
from decision.scoring.manifest import Responses

IN_TIME: Final = "h.moment > one.moment AND h.moment <= one.moment + one.within"
"""SQL: whether an event (`h`) is within the goal window of a decision (`one`)."""

SAME_CONTACT: Final = (
    "(h.decision_id IS NULL OR h.decision_id = one.decision_id) "
    "AND (h.message IS NULL OR h.message = one.message)"
)
"""SQL: whether an event may belong to that decision, as it names no other one."""

REACHED: Final = (
    f"one.customer = h.customer AND one.event = h.type AND {IN_TIME} AND {SAME_CONTACT}"
)
"""SQL: whether an event is the goal of that decision's message, reached in time."""


def goals_of(definition: PolicyDefinition, responses: Responses | None) -> Mapping[str, Goal]:
    """Message → what counts as its response, for messages that have a goal.

    `responses` None: only the messages' own goals count.
    """
    found = {}
    for message in definition.messages:
        goal = message.goal
        if responses is not None:
            goal = responses.target or goal or responses.without_goal
        if goal is not None:
            found[message.name] = goal
    return found
