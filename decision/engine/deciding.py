"""One decision from its request to its answer: read, plan, reserve; again where overtaken."""

from __future__ import annotations

import asyncio
import time
from functools import partial

import msgspec

from decision.core import event_effects
from decision.core.budgets import Spending
from decision.core.clock import MINUTE, to_micros
from decision.core.contacts_elsewhere import refers
from decision.core.coupons import REDEEMED
from decision.core.decide import Verdict
from decision.core.errors import StoreUnavailable, unknown
from decision.core.explanation import explain
from decision.core.journeys import again
from decision.core.ports import ReadResult
from decision.core.schema import Alias, Decision, DecisionRequest
from decision.core.steps import Steps, finish
from decision.engine.answering import answer_of, answer_without_store, with_placeholders
from decision.engine.crediting import Crediting
from decision.engine.deadline import Within
from decision.engine.following import Following
from decision.engine.identity import alias_id, clean_id, customer_id_of, named_by, resolve
from decision.engine.log_records import record_without_store
from decision.engine.outbox import withdrawals
from decision.engine.planning import AskingStep, DecisionPlan, DecisionQuery, plan
from decision.engine.replay import Replay
from decision.engine.reserving import BudgetSpent, TextTooLong, reserve
from decision.engine.runtime import Runtime
from decision.engine.settling import check_redeemed, redeem
from decision.engine.transaction import Done, GaveUp, TryAgain, transact
from decision.engine.turns import too_many
from decision.engine.withdrawing import UngivenDecision, told_until
from decision.store.damage import damaged

_decode_answer = msgspec.json.Decoder(Decision).decode


class Decided(msgspec.Struct, frozen=True):
    """A decision, and the verdict that it comes from.

    `verdict` is None where this call made none: the store was unavailable, or the request id was
    answered before. In the latter case `claim` is this caller's on the answer, which is kept under
    the customer `kept_under`.
    """

    decision: Decision
    verdict: Verdict | None = None
    claim: str = ""
    kept_under: str = ""


def ungiven(runtime: Runtime, request: DecisionRequest, decided: Decided) -> UngivenDecision | None:
    """What is to be withdrawn if the caller does not get the answer; None: nothing is reserved."""
    decision, policy = decided.decision, runtime.snapshot.policy
    placement = policy.placements.get(decision.placement)
    delivered = placement is not None and placement.delivery == "gateway"
    if decision.outcome != "selected" or request.dry_run:
        return None
    lasts = policy.settings.request_id_lasts
    return UngivenDecision(
        decision_id=decision.decision_id,
        customer_id=decided.kept_under or decision.customer_id,
        request_id=request.request_id,
        claim=decided.claim or decision.decision_id,
        until=told_until(lasts, runtime.clock() - to_micros(decision.decided_at)),
        deliveries=withdrawals(decision) if delivered else (),
    )


