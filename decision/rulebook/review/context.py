"""What every part of the review works on: the definitions, their places, the solver."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from decision.core.conditions import ALWAYS, NEVER_HOLDS, Condition, clauses, fields_read
from decision.core.definition import PolicyDefinition
from decision.core.journeys.definition import Branch, Journey, ScheduleStart, Trigger, WaitFor
from decision.rulebook.collector import DiagnosticCollector
from decision.rulebook.review.candidates import Candidates
from decision.rulebook.review.fields import FieldDomains
from decision.rulebook.review.solver import Solver
from decision.rulebook.source_map import SourceMap

_SECTION: Final = "journeys"


class ReviewContext:
    """A policy, and where each part of it was written.

    With `valid` false there were errors, so less is known about the values of fields. `impossible`
    are the definitions, as (section, name), with a condition that can never be true: they get no
    other diagnostic.
    """

    def __init__(
        self,
        report: DiagnosticCollector,
        definition: PolicyDefinition,
        places: SourceMap,
        *,
        valid: bool = True,
    ) -> None:
        self.report = report
        self.definition = definition
        self.places = places
        self.impossible: set[tuple[str, str]] = set()
        self.candidates = Candidates(definition)
        last = definition.states[-1].when if definition.states else None
        self.solver = Solver(
            FieldDomains(
                (placement.name for placement in definition.placements),
                (state.name for state in definition.states),
                leftover=last != ALWAYS or not valid,
                experiments=(
                    one for one in definition.experiments if len(one.variants or ()) > 1 and valid
                ),
                scores=definition.scores if valid else (),
            )
        )


def conditions_of(
    definition: PolicyDefinition,
) -> Iterator[tuple[str, str, str, Condition]]:
    """(section, name, what it is called, condition) of every condition on what a decision reads."""
    for section in ("states", "messages", "caps", "rules"):
        for one in getattr(definition, section):
            yield section, one.name, "when", one.when
    for channel in definition.channels:
        for hours in channel.quiet_hours:
            if hours.unless != NEVER_HOLDS:
                yield "channels", channel.name, "unless in quiet_hours", hours.unless
    for moment in definition.moments:
        for element in moment.pattern:
            yield "moments", moment.name, "when in pattern", element.when
    for journey in definition.journeys:
        yield from ((_SECTION, journey.name, key, one) for key, one in _of_journey(journey))


def _of_journey(journey: Journey) -> Iterator[tuple[str, Condition]]:
    """Each condition of a journey, and what it is called."""
    if isinstance(journey.start, Trigger | ScheduleStart):
        yield "when in start", journey.start.when
    yield "when", journey.when
    for key, trigger in (("goal", journey.goal), ("stop", journey.stop)):
        if trigger is not None:
            yield f"when in {key}", trigger.when
    for step in journey.steps:
        if isinstance(step, WaitFor):
            yield f'when in step "{step.name}"', step.trigger.when
        elif isinstance(step, Branch):
            for way, _ in step.ways:
                yield f'when in step "{step.name}"', way.when


def size_of(condition: Condition) -> int:
    """How many clauses a condition has."""
    return sum(1 for _ in clauses(condition))


def fields_of(condition: Condition) -> set[str]:
    """The fields that a condition names."""
    return set(fields_read(condition))


def reading(when: Condition, field: str) -> Condition:
    """The first clause that reads a field, also as an operand."""
    return next((one for one in clauses(when) if field in (one.field, one.operand)), when)


def listed(names: list[str], most: int = 4) -> str:
    """`a, b and c`, shortened if there are many."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([*([", ".join(names[:-1])] if len(names) > 1 else []), *names[-1:]])
