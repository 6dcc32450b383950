"""Log records: of decisions, of events, and of changes of a customer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from decision.core import records
from decision.core.clock import from_micros
from decision.core.document import ConsentChange, ContactKind
from decision.core.event_effects import Occurrence, logged
from decision.core.logged_scores import shorten
from decision.core.masks import mask_bytes
from decision.core.ports import LogRecord
from decision.scoring.by_scope import MixedScorer

if TYPE_CHECKING:
    from decision.core.decide import Verdict
    from decision.core.ports import Scorer
    from decision.core.schema import ConsentUpdate, Decision
    from decision.engine.planning import DecisionPlan, DecisionQuery


def decision_record(plan: DecisionPlan) -> LogRecord:
    """The record of a decision: what it saw and chose."""
    query, verdict = plan.query, plan.verdict
    request, snapshot = query.request, query.snapshot
    mixed, question, event = snapshot.mixed, query.question, request.event
    selections = _with_codes(plan) if snapshot.policy.coupons else plan.selections
    candidates, figures = shorten(verdict.scores)
    # By place, and no `DecisionRecord` before it: by name it takes twice as long.
    line = records.DecisionLine(
        records.FORMAT,
        verdict.document.customer_id,
        plan.decision_id,
        query.now,
        request.placement,
        question.channels,
        None if event is None else records.event_line(event),
        question.context,
        question.limit,
        None if question.of is msgspec.UNSET else question.of,
        verdict.outcome,
        plan.seen,
        plan.draws,
        snapshot.policy_version,
        selections,
        candidates,
        figures,
        {reason: mask_bytes(mask) for reason, mask in verdict.fallen.items()},
        mask_bytes(plan.spent & snapshot.policy.everything) if plan.spent else b"",
        verdict.spending.by_name() if verdict.spending is not None else {},
        snapshot.exploration,
        mask_bytes(snapshot.unproven) if snapshot.unproven else b"",
        request.request_id,
        None if event is None else event.type,
        None if verdict.reason is None else verdict.reason.value,
        verdict.not_before,
        snapshot.model_version if mixed is None else plan.model_version,
        verdict.experiments,
        verdict.holdout,
        plan.shadow,
        None if mixed is None else _models(mixed, verdict),
        None if plan.shadow is None else _models(snapshot.shadow, verdict),
        plan.degraded,
        int(query.elapsed() * 1_000_000),
    )
    return LogRecord(kind="decision", id=plan.decision_id, body=records.encode(line))


def _models(scorer: Scorer | None, verdict: Verdict) -> records.LoggedModels | None:
    """Which version has scored which of the survivors, where several have."""
    if not isinstance(scorer, MixedScorer) or not len(verdict.scores.candidates):
        return None
    return scorer.logged(verdict.scores.candidates)


def _with_codes(plan: DecisionPlan) -> list[records.GivenLine]:
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
    return LogRecord(kind="decision", id=answer.decision_id, body=records.encode_decision(record))


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


def consent_record(
    record_id: str,
    customer_id: str,
    at: int,
    update: ConsentUpdate,
    source: str,
    outdated: dict[str, list[str]],
) -> LogRecord:
    """The record of consents that were stated; those `outdated`, purpose → channels, too late."""
    said = {"consents": msgspec.to_builtins(update), "source": source}
    if outdated:
        said["outdated"] = outdated
    return change_record("consent", record_id, customer_id, at, said)


def journey_records(commit_id: str, made: Sequence[records.JourneyRecord]) -> list[LogRecord]:
    """What one commit did to runs of journeys; their ids are made of the commit's."""
    return [
        LogRecord(kind="journey", id=f"{commit_id}.{number}", body=records.encode(one))
        for number, one in enumerate(made)
    ]


def opt_out_records(
    occurrence: Occurrence, customer_id: str, at: int, heard: Sequence[ConsentChange]
) -> list[LogRecord]:
    """The record of the consents that an event has changed, beside its own; none where it has not.

    Its id is made of the event's.
    """
    if not heard:
        return []
    consents: dict[str, dict[str, Any]] = {}
    for one in heard:
        said = {"state": "denied", "at": from_micros(one.at), "source": one.source}
        consents.setdefault(one.purpose, {})[one.channel] = said
    said = {"consents": msgspec.to_builtins(consents), "source": heard[0].source}
    said["event_id"] = occurrence.id
    return [change_record("consent", f"{occurrence.id}.consent", customer_id, at, said)]
