"""The answer to a request, with content rendered for the customer as the decision saw them."""

from __future__ import annotations

from typing import Any

from decision.core.clock import from_micros
from decision.core.decide import Question, Verdict
from decision.core.schema import Decision, Selection
from decision.engine.planning import DecisionPlan, DecisionQuery
from decision.engine.snapshot import Snapshot


def answer_of(plan: DecisionPlan) -> Decision:
    """The answer that a plan gives, without an explanation."""
    query, verdict = plan.query, plan.verdict
    request, snapshot = query.request, query.snapshot
    return Decision(
        decision_id=plan.decision_id,
        request_id=request.request_id,
        customer_id=verdict.document.customer_id,
        placement=request.placement,
        decided_at=from_micros(query.now),
        outcome=verdict.outcome,
        selections=selections_of(snapshot, verdict, reserved=not request.dry_run),
        reason=verdict.reason.value if verdict.reason else None,
        not_before=from_micros(verdict.not_before) if verdict.not_before else None,
        degraded=plan.degraded,
        policy_version=snapshot.policy_version,
        model_version=snapshot.model_version,
    )


def answer_without_store(
    query: DecisionQuery, customer_id: str, decision_id: str, degraded: list[str]
) -> Decision:
    """The answer where customer, caps and consents could not be read or written."""
    request, snapshot = query.request, query.snapshot
    selections = _fallback(snapshot, request.placement, _namespaces(snapshot, query.question, None))
    return Decision(
        decision_id=decision_id,
        request_id=request.request_id,
        customer_id=customer_id,
        placement=request.placement,
        decided_at=from_micros(query.now),
        outcome="fallback" if selections else "none",
        selections=selections,
        degraded=degraded,
        policy_version=snapshot.policy_version,
        model_version=snapshot.model_version,
        explanation=[] if request.explain else None,
    )


def selections_of(
    snapshot: Snapshot, verdict: Verdict, *, reserved: bool = True
) -> list[Selection]:
    """What was chosen, with content and until when it is reserved; else the fallback, if any."""
    policy = snapshot.policy
    names = _namespaces(snapshot, verdict.question, verdict)
    selections = []
    for row in verdict.chosen:
        candidate = policy.candidates[row.candidate]
        expires_after = policy.pairs[row.candidate][1].reservation.expires_after
        selections.append(
            Selection(
                message=candidate.message,
                channel=candidate.channel,
                content=snapshot.renders[row.candidate](names),
                response_probability=row.response_probability,
                priority=row.priority,
                selection_probability=row.selection_probability,
                reserved_until=from_micros(verdict.now + expires_after) if reserved else None,
            )
        )
    return selections or _fallback(snapshot, verdict.question.placement, names)


def _namespaces(snapshot: Snapshot, question: Question, verdict: Verdict | None) -> dict[str, Any]:
    """What content templates may name; of the customer nothing where there is no verdict."""
    event = question.event
    return {
        "customer": _attributes(snapshot, verdict) if verdict else {},
        "event": {**event.properties, "type": event.type} if event else {},
        "context": question.context,
        "placement": question.placement,
    }


def _attributes(snapshot: Snapshot, verdict: Verdict) -> dict[str, Any]:
    """The customer's attributes as this decision sees them, what rules set included."""
    fields = snapshot.policy.fields.fields
    attributes = dict(verdict.document.attributes)
    for override in verdict.overrides:
        attributes[fields[override.slot].name.removeprefix("customer.")] = override.value
    state = verdict.values[snapshot.policy.state_slot]
    if isinstance(state, str):
        attributes["state"] = state
    return attributes


def _fallback(snapshot: Snapshot, placement: str, names: dict[str, Any]) -> list[Selection]:
    """The placement's fallback message, where it has one."""
    found = snapshot.fallbacks.get(placement)
    if found is None:
        return []
    message, channel, render = found
    return [Selection(message=message, channel=channel, content=render(names))]
