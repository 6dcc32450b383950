"""What a decision leaves in the outbox, where its placement has `delivery: gateway`."""

from __future__ import annotations

from collections.abc import Sequence

from decision.core.delivery import Delivery, SettledDelivery
from decision.core.policy import Policy
from decision.core.schema import Decision
from decision.engine.planning import DecisionPlan
from decision.engine.runtime import EngineSettings


def is_delivered(policy: Policy, settings: EngineSettings, placement: str) -> bool:
    """Whether what is decided at a placement is sent by us."""
    return policy.placements[placement].delivery == "gateway" and settings.delivers


def deliveries_of(plan: DecisionPlan, answer: Decision) -> list[Delivery]:
    """What is to be sent of an answer, the fallback included, with its contents as they are."""
    verdict, now = plan.verdict, plan.query.now
    found = []
    for candidate, selection in zip(_candidates(plan), answer.selections, strict=True):
        message, channel = plan.query.snapshot.policy.pairs[candidate]
        found.append(
            Delivery(
                decision_id=plan.decision_id,
                message=message.name,
                channel=channel.name,
                customer_id=verdict.document.customer_id,
                placement=answer.placement,
                purpose=message.purpose,
                category=message.category,
                content=selection.content,
                at=now,
                expires=now + channel.reservation.expires_after,
                counts=bool(verdict.chosen),
                releases=channel.reservation.then == "release",
                coupon=message.coupon,
            )
        )
    return found


def withdrawals(answer: Decision) -> list[SettledDelivery]:
    """What takes the deliveries of an answer out again, unless they are being sent."""
    return [
        SettledDelivery(
            id=f"{answer.decision_id}.{one.message}", channel=one.channel, only="unsent"
        )
        for one in answer.selections
    ]


def _candidates(plan: DecisionPlan) -> Sequence[int]:
    """What was chosen, else the fallback, if there is one."""
    verdict = plan.verdict
    if verdict.chosen:
        return [row.candidate for row in verdict.chosen]
    return [] if verdict.fallback is None else [verdict.fallback]
