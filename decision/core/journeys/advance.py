"""A run goes on: through its steps, until one asks, waits, or ends it.

Nothing here reads a clock or writes anywhere; a customer's document is changed in place. Whoever
calls keeps it, what was recorded, and the next wake-up in one commit: so each step is taken once.
"""

from __future__ import annotations

from typing import Final

import msgspec

from decision.core import attributes
from decision.core.clock import DAY, MINUTE, SECOND
from decision.core.document import Document
from decision.core.journeys.again import AGAIN, HOLD, step_of
from decision.core.journeys.compiled import CompiledJourney, Journeys
from decision.core.journeys.definition import (
    AnyStep,
    Ask,
    Branch,
    End,
    EndReason,
    SetAttributes,
    Split,
    Wait,
    WaitFor,
    WaitUntil,
    WaitUntilDate,
)
from decision.core.journeys.runs import end, put, record_of
from decision.core.journeys.state import MOST_STEPS, Run
from decision.core.journeys.waits import NEVER, UNREADABLE, due
from decision.core.policy import variant_of
from decision.core.records import JourneyRecord
from decision.core.schema import Outcome
from decision.core.values import Value

_KINDS: Final[dict[type, str]] = {
    Ask: "ask",
    Wait: "wait",
    WaitUntil: "wait",
    WaitUntilDate: "wait",
    WaitFor: "wait_for",
    Branch: "branch",
    Split: "split",
    SetAttributes: "set",
    End: "end",
}

_WAITS: Final = (Wait, WaitUntil, WaitUntilDate, WaitFor)


class Asks(msgspec.Struct, frozen=True):
    """A run stands at a step that asks now; `after_ask` goes on with what was answered."""

    journey: str
    run: Run
    step: Ask


class Advanced(msgspec.Struct, kw_only=True):
    """How far a run went. `record` says what was done, None where nothing was: it waits.

    `asks` is set where it asks now; the run is kept as it stands. `changed` are the attributes that
    steps have set, in the document already, `hurried` steps after it last waited.
    """

    record: JourneyRecord | None = None
    asks: Asks | None = None
    changed: dict[str, Value] = {}
    hurried: int = 0


def advance(journeys: Journeys, document: Document, name: str, run: Run, now: int) -> Advanced:
    """Goes on with a run of the journey `name`, if it is due.

    A step is done as the rule file has it now, but what a run has waited for is over: so an edited
    wait applies to those who enter it afterwards.
    """
    if run.wake > now:
        return Advanced()
    if name == AGAIN:
        return _ask_again(document, run, now)
    journey = journeys.by_name.get(name)
    if journey is None:
        return Advanced(record=end(document, name, run, "journey_removed", now))
    return _Walk(journeys, journey, document, run, now).go()


