"""What acts by itself in a scenario, asks, runs and moments, beside what was expected of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import tzinfo

import msgspec

from decision.core import records
from decision.core.decide import Verdict
from decision.core.document import Document
from decision.core.explanation import explain
from decision.core.journeys.definition import MOMENT
from decision.core.policy import Policy
from decision.core.ports import Commit, Committed, Conflict
from decision.core.records import EventRecord, JourneyRecord
from decision.core.schema import Decision
from decision.scenarios.compare import differences, differs
from decision.scenarios.schema import Expect, ExpectedAsk
from decision.scenarios.trace import Trace, trace_of
from decision.store.in_memory.base import Clock
from decision.store.timed_store import TimedStore


class ScenarioStore(TimedStore):
    """A store in memory that keeps what was done to runs, and which moments happened."""

    def __init__(self, clock: Clock, spent: Mapping[str, int]) -> None:
        super().__init__(clock, spent)
        self.done: list[JourneyRecord] = []
        self.moments: list[EventRecord] = []

    async def commit(self, commit: Commit, *, timeout: float | None = None) -> Committed | Conflict:
        answer = await super().commit(commit, timeout=timeout)
        if isinstance(answer, Committed):
            for record in commit.records:
                if record.kind == "journey":
                    self.done.append(records.decode_journey(record.body))
                elif record.kind == "event":
                    event = records.decode_event(record.body)
                    if event.type.startswith(MOMENT):
                        self.moments.append(event)
        return answer


class Asked(msgspec.Struct, frozen=True):
    """What a step of a journey asked for, and got."""

    decision: Decision
    verdict: Verdict

    @property
    def journey(self) -> str:
        """The journey that asked."""
        return str(self.verdict.question.context["journey"])

    @property
    def step(self) -> str:
        """The step that asked."""
        return str(self.verdict.question.context["step"])

    def in_words(self, zone: tzinfo | None) -> str:
        """`welcome.hello at 2026-11-21T10:00:00+08:00: welcome-1/push`."""
        given = [f"{one.message}/{one.channel}" for one in self.decision.selections]
        came = ", ".join(given) or f"{self.decision.outcome} ({self.decision.reason})"
        at = self.decision.decided_at.astimezone(zone).isoformat()
        return f"{self.journey}.{self.step} at {at}: {came}"


def ask_differences(
    policy: Policy,
    expected: Sequence[ExpectedAsk],
    asked: Sequence[Asked],
    zone: tzinfo | None,
) -> tuple[list[str], Trace | None]:
    """What is not as expected of all asks of a step, and the trace of the first ask with that."""
    problems: list[str] = []
    trace: Trace | None = None
    for number, (wanted, came) in enumerate(zip(expected, asked, strict=False), 1):
        explained = msgspec.structs.replace(
            came.decision, explanation=explain(policy, came.verdict)
        )
        as_answer = _as_answer(wanted)
        found = [
            *_about_ask(wanted, came, zone),
            *differences(as_answer, explained),
        ]
        problems += [f"ask {number}: {problem}" for problem in found]
        if found and trace is None:
            trace = trace_of(policy, came.verdict, explained, as_answer)
    if len(expected) != len(asked):
        told = "; ".join(one.in_words(zone) for one in asked)
        counts = differs("the number of asks", len(expected), len(asked))
        problems.append(f"{counts}{f': {told}' if told else ''}")
    return problems, trace


def _as_answer(wanted: ExpectedAsk) -> Expect:
    shared = {field.name for field in msgspec.structs.fields(Expect)}
    names = [field.name for field in msgspec.structs.fields(ExpectedAsk)]
    return Expect(**{name: getattr(wanted, name) for name in names if name in shared})


def _about_ask(wanted: ExpectedAsk, came: Asked, zone: tzinfo | None) -> Iterator[str]:
    if wanted.journey not in (None, came.journey):
        yield differs("journey", wanted.journey, came.journey)
    if wanted.step not in (None, came.step):
        yield differs("step", wanted.step, came.step)
    at = came.decision.decided_at
    if wanted.at is not None and wanted.at != at:
        yield differs("at", wanted.at, at.astimezone(zone))


def standing_of(
    document: Document, done: Sequence[JourneyRecord], journey: str
) -> str | list[str] | None:
    """The step in which a run stands, or several of them; else why the last run ended."""
    runs = document.journeys.runs.get(journey, ()) if document.journeys is not None else ()
    steps = [run.step for run in runs]
    if steps:
        return steps[0] if len(steps) == 1 else steps
    ends = (one.ended for one in reversed(done) if one.journey == journey and one.ended)
    return next(ends, None)
