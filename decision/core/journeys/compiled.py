"""The journeys and moments of a policy, compiled.

Conditions see what a decision would see (fields, the state, what rules set), without a placement
and a context. They have a table of fields of their own, so that decisions read nothing more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING, Final

import msgspec

from decision.core.clock import DAY
from decision.core.conditions import ALWAYS, Clause, Condition, Test, compile_condition, fields_read
from decision.core.day_sets import DaySet
from decision.core.definition import Experiment, PolicyDefinition
from decision.core.document import Document
from decision.core.journeys.definition import (
    MESSAGE,
    MOMENT,
    AnyStep,
    Branch,
    DateStart,
    Journey,
    ScheduleStart,
    SegmentStart,
    Split,
    Trigger,
    WaitFor,
    WaitUntil,
    WaitUntilDate,
)
from decision.core.journeys.moments import Moments
from decision.core.journeys.state import Run
from decision.core.journeys.times import Cron, parse_cron
from decision.core.narrowing import Reader
from decision.core.schema import TriggerEvent
from decision.core.values import Value

if TYPE_CHECKING:
    from decision.core.event_effects import Occurrence


_ONE_DATE: Final = 3 * DAY
"""More than a date lasts around the world."""


class Cue(msgspec.Struct, frozen=True):
    """A trigger, compiled: an event of a type for which the test holds; None: the test alone."""

    event: str | None
    test: Test


class CompiledJourney(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A journey. `entry` is what starts it, None where that is a date or a schedule.

    `dates` are the slots of dates, by step; "" is the start. `days` are those of a wait's calendar.
    """

    definition: Journey
    name: str
    steps: dict[str, AnyStep]
    following: dict[str, str | None]
    when: Test
    entry: Cue | None
    key: int | None
    goal: Cue | None
    stop: Cue | None
    audience: Test
    cron: Cron | None
    awaited: dict[str, Cue]
    ways: dict[str, tuple[tuple[Test, str], ...]]
    splits: dict[str, Experiment]
    dates: dict[str, int]
    days: dict[str, DaySet]

    @property
    def first(self) -> str:
        """The step that runs begin with."""
        return self.definition.steps[0].name

    @property
    def again(self) -> int | None:
        """How long it takes until the next run; a date is no second one in another time zone."""
        again = self.definition.again
        dated = isinstance(self.definition.start, DateStart)
        return max(again, _ONE_DATE) if dated and again is not None else again

    @property
    def timed(self) -> bool:
        """Whether it starts by a date or a schedule."""
        return self.entry is None

    @property
    def limited(self) -> bool:
        """Whether a run may have to wait before its first step."""
        limits = self.definition.limits
        return limits.starts is not None or limits.running is not None

    def standing(self, step: str) -> str | None:
        """The step that a run in `step` stands in: it may have moved. None: it is gone."""
        for _ in range(len(self.definition.moved) + 1):
            if step in self.steps:
                return step
            step = self.definition.moved.get(step, "")
        return None

    def stands_at(self, step: str) -> AnyStep | None:
        """The step that is `standing`."""
        here = self.standing(step)
        return None if here is None else self.steps[here]


class Journeys:
    """The journeys and moments of a policy.

    `reader` reads the values that conditions need, of a policy compiled from `narrowed` definitions
    with the fields of `fields_of`.
    """

    def __init__(self, definition: PolicyDefinition, reader: Reader) -> None:
        self.reader: Final = reader
        self.moments: Final = Moments(definition.moments)
        days = {one.name: DaySet(one.dates) for one in definition.calendars}
        compiled = [_compiled(one, reader, days) for one in definition.journeys]
        self.by_name: Final = {one.name: one for one in compiled}
        """Journey → its compiled form, in the order of the rule files."""
        self.order: Final = {name: place for place, name in enumerate(self.by_name)}
        """Journey → its place in the rule files."""
        self.timed: Final = tuple(one for one in compiled if one.timed)
        """Those that start by a date or a schedule."""
        self.noticing: Final = tuple(
            one for one in compiled if one.entry is not None and one.entry.event is None
        )
        """Those that start when a condition becomes true."""
        self.reported: Final = _reported(definition)
        """Types of events that reports on messages make, where these may move a run; else none."""
        self._starting: Final[dict[str, list[CompiledJourney]]] = {}
        for one in compiled:
            if one.entry is not None and one.entry.event is not None:
                self._starting.setdefault(one.entry.event, []).append(one)

    def starting(self, event_type: str) -> Sequence[CompiledJourney]:
        """The journeys that an event of a type may start."""
        return self._starting.get(event_type, ())

    def zone_of(self, document: Document) -> tzinfo:
        """The customer's time zone, else that of the settings."""
        return self.reader.policy.zone_of(document)

    def values(
        self, document: Document, now: int, event: TriggerEvent | None = None
    ) -> list[Value]:
        """What conditions see of a customer; `event` is the one that came, or started a run."""
        return self.reader.read(document, now, event)

    def values_in(self, document: Document, run: Run, now: int) -> list[Value]:
        """What the conditions of a run's own steps see: `event.…` is the event that started it."""
        return self.values(document, now, start_event(run))

    def counted(self, occurrence: Occurrence, customer_id: str) -> Iterator[Occurrence]:
        """An event of a customer, and those that are derived from it for the same one, each with an
        id of its own."""
        yield occurrence
        derivations = self.reader.policy.derivations
        if derivations.concerns(occurrence.type):
            for one in derivations.of(occurrence.type, occurrence.measured):
                if one.customer is None:
                    yield msgspec.structs.replace(
                        occurrence,
                        id=one.id(customer_id, occurrence.id),
                        type=one.type,
                        properties=one.properties,
                        value=None,
                    )


