"""The decision itself: one customer, one moment, one placement → what to say, or nothing.

`decide` is pure. Candidates fall stage by stage in the order of `reasons.Reason`; survivors are
scored in one matrix; arbitration and exploration choose. What it returns keeps, as bit masks, why
each candidate fell; `explanation.explain` puts that into words when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo
from typing import Any

import msgspec

from decision.core import business_rules
from decision.core.arbitration import (
    Floats,
    Scored,
    Scores,
    arbitrate,
    below_threshold,
    no_scores,
    prioritise,
)
from decision.core.business_rules import Override
from decision.core.contact_policy import Standing
from decision.core.document import Document
from decision.core.fields import Situation
from decision.core.masks import indices, positions
from decision.core.policy import Policy, in_holdout
from decision.core.ports import RuleMatcher, Scorer
from decision.core.reasons import Reason
from decision.core.schema import Outcome, TriggerEvent
from decision.core.stages import Case, pass_stages
from decision.core.values import Value
from decision.core.waiting import opens


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision is asked about. `channels` None: all of the placement's."""

    placement: str
    channels: tuple[str, ...] | None = None
    event: TriggerEvent | None = None
    context: dict[str, Any] = {}
    limit: int = 1


class Verdict(msgspec.Struct, kw_only=True):
    """A decision with all that explains it.

    `fallen` is reason → mask of the candidates that fell at that stage; `fired` is the mask of
    business rules that hold; `values` are the slot values as those rules left them, `overrides`
    what they set. `experiments` holds the variants that had a say (see `exposure`); `holdout` is
    whether the customer belongs to a control group, whatever it removed: arms are compared by whom
    they hold, and candidates with the reason `holdout` say where it mattered.
    """

    question: Question
    document: Document
    now: int
    zone: tzinfo
    values: list[Value]
    overrides: list[Override]
    fallen: dict[Reason, int]
    fired: int
    standing: Standing
    pauses: list[tuple[int, int, int]]
    scores: Scores
    chosen: list[Scored]
    outcome: Outcome
    reason: Reason | None
    not_before: int | None
    holdout: bool
    threshold: float
    experiments: dict[str, str]


def decide(
    policy: Policy,
    matcher: RuleMatcher,
    scorer: Scorer,
    document: Document,
    question: Question,
    now: int,
    draw: Callable[[], float],
    *,
    spent: int = 0,
    exploration: float | None = None,
    unproven: int = 0,
) -> Verdict:
    """Decides for one customer at one moment.

    `draw` gives numbers in [0, 1), one for each selection; `spent` is the mask of candidates
    whose budget is known to be spent; `exploration` is γ of inverse-gap weighting, None always
    takes the best; `unproven` is the mask of candidates whose message has little evidence yet.
    The placement must be one of the policy's.
    """
    zone = policy.zone_of(document)
    values = _read(policy, document, question, now, zone)
    overrides: list[Override] = []
    fired = business_rules.run(
        policy.rule_plan, policy.rules, matcher, values, policy.fields.slot, overrides
    )
    excluded, levers = _rule_effects(policy, fired)
    case = Case(
        policy,
        document,
        question.placement,
        question.channels,
        now,
        zone,
        values,
        excluded,
        policy.contact_policy.pauses(document.signals, now),
        policy.contact_policy.standing(document, now, zone),
        spent,
        [held for held in policy.holdouts if in_holdout(held.experiment, document.customer_id)],
    )
    alive, fallen, exposing, waiting = pass_stages(case)

    placement = policy.placements[question.placement]
    scores = None
    chosen: list[Scored] = []
    if alive:
        survivors = positions(alive)
        probabilities = scorer.score(survivors, values, document, now)
        scores = prioritise(policy, survivors, probabilities, levers)
        if below := below_threshold(scores, placement.threshold):
            fallen[Reason.BELOW_THRESHOLD] = below
            alive &= ~below
        if alive:
            chosen = arbitrate(
                policy,
                document,
                now,
                question.limit,
                scores,
                alive,
                case.standing,
                fallen,
                draw,
                exploration,
                unproven,
            )

    outcome: Outcome = "selected"
    reason: Reason | None = None
    not_before = None
    if not chosen:
        outcome = "fallback" if placement.fallback else "none"
        reason = next(reversed(fallen), Reason.NOT_IN_PLACEMENT)  # where the last ones fell
        not_before = opens(case, waiting)
    return Verdict(
        question=question,
        document=document,
        now=now,
        zone=zone,
        values=values,
        overrides=overrides,
        fallen=fallen,
        fired=fired,
        standing=case.standing,
        pauses=case.pauses,
        scores=scores or no_scores(),
        chosen=chosen,
        outcome=outcome,
        reason=reason,
        not_before=not_before,
        holdout=bool(case.holdouts),
        threshold=placement.threshold,
        experiments={
            tested.experiment: variant
            for tested in policy.exposures
            if tested.mask & exposing and isinstance(variant := values[tested.slot], str)
        },
    )


def _read(
    policy: Policy, document: Document, question: Question, now: int, zone: tzinfo
) -> list[Value]:
    """The slot values before any rule has set one, `customer.state` included."""
    values = policy.fields.read(
        Situation(
            document,
            question.placement,
            now,
            zone,
            question.event,
            question.context,
            lambda name: policy.variant(name, document.customer_id),
        )
    )
    for state, test in policy.states:
        if test(values):
            values[policy.state_slot] = state
            break
    return values


def silence(policy: Policy, verdict: Verdict) -> None:
    """Makes silence of a verdict that could not be reserved; what was left falls as capped."""
    left = policy.everything
    for reason, mask in verdict.fallen.items():
        if reason != Reason.OUTRANKED:
            left &= ~mask
    verdict.fallen.pop(Reason.OUTRANKED, None)
    if left:
        verdict.fallen[Reason.CAPPED] = verdict.fallen.get(Reason.CAPPED, 0) | left
        verdict.reason = Reason.CAPPED
    verdict.chosen = []
    placement = policy.placements[verdict.question.placement]
    verdict.outcome = "fallback" if placement.fallback else "none"


def _rule_effects(policy: Policy, fired: int) -> tuple[int, list[Floats]]:
    """(mask of removed candidates, factors of each boost) of the rules that hold."""
    removed = 0
    levers = []
    for index in indices(fired):
        effect = policy.effects[index]
        removed |= effect.removes
        if effect.levers is not None:
            levers.append(effect.levers)
    return removed, levers
