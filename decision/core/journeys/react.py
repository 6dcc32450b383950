"""What an event, or a change of the customer, does to journeys.

Goals, stops and waits are looked at when something comes, never only at the end of a step. A start
only makes the run, which is due at once: nothing is asked inside a call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec

from decision.core.document import Document
from decision.core.event_effects import Occurrence
from decision.core.journeys.chains import MOST_ASKS, forget
from decision.core.journeys.compiled import CompiledJourney, Cue, Journeys
from decision.core.journeys.definition import WaitFor, WaitUntil, WaitUntilDate
from decision.core.journeys.runs import end, put, record_of, runs_of, state_of, tidy
from decision.core.journeys.starts import start
from decision.core.journeys.state import MOST_STEPS, TOO_LATE, Chain, Run
from decision.core.journeys.waits import NEVER, due
from decision.core.records import JourneyRecord
from decision.core.schema import TriggerEvent
from decision.core.values import Value


class Before(msgspec.Struct, frozen=True):
    """What `react` needs to know of a customer before a change.

    `holding` are the journeys whose starting condition held; `due` is run → until when its wait for
    a local time or a date would last.
    """

    holding: frozenset[str] = frozenset()
    due: Mapping[str, int | None] = {}


class Reaction(msgspec.Struct):
    """What was done: a record for each run, and whether the customer's state has changed."""

    records: list[JourneyRecord] = []
    changed: bool = False


def look(journeys: Journeys, document: Document, now: int) -> Before:
    """What `react` has to know of a customer; taken before an event or a change is applied."""
    holding = frozenset(_holding(journeys, document, now))
    return Before(holding, _waits(journeys, document, now))


def react(
    journeys: Journeys,
    document: Document,
    occurrence: Occurrence | None,
    now: int,
    before: Before,
    *,
    derive: bool = True,
    hurried: int = 0,
    chain: Chain | None = None,
) -> Reaction:
    """Does what an event that was applied, or a change of the customer (None), does to journeys.

    With `derive`, also what is derived from the event counts. `before` is the `look` before it. Of
    a change that a run made, `hurried` is how many steps it had entered since it last waited: they
    count for those that start, or go on, by it; `chain` is the one by which the event, or change,
    came. Where that has given too many messages, these runs end as `loop`.
    First runs end, or go on, in the order of the rule file; then others start. An event that is
    older than `TOO_LATE` starts nothing.
    """
    here = _Reacting(journeys, document, now, hurried, chain)
    events: list[Occurrence] = []
    if occurrence is not None:
        events = [occurrence]
        if derive:
            events = list(journeys.counted(occurrence, document.customer_id))
    here.runs_react(events)
    here.waits_change(before.due)
    for event in events:
        here.starts_by(event)
    here.starts_by_conditions(before.holding)
    state = document.journeys
    if journeys.timed and document.moved_to is None and (state is None or not state.looked):
        state_of(document).looked = now
        here.found.changed = True
    forget(document, now)
    tidy(document)
    return here.found


