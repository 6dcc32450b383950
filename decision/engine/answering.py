"""The answer to a request, with content rendered for the customer as the decision saw them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET

from decision.core.clock import from_micros
from decision.core.coupons import PLACEHOLDER
from decision.core.decide import Question, Verdict, fallback_of
from decision.core.policy import Policy
from decision.core.schema import Decision, Selection
from decision.core.texts import excess_of, names_of_stranger
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
        model_version=snapshot.model_version if snapshot.mixed is None else plan.model_version,
    )


def with_placeholders(plan: DecisionPlan, answer: Decision) -> Decision:
    """The answer of a dry run, which takes no codes: its texts print a placeholder."""
    policy, verdict = plan.query.snapshot.policy, plan.verdict
    given = [row.candidate for row in verdict.chosen if policy.pairs[row.candidate][0].coupon]
    if not given:
        return answer
    for candidate in given:
        verdict.texts.give(candidate, PLACEHOLDER)
    selections = selections_of(plan.query.snapshot, verdict, reserved=False)
    return msgspec.structs.replace(answer, selections=selections)


def answer_without_store(
    query: DecisionQuery, customer_id: str, decision_id: str, degraded: list[str]
) -> Decision:
    """The answer where customer, caps and consents could not be read or written."""
    request, snapshot = query.request, query.snapshot
    selections = fallback_without_store(
        snapshot, query.question, query.now, customer_id, decision_id
    )
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


def fallback_without_store(
    snapshot: Snapshot, question: Question, now: int, customer_id: str, decision_id: str
) -> list[Selection]:
    """The fallback, if any, where nothing is known of the customer but an id."""
    policy, contents = snapshot.policy, snapshot.contents.candidates
    names = names_of_stranger(policy, question, now, customer_id, decision_id)

    def render(candidate: int) -> dict[str, Any]:
        return contents[candidate].render(names)

    def fits(candidate: int) -> bool:
        rendered = render(candidate)
        return not names["rendering"].excess and excess_of(contents[candidate], rendered) is None

    return _fallback(policy, fallback_of(policy, question, now, None, fits), render)


def selections_of(
    snapshot: Snapshot, verdict: Verdict, *, reserved: bool = True
) -> list[Selection]:
    """What was chosen, with content and until when it is reserved; else the fallback, if any."""
    policy, mixed = snapshot.policy, snapshot.mixed
    selections = []
    for row in verdict.chosen:
        candidate = policy.candidates[row.candidate]
        expires_after = policy.pairs[row.candidate][1].reservation.expires_after
        selections.append(
            Selection(
                message=candidate.message,
                channel=candidate.channel,
                content=verdict.texts.content(row.candidate),
                response_probability=row.response_probability,
                priority=row.priority,
                selection_probability=row.selection_probability,
                reserved_until=from_micros(verdict.now + expires_after) if reserved else None,
                model_version=UNSET if mixed is None else mixed.version_of(row.candidate),
            )
        )
    return selections or _fallback(policy, verdict.fallback, verdict.texts.content)


def _fallback(
    policy: Policy, candidate: int | None, render: Callable[[int], dict[str, Any]]
) -> list[Selection]:
    """The candidate that is given where nothing was chosen, if there is one."""
    if candidate is None:
        return []
    message, channel = policy.pairs[candidate]
    return [Selection(message=message.name, channel=channel.name, content=render(candidate))]
