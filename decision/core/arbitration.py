"""Arbitration: the survivors' priorities in one table, and the draw of who wins.

priority = response probability × value × lever − channel cost, in `settings.currency`. Where a
model says what a message adds over silence, it is uplift × value × lever − channel cost.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from math import isfinite
from typing import Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.core.budgets import Spending
from decision.core.contact_policy import Standing
from decision.core.document import Document
from decision.core.exploration import (
    choose,
    choose_of_many,
    inverse_gap_weights,
    inverse_gap_weights_of_many,
    with_floors,
)
from decision.core.masks import Indices, among, indices, mask_of_array
from decision.core.policy import Policy
from decision.core.reasons import Reason

Floats = NDArray[np.float64]
MANY: Final = 30
"""From so many candidates on, the draw is faster with arrays than with lists."""


class Scored(msgspec.Struct, frozen=True):
    """A survivor: what it scored, and the probability with which the policy chose it."""

    candidate: int
    response_probability: float
    lever: float
    priority: float
    selection_probability: float
    uplift: float | None = None

    @property
    def effect(self) -> float:
        """What its priority is of: the uplift, where a model says it, else the probability."""
        return self.response_probability if self.uplift is None else self.uplift


class Scores(msgspec.Struct, frozen=True):
    """All survivors, one column per figure; `candidates` are indices in the policy, ascending, and
    `mask` is the mask of them.

    `selection` is the probability of the draw in which a candidate was chosen, or of the last
    draw that it took part in; 0 where it took part in none. `uplift` is what a candidate adds over
    silence, where a model says so; then priorities are of it, and it may be below 0.
    """

    mask: int
    candidates: Indices
    probability: Floats
    lever: Floats
    priority: Floats
    selection: Floats
    uplift: Floats | None = None

    @property
    def effect(self) -> Floats:
        """What priorities are of: the uplift, where a model says it, else the probability."""
        return self.probability if self.uplift is None else self.uplift

    def row(self, place: int) -> Scored:
        """One survivor by its place in the table."""
        return Scored(
            self.candidates.item(place),
            self.probability.item(place),
            self.lever.item(place),
            self.priority.item(place),
            self.selection.item(place),
            None if self.uplift is None else self.uplift.item(place),
        )

    def rows(self) -> list[Scored]:
        """All survivors."""
        return [self.row(place) for place in range(len(self.candidates))]


def no_scores() -> Scores:
    """The table of no survivors."""
    none = np.empty(0)
    return Scores(0, np.empty(0, dtype=np.intp), none, none, none, none)


class Arithmetic(Protocol):
    """The numbers of one decision of a policy."""

    def priorities(self, candidates: Indices, effects: Floats, fired: int) -> tuple[Floats, Floats]:
        """The lever and the priority of each candidate, by what its priority is of; `fired` is the
        mask of the rules that hold, whose boosts multiply."""

    def choose(self, priorities: Floats, gamma: float | None, u: float) -> tuple[Floats, int]:
        """The selection probability of each priority if nothing but their gaps counts, and the
        place that `u` falls on."""


class Arrays:
    """`Arithmetic` by numpy: what any other must give, to the last bit."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def priorities(self, candidates: Indices, effects: Floats, fired: int) -> tuple[Floats, Floats]:
        """As `Arithmetic` says."""
        policy = self.policy
        boosts = [policy.effects[rule].levers for rule in indices(fired)]
        levers = [each for each in boosts if each is not None]
        if levers:
            lever = reduce(np.multiply, levers).take(candidates)
        else:
            lever = np.ones(len(candidates))
        priority = policy.message_values.take(candidates)
        priority *= effects
        priority *= lever
        priority -= policy.costs.take(candidates)
        return lever, priority

    def choose(self, priorities: Floats, gamma: float | None, u: float) -> tuple[Floats, int]:
        """As `Arithmetic` says."""
        weights = gap_weights(priorities, gamma)
        return weights, drawn(weights, u)


def prioritise(
    arithmetic: Arithmetic,
    survivors: int,
    candidates: Indices,
    probability: Floats,
    fired: int,
    uplift: Floats | None = None,
) -> Scores:
    """The table of survivors with their priorities.

    `candidates` are the indices in the mask `survivors`.
    """
    effects = probability if uplift is None else uplift
    lever, priority = arithmetic.priorities(candidates, effects, fired)
    selection = np.zeros(len(candidates))
    return Scores(survivors, candidates, probability, lever, priority, selection, uplift)


def below_threshold(scores: Scores, threshold: float) -> int:
    """The mask of survivors whose priority is not above the threshold."""
    priority = scores.priority
    if priority.item(priority.argmin()) > threshold:  # which it is not of one that is no number
        return 0
    return mask_of_array(scores.candidates[~(priority > threshold)])


