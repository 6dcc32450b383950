"""The target policies: the probability that each gives to every candidate of a logged decision.

A logged decision is decided again, purely, from what it saw (document, question, time and spent
budgets) under the candidate's rules, model and exploration. Only the probabilities of the first
selection count; nothing is drawn. The history of contacts is the logged one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.archive.replays import ArchivedReplay
from decision.core.arbitration import Scores, draw_probabilities
from decision.core.business_rules import PlainMatcher
from decision.core.decide import Verdict, decide, uplift_by
from decision.core.definition import PolicyDefinition
from decision.core.document import Document
from decision.core.masks import Indices, mask_of_array
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from decision.core.ports import Scorer
from decision.core.values import Value
from decision.evaluation.log import LoggedPolicies
from decision.evaluation.reward_model import RewardModel
from decision.learning.folds import fold_of
from decision.rulebook.content import compile_contents
from decision.scoring.by_scope import exploration_at, joined, scopes_at, unproven_at
from decision.scoring.model import Model
from decision.scoring.reach import EVERYTHING, Reach
from decision.scoring.scope import EVERYWHERE, Scope
from decision.scoring.scorers import bind, fields_read

Array = NDArray[np.float64]

WHOLE: Final = "the whole"
ARMS: Final = {
    "random eligible": "any eligible candidate, each with the same probability",
    "model only": "the highest response probability, without value, lever and cost",
    "no levers": "probability × value − cost, without boosts by rules",
    "rules only": "prior probability × value × lever − cost, without a model",
    WHOLE: "probability × value × lever − cost",
}
"""Impact arms: policies over the same eligible candidates, each with a part left out."""
CONTROL: Final = "random eligible"
GRID: Final[dict[str, float | None]] = {
    **{f"γ {gamma}": float(gamma) for gamma in (0, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)},
    "greedy": None,
}
"""Policies that differ in exploration alone, from choosing at random to never exploring."""
RANDOM: Final = "γ 0"
GREEDY: Final = "greedy"
AGAINST: Final = "another version"
"""The target that another model is, among the same survivors under the same rules."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A policy to be judged.

    `rules` None: those that each decision was made under, so that only the model is new. `model`
    None: the prior. `exploration`: γ; None: always the best; UNSET: as the model or the rules say.
    `witnesses`: those of the model, which then judge in its place: each decision the one that has
    not seen its customer. `beside` are the models in force in other scopes, which score what is not
    the model's.
    """

    rules: PolicyDefinition | None = None
    model: Model | None = None
    exploration: float | msgspec.UnsetType | None = msgspec.UNSET
    witnesses: tuple[Model, ...] = ()
    beside: Mapping[Scope, Model] = {}

    @property
    def models(self) -> dict[Scope, Model]:
        """All models that score, by scope."""
        own = {} if self.model is None else {self.model.manifest.scope: self.model}
        return {**self.beside, **own}

    def models_at(self, placement: str | None) -> dict[Scope, Model]:
        """Those that score at a placement; None: the model alone scores everything."""
        if placement is not None or self.model is None:
            return self.models
        return {EVERYWHERE: self.model}

    @property
    def reach(self) -> Reach:
        """What its model decides; without one, everything."""
        if self.model is None:
            return EVERYTHING
        return Reach(self.model.manifest.scope, frozenset(self.beside))


class ActionProbabilities(NamedTuple):
    """The probabilities of one policy: of each candidate, and of silence."""

    probability: Array
    silence: float


class TargetProbabilities(NamedTuple):
    """What all target policies would do in one decision.

    `candidates` are indices into the policy's candidates, `responses` their response probabilities;
    `targets` is target → selection probabilities in the same order.
    """

    bound: BoundPolicy
    document: Document
    candidates: NDArray[np.intp]
    targets: dict[str, ActionProbabilities]
    values: Sequence[Value]
    responses: Array


class BoundPolicy:
    """A policy with its models and the reward model, ready to decide again at a placement (None: at
    any, by one model for all); `others` are models that are asked about the same survivors."""

    def __init__(
        self,
        definition: PolicyDefinition,
        candidate: Candidate,
        rewards: RewardModel | None,
        fields: Sequence[str],
        others: Sequence[Model] = (),
        placement: str | None = None,
    ) -> None:
        self.placement, models = placement, candidate.models_at(placement)
        reads = [*fields_read(None), *fields]
        for model in (*models.values(), *others):
            reads += fields_read(model)
        if rewards is not None:
            reads += rewards.fields
        self.policy = policy = compile_policy(definition, reads=reads)
        self.contents = compile_contents(policy)
        self.matcher = PlainMatcher(policy.rules, policy.rule_strata, policy.fields.slot)
        self.scorer, self.unproven = _scoring(policy, placement, models)
        self.prior = bind(None, policy.candidates, policy.fields, policy.settings)
        self.slots = [policy.fields.slot(name) for name in fields]
        self.encoder = None if rewards is None else rewards.encoder(policy)
        self.exploration = _exploration(policy, placement, candidate)
        self.worth_of_silence = worth_of_silence(definition)
        self.names = [f"{info.message}/{info.channel}" for info in policy.candidates]
        self.place = {
            (info.message, info.channel): index for index, info in enumerate(policy.candidates)
        }


class OtherModel:
    """Another model, asked about what a policy has left: gates and comparisons pair it."""

    def __init__(self, bound: BoundPolicy, candidate: Candidate) -> None:
        self.policy = policy = bound.policy
        self.exploration = _exploration(policy, bound.placement, candidate)
        self._scorer, self.unproven = _scoring(
            policy, bound.placement, candidate.models_at(bound.placement)
        )

    def probabilities(self, verdict: Verdict) -> Array:
        """The response probability of each survivor."""
        return self._scorer.score(
            verdict.scores.candidates, verdict.values, verdict.document, verdict.now
        )

    def selection(self, verdict: Verdict, probability: Array) -> Array:
        """The probability with which it would have chosen each survivor."""
        policy, scores, asked = self.policy, verdict.scores, verdict.scores.candidates
        effect = uplift_by(
            self._scorer, asked, probability, verdict.values, verdict.document, verdict.now
        )
        effect = probability if effect is None else effect
        priority = effect * policy.message_values[asked] * scores.lever - policy.costs[asked]
        return selection_by(self, verdict, priority, verdict.threshold)


def worth_of_silence(definition: PolicyDefinition) -> float:
    """What a response after silence counts: the mean of the messages' values above 0.

    The customer did the same as after a message, and it has none whose value it could have.
    """
    values = [message.value for message in definition.messages if message.value > 0]
    return sum(values) / len(values) if values else 0.0


def _scoring(
    policy: Policy, placement: str | None, models: Mapping[Scope, Model]
) -> tuple[Scorer, int]:
    """What scores as in a server, and the mask of candidates with little evidence."""
    scopes = scopes_at(placement, policy.candidates, models)

    def scorer_of(scope: Scope) -> Scorer:
        return bind(models.get(scope), policy.candidates, policy.fields, policy.settings)

    scorer = joined(scopes, scorer_of) or scorer_of(EVERYWHERE)
    return scorer, unproven_at(policy, scopes, models)


def _exploration(policy: Policy, placement: str | None, candidate: Candidate) -> float | None:
    """γ as in a server: the model's if it has one, unless the rules say `off`."""
    if candidate.exploration is not msgspec.UNSET:
        return candidate.exploration
    return exploration_at(policy, placement, candidate.models_at(placement))


