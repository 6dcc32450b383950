"""One pass over one state of the customer: decided at once, then reserved and logged, or not."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import time
from collections.abc import Coroutine
from typing import Any

import msgspec

from decision.core import recording, records
from decision.core.clock import SECOND, from_micros
from decision.core.decide import Question, decide, silence
from decision.core.document import Contact, ContactState
from decision.core.errors import StoreUnavailable
from decision.core.explanation import explain
from decision.core.identifiers import decision_tag
from decision.core.ports import Commit, Conflict, LogRecord, ReadResult, Section
from decision.core.schema import Decision, DecisionRequest
from decision.engine.answering import fallback, namespaces, selection
from decision.engine.context import Context
from decision.engine.events import occurrence_of
from decision.engine.snapshot import Snapshot

_encode_answer = msgspec.json.Encoder().encode


class Task:
    """One decision on its way: what all attempts at it share.

    `spent` is the mask of candidates whose budgets turned out to be spent; `contended` is set
    when too many attempts were overtaken.
    """

    def __init__(self, context: Context, request: DecisionRequest, now: int) -> None:
        self.context = context
        self.store = context.store
        self.settings = context.settings
        self.snapshot = context.snapshot
        self.request = request
        self.now = now
        self.began = time.perf_counter()
        self.deadline = request.deadline_ms / 1000 if request.deadline_ms else self.settings.timeout
        self.draws: list[float] = []
        self.spent = 0
        self.contended = False
        self.contacts_seen = 0

    def left(self) -> float:
        """The seconds left for the store."""
        return max(0.001, self.deadline - (time.perf_counter() - self.began))

    def draw(self) -> float:
        """The next number in [0, 1): fresh, or from the seed where one is set."""
        seed = self.settings.seed
        if seed is None:
            number = random.random()
        else:
            request = self.request
            who = request.customer_id or (request.alias and request.alias.value)
            text = "\x1f".join(
                [
                    seed,
                    str(who),
                    request.request_id
                    or (request.event and request.event.id)
                    or f"#{self.contacts_seen}",
                    request.placement,
                    str(len(self.draws)),
                ]
            )
            digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
            number = (int.from_bytes(digest, "big") >> 11) / (1 << 53)
        self.draws.append(number)
        return number


_background: set[asyncio.Task[None]] = set()


def _in_background(work: Coroutine[Any, Any, None]) -> None:
    """Lets work go on that outlives the decision; its failure is of no consequence."""
    task = asyncio.ensure_future(_quietly(work))
    _background.add(task)
    task.add_done_callback(_background.discard)


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    with contextlib.suppress(StoreUnavailable):
        await work


class Attempt:
    """One pass over one state of the customer: decided at once, then committed or not."""

    def __init__(
        self,
        task: Task,
        found: ReadResult,
        budgets: dict[str, tuple[int, int]],
    ) -> None:
        self.task = task
        self.found = found
        self.decision_id = task.context.new_id(found.document.customer_id)
        self.budgets = budgets
        self.records: list[LogRecord] = []
        self.event_ids: list[str] = []
        self.document = found.document
        self.raw = found.raw
        snapshot, request = task.snapshot, task.request
        self._record_event(request, snapshot)
        task.draws.clear()
        task.contacts_seen = len(self.document.contacts)
        self.spent = task.spent
        for name, (limit, mask) in budgets.items():
            if found.budgets.get(name, 0) >= limit:
                self.spent |= mask
        self.question = Question(
            placement=request.placement,
            channels=tuple(request.channels) if request.channels is not None else None,
            event=request.event,
            context=request.context,
            limit=request.limit,
        )
        self.verdict = decide(
            snapshot.policy,
            snapshot.matcher,
            snapshot.scorer,
            self.document,
            self.question,
            task.now,
            task.draw,
            spent=self.spent,
            exploration=snapshot.exploration,
            unproven=snapshot.unproven,
        )
        if task.contended:
            silence(snapshot.policy, self.verdict)

    def _record_event(self, request: DecisionRequest, snapshot: Snapshot) -> None:
        """Records the request's own event first, where it has an id and is not known yet."""
        event = request.event
        if event is None or event.id is None or event.id in self.found.known_events:
            return
        now = self.task.now
        occurrence = occurrence_of(event, event.id, now)
        recording.apply(self.document, occurrence, snapshot.policy, snapshot.measures, now)
        if request.dry_run:
            return
        self.raw = self.task.store.pack(self.document)
        self.event_ids.append(event.id)
        self.records.append(
            LogRecord(
                kind="event",
                id=event.id,
                body=records.encode(
                    records.EventRecord(
                        event_id=event.id,
                        customer_id=self.document.customer_id,
                        type=event.type,
                        at=occurrence.at,
                        received_at=now,
                        properties=event.properties,
                    )
                ),
            )
        )

    async def commit(self) -> ReadResult | None:
        """Reserves and logs. None when it is done, else the state to decide again on."""
        task, store = self.task, self.task.store
        taken = self._budgets_needed()
        if taken:
            limits = {name: self.budgets[name][0] for name in taken}
            try:
                full = await store.take_budgets(limits, self.decision_id, timeout=task.left())
            except (asyncio.CancelledError, StoreUnavailable):
                # Taken or not, it is given back; a taking that arrives later then takes nothing.
                _in_background(store.return_budgets(taken, self.decision_id))
                raise
            if full is not None:
                task.spent |= self.budgets[full][1]
                return self.found_again()
        write: list[Section] = []
        if self.event_ids:
            write.append("events")
        # Before the new contact is added: features are logged as they were scored.
        decision_record = LogRecord(
            kind="decision", id=self.decision_id, body=records.encode(self._record())
        )
        if self.verdict.chosen:
            self._reserve()
        if self.verdict.chosen or self.event_ids:
            write.append("contacts")
        try:
            result = await store.commit(self._commit(write, decision_record), timeout=task.left())
        except StoreUnavailable as error:
            if taken and not error.uncertain:
                with contextlib.suppress(StoreUnavailable):
                    await store.return_budgets(taken, self.decision_id)
            raise
        if not isinstance(result, Conflict):
            return None
        if taken:
            await store.return_budgets(taken, self.decision_id)
        return result.latest

    def _commit(self, write: list[Section], decision_record: LogRecord) -> Commit:
        task, request = self.task, self.task.request
        return Commit(
            id=self.decision_id,
            customer_id=self.document.customer_id,
            document=self.document,
            version=self.found.version,
            expect=self._expected(write),
            write=tuple(write),
            records=[*self.records, decision_record],
            request_id=request.request_id,
            answer=_encode_answer(self.decision(stored=True)) if request.request_id else None,
            answer_lasts=task.snapshot.policy.settings.request_id_lasts,
            event_ids=self.event_ids,
            event_ids_last=task.settings.event_ids_last,
        )

    def _expected(self, write: list[Section]) -> tuple[Section, ...]:
        """What must not have changed: what is written; and the customer must not be erased."""
        if write or not self.found.raw:
            return tuple(write)
        return ("profile",)

    def found_again(self) -> ReadResult:
        """The same state, to be decided again because a budget has run out meanwhile."""
        document = self.task.store.unpack(self.document.customer_id, self.found.raw)
        return msgspec.structs.replace(self.found, document=document)

    def _budgets_needed(self) -> list[str]:
        if not self.budgets:
            return []
        mask = 0
        for row in self.verdict.chosen:
            mask |= 1 << row.candidate
        return [name for name, (_, held) in self.budgets.items() if held & mask]

    def _reserve(self) -> None:
        snapshot, now = self.task.snapshot, self.task.now
        tag = decision_tag(self.decision_id)
        for row in self.verdict.chosen:
            channel = snapshot.policy.pairs[row.candidate][1]
            state = (
                ContactState.RESERVED_THEN_COUNT
                if channel.reservation.then == "count"
                else ContactState.RESERVED_THEN_RELEASE
            )
            recording.add_contact(
                self.document,
                Contact(
                    kind=snapshot.kinds[row.candidate],
                    at=now,
                    state=state,
                    mark=channel.reservation.expires_after // SECOND,
                    tag=tag,
                ),
            )
        kept = max(snapshot.history_needed, self.task.settings.contacts_kept)
        recording.prune_contacts(self.document, now - kept)

    def decision(self, *, stored: bool = False) -> Decision:
        """The answer. One that is stored for a request id carries no explanation."""
        task, verdict = self.task, self.verdict
        snapshot, request = task.snapshot, task.request
        names = namespaces(snapshot, verdict, request.event, request.context)
        if verdict.chosen:
            selections = [
                selection(snapshot, row, names, task.now, reserved=not request.dry_run)
                for row in verdict.chosen
            ]
        else:
            selections = fallback(snapshot, request.placement, names)
        return Decision(
            decision_id=self.decision_id,
            request_id=request.request_id,
            customer_id=self.document.customer_id,
            placement=request.placement,
            decided_at=from_micros(task.now),
            outcome=verdict.outcome,
            selections=selections,
            reason=self._reason(),
            not_before=from_micros(verdict.not_before) if verdict.not_before else None,
            degraded=self._degraded(),
            policy_version=snapshot.policy_version,
            model_version=snapshot.model_version,
            explanation=explain(snapshot.policy, verdict)
            if request.explain and not stored
            else None,
        )

    def _reason(self) -> str | None:
        return self.verdict.reason.value if self.verdict.reason else None

    def _degraded(self) -> list[str]:
        degraded = list(self.task.snapshot.degraded)
        return [*degraded, "contention"] if self.task.contended else degraded

    def _record(self) -> records.DecisionRecord:
        task, verdict = self.task, self.verdict
        snapshot, request = task.snapshot, task.request
        policy = snapshot.policy
        return records.DecisionRecord(
            decision_id=self.decision_id,
            request_id=request.request_id,
            decided_at=task.now,
            customer_id=self.document.customer_id,
            placement=request.placement,
            event_type=request.event.type if request.event else None,
            outcome=verdict.outcome,
            reason=self._reason(),
            not_before=verdict.not_before,
            question=self.question,
            document=self.raw,
            draws=list(task.draws),
            spent=records.mask_bytes(self.spent & policy.everything),
            exploration=snapshot.exploration,
            unproven=records.mask_bytes(snapshot.unproven),
            policy_version=snapshot.policy_version,
            model_version=snapshot.model_version,
            selections=[
                records.LoggedSelection(
                    message=policy.candidates[row.candidate].message,
                    channel=policy.candidates[row.candidate].channel,
                    response_probability=row.response_probability,
                    priority=row.priority,
                    selection_probability=row.selection_probability,
                    features=snapshot.scorer.features(
                        row.candidate, verdict.values, self.document, task.now
                    ),
                )
                for row in verdict.chosen
            ],
            candidates=records.pack_scores(verdict.scores),
            fallen={
                reason.value: records.mask_bytes(mask) for reason, mask in verdict.fallen.items()
            },
            experiments=verdict.experiments,
            holdout=verdict.holdout,
            shadow=self._shadow(),
            degraded=self._degraded(),
            latency_us=int((time.perf_counter() - task.began) * 1_000_000),
        )

    def _shadow(self) -> records.LoggedShadow | None:
        """What the challenger says of the survivors, where there is one."""
        shadow, verdict = self.task.snapshot.shadow, self.verdict
        if shadow is None or shadow.version is None or not len(verdict.scores.candidates):
            return None
        found = shadow.score(
            verdict.scores.candidates, verdict.values, self.document, self.task.now
        )
        return records.LoggedShadow(shadow.version, found.tobytes())
