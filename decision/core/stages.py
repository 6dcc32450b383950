"""The stages at which candidates fall: a table in the order of the reason codes.

The last two reasons need scores: `below_threshold` is given in `decide`, `outranked` in
`arbitrate`, which also caps within one decision of several messages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import tzinfo
from typing import Final, NamedTuple

import msgspec

from decision.core import consent
from decision.core.contact_policy import Pause, Standing
from decision.core.definition import Selector
from decision.core.document import Document
from decision.core.masks import indices
from decision.core.policy import Holdout, Policy
from decision.core.quiet_hours import silenced
from decision.core.reasons import Reason
from decision.core.texts import Texts
from decision.core.values import Value


class Case(msgspec.Struct, frozen=True):
    """One customer at one moment at one placement, as the stages see it.

    `channels` None: all of the placement's. `values` are the slot values as the rules left them,
    `fired` is the mask of the rules that hold, `spent` of the candidates with a spent budget.
    `holdouts` are the control groups that the customer belongs to. `of` is what a journey asks for.
    """

    policy: Policy
    document: Document
    placement: str
    channels: tuple[str, ...] | None
    now: int
    zone: tzinfo
    values: list[Value]
    fired: int
    pauses: list[Pause]
    standing: Standing
    spent: int
    holdouts: list[Holdout]
    texts: Texts
    of: Selector | msgspec.UnsetType


def _inactive(case: Case, among: int) -> int:
    now = case.now
    mask = 0
    for period in case.policy.active_periods:
        if (period.start is not None and now < period.start) or (
            period.end is not None and now >= period.end
        ):
            mask |= period.mask
    return mask


def _not_in_placement(case: Case, among: int) -> int:
    offered = case.policy.placement_masks[case.placement]
    if case.channels is not None:
        offered &= _on_channels(case.policy, case.channels)
    if case.of is not msgspec.UNSET:
        offered &= case.policy.asked_for(case.of)
    return ~offered


def _on_channels(policy: Policy, channels: Sequence[str]) -> int:
    mask = 0
    for channel in channels:
        mask |= policy.channel_masks.get(channel, 0)
    return mask


def _not_eligible(case: Case, among: int) -> int:
    return case.policy.requirements.failing(case.values, among)


def _not_eligible_by_variant(case: Case, among: int) -> int:
    return case.policy.tested_requirements.failing(case.values, among)


def _no_consent(case: Case, among: int) -> int:
    consents = case.document.consents
    refused = 0
    for purpose, mask, rules in case.policy.asking:
        if not mask & among:
            continue
        everywhere = consent.permits_everywhere(purpose, consents)
        if everywhere is None:
            for rule in rules:
                if rule.mask & among and not consent.permits(purpose, consents, rule.channel):
                    refused |= rule.mask
        elif not everywhere:
            refused |= mask
    return refused


def _suppressed(case: Case, among: int) -> int:
    paused = 0
    for pause in case.pauses:
        paused |= pause.mask
    return paused


def _unreachable(case: Case, among: int) -> int:
    document = case.document
    mask = _on_channels(case.policy, document.unreachable)
    if document.reachable is not None:
        mask |= ~_on_channels(case.policy, document.reachable)
    return mask


def _in_quiet_hours(case: Case, among: int) -> int:
    return silenced(case.policy.quiet.plain, case.now, case.zone, case.values, among)


def _in_quiet_hours_by_variant(case: Case, among: int) -> int:
    return silenced(case.policy.quiet.tested, case.now, case.zone, case.values, among)


def _reply_window_closed(case: Case, among: int) -> int:
    return case.policy.contact_policy.closed(case.document, case.now) if among else 0


def _rule_excluded(case: Case, among: int) -> int:
    removed = 0
    for rule in indices(case.fired):
        removed |= case.policy.effects[rule].removes
    return removed


def _held_out(case: Case, among: int) -> int:
    held_out = 0
    for group in case.holdouts:
        held_out |= ~group.keeps
    return held_out


class Stage(NamedTuple):
    """One stage: the reason code, and what blocks candidates.

    `blocks(case, among)` gives the mask of the candidates that it blocks. The mask is exact for the
    candidates in `among`; of others it may miss some, so that what concerns only those need not be
    evaluated. `temporary`: time alone can lift it, and
    `not_before` says when (quiet hours, caps, reply windows, pauses). `exposes`: a candidate
    that it blocks exposes the customer to experiments all the same (see `exposure`). `needed` is
    whether it can block anything under a policy: most policies do not have everything.
    """

    reason: Reason
    blocks: Callable[[Case, int], int]
    temporary: bool = False
    exposes: bool = False
    needed: Callable[[Policy], object] = lambda policy: True


STAGES: Final = (
    Stage(Reason.INACTIVE, _inactive, needed=lambda policy: policy.active_periods),
    Stage(Reason.NOT_IN_PLACEMENT, _not_in_placement),
    Stage(Reason.NOT_ELIGIBLE, _not_eligible, needed=lambda policy: policy.requirements),
    Stage(
        Reason.NOT_ELIGIBLE,
        _not_eligible_by_variant,
        exposes=True,
        needed=lambda policy: policy.tested_requirements,
    ),
    Stage(Reason.NO_CONSENT, _no_consent, needed=lambda policy: policy.asking),
    Stage(
        Reason.SUPPRESSED,
        _suppressed,
        temporary=True,
        needed=lambda policy: policy.contact_policy.suppressions,
    ),
    Stage(Reason.UNREACHABLE, _unreachable),
    Stage(
        Reason.QUIET_HOURS,
        _in_quiet_hours,
        temporary=True,
        needed=lambda policy: policy.quiet.plain,
    ),
    Stage(
        Reason.QUIET_HOURS,
        _in_quiet_hours_by_variant,
        temporary=True,
        exposes=True,
        needed=lambda policy: policy.quiet.tested,
    ),
    Stage(
        Reason.REPLY_WINDOW_CLOSED,
        _reply_window_closed,
        temporary=True,
        needed=lambda policy: policy.contact_policy.reply_channels,
    ),
    Stage(
        Reason.RULE_EXCLUDED,
        _rule_excluded,
        exposes=True,
        needed=lambda policy: any(effect.removes for effect in policy.effects),
    ),
    Stage(Reason.CAPPED, lambda case, _: case.standing.capped, temporary=True, exposes=True),
    Stage(Reason.BUDGET_SPENT, lambda case, _: case.spent, exposes=True),
    Stage(Reason.TOO_LONG, lambda case, among: case.texts.too_long(among), exposes=True),
    Stage(Reason.HOLDOUT, _held_out, exposes=True, needed=lambda policy: policy.holdouts),
)


def stages_of(policy: Policy) -> tuple[Stage, ...]:
    """The stages at which candidates of a policy can fall."""
    return tuple(stage for stage in STAGES if stage.needed(policy))


def pass_stages(case: Case) -> tuple[int, dict[Reason, int], int, int]:
    """Takes all candidates of the policy through all stages.

    What is left, as masks: the candidates still in; reason → those that fell; those that came as
    far as the rules whatever the customer's variants are; and those that fell only at stages that
    time alone can lift. Texts that are too long are looked for only among candidates still in.
    """
    alive = exposing = case.policy.everything
    held_for_now = held_for_good = 0
    fallen: dict[Reason, int] = {}
    for reason, blocks, temporary, exposes, _ in case.policy.stages:
        blocked = blocks(case, alive if exposes else exposing)
        if not blocked:
            continue
        if temporary:
            held_for_now |= blocked
        else:
            held_for_good |= blocked
        if not exposes:
            exposing &= ~blocked
        falling = alive & blocked
        if falling:
            fallen[reason] = fallen.get(reason, 0) | falling
            alive &= ~falling
    return alive, fallen, exposing, held_for_now & ~held_for_good