def arbitrate(
    policy: Policy,
    document: Document,
    now: int,
    limit: int,
    scores: Scores,
    alive: int,
    standing: Standing,
    fallen: dict[Reason, int],
    draw: Callable[[], float],
    exploration: float | None,
    arithmetic: Arithmetic,
    unproven: int = 0,
    spending: Spending | None = None,
) -> list[Scored]:
    """Draws up to `limit` different messages, one after another, caps and budgets counting all.

    Each is drawn among the first tier that has survivors left: nothing is explored across tiers.
    `exploration` is γ of inverse-gap weighting, None always takes the best; `unproven` is the mask
    of candidates with a message that has little evidence yet. `fallen` is completed: survivors that
    a selection of this very decision capped, or used a reply window or a budget up for, get that
    reason; the others are outranked.
    """
    contact_policy = policy.contact_policy
    left = policy.foremost(alive) if policy.tiers else alive
    by_gaps = _by_gaps(policy, exploration, unproven)
    chosen: list[Scored] = []
    given = 0
    while left:
        places = None if left == scores.mask else among(scores.candidates, left)
        if by_gaps and left & left - 1:
            priorities = scores.priority if places is None else scores.priority.take(places)
            weights, place = arithmetic.choose(priorities, exploration, draw())
        else:
            weights = draw_probabilities(policy, scores, places, exploration, unproven)
            place = drawn(weights, draw()) if len(weights) > 1 else 0
        if places is None:
            scores.selection[:] = weights
        else:
            scores.selection[places] = weights
            place = places.item(place)
        winner = scores.row(place)
        chosen.append(winner)
        alive &= ~(1 << winner.candidate)
        if len(chosen) == limit:
            break
        contact_policy.add(standing, winner.candidate)
        pending = [policy.candidates[row.candidate] for row in chosen]
        taken = policy.message_masks[policy.candidates[winner.candidate].message]
        given |= taken
        closed = alive & ~taken & contact_policy.closed(document, now, pending)
        capped = alive & ~taken & ~closed & standing.capped
        spent = 0
        if spending is not None and spending.shared:
            spending.take(winner.candidate)
            spent = alive & ~given & ~closed & ~capped & spending.blocked()
        for reason, mask in (
            (Reason.REPLY_WINDOW_CLOSED, closed),
            (Reason.CAPPED, capped),
            (Reason.BUDGET_SPENT, spent),
        ):
            if mask:
                fallen[reason] = fallen.get(reason, 0) | mask
        alive &= ~(closed | capped | spent)
        left = alive & ~given
        if policy.tiers:  # those that have waited for another tier come back
            left = policy.foremost(left)
    if alive:
        fallen[Reason.OUTRANKED] = alive
    return chosen


def drawn(weights: Floats, u: float) -> int:
    """The place that `u` falls on: `choose`, in the way that is faster."""
    return choose(weights.tolist(), u) if len(weights) < MANY else choose_of_many(weights, u)


def draw_probabilities(
    policy: Policy, scores: Scores, places: Indices | None, gamma: float | None, unproven: int
) -> Floats:
    """The selection probability of the survivor at each place, where those are drawn from; None:
    from all.

    Gaps are weighed as parts of the largest priority.
    """
    found = scores.priority if places is None else scores.priority.take(places)
    if _by_gaps(policy, gamma, unproven):
        return gap_weights(found, gamma)
    candidates: list[int] = scores.candidates[slice(None) if places is None else places].tolist()
    if policy.unexplored >> candidates[int(found.argmax())] & 1:
        return gap_weights(found, None)
    tried = [place for place, index in enumerate(candidates) if not policy.unexplored >> index & 1]
    groups = [
        policy.message_index[candidates[place]] if unproven >> candidates[place] & 1 else -1
        for place in tried
    ]
    weights = np.zeros(len(found))
    gaps = gap_weights(found[tried], gamma)
    weights[tried] = with_floors(gaps.tolist(), groups, policy.settings.exploration_floor)
    return weights


def _by_gaps(policy: Policy, gamma: float | None, unproven: int) -> bool:
    """Whether nothing but the gaps of priorities counts."""
    return gamma is None or not (policy.unexplored or unproven)


def gap_weights(priorities: Floats, gamma: float | None) -> Floats:
    """The selection probability of each priority, if nothing but their gaps counts."""
    if len(priorities) < MANY:
        found: list[float] = priorities.tolist()
        scale = _scale(max(found), min(found))
        return np.array(inverse_gap_weights([priority * scale for priority in found], gamma))
    highest, lowest = priorities.item(priorities.argmax()), priorities.item(priorities.argmin())
    scale = _scale(highest, lowest)
    return inverse_gap_weights_of_many(priorities * scale, gamma)


def _scale(highest: float, lowest: float) -> float:
    """What makes the largest priority 1, whatever its sign."""
    largest = max(highest, -lowest)
    return 1 / largest if largest > 0 and isfinite(1 / largest) else 1.0
