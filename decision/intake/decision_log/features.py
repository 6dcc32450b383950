"""Which features imported decisions are logged with, and the covariates of the check."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import tzinfo
from typing import Final

from decision.core.clock import from_micros, parse_duration
from decision.core.fields import STATE_FIELD
from decision.core.fields.times import WEEKDAYS
from decision.core.policy import Policy
from decision.core.values import Value
from decision.intake.decision_log.header import Header
from decision.intake.decision_log.reading import LoggedRow
from decision.scoring.features import Feature
from decision.scoring.scorers import MINIMAL_FEATURES

_ALWAYS: Final = (
    Feature("placement", "categorical"),
    Feature("time.hour", "numeric"),
    Feature("time.weekday", "categorical"),
    Feature("message.count_7d", "numeric"),
    Feature("message.days_since", "numeric"),
    Feature("contacts.count_7d", "numeric"),
)
_COUNTS: Final = ("message.count_", "contacts.count_")
HISTORY: Final = ("events.", "contacts.", "score.", "message.count_", "message.days_since")


def features_of(policy: Policy, header: Header, given: Iterable[Feature]) -> list[Feature]:
    """What is logged of each decision: what specs name, what the table has, time and history.

    Of a feature that several name the first counts.
    """
    found = {feature.name: feature for feature in (*given, *MINIMAL_FEATURES, *_ALWAYS)}
    names = [f"customer.{name}" for name, _ in header.attributes]
    names += [f"context.{name}" for name, _ in header.context]
    names += [f"event.{name}" for name, _ in header.event]
    for name in names:
        found.setdefault(name, Feature(name, "categorical"))
    if policy.states:
        found.setdefault(STATE_FIELD, Feature(STATE_FIELD, "categorical"))
    for tag in dict.fromkeys(tag for one in policy.candidates for tag in one.tags):
        name = f"message.tag.{tag}"
        found.setdefault(name, Feature(name, "numeric"))
    return list(found.values())


def longest_window(features: Iterable[Feature]) -> int:
    """The longest window, in microseconds, over which features count contacts."""
    counts = (one.name.rpartition("count_")[2] for one in features if one.name.startswith(_COUNTS))
    return max(map(parse_duration, counts), default=0)


def covariates_of(row: LoggedRow, zone: tzinfo) -> dict[str, Value]:
    """What is known of a row apart from what was given: by which assignments are checked."""
    local = from_micros(row.at).astimezone(zone)
    found: dict[str, Value] = {f"attribute.{name}": value for name, value in row.attributes.items()}
    found.update((f"context.{name}", value) for name, value in row.context.items())
    found.update((f"event.{name}", value) for name, value in row.event.items())
    if row.event_type is not None:
        found["event.type"] = row.event_type
    return found | {
        "decided_at": row.at,
        "hour": local.hour,
        "weekday": WEEKDAYS[local.weekday()],
    }


def of_history(features: Sequence[Feature]) -> str:
    """The features that count what happened before, which know the table alone: at most five."""
    names = [feature.name for feature in features if feature.name.startswith(HISTORY)]
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