class _Reacting:
    """One event, or change, and one customer."""

    def __init__(
        self,
        journeys: Journeys,
        document: Document,
        now: int,
        hurried: int,
        chain: Chain | None,
    ) -> None:
        self.journeys, self.document, self.now = journeys, document, now
        full = chain is not None and len(chain.decisions) >= MOST_ASKS
        self.hurried = MOST_STEPS if full else hurried
        self.chain = 0 if chain is None else chain.name
        self.found = Reaction()
        self._values: dict[int, list[Value]] = {}

    def runs_react(self, events: Sequence[Occurrence]) -> None:
        """Ends runs, or lets them go on, by events and by conditions."""
        if not any(runs_of(self.document)):
            return
        for name, journey in self.journeys.by_name.items():
            state = self.document.journeys
            for run in () if state is None else state.runs.get(name, ()):
                if self._hit(journey.goal, run, events) is not None:
                    self._done(end(self.document, name, run, "goal", self.now))
                elif self._hit(journey.stop, run, events) is not None:
                    self._done(end(self.document, name, run, "stopped", self.now))
                elif isinstance(step := journey.stands_at(run.step), WaitFor):
                    at = self._hit(journey.awaited[step.name], run, events)
                    if at is not None and (at <= run.wake or not run.entered):
                        self._came(journey, run, step)

    def _hit(self, cue: Cue | None, run: Run, events: Sequence[Occurrence]) -> int | None:
        """When what a cue names happened to a run; None where it did not.

        History that is loaded during a run is not of it. An event from shortly before may be: what
        started the run, such as a moment, can itself be about what came before.
        """
        if cue is None:
            return None
        if cue.event is None:
            return self.now if cue.test(self._seen(None)) else None
        for event in events:
            recent = run.started - event.at <= TOO_LATE
            if recent and event.type == cue.event and cue.test(self._seen(event)):
                return min(event.at, self.now)  # a clock that is ahead makes nothing late
        return None

    def _seen(self, event: Occurrence | None) -> list[Value]:
        values = self._values.get(id(event))
        if values is None:
            read = self.journeys.values(self.document, self.now, _trigger(event))
            values = self._values[id(event)] = read
        return values

    def _done(self, record: JourneyRecord | None) -> None:
        self.found.changed = True
        if record is not None:
            self.found.records.append(record)
        self._values = {}  # conditions may name the steps of runs

    def _came(self, journey: CompiledJourney, run: Run, step: WaitFor) -> None:
        """What was waited for has come."""
        hurried, chain = max(run.hurried, self.hurried), self.chain or run.chain
        run = msgspec.structs.replace(run, wake=self.now, hurried=hurried, chain=chain)
        record = None
        if not run.entered:  # it came before the step was entered
            record = record_of(self.document, journey.name, run, self.now)
            record.steps.append(f"{step.name}:wait_for")
            run.visit, run.hurried = run.visit + 1, run.hurried + 1
        following = step.then or journey.following[step.name]
        if following is None:
            record = record or record_of(self.document, journey.name, run, self.now)
            record.ended = end(self.document, journey.name, run, "finished", self.now).ended
        else:
            run.step, run.entered = following, 0
            put(self.document, journey.name, run)
        self._done(record)

    def waits_change(self, before: Mapping[str, int | None]) -> None:
        """Sets anew until when runs wait, where that depends on what has changed."""
        after = _waits(self.journeys, self.document, self.now)
        for name, run in list(runs_of(self.document)):
            until = after.get(run.id)
            if until is None or before.get(run.id, until) == until or until == NEVER:
                continue
            wake = max(until, self.now)  # one that became unreadable ends now
            put(self.document, name, msgspec.structs.replace(run, wake=wake))
            self._done(None)

    def starts_by(self, event: Occurrence) -> None:
        """Starts what an event starts."""
        if self.now - event.at > TOO_LATE:
            return
        for journey in self.journeys.starting(event.type):
            if journey.entry is not None and journey.entry.test(self._seen(event)):
                self._start(journey, event.id, event)

    def starts_by_conditions(self, before: frozenset[str]) -> None:
        """Starts what has become true of the customer."""
        for name in _holding(self.journeys, self.document, self.now):
            if name not in before:
                self._start(self.journeys.by_name[name], str(self.now), None)

    def _start(self, journey: CompiledJourney, cause: str, event: Occurrence | None) -> None:
        values, came = self._seen(event), _trigger(event)
        about = (journey, self.document, values, cause, self.now)
        record = start(*about, event=came, hurried=self.hurried, chain=self.chain)
        if record is not None:
            self._done(record)


def _trigger(event: Occurrence | None) -> TriggerEvent | None:
    if event is None:
        return None
    return TriggerEvent(event.type, properties=cast(dict[str, Any], event.measured))


def _holding(journeys: Journeys, document: Document, now: int) -> Iterator[str]:
    """The journeys whose starting condition holds."""
    if journeys.noticing:
        values = journeys.values(document, now)
        for journey in journeys.noticing:
            if journey.entry is not None and journey.entry.test(values):
                yield journey.name


def _waits(journeys: Journeys, document: Document, now: int) -> dict[str, int | None]:
    """Run → until when it would wait now, of those that wait for a local time or a date."""
    found: dict[str, int | None] = {}
    for name, run in runs_of(document):
        if run.entered and run.wake > now and (journey := journeys.by_name.get(name)):
            step = journey.stands_at(run.step)
            if isinstance(step, WaitUntil | WaitUntilDate):
                found[run.id] = due(journeys, journey, document, run, step, now)
    return found
