"""What of a snapshot depends on models: which decides where, with its challenger beside it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from decision.core.policy import Policy
from decision.core.ports import Scorer
from decision.scoring.by_scope import (
    MixedScorer,
    challenged_at,
    exploration_at,
    joined,
    lacking_of,
    scopes_at,
    unproven_at,
)
from decision.scoring.features import Feature
from decision.scoring.model import Model
from decision.scoring.scope import EVERYWHERE, Scope
from decision.scoring.scorers import bind


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
            "unproven": unproven_at(policy, scopes, models),
            "model_version": scorer.version,
            "shadow": joined(challenged, challenger_of),
            "degraded": ("model",) if everything else (),
            "lacking": 0 if everything else lacking,
        }

    placements = {one: scoring(one) for one in own if one is not None}
    return {**scoring(None), "own": placements}
