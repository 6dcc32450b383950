"""The decision itself: one customer, one moment, one placement → which messages, or none.

`decide` is pure, and so is `decide_in_steps`, which gives way between its steps. Candidates are
filtered out stage by stage (`stages`), survivors are scored in one matrix, arbitration and
exploration choose. The verdict keeps why each candidate fell, as bit masks; `explanation.explain`
puts that into words on demand.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo
from typing import Any

import msgspec

from decision.core import business_rules
from decision.core.arbitration import (
    Arithmetic,
    Arrays,
    Floats,
    Scored,
    Scores,
    arbitrate,
    below_threshold,
    no_scores,
    prioritise,
)
from decision.core.budgets import Spending
from decision.core.business_rules import Override
from decision.core.contact_policy import Pause, Standing
from decision.core.definition import Selector
from decision.core.document import Document
from decision.core.fields import Situation
from decision.core.masks import Indices, mask_of, positions, union
from decision.core.policy import Policy, in_holdout
from decision.core.ports import RuleMatcher, Scorer
from decision.core.reasons import Reason
from decision.core.schema import Outcome, TriggerEvent
from decision.core.stages import Case, pass_stages
from decision.core.steps import Steps, at_once
from decision.core.texts import NO_CONTENTS, Contents, Texts
from decision.core.values import Value
from decision.core.waiting import opens


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision is asked about. `channels` None: all of the placement's.

    `of` is set where a step of a journey asks for some messages alone; the context says which step.
    """

    placement: str
    channels: tuple[str, ...] | None = None
    event: TriggerEvent | None = None
    context: dict[str, Any] = {}
    limit: int = 1
    of: Selector | msgspec.UnsetType = msgspec.UNSET


