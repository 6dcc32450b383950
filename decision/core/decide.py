"""The decision itself: one customer, one moment, one placement → what to say, or nothing.

`decide` is pure. Candidates fall stage by stage in the order of `reasons.Reason`; survivors are
scored in one matrix; arbitration and exploration choose. What it returns keeps, as bit masks, why
each candidate fell; `explanation.explain` puts that into words when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import tzinfo
from typing import Any

import msgspec

from decision.core import business_rules, calendar, consent
from decision.core.arbitration import (
    Floats,
    Scored,
    Scores,
    arbitrate,
    no_scores,
    prioritise,
)
from decision.core.business_rules import Override
from decision.core.contact_policy import NEVER, CapGroup, ContactPolicy, Standing
from decision.core.document import Document
from decision.core.fields import Situation
from decision.core.masks import indices, mask_of, positions
from decision.core.policy import Policy, Requirement, in_holdout
from decision.core.ports import RuleMatcher, Scorer
from decision.core.reasons import Reason
from decision.core.schema import Outcome, TriggerEvent
from decision.core.values import Value


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
    contact_policy = policy.contact_policy
    placement = policy.placements[question.placement]
    zone = calendar.zone(document.timezone) if document.timezone else policy.zone
    customer_id = document.customer_id
    situation = Situation(
        document,
        question.placement,
        now,
        zone,
        question.event,
        question.context,
        lambda name: policy.variant(name, customer_id),
    )
    values = policy.fields.read(situation)
    for state, test in policy.states:
        if test(values):
            values[policy.state_slot] = state
            break
    overrides: list[Override] = []
    fired = business_rules.run(
        policy.rule_plan, policy.rules, matcher, values, policy.fields.slot, overrides
    )

    fallen: dict[Reason, int] = {}
    alive = policy.everything
    reason: Reason | None = None if alive else Reason.NOT_IN_PLACEMENT

    def fall(mask: int, code: Reason) -> None:
        nonlocal alive, reason
        falling = alive & mask
        if falling:
            fallen[code] = falling
            alive &= ~falling
            if not alive:
                reason = code

    fall(_inactive(policy, now), Reason.INACTIVE)
    offered = policy.placement_masks[question.placement]
    if question.channels is not None:
        asked = 0
        for channel in question.channels:
            asked |= policy.channel_masks.get(channel, 0)
        offered &= asked
    fall(~offered, Reason.NOT_IN_PLACEMENT)
    failed = _not_eligible(policy.requirements, values, alive)
    reaching = alive & ~failed
    failed |= _not_eligible(policy.tested_requirements, values, reaching)
    fall(failed, Reason.NOT_ELIGIBLE)
    refused = _no_consent(policy, document, reaching)
    fall(refused, Reason.NO_CONSENT)

    agreed = alive
    pauses = contact_policy.pauses(document.signals, now)
    suppressed = 0
    for _, mask, _ in pauses:
        suppressed |= mask
    unreachable = _unreachable(policy, document)
    quiet = contact_policy.quiet(now, zone)
    closed = contact_policy.closed(document, now) if reaching else 0
    reaching &= ~(refused | suppressed | unreachable | quiet | closed)
    removed, levers = _rule_effects(policy, fired)
    standing = contact_policy.standing(document, now, zone)
    fall(suppressed, Reason.SUPPRESSED)
    fall(unreachable, Reason.UNREACHABLE)
    fall(quiet, Reason.QUIET_HOURS)
    fall(closed, Reason.REPLY_WINDOW_CLOSED)
    fall(removed, Reason.RULE_EXCLUDED)
    fall(standing.capped, Reason.CAPPED)
    fall(spent, Reason.BUDGET_SPENT)
    held = 0
    holdout = False
    for group in policy.holdouts:
        if in_holdout(group.experiment, customer_id):
            holdout = True
            held |= ~group.keeps
    fall(held, Reason.HOLDOUT)

    scores = no_scores()
    chosen: list[Scored] = []
    if alive:
        candidates = positions(alive)
        probabilities = scorer.score(candidates, values, document, now)
        scores = prioritise(policy, candidates, probabilities, levers)
        low = ~(scores.priority > placement.threshold)
        if low.any():
            fall(mask_of(candidates[low].tolist()), Reason.BELOW_THRESHOLD)
        if alive:
            chosen = arbitrate(
                policy,
                document,
                now,
                question.limit,
                scores,
                alive,
                standing,
                fallen,
                draw,
                exploration,
                unproven,
            )

    not_before = None
    outcome: Outcome = "selected"
    if not chosen:
        outcome = "fallback" if placement.fallback else "none"
        in_time = agreed & ~(unreachable | removed | spent | held)
        waiting = in_time & (suppressed | quiet | closed | standing.capped)
        if waiting:
            not_before = _opens(policy, document, waiting, standing, pauses, now, zone)
    return Verdict(
        question=question,
        document=document,
        now=now,
        zone=zone,
        values=values,
        overrides=overrides,
        fallen=fallen,
        fired=fired,
        standing=standing,
        pauses=pauses,
        scores=scores,
        chosen=chosen,
        outcome=outcome,
        reason=None if chosen else reason,
        not_before=not_before,
        holdout=holdout,
        threshold=placement.threshold,
        experiments={
            exposing.experiment: variant
            for exposing in policy.exposing
            if exposing.mask & reaching and isinstance(variant := values[exposing.slot], str)
        },
    )


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


def _inactive(policy: Policy, now: int) -> int:
    mask = 0
    for period in policy.active_periods:
        if (period.start is not None and now < period.start) or (
            period.end is not None and now >= period.end
        ):
            mask |= period.mask
    return mask


def _not_eligible(requirements: list[Requirement], values: Sequence[Value], alive: int) -> int:
    failed = 0
    for requirement in requirements:
        mask = requirement.mask
        if mask & alive & ~failed and not requirement.test(values):
            failed |= mask
    return failed


def _no_consent(policy: Policy, document: Document, alive: int) -> int:
    refused = 0
    for rule in policy.consent_rules:
        if rule.mask & alive and not consent.permits(rule.purpose, document.consents, rule.channel):
            refused |= rule.mask
    return refused


def _unreachable(policy: Policy, document: Document) -> int:
    mask = 0
    for channel in document.unreachable:
        mask |= policy.channel_masks.get(channel, 0)
    if document.reachable is not None:
        reached = 0
        for channel in document.reachable:
            reached |= policy.channel_masks.get(channel, 0)
        mask |= ~reached
    return mask


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


def _opens(
    policy: Policy,
    document: Document,
    waiting: int,
    standing: Standing,
    pauses: list[tuple[int, int, int]],
    now: int,
    zone: tzinfo,
) -> int | None:
    """The earliest instant at which time alone lets one of the waiting candidates pass."""
    contact_policy = policy.contact_policy
    opened: dict[str, int] = {}
    best = NEVER
    seen = set()
    for index in indices(waiting):
        groups = contact_policy.full_groups(standing, index)
        ends = [end for _, mask, end in pauses if mask >> index & 1]
        until = min(
            (
                period.end
                for period in policy.active_periods
                if period.mask >> index & 1 and period.end is not None
            ),
            default=NEVER,
        )
        quiet = [
            channel.channel.quiet_hours
            for channel in contact_policy.quiet_channels
            if channel.mask >> index & 1 and channel.channel.quiet_hours is not None
        ]
        reply = [channel for channel in contact_policy.reply_channels if channel.mask >> index & 1]
        first = max(
            [
                now,
                *ends,
                *(
                    _group_opens(contact_policy, group, document, now, zone, opened)
                    for group in groups
                ),
            ]
        )
        key = (first, until, tuple(id(hours) for hours in quiet), tuple(id(r) for r in reply))
        if key in seen:
            continue
        seen.add(key)
        at = first
        while at < until and at < best:
            following = at
            for hours in quiet:
                following = max(following, calendar.quiet_end(hours, at, zone))
            for channel in reply:
                following = max(following, contact_policy.reply_opens(channel, document, at))
            if following == at:
                best = at
                break
            at = following
    return best if best < NEVER else None


def _group_opens(
    contact_policy: ContactPolicy,
    group: CapGroup,
    document: Document,
    now: int,
    zone: tzinfo,
    opened: dict[str, int],
) -> int:
    key = f"{group.cap}/{group.key}"
    if key not in opened:
        opened[key] = contact_policy.cap_opens(group, document, now, zone)
    return opened[key]