def decide_bound(bound: BoundPolicy, replay: ArchivedReplay) -> Verdict:
    """A logged decision made again under a policy: its first selection, and nothing drawn."""
    return decide(
        bound.policy,
        bound.matcher,
        bound.scorer,
        replay.document,
        msgspec.structs.replace(replay.question, limit=1),
        replay.decided_at,
        _first,
        spent=replay.spent_mask(bound.policy.candidates),
        exploration=bound.exploration,
        unproven=bound.unproven,
        contents=bound.contents,
        decision_id=replay.decision_id,
    )


class TargetPolicies:
    """Decides logged decisions again under a candidate; under the impact arms, and with each
    exploration of the grid, if wanted."""

    def __init__(
        self,
        candidate: Candidate,
        policies: LoggedPolicies,
        rewards: RewardModel | None = None,
        *,
        arms: bool = False,
        grid: bool = False,
        fields: Sequence[str] = (),
        against: Candidate | None = None,
    ) -> None:
        self.names = (*(ARMS if arms else (WHOLE,)), *(GRID if grid else ()))
        if against is not None:
            self.names = (*self.names, AGAINST)
        self._against = against
        self._others: dict[tuple[BoundPolicy, int], OtherModel] = {}
        self.placements_gone = 0
        self._candidate = candidate
        self._policies = policies
        self._rewards = rewards
        self._fields = fields
        self._bound: dict[tuple[str | None, int, str | None], BoundPolicy] = {}
        sides = [one for one in (candidate, against) if one is not None]
        self._by_placement = any({*one.models} - {EVERYWHERE} for one in sides)

    @property
    def by_witnesses(self) -> bool:
        """Whether witnesses judge in the model's place."""
        return bool(self._candidate.witnesses)

    def bound(self, version: str, fold: int = 0, placement: str | None = None) -> BoundPolicy:
        """The candidate, ready for decisions that were made under that policy version at that
        placement; if it has witnesses, the one without that fold."""
        candidate = self._candidate
        place = placement if self._by_placement else None
        key = (version if candidate.rules is None else None, fold, place)
        if key not in self._bound:
            definition = candidate.rules or self._policies.get(version)
            if candidate.witnesses:
                model = candidate.witnesses[fold]
                candidate = msgspec.structs.replace(candidate, model=model)
            others = () if self._against is None else tuple(self._against.models.values())
            self._bound[key] = BoundPolicy(
                definition, candidate, self._rewards, self._fields, others, place
            )
        return self._bound[key]

    def _other(self, against: Candidate, bound: BoundPolicy, customer: str) -> OtherModel:
        fold = fold_of(customer, len(against.witnesses)) if against.witnesses else 0
        if (bound, fold) not in self._others:
            model = against.witnesses[fold] if against.witnesses else against.model
            other = msgspec.structs.replace(against, model=model)
            self._others[bound, fold] = OtherModel(bound, other)
        return self._others[bound, fold]

    def decide_again(
        self, replay: ArchivedReplay, customer_id: str | None = None
    ) -> TargetProbabilities:
        """What each target would have done in a logged decision; of a customer who was merged,
        `customer_id` is the id now."""
        customer = customer_id or replay.customer_id
        fold = fold_of(customer, len(self._candidate.witnesses)) if self.by_witnesses else 0
        bound = self.bound(replay.policy_version, fold, replay.question.placement)
        policy = bound.policy
        document = replay.document
        nothing = ActionProbabilities(np.empty(0), 1.0)
        if replay.question.placement not in policy.placements:
            self.placements_gone += 1
            none = np.empty(0, dtype=np.intp)
            missing = [""] * len(policy.fields.fields)
            chances = dict.fromkeys(self.names, nothing)
            return TargetProbabilities(bound, document, none, chances, missing, np.empty(0))
        verdict = decide_bound(bound, replay)
        chances = {
            name: self._chance(name, bound, verdict) for name in self.names if name != AGAINST
        }
        if self._against is not None:
            other = self._other(self._against, bound, customer)
            chances[AGAINST] = _of(other.selection(verdict, other.probabilities(verdict)))
        scores = verdict.scores
        return TargetProbabilities(
            bound, document, scores.candidates, chances, verdict.values, scores.probability
        )

    def _chance(self, name: str, bound: BoundPolicy, verdict: Verdict) -> ActionProbabilities:
        scores = verdict.scores
        count = len(scores.candidates)
        if name == WHOLE or not count:
            return _of(scores.selection)
        if name in GRID:
            return _of(selection_by(bound, verdict, scores.priority, verdict.threshold, GRID[name]))
        policy = bound.policy
        # Tiers hold in every arm. These two have no threshold: their tier is the one that decided.
        decided = scores.priority > verdict.threshold
        tier = _first_tier(policy, scores.candidates, decided if decided.any() else ~decided)
        if name == CONTROL:
            return _of(tier / tier.sum())
        values, costs = policy.message_values[scores.candidates], policy.costs[scores.candidates]
        threshold = verdict.threshold
        match name:
            case "model only":
                # The threshold is an amount of money, so it does not apply to a probability.
                priority, threshold = np.where(tier, scores.effect, -np.inf), -np.inf
            case "no levers":
                priority = scores.effect * values - costs
            case _:
                prior = bound.prior.score(
                    scores.candidates, verdict.values, verdict.document, verdict.now
                )
                priority = prior * values * scores.lever - costs
        return _of(selection_by(bound, verdict, priority, threshold))


