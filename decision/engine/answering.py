"""Selections as callers get them: content rendered for the customer as the decision saw them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from decision.core.arbitration import Scored
from decision.core.clock import from_micros
from decision.core.decide import Verdict
from decision.core.schema import Selection, TriggerEvent
from decision.engine.snapshot import Snapshot

Namespaces = Mapping[str, Any]


def namespaces(
    snapshot: Snapshot,
    verdict: Verdict | None,
    event: TriggerEvent | None,
    context: dict[str, Any],
    placement: str | None = None,
) -> Namespaces:
    """What content templates may name; of the customer nothing where there is no verdict."""
    return {
        "customer": _attributes(snapshot, verdict) if verdict else {},
        "event": {**event.properties, "type": event.type} if event else {},
        "context": context,
        "placement": verdict.question.placement if verdict else placement,
    }


def _attributes(snapshot: Snapshot, verdict: Verdict) -> dict[str, Any]:
    """The customer's attributes as this decision sees them, what rules set included."""
    fields = snapshot.policy.fields.fields
    attributes = dict(verdict.document.attributes)
    for override in verdict.overrides:
        attributes[fields[override.slot].name.removeprefix("customer.")] = override.value
    state = verdict.values[snapshot.policy.state_slot]
    if isinstance(state, str):
        attributes["state"] = state
    return attributes


def selection(
    snapshot: Snapshot, row: Scored, names: Namespaces, decided_at: int, *, reserved: bool = True
) -> Selection:
    """What was chosen, with its content and until when it is reserved."""
    candidate = snapshot.policy.candidates[row.candidate]
    channel = snapshot.policy.pairs[row.candidate][1]
    until = from_micros(decided_at + channel.reservation.expires_after)
    return Selection(
        message=candidate.message,
        channel=candidate.channel,
        content=snapshot.renders[row.candidate](names),
        response_probability=row.response_probability,
        priority=row.priority,
        selection_probability=row.selection_probability,
        reserved_until=until if reserved else None,
    )


def fallback(snapshot: Snapshot, placement: str, names: Namespaces) -> list[Selection]:
    """The placement's fallback message, where it has one."""
    found = snapshot.fallbacks.get(placement)
    if found is None:
        return []
    message, channel, render = found
    return [Selection(message=message, channel=channel, content=render(names))]
