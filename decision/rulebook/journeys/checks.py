"""What moments and journeys cannot be made of, once everything is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from decision.core.conditions import Condition
from decision.core.definition import PolicyDefinition
from decision.core.journeys.definition import (
    MOMENT,
    Branch,
    Journey,
    Moment,
    ScheduleStart,
    Trigger,
    WaitFor,
    WaitUntilDate,
)
from decision.rulebook.checker import Checker
from decision.rulebook.yaml_source import Place

_REQUEST: Final = ("context", "placement")
_INSTEAD: Final = {
    "context": "use an attribute of the customer, such as customer.country",
    "placement": "delete it; the placement is that of the ask",
    "event": "use an attribute of the customer, or count events: events.purchase.count_7d",
}


def check_journeys(checker: Checker, definition: PolicyDefinition) -> None:
    """Checks patterns, and what conditions of journeys can read."""
    for moment in definition.moments:
        _check_pattern(checker, moment)
        _only_the_event(checker, moment)
    _made_of_themselves(checker, definition)
    for journey in definition.journeys:
        for condition, has_event in _conditions(journey):
            for field, place in checker.places.fields_read(condition):
                _check_field(checker, journey, field, place, has_event)
        _needs_an_event(checker, journey)


def _check_pattern(checker: Checker, moment: Moment) -> None:
    pattern = moment.pattern
    if not pattern or not pattern[0].absent:
        return
    place = checker.places.value("moments", moment.name, "pattern", 0)
    message = (
        f'pattern of moment "{moment.name}" starts with "not", so it has nothing to start with'
    )
    checker.error("conflict", place, message, "write an event first: [{event: cart_add}, …]")


def _only_the_event(checker: Checker, moment: Moment) -> None:
    for element in moment.pattern:
        for field, place in checker.places.fields_read(element.when):
            if field.partition(".")[0] != "event":
                message = f'moment "{moment.name}" cannot use {field}: a pattern reads events alone'
                hint = f'ask for it in the "when" of what moment.{moment.name} starts'
                checker.error("unknown-field", place, message, hint)


def _made_of_themselves(checker: Checker, definition: PolicyDefinition) -> None:
    """Refuses moments that need themselves to happen, also by way of derived events."""
    parts = {
        f"{MOMENT}{one.name}": [part.event for part in one.pattern] for one in definition.moments
    }
    parts |= {one.name: [one.of] for one in definition.events}
    said: set[str] = set()
    for moment in definition.moments:
        name = f"{MOMENT}{moment.name}"
        way = _way_back(parts, name)
        if way and said.isdisjoint(way):
            said.update(way)
            place = checker.places.value("moments", moment.name, "pattern")
            message = f'moment "{moment.name}" is made of itself: {" → ".join([*way, name])}'
            checker.error("conflict", place, message, "use events that are sent")


def _way_back(parts: dict[str, list[str]], first: str) -> list[str]:
    todo, seen = [[first]], set[str]()
    while todo:
        way = todo.pop()
        for part in parts.get(way[-1], ()):
            if part == first:
                return way
            if part not in seen:
                seen.add(part)
                todo.append([*way, part])
    return []


def _conditions(journey: Journey) -> Iterator[tuple[Condition, bool]]:
    """Each condition of a journey, and whether `event.…` has a value in it."""
    start = journey.start
    started_by_event = isinstance(start, Trigger) and start.event is not None
    if isinstance(start, Trigger | ScheduleStart):
        yield start.when, started_by_event
    yield journey.when, started_by_event
    for trigger in (journey.goal, journey.stop):
        if trigger is not None:
            yield trigger.when, trigger.event is not None
    for step in journey.steps:
        match step:
            case WaitFor(trigger=trigger):
                yield trigger.when, trigger.event is not None
            case Branch(ways=ways):
                yield from ((way.when, started_by_event) for way, _ in ways)


def _check_field(
    checker: Checker, journey: Journey, field: str, place: Place, has_event: bool
) -> None:
    family = field.partition(".")[0]
    if family in _REQUEST:
        message = (
            f'journey "{journey.name}" cannot use {field}: it comes with a request, and nobody asks'
        )
        checker.error("unknown-field", place, message, _INSTEAD[family])
    elif family == "event" and not has_event:
        message = f'journey "{journey.name}" cannot use {field} here: there is no event'
        hint = _INSTEAD[family]
        if field == "event.type":
            hint = "name the event beside when: event: sign_up"
        checker.error("unknown-field", place, message, hint)


def _needs_an_event(checker: Checker, journey: Journey) -> None:
    """`key` and dates of an event need a journey that starts by an event."""
    if isinstance(journey.start, Trigger) and journey.start.event is not None:
        return
    places = checker.places
    message = f'journey "{journey.name}" cannot use {{}} here: no event starts it'
    if journey.key is not None:
        place = places.value("journeys", journey.name, "key")
        checker.error("conflict", place, message.format(journey.key), "delete key")
    for step in journey.steps:
        if isinstance(step, WaitUntilDate) and step.field.startswith("event."):
            place = places.value("journeys", journey.name, "steps", step.name, "wait", "until")
            hint = "write a date of the customer, such as customer.renewal"
            checker.error("conflict", place, message.format(step.field), hint)