def _reported(definition: PolicyDefinition) -> frozenset[str]:
    found: set[str] = set()

    def is_report(event: str) -> bool:
        return event.startswith(MESSAGE) or event in found

    while True:
        new = {one.name for one in definition.events if is_report(one.of)}
        for moment in definition.moments:
            if any(is_report(element.event) for element in moment.pattern if not element.absent):
                new.add(f"{MOMENT}{moment.name}")
        if new <= found:
            break
        found |= new
    for journey in definition.journeys:
        cues = [step.trigger for step in journey.steps if isinstance(step, WaitFor)]
        if isinstance(journey.start, Trigger):
            cues.append(journey.start)
        moved = any(cue.event is None or is_report(cue.event) for cue in cues)
        if moved or isinstance(journey.start, SegmentStart):
            return frozenset({*found, MESSAGE})
    return frozenset()


def start_event(run: Run) -> TriggerEvent | None:
    """The event that started a run; None where it was no event."""
    return TriggerEvent(run.event, properties=run.about) if run.event else None


def fields_of(definition: PolicyDefinition) -> Iterator[str]:
    """Every field that the journeys of a policy read, in the order of the rule files."""
    for journey in definition.journeys:
        for condition in conditions_of(journey):
            yield from fields_read(condition)
        if journey.key is not None:
            yield journey.key
        if isinstance(journey.start, DateStart):
            yield journey.start.field
        yield from (step.field for step in journey.steps if isinstance(step, WaitUntilDate))


def conditions_of(journey: Journey) -> Iterator[Condition]:
    """Every condition of a journey, in the order of the rule files."""
    match journey.start:
        case Trigger() | ScheduleStart() as start:
            yield start.when
        case SegmentStart(segment=segment):
            yield in_segment(segment)
    yield journey.when
    yield from (trigger.when for trigger in (journey.goal, journey.stop) if trigger is not None)
    for step in journey.steps:
        match step:
            case WaitFor(trigger=trigger):
                yield trigger.when
            case Branch(ways=ways):
                yield from (trigger.when for trigger, _ in ways)


def in_segment(segment: str) -> Clause:
    """That a customer is in a segment."""
    return Clause(f"customer.segment.{segment}", "eq", True)


def _compiled(journey: Journey, reader: Reader, days: dict[str, DaySet]) -> CompiledJourney:
    slot, steps, start = reader.slot, journey.steps, journey.start

    def test(condition: Condition) -> Test:
        return compile_condition(condition, slot)

    def cue(trigger: Trigger | None) -> Cue | None:
        return None if trigger is None else Cue(trigger.event, test(trigger.when))

    entry = cue(start) if isinstance(start, Trigger) else None
    if isinstance(start, SegmentStart):
        entry = Cue(None, test(in_segment(start.segment)))
    dates = {one.name: slot(one.field) for one in steps if isinstance(one, WaitUntilDate)}
    if isinstance(start, DateStart):
        dates[""] = slot(start.field)
    scheduled = start if isinstance(start, ScheduleStart) else None
    names = [step.name for step in steps]
    return CompiledJourney(
        definition=journey,
        name=journey.name,
        steps={step.name: step for step in steps},
        following={
            step.name: step.go or following
            for step, following in zip(steps, [*names[1:], None], strict=True)
        },
        when=test(journey.when),
        entry=entry,
        key=None if journey.key is None else slot(journey.key),
        goal=cue(journey.goal),
        stop=cue(journey.stop),
        audience=test(scheduled.when if scheduled else ALWAYS),
        cron=parse_cron(scheduled.schedule) if scheduled else None,
        awaited={
            one.name: Cue(one.trigger.event, test(one.trigger.when))
            for one in steps
            if isinstance(one, WaitFor)
        },
        ways={
            one.name: tuple((test(trigger.when), go) for trigger, go in one.ways)
            for one in steps
            if isinstance(one, Branch)
        },
        splits={
            one.name: Experiment(name=one.name, seed=one.seed, variants=one.variants)
            for one in steps
            if isinstance(one, Split)
        },
        dates=dates,
        days={
            one.name: days[one.calendar]
            for one in steps
            if isinstance(one, WaitUntil) and one.calendar is not None
        },
    )
