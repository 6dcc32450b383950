"""Log records: of decisions, of events, and of changes of a customer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from decision.core import records
from decision.core.document import ContactKind
from decision.core.event_effects import Occurrence, logged
from decision.core.masks import mask_bytes
from decision.core.ports import LogRecord

if TYPE_CHECKING:
    from decision.core.schema import Decision
    from decision.engine.planning import DecisionPlan, DecisionQuery


def decision_record(plan: DecisionPlan) -> LogRecord:
    """The record of a decision: what it saw and chose."""
    query, verdict = plan.query, plan.verdict
    request, snapshot = query.request, query.snapshot
    record = records.DecisionRecord(
        decision_id=plan.decision_id,
        request_id=request.request_id,
        decided_at=query.now,
        customer_id=verdict.document.customer_id,
        placement=request.placement,
        event_type=request.event.type if request.event else None,
        outcome=verdict.outcome,
        reason=verdict.reason.value if verdict.reason else None,
        not_before=verdict.not_before,
        question=query.question,
        document=plan.seen,
        draws=plan.draws,
        spent=mask_bytes(plan.spent & snapshot.policy.everything),
        budgets=verdict.spending.by_name() if verdict.spending is not None else {},
        exploration=snapshot.exploration,
        unproven=mask_bytes(snapshot.unproven),
        policy_version=snapshot.policy_version,
        model_version=snapshot.model_version,
        selections=_with_codes(plan) if snapshot.policy.coupons else plan.selections,
        candidates=records.pack_scores(verdict.scores),
        fallen={reason.value: mask_bytes(mask) for reason, mask in verdict.fallen.items()},
        experiments=verdict.experiments,
        holdout=verdict.holdout,
        shadow=plan.shadow,
        degraded=plan.degraded,
        latency_us=int(query.elapsed() * 1_000_000),
    )
    return LogRecord(kind="decision", id=plan.decision_id, body=records.encode(record))


def _with_codes(plan: DecisionPlan) -> list[records.LoggedSelection]:
    """What is logged of the selections, with the coupon codes that they give."""
    codes = plan.verdict.texts.codes
    return [
        msgspec.structs.replace(one, coupon=codes.get(row.candidate))
        for one, row in zip(plan.selections, plan.verdict.chosen, strict=True)
    ]


def record_without_store(query: DecisionQuery, answer: Decision) -> LogRecord:
    """The record of an answer given without the store: it saw and reserved nothing."""
    request = query.request
    record = records.DecisionRecord(
        decision_id=answer.decision_id,
        request_id=answer.request_id,
        decided_at=query.now,
        customer_id=answer.customer_id,
        placement=answer.placement,
        event_type=request.event.type if request.event else None,
        outcome=answer.outcome,
        question=query.question,
        document=b"",
        draws=[],
        policy_version=answer.policy_version,
        model_version=answer.model_version,
        degraded=answer.degraded,
        latency_us=int(query.elapsed() * 1_000_000),
    )
    return LogRecord(kind="decision", id=answer.decision_id, body=records.encode(record))


def event_record(
    occurrence: Occurrence, customer_id: str, received_at: int, kind: ContactKind | None = None
) -> LogRecord:
    """The record of an event, with the channel of the contact that it is about."""
    record = records.EventRecord(
        event_id=occurrence.id,
        customer_id=customer_id,
        type=occurrence.type,
        at=occurrence.at,
        received_at=received_at,
        properties=dict(logged(occurrence, kind).properties),
        decision_id=occurrence.decision_id,
        message=occurrence.message,
        value=occurrence.value,
    )
    return LogRecord(kind="event", id=occurrence.id, body=records.encode(record))


def change_record(
    kind: Literal["consent", "merge", "erasure", "not_given"],
    record_id: str,
    customer_id: str,
    at: int,
    change: dict[str, Any] | None = None,
) -> LogRecord:
    """The record of a change that is no event."""
    record = records.ChangeRecord(customer_id=customer_id, at=at, change=change or {})
    return LogRecord(kind=kind, id=record_id, body=records.encode(record))
