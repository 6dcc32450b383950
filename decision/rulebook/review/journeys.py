"""Steps of journeys that no run reaches, waits that never end, asks that nothing answers."""

from __future__ import annotations

from typing import Final

from decision.core.conditions import Clause, Condition, clauses
from decision.core.definition import Selector
from decision.core.journeys.definition import (
    Ask,
    Branch,
    End,
    Journey,
    Trigger,
    WaitUntil,
)
from decision.core.masks import positions
from decision.rulebook.journeys.graph import first_always, graph_of, reached
from decision.rulebook.review.context import ReviewContext, listed, size_of

_SECTION: Final = "journeys"


def review_journeys(context: ReviewContext) -> None:
    """Reviews the steps of journeys."""
    undelivered: set[str] = set()
    for journey in context.definition.journeys:
        _review_ways(context, journey)
        for step in journey.steps:
            if isinstance(step, Ask):
                _review_ask(context, journey, step, undelivered)
            elif isinstance(step, WaitUntil):
                _review_days(context, journey, step)


def _review_ways(context: ReviewContext, journey: Journey) -> None:
    """Warns of steps that nothing leads to, ways that no run takes, and `go` after `end`."""
    graph, report, places = graph_of(journey), context.report, context.places
    found = reached(graph, [journey.steps[0].name, *journey.moved.values()])
    before = ""
    for step in journey.steps:
        if step.name not in found:
            message = f'no run can reach step "{step.name}" of journey "{journey.name}"'
            hint = f"lead to it with go: {step.name}, or delete it"
            if before:
                message += f': step "{before}" before it ends the run'
                hint = f'move it before "{before}", {hint}'
            place = places.key(_SECTION, journey.name, "steps", step.name)
            report.warn(place, message, hint, "unreached-step")
            found |= reached(graph, [step.name])
        before = step.name if isinstance(step, End) else ""
        if isinstance(step, End) and step.go is not None:
            place = places.key(_SECTION, journey.name, "steps", step.name, "go")
            message = f'go of step "{step.name}" of journey "{journey.name}" has no effect: it ends'
            report.warn(place, message, "delete go, or end")
        if isinstance(step, Branch) and first_always(step) < len(step.ways) - 1:
            last = first_always(step) + 1
            place = places.value(_SECTION, journey.name, "steps", step.name, "branch", last)
            message = f'no run takes this way of step "{step.name}": the one above has no condition'
            report.warn(place, message, "put the way without a condition last")


def _review_days(context: ReviewContext, journey: Journey, step: WaitUntil) -> None:
    """Warns of a wait for a day of the week that its calendar does not have."""
    if step.calendar is None or not step.weekdays:
        return
    dates = next(one.dates for one in context.definition.calendars if one.name == step.calendar)
    weekdays = {(day - 1) % 7 for low, high in dates for day in range(low, min(high, low + 6) + 1)}
    if not weekdays.isdisjoint(step.weekdays):
        return
    place = context.places.key(_SECTION, journey.name, "steps", step.name, "wait", "on")
    message = (
        f'step "{step.name}" of journey "{journey.name}" waits for a day that never comes: '
        f"{step.calendar} has no such weekday, so runs end there as no_time"
    )
    context.report.warn(place, message, 'delete "on", or "in", or correct the calendar')


def _review_ask(context: ReviewContext, journey: Journey, step: Ask, undelivered: set[str]) -> None:
    """Warns of asks that nobody delivers, once for a placement, or that no message can answer."""
    definition, where = context.definition, f'step "{step.name}" of journey "{journey.name}"'
    place = context.places.value(_SECTION, journey.name, "steps", step.name, "ask")
    placement = next(one for one in definition.placements if one.name == step.placement)
    if placement.delivery == "caller" and placement.name not in undelivered:
        undelivered.add(placement.name)
        message = (
            f'{where} asks at "{placement.name}", where the system that asks sends what is chosen; '
            "nobody asks here, so nobody sends it"
        )
        hint = f'add delivery: gateway to placement "{placement.name}", or ask at another one'
        context.report.warn(place, message, hint, "undelivered-ask")
    candidates = context.candidates
    shown = candidates.shown[step.placement]
    chosen = shown & candidates.selected(step.of or Selector())
    if not chosen:
        message = f'{where} never gets a message: none can be chosen at "{placement.name}"'
        hint = "add a message for this placement"
        if shown:
            message = (
                f'{where} never gets a message: of those at "{placement.name}", none is in "of"'
            )
            hint = 'change "of", or the tags, channels or placements of the messages'
            place = context.places.key(_SECTION, journey.name, "steps", step.name, "of")
        context.report.warn(place, message, hint, "unanswered-ask")
        return
    messages = {
        candidates.pairs[index][0].name: candidates.pairs[index][0] for index in positions(chosen)
    }
    if not any(_can_hold(context, journey, step, one.when) for one in messages.values()):
        message = (
            f"{where} never gets a message: {listed(list(messages))} "
            f"{'asks' if len(messages) == 1 else 'ask'} for what is never so when a journey asks"
        )
        hint = (
            f'change "when" of the messages: here placement is {placement.name}, context has '
            f"journey and step alone, and event is {_started_by(journey)}"
        )
        context.report.warn(place, message, hint, "unanswered-ask")


def _started_by(journey: Journey) -> str:
    event = _start_event(journey)
    return "missing" if event is None else f"the {event} that started it"


def _start_event(journey: Journey) -> str | None:
    return journey.start.event if isinstance(journey.start, Trigger) else None


def _can_hold(context: ReviewContext, journey: Journey, step: Ask, when: Condition) -> bool:
    known: list[Condition] = [
        Clause("placement", "eq", step.placement),
        Clause("context.journey", "eq", journey.name),
        Clause("context.step", "eq", step.name),
    ]
    event = _start_event(journey)
    if event is not None:
        known.append(Clause("event.type", "eq", event))
    for clause in clauses(when):
        family = clause.field.partition(".")[0]
        absent = family == "context" and clause.field not in ("context.journey", "context.step")
        if absent or (family == "event" and event is None):
            known.append(Clause(clause.field, "exists", False))
    context.solver.allow(size_of(when) + len(known))
    return context.solver.can_hold(when, *known)