def selection_by(
    bound: BoundPolicy | OtherModel,
    verdict: Verdict,
    priority: Array,
    threshold: float,
    exploration: float | msgspec.UnsetType | None = msgspec.UNSET,
) -> Array:
    """The selection probabilities of a policy's survivors, if these were their priorities;
    `exploration` is γ, UNSET: the policy's."""
    gamma = bound.exploration if exploration is msgspec.UNSET else exploration
    old = verdict.scores
    selection = np.zeros(len(old.candidates))
    above = priority > threshold
    places = np.flatnonzero(above & _first_tier(bound.policy, old.candidates, above))
    if len(places):
        scores = Scores(old.mask, old.candidates, old.probability, old.lever, priority, selection)
        selection[places] = draw_probabilities(bound.policy, scores, places, gamma, bound.unproven)
    return selection


def _first_tier(policy: Policy, candidates: Indices, among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which candidates are of the first tier that has one of `among`."""
    first = policy.foremost(mask_of_array(candidates[among]))
    for tier in policy.tiers:
        if tier & first:
            return np.array([bool(tier >> index & 1) for index in candidates.tolist()])
    return np.ones(len(candidates), dtype=np.bool_)


def _of(probability: Array) -> ActionProbabilities:
    total = float(probability.sum())
    return ActionProbabilities(probability, 1.0 - total if total < 1 - 1e-9 else 0.0)


def _first() -> float:
    """In place of a random draw: only the probabilities count."""
    return 0.0