class Deciding:
    """One decision on its way.

    `named` is the customer's id or alias, once the request is checked; `seen` is what was read of
    the customer. `overlong` is the mask of candidates that turned out to have a text longer than
    any may be; `contended` is set when too many attempts were overtaken; `steps` is step → seconds.
    `expires` is whether reservations that have ended by its time are given back: not where that
    time is to come.
    """

    def __init__(
        self,
        runtime: Runtime,
        replay: Replay,
        following: Following,
        request: DecisionRequest,
        now: int | None,
        step: AskingStep | None = None,
    ) -> None:
        now = runtime.clock() if now is None else now
        self.query = DecisionQuery(request, runtime.snapshot, runtime.settings, now, step)
        self.runtime = runtime
        self.replay = replay
        self.following = following
        self.request = request
        self.named: str | Alias = ""
        self.seen: ReadResult | None = None
        self._read_before: ReadResult | None = None
        self.overlong = 0
        self.contended = False
        self.expires = True
        self.steps: dict[str, float] = {}
        self._step_began = self.query.began
        recorded = request.event is not None and request.event.id is not None
        self._crediting = Crediting(runtime, now) if recorded else None
        self.logged = False  # whether the question is one of before, put once more

    async def run(self) -> Decided:
        """Decides within the deadline; without the store, the answer is the fallback.

        Raises:
            InputError: the request names what the policy does not have, or cannot be used.
        """
        self._check()
        try:
            with Within(self.query.deadline):
                decided = await self._decide()
        except StoreUnavailable as error:
            if self.query.is_late():
                return self._without_store("deadline")
            self._failed(error)
            return self._without_store(*(["contention"] if error.code == "contention" else []))
        except TimeoutError:
            return self._without_store("deadline")
        except Exception as error:
            self._failed(error)
            raise
        self.runtime.answers.served += 1
        return decided

    async def answer_step(self, read: ReadResult | None) -> Decided:
        """Decides for a step of a journey; without the store nothing is decided.

        What was `read` of the customer just now is not read again, unless budgets are to be.

        Raises:
            WentOn: the run does not ask any more; nothing was written.
            StoreUnavailable: perhaps it is written; the run says so.
        """
        assert self.request.customer_id is not None  # as it is stored, and not as callers give ids
        self.named = self.request.customer_id
        self._read_before = None if self.query.budget_limits else read
        return await self._decided_or_failed()

    async def run_or_fail(self) -> Decided:
        """Decides within the deadline, or not at all.

        Raises:
            InputError: as `run` does.
            StoreUnavailable: perhaps it is written.
        """
        self._check()
        return await self._decided_or_failed()

    async def _decided_or_failed(self) -> Decided:
        try:
            with Within(self.query.deadline):
                return await self._decide()
        except TimeoutError:
            raise StoreUnavailable("the deadline has passed", uncertain=True) from None

    def _failed(self, error: Exception) -> None:
        named = self.named if isinstance(self.named, str) else alias_id(self.named)
        self.runtime.answers.failed(error, named)

    def too_late(self) -> Decided:
        """The answer where the deadline passed before anything was begun.

        Raises:
            InputError: as `run` does.
        """
        self._check()
        return self._without_store("deadline")

    def _check(self) -> None:
        policy, request = self.query.snapshot.policy, self.request
        if request.placement not in policy.placements:
            raise unknown("placement", "placement", request.placement, policy.placements)
        if request.channels:
            for index, channel in enumerate(request.channels):
                if channel not in policy.channels:
                    raise unknown(f"channels[{index}]", "channel", channel, policy.channels)
        event = request.event
        if event is not None:
            if event.at is not None:
                self.runtime.check_time("event.at", to_micros(event.at), self.query.now)
            if event.id is not None:
                clean_id("event.id", event.id)
            path, named = "event.properties", refers(event.properties)
            if not self.logged:
                event_effects.check(event.type, event.properties, policy, path=path, contact=named)
            check_redeemed(self.runtime, event.type, event.properties, "event.properties")
        if request.request_id is not None:
            clean_id("request_id", request.request_id)
        if request.ask_again:
            again.check(self.query.question, policy.placements[request.placement])
        self.named = named_by(self.runtime.settings, request.customer_id, request.alias)

    async def _decide(self) -> Decided:
        customer_id = self.named
        if isinstance(customer_id, Alias):
            customer_id = await customer_id_of(self.runtime, customer_id, self.query.left())
        attempts, turns = self.runtime.settings.attempts, self.runtime.turns
        with self.runtime.side_by_side:
            if self._crediting is None:
                outcome = await transact(self._read, customer_id, self._attempt, attempts, turns)
            else:
                write = partial(transact, self._read, customer_id, self._attempt, attempts, turns)
                outcome = await self._crediting.before(write)
        if isinstance(outcome, GaveUp):
            if self.query.step is not None:
                raise too_many(customer_id)  # it stays due
            return await self._choose_nothing(outcome.state)
        decided, new = outcome.result, self.seen is not None and not self.seen.raw
        if isinstance(self.named, Alias) and new and decided.decision.outcome == "selected":
            self.following.unite(self.named)  # it may be somebody's by now
        return decided

    async def _read(self, customer_id: str) -> ReadResult:
        request = self.request
        if (before := self._read_before) is not None:
            self._read_before = None
            self.seen = self._anew(before, {})
            return self.seen
        found = await resolve(
            self.runtime,
            customer_id,
            request_id=None if request.dry_run or self.query.step else request.request_id,
            budgets=tuple(self.query.budget_limits),
            event_ids=(request.event.id,) if request.event and request.event.id else (),
            timeout=self.query.left(),
        )
        self.seen = found
        if self.expires and found.budgets_end is not None:
            await self._expire_budgets(found, found.budgets_end)
        if self.expires and found.pools_end:
            await self._expire_codes(found)
        self._step("read")
        return found

    async def _expire_budgets(self, found: ReadResult, end: int) -> None:
        """Gives back what ended reservations took: at once if a budget is spent, else in time."""
        query, store = self.query, self.runtime.store
        spent = Spending(query.budget_limits, found.budgets).blocked()
        if end <= query.now - (0 if spent else MINUTE):
            await store.expire_budgets(query.now, timeout=query.left())
            found.budgets = await self._budgets()

    async def _expire_codes(self, found: ReadResult) -> None:
        """Frees the codes that have come back to pools in which none is free."""
        query, store = self.query, self.runtime.store
        due = [pool for pool, end in (found.pools_end or {}).items() if end <= query.now]
        for pool in due:
            await store.expire_codes(pool, query.now, timeout=query.left())
        if due:
            found.budgets = await self._budgets()

    async def _budgets(self) -> dict[str, int]:
        """The counters of budgets as they are now."""
        query = self.query
        counters = tuple(query.budget_limits)
        found = await self.runtime.store.read("", budgets=counters, timeout=query.left())
        return found.budgets

    async def _attempt(self, state: ReadResult) -> Done[Decided] | TryAgain:
        """Plans on one state, and reserves what is planned unless it has changed meanwhile.

        Where texts turn out to be too long, it plans again without them. Nobody has overtaken it
        then, so that is no other attempt.
        """
        while state.answer is None:
            outcome = await self._plan_and_reserve(state)
            if not isinstance(outcome, TextTooLong):
                return outcome
            self.overlong |= outcome.candidates
            budgets = await self._budgets() if outcome.printed_codes else state.budgets
            state = self._anew(state, budgets)
        return await self._give_again(state, state.answer)

    async def _plan_and_reserve(self, state: ReadResult) -> Done[Decided] | TryAgain | TextTooLong:
        store = self.runtime.store
        side_by_side = self.runtime.side_by_side
        if side_by_side.alone:
            planned, answer = finish(self._plan(state, together=False))
        else:
            planned, answer = await side_by_side.run(self._plan(state, together=True))
        self._step("decide")
        if overlong := planned.verdict.overlong() & ~self.overlong:
            await asyncio.sleep(0)  # the deadline may have passed
            return TextTooLong(overlong)
        if self.request.dry_run:
            answer = with_placeholders(planned, answer)
            return Done(self._decided(answer, planned.verdict, written=False))
        if planned.event is not None and self._crediting is not None:
            await self._crediting.count_all(state.document, planned.events)
            if planned.event.type == REDEEMED:
                await redeem(
                    self.runtime, [planned.event], self.query.now, self._crediting.redeemed
                )
        outcome = await reserve(store, self.following, planned, answer)
        self._step("reserve")
        if isinstance(outcome, Done):
            return Done(self._decided(outcome.result, planned.verdict, written=True))
        if isinstance(outcome, BudgetSpent):
            budgets = await self._budgets()
            # One that cannot be counted on may be read as less than it counts as.
            known = budgets.get(outcome.counter, 0)
            budgets[outcome.counter] = max(known, outcome.taken)
            return TryAgain(self._anew(state, budgets))
        return outcome

    def _plan(self, state: ReadResult, *, together: bool) -> Steps[tuple[DecisionPlan, Decision]]:
        """The plan on one state, and the answer that it gives, in steps."""
        planned = yield from plan(
            self.query,
            state,
            self.runtime.new_id(state.document.customer_id),
            self.runtime.store.pack,
            overlong=self.overlong,
            contended=self.contended,
            together=together,
        )
        if together:
            yield
        return planned, answer_of(planned)

    def _anew(self, state: ReadResult, budgets: dict[str, int]) -> ReadResult:
        """The same state as it was read: a plan has changed its document."""
        document = self.runtime.store.unpack(state.document.customer_id, state.raw)
        return msgspec.structs.replace(state, document=document, budgets=budgets)

    async def _choose_nothing(self, latest: ReadResult) -> Decided:
        """One last attempt, after too many: choosing nothing breaks no cap.

        A request with an event is answered as if the store were unavailable, so that the event,
        which is not recorded, is sent again.
        """
        if latest.answer is None and self.request.event is not None and self.request.event.id:
            raise too_many(latest.document.customer_id)
        self.contended = True
        outcome = await self._attempt(latest)
        if isinstance(outcome, Done):
            return outcome.result
        if outcome.state.answer is not None:
            outcome = await self._attempt(outcome.state)
            if isinstance(outcome, Done):
                return outcome.result
        raise too_many(latest.document.customer_id)

    async def _give_again(self, state: ReadResult, answer: bytes) -> Done[Decided] | TryAgain:
        """Gives the answer that is kept for this request id; decides anew where it is withdrawn."""
        try:
            decision = _decode_answer(answer)
        except (msgspec.MsgspecError, ValueError):
            # What was answered is not known, and another answer could break a cap.
            raise damaged("the answers of a customer", "one is no decision") from None
        if self.request.explain:
            looked_up = await self.replay.find(decision.decision_id)
            if looked_up is not None:
                explanation = looked_up.explanation
                decision = msgspec.structs.replace(decision, explanation=explanation)
        # Last: what was claimed is given.
        if decision.outcome != "selected":
            return Done(Decided(decision))
        customer_id, kept_under = state.document.customer_id, state.answer_under
        kept_under = customer_id if kept_under is None else kept_under
        claim = self.runtime.new_id(kept_under)
        decided = Decided(decision, claim=claim, kept_under=kept_under)
        if not await self._claim(decided):
            return TryAgain(await self._read(customer_id))
        return Done(decided)

    async def _claim(self, decided: Decided) -> bool:
        """Whether a kept answer may be given again: then it stays, even if nobody had it before."""
        request_id, decision_id = self.request.request_id, decided.decision.decision_id
        assert request_id is not None
        try:
            return await self.runtime.store.claim_answer(
                decided.kept_under,
                request_id,
                decision_id,
                decided.claim,
                timeout=self.query.left(),
            )
        except (asyncio.CancelledError, StoreUnavailable):
            if left := ungiven(self.runtime, self.request, decided):
                self.following.withdraw(left)
            raise

    def _without_store(self, *why: str) -> Decided:
        """The answer without the store, and why it is without, where it is not the store itself."""
        seen, named = self.seen, self.named
        if seen is not None:
            customer_id = seen.document.customer_id
        else:
            customer_id = named if isinstance(named, str) else alias_id(named)
        decision_id = self.runtime.new_id(customer_id)
        degraded = ["store", *why]
        answer = answer_without_store(self.query, customer_id, decision_id, degraded)
        if not self.request.dry_run:
            self.following.log(record_without_store(self.query, answer), customer_id, seen)
        return self._decided(answer, None, written=False)

    def _decided(self, answer: Decision, verdict: Verdict | None, *, written: bool) -> Decided:
        """Explains the answer where that is asked for, and tells the observer."""
        if verdict is not None and self.request.explain:
            explanation = explain(self.query.snapshot.policy, verdict)
            answer = msgspec.structs.replace(answer, explanation=explanation)
        if self.runtime.observer is not None:
            self.steps["total"] = self.query.elapsed()
            self.runtime.observer.decided(answer, verdict, self.steps, written)
        return Decided(answer, verdict)

    def _step(self, name: str) -> None:
        """Ends a step, which began where the one before ended."""
        now = time.perf_counter()
        self.steps[name] = self.steps.get(name, 0.0) + now - self._step_began
        self._step_began = now