class _Walk:
    """One way through steps."""

    def __init__(
        self, journeys: Journeys, journey: CompiledJourney, document: Document, run: Run, now: int
    ) -> None:
        self.journeys, self.journey, self.document, self.now = journeys, journey, document, now
        self.run = msgspec.structs.replace(run)
        self.came = _came_at(journey, run, now)
        self.record = record_of(document, journey.name, run, now)
        self.changed: dict[str, Value] = {}
        self.hurried = 0

    def go(self) -> Advanced:
        """Goes through steps."""
        advanced = self._go()
        advanced.changed, advanced.hurried = self.changed, self.hurried
        return advanced

    def _go(self) -> Advanced:
        run, journey = self.run, self.journey
        while True:
            if (reason := self._over()) is not None:
                return self._ended(reason)
            here = journey.standing(run.step)
            if here is None:
                return self._ended("step_removed")
            step = journey.steps[here]
            if here != run.step:
                waited = isinstance(step, _WAITS) and not run.asks  # under another name
                run.step, run.entered = here, run.entered if waited else 0
            woken = run.entered != 0
            if self.record.skipped and isinstance(step, Ask):  # a record says one that was left out
                put(self.document, journey.name, run)
                return Advanced(record=self.record)
            if not woken:
                if run.hurried >= MOST_STEPS:
                    return self._ended("loop")
                self._enter(step)
            if isinstance(step, Ask) and not self._skips(step):
                put(self.document, journey.name, run)
                asks = Asks(journey.name, run, step)
                return Advanced(record=self._said(), asks=asks)
            if isinstance(step, End):
                return self._ended(step.reason)
            if not woken or isinstance(step, WaitUntilDate):
                until = self._until(step)
                if until in (UNREADABLE, NEVER):
                    return self._ended("no_time" if until == NEVER else "unreadable_date")
                if until is not None and not woken and until > self.now:
                    run.wake, run.hurried = until, 0
                    put(self.document, journey.name, run)
                    return Advanced(record=self._said())
                if isinstance(step, WaitUntil) and until is not None and not woken:
                    run.wake = self.came = until  # over already: what comes next is late by so much
            if isinstance(step, WaitUntil):
                run.passed = run.wake
            following = self._after(step, woken)
            if following is None:
                return self._ended(self._over() or "finished")
            run.step, run.entered = following, 0

    def _enter(self, step: AnyStep) -> None:
        run = self.run
        run.visit, run.hurried, run.entered, run.asks = run.visit + 1, run.hurried + 1, self.now, 0
        self.record.steps.append(f"{step.name}:{_KINDS[type(step)]}")

    def _over(self) -> EndReason | None:
        """Why it ends, where the condition of its goal or stop holds without an event."""
        for cue, reason in ((self.journey.goal, GOAL), (self.journey.stop, STOPPED)):
            if cue is not None and cue.event is None and cue.test(self._values(started=False)):
                return reason
        return None

    def _values(self, *, started: bool = True) -> list[Value]:
        if started:
            return self.journeys.values_in(self.document, self.run, self.now)
        return self.journeys.values(self.document, self.now)

    def _skips(self, step: Ask) -> bool:
        """Whether it is too late to ask."""
        run, skip_after = self.run, self.journey.definition.skip_after
        started = self.journey.limited and run.wake == run.started  # its limits may have kept it
        late = skip_after is not None and not started and self.now - run.wake > skip_after
        if late or (run.asks and self.now > run.entered + step.hold):
            self.record.skipped = step.name
            return True
        return False

    def _until(self, step: AnyStep) -> int | None:
        if isinstance(step, WaitFor) and self._holds_already(step):
            return None
        now = self.came if isinstance(step, WaitUntil) else self.now
        return due(self.journeys, self.journey, self.document, self.run, step, now)

    def _holds_already(self, step: WaitFor) -> bool:
        """Whether what is waited for is no event, and holds."""
        cue = self.journey.awaited[step.name]
        return cue.event is None and cue.test(self._values(started=False))

    def _after(self, step: AnyStep, woken: bool) -> str | None:
        """The step after one that is done; None: there is none."""
        following = self.journey.following[step.name]
        match step:
            case WaitFor(then=then, otherwise=otherwise):
                came = not woken or self._holds_already(step)
                return (then if came else otherwise) or following
            case Branch():
                values = self._values()
                ways = self.journey.ways[step.name]
                return next((go for test, go in ways if test(values)), following)
            case Split(ways=split):
                variant = variant_of(self.journey.splits[step.name], self.document.customer_id)
                return split.get(str(variant), following)
            case SetAttributes(values=changes):
                attributes.change(self.document, changes, self.now // SECOND)
                self.changed |= changes
                self.hurried = self.run.hurried
        return following

    def _ended(self, reason: str) -> Advanced:
        ended = end(self.document, self.journey.name, self.run, reason, self.now)
        self.record.ended = ended.ended
        return Advanced(record=self.record)

    def _said(self) -> JourneyRecord | None:
        return self.record if self.record.steps or self.record.skipped else None


def _came_at(journey: CompiledJourney, run: Run, now: int) -> int:
    """When a run that goes on now was to: a local time that has passed since then is not waited for
    once more, a day later. Now, where that was long ago, or limits may have kept it.
    """
    kept = journey.limited and run.wake == run.started
    return now if kept or now - run.wake > DAY else run.wake


def _ask_again(document: Document, run: Run, now: int) -> Advanced:
    """What is asked for again, unless it is too late."""
    if now <= run.entered + HOLD:
        return Advanced(asks=Asks(AGAIN, run, step_of(run)))
    record = end(document, AGAIN, run, "finished", now)
    record.skipped = run.step
    return Advanced(record=record)


GOAL: Final[EndReason] = "goal"
STOPPED: Final[EndReason] = "stopped"


def asks_again(asked: Asks, outcome: Outcome, not_before: int | None, now: int) -> int | None:
    """When a step asks again by itself: nothing but time was in the way (`none`, `fallback`), and
    that is over within `hold` of when the step was entered. None: the run goes on.
    """
    until = asked.run.entered + asked.step.hold
    if outcome == "selected" or not_before is None or now >= until:
        return None
    again = not_before if not_before > now else now + MINUTE
    return again if again <= until else None


def after_ask(
    journeys: Journeys,
    document: Document,
    asked: Asks,
    outcome: Outcome,
    not_before: int | None,
    now: int,
    record: JourneyRecord | None = None,
) -> JourneyRecord:
    """What a run does after an answer: it asks again at `not_before`, or goes on.

    See `asks_again`. `record` is the one of `advance`, which is filled in and given back; the
    caller adds the decision's id.
    """
    run, step = msgspec.structs.replace(asked.run, asks=asked.run.asks + 1), asked.step
    record = record or record_of(document, asked.journey, run, now)
    record.asked, record.outcome = step.name, outcome
    if (again := asks_again(asked, outcome, not_before, now)) is not None:
        run.wake, run.hurried, record.holds = again, 0, True
        put(document, asked.journey, run)
        return record
    journey = journeys.by_name.get(asked.journey)
    following = None if journey is None else journey.following[step.name]
    if following is None:
        record.ended = end(document, asked.journey, run, "finished", now).ended
        return record
    run.step, run.entered, run.wake = following, 0, now
    put(document, asked.journey, run)
    return record
