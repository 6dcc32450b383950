"""Types of events that rules name once, nearly as another one is named elsewhere.

No proof, as senders may use both. But nothing tells that `purchse` never comes: a score stays 0, a
reply window never opens, a metric is empty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from decision.core.conditions import Clause, clauses
from decision.core.definition import PolicyDefinition
from decision.core.fields import parse_field
from decision.rulebook.review.attributes import is_slip
from decision.rulebook.review.context import ReviewContext, conditions_of
from decision.rulebook.review.journey_ends import triggers_of
from decision.rulebook.yaml_source import Place

EventNamed = tuple[str, str, tuple[str | int, ...], str]
"""(section, name, path, type of event)."""


class _Use(NamedTuple):
    """A type of event where it is named; `text` is what is written there."""

    event: str
    place: Place
    text: str


def review_event_types(context: ReviewContext) -> None:
    """Warns of types that are named once, and are a slip of one that is named elsewhere."""
    derived = [one.name for one in context.definition.events]
    uses = sorted(_uses(context), key=_written)
    found = Counter([*(use.event for use in uses), *derived, *derived])
    seen: dict[str, Place] = {}
    for use in uses:
        event = use.event
        if found[event] == 1:
            near = [one for one in found if is_slip(event, one)]
            if use.text.startswith("events."):  # of a slip of these, conditions have an own warning
                near = [one for one in near if one not in derived]
            often = [one for one in near if found[one] > 1]
            if often:
                message = f'nothing else names an event "{event}", which is written like '
                fix = f"write {use.text.replace(event, often[0])}"
                context.report.warn(use.place, f'{message}"{often[0]}"', fix, "doubtful-value")
            elif alike := next((one for one in near if one in seen), None):
                message = f'an event "{event}" is named here alone, and "{alike}" in '
                fix = "write the one that is sent in both places"
                where = f"{message}{seen[alike].label} alone"
                context.report.warn(use.place, where, fix, "doubtful-value")
        seen.setdefault(event, use.place)


def _written(use: _Use) -> tuple[str, int, int]:
    return use.place.source.name, use.place.line, use.place.column


def event_types_named(definition: PolicyDefinition) -> Iterator[EventNamed]:
    """Each type of event that something but a condition names, and where."""
    for suppression in definition.suppressions:
        yield "suppressions", suppression.name, ("event",), suppression.event
    for message in definition.messages:
        if message.goal:
            yield "messages", message.name, ("goal", "event"), message.goal.event
    for channel in definition.channels:
        for at, window in enumerate(channel.reply_windows):
            yield "channels", channel.name, ("reply_window", at, "opened_by"), window.opened_by
    for derived in definition.events:
        yield "events", derived.name, ("of",), derived.of
    for metric in definition.metrics:
        yield "metrics", metric.name, ("event",), metric.event
    for funnel in definition.funnels:
        for at, step in enumerate(funnel.steps):
            yield "funnels", funnel.name, ("steps", at), step
    for score in definition.scores:
        for kind in score.adds:
            yield "scores", score.name, ("adds", kind), kind
    for moment in definition.moments:
        for at, element in enumerate(moment.pattern):
            path = ("pattern", at, "not" if element.absent else "event")
            yield "moments", moment.name, path, element.event
    for journey in definition.journeys:
        for where, trigger in triggers_of(journey):
            if trigger.event is not None:
                yield "journeys", journey.name, (*where, "event"), trigger.event


def _uses(context: ReviewContext) -> Iterator[_Use]:
    places = context.places
    for section, name, path, event in event_types_named(context.definition):
        key = path[-1]
        if section == "scores":
            yield _Use(event, places.key(section, name, *path), event)
        else:
            text = f"{key}: {event}" if isinstance(key, str) else event
            yield _Use(event, places.value(section, name, *path), text)
    for _, _, _, condition in conditions_of(context.definition):
        for clause in clauses(condition):
            for field, place in places.fields_read(clause):
                if field.startswith("events."):
                    parsed = parse_field(field)
                    for event in filter(None, (parsed.event_type, parsed.beside)):
                        yield _Use(event, place, field)
            for event in _asked(clause):
                yield _Use(event, places.operand(clause, event), event)


def _asked(clause: Clause) -> list[str]:
    """The types that a condition on the request's event compares with."""
    if clause.field != "event.type" or clause.operand is not None:
        return []
    several = clause.op in ("in", "not_in")
    values = clause.value if several else (clause.value,)
    known = several or clause.op in ("eq", "ne")
    return [one for one in values if isinstance(one, str)] if known else []
