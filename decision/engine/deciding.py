"""One decision from its request to its answer: read, attempt, again where overtaken."""

from __future__ import annotations

import asyncio
import time

import msgspec

from decision.core.clock import from_micros, to_micros
from decision.core.decide import Verdict
from decision.core.errors import StoreUnavailable, unknown
from decision.core.ports import ReadResult
from decision.core.schema import Decision, DecisionRequest
from decision.engine.answering import fallback, namespaces
from decision.engine.attempt import Attempt, Task
from decision.engine.context import Context, alias_id
from decision.engine.replay import Replay

_decode_answer = msgspec.json.Decoder(Decision).decode


class Deciding:
    """One decision on its way."""

    def __init__(
        self, context: Context, replay: Replay, request: DecisionRequest, now: int | None
    ) -> None:
        self.task = Task(context, request, context.clock() if now is None else now)
        self.context = context
        self.replay = replay
        self.request = request
        self.steps: dict[str, float] = {}

    async def run(self) -> Decision:
        self._check()
        try:
            async with asyncio.timeout(self.task.deadline):
                return await self._decide()
        except (StoreUnavailable, TimeoutError) as error:
            late = isinstance(error, TimeoutError)
            decision = self._without_store("deadline" if late else "store")
            self._tell(decision, None, written=False)
            return decision

    def _check(self) -> None:
        """Refuses a request that names what the policy does not have."""
        policy, request = self.task.snapshot.policy, self.request
        if request.placement not in policy.placements:
            raise unknown("placement", "placement", request.placement, policy.placements)
        for index, channel in enumerate(request.channels or ()):
            if channel not in policy.channels:
                raise unknown(f"channels[{index}]", "channel", channel, policy.channels)
        event = request.event
        if event is not None and event.at is not None:
            self.context.moment("event.at", to_micros(event.at), self.task.now)

    def _step(self, name: str, since: float) -> float:
        now = time.perf_counter()
        self.steps[name] = self.steps.get(name, 0.0) + now - since
        return now

    async def _decide(self) -> Decision:
        request, context = self.request, self.context
        at = time.perf_counter()
        customer_id = await context.customer_id(
            request.customer_id, request.alias, timeout=self.task.left()
        )
        budgets = self.task.snapshot.policy.budget_limits(self.task.now)
        event_ids = (request.event.id,) if request.event and request.event.id else ()
        found = await context.read(
            customer_id,
            request_id=None if request.dry_run else request.request_id,
            budgets=tuple(budgets),
            event_ids=event_ids,
            timeout=self.task.left(),
        )
        at = self._step("read", at)
        for _ in range(self.task.settings.attempts):
            if found.answer is not None:
                return await self._again(found.answer)
            attempt = Attempt(self.task, found, budgets)
            at = self._step("decide", at)
            if request.dry_run:
                decision = attempt.decision()
                self._tell(decision, attempt.verdict, written=False)
                return decision
            latest = await attempt.commit()
            at = self._step("reserve", at)
            if latest is None:
                decision = attempt.decision()
                self._tell(decision, attempt.verdict, written=True)
                return decision
            if latest.answer is None and latest.document.moved_to is not None:
                latest = await context.read(
                    latest.document.moved_to,
                    request_id=request.request_id,
                    budgets=tuple(budgets),
                    event_ids=event_ids,
                    timeout=self.task.left(),
                )
            # A conflict says nothing of budgets, and of event ids only those that it was asked.
            found = msgspec.structs.replace(
                latest,
                budgets={**found.budgets, **latest.budgets},
                known_events=found.known_events | latest.known_events,
            )
        return await self._contended(found, budgets)

    async def _again(self, answer: bytes) -> Decision:
        """The answer that this request id got before."""
        decision = _decode_answer(answer)
        if self.request.explain:
            looked_up = await self.replay.find(decision.decision_id)
            if looked_up is not None:
                return msgspec.structs.replace(decision, explanation=looked_up.explanation)
        return decision

    async def _contended(self, found: ReadResult, budgets: dict[str, tuple[int, int]]) -> Decision:
        """Too many decisions at once for one customer: silence, which can break no cap."""
        if self.request.event is not None and self.request.event.id is not None:
            raise StoreUnavailable("too many writes at once for this customer; send it again")
        self.task.contended = True
        attempt = Attempt(self.task, found, budgets)
        latest = await attempt.commit()
        if latest is not None:
            if latest.answer is not None:
                return await self._again(latest.answer)
            raise StoreUnavailable("too many writes at once for this customer; ask again")
        decision = attempt.decision()
        self._tell(decision, attempt.verdict, written=True)
        return decision

    def _without_store(self, what: str) -> Decision:
        """The answer where customer, caps and consents could not be read or written."""
        request = self.request
        customer_id = request.customer_id or (alias_id(request.alias) if request.alias else "")
        snapshot = self.task.snapshot
        names = namespaces(snapshot, None, request.event, request.context, request.placement)
        selections = fallback(snapshot, request.placement, names)
        return Decision(
            decision_id=self.context.new_id(customer_id),
            request_id=request.request_id,
            customer_id=customer_id,
            placement=request.placement,
            decided_at=from_micros(self.task.now),
            outcome="fallback" if selections else "none",
            selections=selections,
            degraded=["store"] if what == "store" else ["store", what],
            policy_version=self.task.snapshot.policy_version,
            model_version=self.task.snapshot.model_version,
            explanation=[] if request.explain else None,
        )

    def _tell(self, decision: Decision, verdict: Verdict | None, *, written: bool) -> None:
        if self.context.observer is not None:
            self.steps["total"] = time.perf_counter() - self.task.began
            self.context.observer.decided(decision, verdict, self.steps, written)
