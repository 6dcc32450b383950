"""The names that documents repeat and a policy knows: nobody's data, they may stay for ever."""

from __future__ import annotations

from functools import cache
from typing import Final
from zoneinfo import available_timezones

from decision.core.event_effects import CONTACT_EVENTS
from decision.core.fields import measured_date
from decision.core.journeys.again import AGAIN, STEP
from decision.core.journeys.definition import MOMENT
from decision.core.policy import Policy

_COMMON: Final = frozenset(
    {*CONTACT_EVENTS, "*", "", "api", "load", "email", "phone", "device", "openid", "unionid"}
    | {AGAIN, STEP}
)
"""Types of events, sources of consents and types of aliases that no policy need name."""


def names_of(policy: Policy) -> frozenset[str]:
    """Attributes, event types, properties, purposes, channels, messages of a policy; time zones."""
    found = {*_COMMON, *_time_zones(), *policy.purposes, *policy.channels, *policy.messages}
    found |= {message.category for message in policy.messages.values()}
    found |= {one.event for one in policy.definition.suppressions}
    found |= policy.scores.definitions.keys()
    for journey in policy.definition.journeys:
        found |= {journey.name, *(step.name for step in journey.steps)}
    for moment in policy.definition.moments:
        found |= {moment.name, f"{MOMENT}{moment.name}"}
    for event_type, measure in policy.measures().items():
        found |= {event_type, *measure.sums, *measure.last}
    for field in policy.fields.names():
        family, _, path = field.partition(".")
        if measured := measured_date(field):
            path = measured[0]
        if family == "customer":  # an attribute with dots in its name, or a path into one
            found |= {path, path.partition(".")[0]}
    return frozenset(found)


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones())
