"""The names that forms offer: those of the policy in force."""

from __future__ import annotations

from typing import Final

from decision.core.definition import PolicyDefinition
from decision.rulebook.policy_names import names_in

_MOST: Final = 300


def names_of(policy: PolicyDefinition | None, zone: str) -> dict[str, list[str]]:
    """Of what an option has names (`asking.Names`) → these names. It takes some milliseconds."""
    zones = {"zones": list(dict.fromkeys((zone, "customer", "UTC")))}
    if policy is None:
        return zones
    events = {one.event for one in policy.metrics}
    events |= {step for one in policy.funnels for step in one.steps}
    events |= set(names_in(policy.files).of("event_types")) - {one.name for one in policy.events}
    listed = sorted(events, key=lambda name: (name.startswith("message."), name))
    found = {
        "events": listed,
        "called": listed,
        "channels": [one.name for one in policy.channels],
        "placements": [one.name for one in policy.placements],
        "funnels": [one.name for one in policy.funnels],
        "metrics": [one.name for one in policy.metrics],
        "experiments": [one.name for one in policy.experiments],
        "journeys": [one.name for one in policy.journeys],
        "messages": [one.name for one in policy.messages],
    }
    return {of: names[:_MOST] for of, names in found.items()} | zones
