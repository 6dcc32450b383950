"""What starts and ends journeys: goals that hold at once, journeys that wait for themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from decision.core.conditions import ALWAYS, All, Clause, Condition, clauses
from decision.core.journeys.definition import (
    Ask,
    Branch,
    Journey,
    ScheduleStart,
    SegmentStart,
    SetAttributes,
    Trigger,
    WaitFor,
)
from decision.rulebook.journeys.graph import circle
from decision.rulebook.review.attributes import is_slip
from decision.rulebook.review.context import ReviewContext, conditions_of, fields_of, size_of

_SECTION: Final = "journeys"


def review_journey_ends(context: ReviewContext) -> None:
    """Reviews what starts and ends journeys, and what their steps wait for."""
    for journey in context.definition.journeys:
        _review_ends(context, journey)
        _review_own_step(context, journey)
    _review_each_other(context)
    _review_segments(context)


def _review_ends(context: ReviewContext, journey: Journey) -> None:
    """Warns of a goal or stop that ends every run at once, or that says nothing."""
    report, places = context.report, context.places
    for key, trigger in (("goal", journey.goal), ("stop", journey.stop)):
        if trigger is None:
            continue
        place = places.key(_SECTION, journey.name, key)
        what = f'{key} of journey "{journey.name}"'
        start = journey.start
        if (
            isinstance(start, Trigger)
            and start.event == trigger.event is not None
            and start.when == trigger.when
            and not (key == "goal" and journey.again == 0)  # each one begins the wait anew
        ):
            message = f"{what} is the event that starts it"
            hint = (
                "name what the customer is to do, such as purchase"
                if key == "goal"
                else "delete it"
            )
            report.warn(place, message, hint, "doubtful-value")
        if trigger.event is None:
            context.solver.allow(size_of(trigger.when) + size_of(journey.when))
            if context.solver.implies(_at_start(journey), trigger.when):
                message = f"{what} holds whenever it starts, so each run ends at once"
                hint = "name what is to change, or what is to happen: {event: purchase}"
                report.warn(place, message, hint, "ends-at-once")
    if (
        journey.goal is not None
        and journey.stop is not None
        and ((journey.goal.event, journey.goal.when) == (journey.stop.event, journey.stop.when))
    ):
        message = f'stop of journey "{journey.name}" is the same as its goal, which comes first'
        report.warn(places.key(_SECTION, journey.name, "stop"), message, "delete one of them")
    if not any(isinstance(step, Ask | SetAttributes) for step in journey.steps):
        message = f'journey "{journey.name}" never asks and sets nothing'
        hint = "add a step such as hello: {ask: outbound}"
        report.warn(places.key(_SECTION, journey.name, "steps"), message, hint)


def _at_start(journey: Journey) -> Condition:
    """What holds when a run starts, of customers; not of the event."""
    parts: list[Condition] = [journey.when]
    start = journey.start
    if isinstance(start, ScheduleStart) or (isinstance(start, Trigger) and start.event is None):
        parts.append(start.when)
    return All(tuple(part for part in parts if part != ALWAYS))


def _review_own_step(context: ReviewContext, journey: Journey) -> None:
    """Warns of conditions that need the run to be at another step than it is."""
    if journey.key is not None:
        return
    field = f"journey.{journey.name}.step"
    for step in journey.steps:
        conditions: list[Condition] = []
        if isinstance(step, WaitFor):
            conditions = [step.trigger.when]
        elif isinstance(step, Branch):
            conditions = [way.when for way, _ in step.ways]
        for condition in conditions:
            if field not in {clause.field for clause in clauses(condition)}:
                continue
            context.solver.allow(size_of(condition) + 1)
            here = Clause(field, "eq", step.name)
            if not context.solver.can_hold(condition, here):
                place = context.places.condition(condition, _SECTION, journey.name)
                message = (
                    f'step "{step.name}" of journey "{journey.name}" waits for itself: while a run '
                    f'is there, {field} is "{step.name}"'
                )
                hint = "ask for the step of another journey, or for what the customer did"
                context.report.error("conflict", place, message, hint)


def _review_each_other(context: ReviewContext) -> None:
    """Refuses journeys of which each starts only while another is under way, in a circle."""
    names = [journey.name for journey in context.definition.journeys]
    needed = {
        journey.name: tuple(_needs(context, journey, names))
        for journey in context.definition.journeys
    }
    way = circle(needed, names)
    if not way:
        return
    first = way[0]
    message = f'journey "{first}" never starts: it starts only while it is under way'
    if len(way) > 1:
        chain = " → ".join([*way, first])
        message = f"these journeys never start, each waits for the next to be under way: {chain}"
    hint = (
        f'change "when": a customer who has never been in journey "{first}" must be able to start'
    )
    context.report.error("conflict", context.places.key(_SECTION, first, "when"), message, hint)


def _needs(context: ReviewContext, journey: Journey, names: list[str]) -> Iterator[str]:
    """The journeys that must be under way when one starts."""
    start = journey.start
    parts = [journey.when]
    if isinstance(start, Trigger | ScheduleStart):
        parts.append(start.when)
    read = {clause.field for part in parts for clause in clauses(part)}
    for name in names:
        field = f"journey.{name}.step"
        if field in read or f"journey.{name}.since" in read:
            context.solver.allow(sum(map(size_of, parts)) + 2)
            gone = [
                Clause(field, "exists", False),
                Clause(f"journey.{name}.since", "exists", False),
            ]
            if not context.solver.can_hold(*parts, *gone):
                yield name


def _review_segments(context: ReviewContext) -> None:
    """Warns of segments that start journeys, nearly like those that are set or asked for."""
    definition = context.definition
    known = {name for rule in definition.rules for name in rule.set}
    for journey in definition.journeys:
        for step in journey.steps:
            if isinstance(step, SetAttributes):
                known.update(f"customer.{name}" for name in step.values)
    for _, _, _, condition in conditions_of(definition):
        known.update(fields_of(condition))
    for journey in definition.journeys:
        start = journey.start
        if not isinstance(start, SegmentStart):
            continue
        field = f"customer.segment.{start.segment}"
        near = sorted(one for one in known if is_slip(field, one))
        if near and field not in known:
            segment = near[0].removeprefix("customer.segment.")
            message = f'nothing sets {field} or asks for it, but "{segment}" is written like it'
            place = context.places.value(_SECTION, journey.name, "start", "segment")
            context.report.warn(place, message, f"write segment: {segment}", "doubtful-value")


def triggers_of(journey: Journey) -> Iterator[tuple[tuple[str, ...], Trigger]]:
    """The triggers of a journey, with where each is written."""
    for key, trigger in (("start", journey.start), ("goal", journey.goal), ("stop", journey.stop)):
        if isinstance(trigger, Trigger):
            yield (key,), trigger
    for step in journey.steps:
        if isinstance(step, WaitFor):
            yield ("steps", step.name, "wait_for"), step.trigger
