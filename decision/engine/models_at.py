"""What of a snapshot depends on models: which decides where, with its challenger beside it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from decision.core.masks import mask_where
from decision.core.policy import Policy
from decision.core.ports import Scorer
from decision.scoring.by_scope import MixedScorer, challenged_at, joined, lacking_of, scopes_at
from decision.scoring.features import Feature
from decision.scoring.model import Model
from decision.scoring.scope import EVERYWHERE, Scope
from decision.scoring.scorers import bind, unproven


def scoring_by_placement(
    policy: Policy,
    models: Mapping[Scope, Model],
    challengers: Mapping[Scope, Model],
    missing: Collection[Scope],
    features: Sequence[Feature],
) -> dict[str, Any]:
    """The fields of a snapshot by its models; `own` has those of placements that differ.

    `features` are logged where there is no model.
    """
    bound: dict[tuple[bool, Scope], Scorer] = {}
    every = {*models, *challengers, *missing}
    own = {scope.placement for scope in every} & {*policy.placements}

    def scoring(placement: str | None) -> dict[str, Any]:
        def scorer_of(scope: Scope, *, challenger: bool = False) -> Scorer:
            if (challenger, scope) not in bound:
                model = (challengers if challenger else models).get(scope)
                given = policy.candidates, policy.fields, policy.settings, features
                bound[challenger, scope] = bind(model, *given)
            return bound[challenger, scope]

        def challenger_of(scope: Scope) -> Scorer:
            return scorer_of(scope, challenger=True)

        candidates = policy.candidates
        scopes = scopes_at(placement, candidates, models)
        challenged = challenged_at(placement, candidates, models, challengers)
        scorer = joined(scopes, scorer_of) or scorer_of(EVERYWHERE)  # a policy without candidates
        lacking = lacking_of(placement, candidates, models, missing)
        everything = lacking == policy.everything
        return {
            "scorer": scorer,
            "mixed": scorer if isinstance(scorer, MixedScorer) else None,
            "exploration": exploration_at(policy, placement, models),
            "unproven": _unproven(policy, scopes, models),
            "model_version": scorer.version,
            "shadow": joined(challenged, challenger_of),
            "degraded": ("model",) if everything else (),
            "lacking": 0 if everything else lacking,
        }

    placements = {one: scoring(one) for one in own if one is not None}
    return {**scoring(None), "own": placements}


def exploration_at(
    policy: Policy, placement: str | None, models: Mapping[Scope, Model]
) -> float | None:
    """γ: that of the model for all messages there, where it names one, unless the rules say `off`.

    One decision has one γ, as all its candidates take part in one draw.
    """
    own = policy.settings.exploration
    wider = (models.get(one) for one in Scope(placement=placement).wider())
    model = next((one for one in wider if one is not None), None)
    if own is None or model is None or model.manifest.exploration is None:
        return own
    return model.manifest.exploration


def _unproven(policy: Policy, scopes: Sequence[Scope], models: Mapping[Scope, Model]) -> int:
    """The candidates whose message has little evidence, each by its own model."""
    found = 0
    for scope in dict.fromkeys([*scopes, *(() if scopes else (EVERYWHERE,))]):
        own = mask_where(one == scope for one in scopes)
        found |= own & unproven(models.get(scope), policy.candidates, policy.settings)
    return found
