"""A step that asks: an ordinary decision, in the commit of which the run goes on.

So a step is answered once, whoever asks, and whatever dies: who comes second finds that the run has
gone on, and writes nothing.
"""

from __future__ import annotations

import msgspec

from decision.core.decide import Question, Verdict
from decision.core.definition import Selector
from decision.core.document import Document
from decision.core.errors import NextbestError
from decision.core.journeys.advance import Asks, after_ask, asks_again
from decision.core.journeys.again import AGAIN, question_of
from decision.core.journeys.chains import note
from decision.core.journeys.compiled import start_event
from decision.core.journeys.gate import Gate
from decision.core.journeys.proceed import Progress
from decision.core.schema import DecisionRequest
from decision.engine.journeys.work import JourneyWork
from decision.engine.planning import DecisionPlan
from decision.engine.snapshot import Snapshot


class WentOn(NextbestError):
    """A run does not ask any more what it was to ask; nothing was written."""


class Asking:
    """One ask of one run (see `planning.AskingStep`).

    A timer that is due again at once is held until `held_until`, so that nobody else looks at the
    customer meanwhile. Once it is answered, `more` says whether anything else is due, and `work` is
    what was done.
    """

    def __init__(self, asks: Asks, held_until: int, gate: Gate) -> None:
        self._asks = asks
        self._held_until = held_until
        self._gate = gate
        self._progress = Progress()
        self.work: JourneyWork | None = None
        self.more = False

    @property
    def of(self) -> Selector | msgspec.UnsetType:
        """What it asks for."""
        return msgspec.UNSET if self._asks.step.of is None else self._asks.step.of

    def request(self, customer_id: str) -> DecisionRequest:
        """What it asks. The event that started the run is read, and not counted again."""
        run, step = self._asks.run, self._asks.step
        asked = Question(placement=step.placement, event=start_event(run))
        if self._asks.journey == AGAIN:
            asked = question_of(run)
        return DecisionRequest(
            placement=asked.placement,
            customer_id=customer_id,
            request_id=f"j.{run.id}.{run.visit}.{run.asks}",
            event=asked.event,
            context={**asked.context, "journey": self._asks.journey, "step": step.name},
            channels=None if asked.channels is None else list(asked.channels),
            limit=asked.limit,
        )

    def resume(self, snapshot: Snapshot, document: Document, now: int) -> JourneyWork:
        """Brings the run to the step, on the latest state.

        Raises:
            WentOn: it does not ask this any more, or something comes before it.
        """
        work = self.work = JourneyWork(snapshot, document, now, gate=self._gate)
        expired = work.expire()
        self._progress = work.proceed()
        if expired or _stay(self._progress.asks) != _stay(self._asks):
            raise WentOn
        return work

    def holds(self, verdict: Verdict) -> bool:
        """Whether it will ask again, since time alone is in the way."""
        asked = (self._asks, verdict.outcome, verdict.not_before, verdict.now)
        return asks_again(*asked) is not None

    def go_on(self, plan: DecisionPlan) -> int:
        """Takes the run on, until it waits or asks again; until when the timer is held."""
        work, verdict, progress = plan.journeys, plan.verdict, self._progress
        assert work is not None and progress.asks is not None
        if work.journeys.reported and verdict.outcome != "none":
            note(work.document, progress.asks.run, plan.decision_id, work.now)
        answered = (progress.asks, verdict.outcome, verdict.not_before, work.now, progress.asking)
        record = after_ask(work.journeys, work.document, *answered)
        record.decision_id = plan.decision_id
        further = work.proceed_after(record)
        self.more = further.asks is not None or work.more
        return self._held_until


def _stay(asks: Asks | None) -> tuple[str, str, int, int] | None:
    """What names an ask."""
    return None if asks is None else (asks.journey, asks.run.id, asks.run.visit, asks.run.asks)