class Verdict(msgspec.Struct, kw_only=True):
    """A decision with all that explains it.

    `fallen` is reason → mask of the candidates that fell at that stage; `fired` is the mask of
    business rules that hold; `values` are the slot values as those rules left them, `overrides`
    what they set. `experiments` has the variants that the customer was exposed to (see
    `exposure`). `holdout` is whether the customer belongs to a control group, even if that removed
    nothing: arms are compared by their members. `not_before` is when time alone lets the first
    candidate pass, in microseconds; None where that is never or not known. `fallback` is the
    candidate that is given where nothing was chosen. `spending` is what is known of budgets.
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
    pauses: list[Pause]
    scores: Scores
    chosen: list[Scored]
    outcome: Outcome
    fallback: int | None
    reason: Reason | None
    not_before: int | None
    holdout: bool
    threshold: float
    experiments: dict[str, str]
    texts: Texts
    spending: Spending | None

    def overlong(self) -> int:
        """What is given with a text that is longer than any may be, once it is rendered."""
        found = self.texts.overlong
        if not found:
            return 0
        given = [row.candidate for row in self.chosen]
        return found & mask_of([*given, *(() if self.fallback is None else (self.fallback,))])


def decide_in_steps(
    policy: Policy,
    matcher: RuleMatcher,
    scorer: Scorer,
    document: Document,
    question: Question,
    now: int,
    draw: Callable[[], float],
    *,
    spent: int = 0,
    spending: Spending | None = None,
    exploration: float | None = None,
    unproven: int = 0,
    contents: Contents = NO_CONTENTS,
    too_long: int | None = None,
    overlong: int = 0,
    decision_id: str = "",
    arithmetic: Arithmetic | None = None,
    together: bool = False,
) -> Steps[Verdict]:
    """Decides for one customer at one moment; `decide` does so at once.

    It gives way between its steps where others decide `together` with it, and else not at all.

    `now` is in microseconds. `draw` gives numbers in [0, 1), one for each choice among several.
    `spent` is the mask of candidates with a spent budget; `spending` knows what a selection leaves
    for the next one. `unproven` is the mask of candidates with a message that has little evidence
    yet. `exploration` is γ of inverse-gap weighting; None always takes the best. `contents` are the
    policy's; without them no text is too long. `too_long` is the mask of candidates whose text was,
    where that is on record; `overlong` of those whose text turned out to be longer than any may be.
    `decision_id` is what texts print of it. `arithmetic` is the policy's, where another than
    `Arrays` is faster.

    Raises:
        KeyError: the policy does not have the placement.

    >>> from decision.core.business_rules import PlainMatcher
    >>> from decision.core.definition import Channel, Message, Placement, PolicyDefinition, Purpose
    >>> from decision.core.policy_builder import compile_policy
    >>> definition = PolicyDefinition(
    ...     version="1",
    ...     purposes=(Purpose(name="news", consent="opt_out"),),
    ...     channels=(Channel(name="email"),),
    ...     placements=(Placement(name="inbox", channels=("email",)),),
    ...     messages=(Message(name="hello", purpose="news", channels=("email",), value=2.0),),
    ... )
    >>> class Half:
    ...     def score(self, candidates, values, document, now):
    ...         return candidates * 0 + 0.5
    >>> policy = compile_policy(definition)
    >>> matcher = PlainMatcher(policy.rules, policy.rule_strata, policy.fields.slot)
    >>> anna, question = Document(customer_id="anna"), Question(placement="inbox")
    >>> verdict = decide(policy, matcher, Half(), anna, question, now=0, draw=lambda: 0.0)
    >>> verdict.outcome, verdict.chosen[0].priority
    ('selected', 1.0)
    """
    zone = policy.zone_of(document)
    situation = Situation(
        document, question.placement, now, zone, question.event, question.context, policy.variant
    )
    values = policy.read(situation)
    if together:
        yield
    overrides: list[Override] = []
    fired = business_rules.run(
        policy.rule_strata, policy.rules, matcher, values, policy.fields.slot, overrides
    )
    if together:
        yield
    texts = Texts(contents, policy, situation, overrides, values, too_long, decision_id, overlong)
    case = Case(
        policy,
        document,
        question.placement,
        question.channels,
        now,
        zone,
        values,
        fired,
        policy.contact_policy.pauses(document.signals, now),
        policy.contact_policy.standing(document, now, zone, values),
        spent,
        [held for held in policy.holdouts if in_holdout(held.experiment, document.customer_id)],
        texts,
        question.of,
    )
    if together:
        yield
    alive, fallen, exposing, waiting = pass_stages(case)
    if together:
        yield

    placement = policy.placements[question.placement]
    scores = None
    chosen: list[Scored] = []
    if alive:
        survivors = positions(alive)
        probabilities = scorer.score(survivors, values, document, now)
        if together:
            yield
        uplift = uplift_by(scorer, survivors, probabilities, values, document, now)
        numbers = arithmetic or Arrays(policy)
        scores = prioritise(numbers, alive, survivors, probabilities, fired, uplift)
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
                numbers,
                unproven,
                spending,
            )
        if together:
            yield

    outcome: Outcome = "selected"
    fallback: int | None = None
    reason: Reason | None = None
    not_before = None
    if not chosen:
        fallback = fallback_of(policy, question, now, document, texts.fits)
        outcome = "none" if fallback is None else "fallback"
        reason = next(reversed(fallen), Reason.NOT_IN_PLACEMENT)  # where the last ones fell
        waiting &= ~texts.too_long(waiting)  # waiting does not shorten a text
        not_before = opens(case, waiting) if waiting else None
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
        fallback=fallback,
        reason=reason,
        not_before=not_before,
        holdout=bool(case.holdouts),
        threshold=placement.threshold,
        experiments={
            tested.experiment: variant
            for tested in policy.exposures
            if tested.mask & exposing and isinstance(variant := values[tested.slot], str)
        },
        texts=texts,
        spending=spending,
    )


decide = at_once(decide_in_steps)


def uplift_by(
    scorer: Scorer,
    candidates: Indices,
    probability: Floats,
    values: list[Value],
    document: Document,
    now: int,
) -> Floats | None:
    """What candidates add over silence, by a scorer that is also an `UpliftScorer`; else None."""
    uplift = getattr(scorer, "uplift", None)
    if uplift is None:
        return None
    found: Floats = uplift(candidates, probability, values, document, now)
    return found


def fallback_of(
    policy: Policy,
    question: Question,
    now: int,
    document: Document | None,
    fits: Callable[[int], bool],
) -> int | None:
    """The candidate that is given where nothing is chosen; None where there is none.

    It is the first of the placement's fallback that is active, of what was asked for, on a channel
    on which the customer can be reached and where its text fits. Without a document, nobody knows
    where customers can be reached.
    """
    asked = policy.asked_for(question.of)
    for candidate in policy.fallbacks[question.placement]:
        message, channel = policy.pairs[candidate]
        if (
            asked >> candidate & 1
            and (question.channels is None or channel.name in question.channels)
            and (message.active_from is None or message.active_from <= now)
            and (message.active_until is None or now < message.active_until)
            and (document is None or document.reaches(channel.name))
            and fits(candidate)
        ):
            return candidate
    return None


def choose_nothing(policy: Policy, verdict: Verdict) -> None:
    """Takes the choice out of a verdict that cannot be reserved; what was left counts as capped.

    The outcome is the placement's fallback, where it has one, else `none`.
    """
    verdict.fallen.pop(Reason.OUTRANKED, None)
    left = policy.everything & ~union(verdict.fallen.values())
    if left:
        verdict.fallen[Reason.CAPPED] = verdict.fallen.get(Reason.CAPPED, 0) | left
        verdict.reason = Reason.CAPPED
    verdict.chosen = []
    verdict.fallback = fallback_of(
        policy, verdict.question, verdict.now, verdict.document, verdict.texts.fits
    )
    verdict.outcome = "none" if verdict.fallback is None else "fallback"
