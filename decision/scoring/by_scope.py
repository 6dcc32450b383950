"""Which model scores which candidate, where several are in force, and their scorers as one.

A candidate is scored by the model of the narrowest scope that holds it (`Scope.wider`). Those of
one decision may be scored by several models, each in one matrix. Where all of them are scored by
one model, its own scorer decides, as if there were no other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from decision.core.candidates import CandidateInfo
from decision.core.decide import uplift_by
from decision.core.document import Document
from decision.core.masks import mask_where
from decision.core.policy import Policy
from decision.core.ports import Scorer
from decision.core.records import LoggedModels
from decision.core.values import Value
from decision.scoring.model import Model
from decision.scoring.scope import EVERYWHERE, Scope
from decision.scoring.scorers import unproven

Indices = NDArray[np.intp]
Floats = NDArray[np.float64]


def scopes_at(
    placement: str | None, candidates: Sequence[CandidateInfo], served: Collection[Scope]
) -> list[Scope]:
    """By candidate: the scope, of those `served`, whose model scores it at a placement.

    `EVERYWHERE` stands in where there is none.
    """
    found: dict[str, Scope] = {}
    for info in candidates:
        if info.purpose not in found:
            own = Scope(placement=placement, purpose=info.purpose)
            found[info.purpose] = next((one for one in own.wider() if one in served), EVERYWHERE)
    return [found[info.purpose] for info in candidates]


def challenged_at(
    placement: str | None,
    candidates: Sequence[CandidateInfo],
    served: Collection[Scope],
    challengers: Collection[Scope],
) -> list[Scope | None]:
    """By candidate: the scope of the challenger that would score it if it were in force."""
    either = {*served, *challengers}
    own = scopes_at(placement, candidates, either)
    return [scope if scope in challengers else None for scope in own]


class MixedScorer:
    """Scores candidates by the scorer of their scope: one matrix for each that is needed.

    `part` is the place of a candidate's scorer in `scorers`; −1: none, and the figure is NaN.
    `lacking` are candidates that are scored without the model that should score them.
    """

    def __init__(self, scorers: Sequence[Scorer], part: Sequence[int]) -> None:
        self.scorers = tuple(scorers)
        self.part = np.array(part, dtype=np.int8)
        self.version = self.scorers[0].version
        if all(hasattr(one, "uplift") for one in self.scorers):
            self.uplift: Callable[..., Floats] = self._uplift

    def score(
        self, candidates: Indices, values: Sequence[Value], document: Document, now: int
    ) -> Floats:
        """The probability of each candidate, by its own scorer."""
        found = np.full(len(candidates), np.nan)
        for scorer, here in self._parts(candidates):
            found[here] = scorer.score(candidates[here], values, document, now)
        return found

    def _uplift(
        self,
        candidates: Indices,
        probability: Floats,
        values: list[Value],
        document: Document,
        now: int,
    ) -> Floats:
        """What each candidate adds over silence; only where all scorers say it, as priorities of
        one decision are of one kind."""
        found = np.full(len(candidates), np.nan)
        for scorer, here in self._parts(candidates):
            own = candidates[here], probability[here], values, document, now
            found[here] = uplift_by(scorer, *own)
        return found

    def _parts(self, candidates: Indices) -> list[tuple[Scorer, Indices]]:
        parts = self.part[candidates]
        places = (np.flatnonzero(parts == number) for number in range(len(self.scorers)))
        return [
            (scorer, here) for scorer, here in zip(self.scorers, places, strict=True) if len(here)
        ]

    def features(
        self, candidate: int, values: Sequence[Value], document: Document, now: int
    ) -> dict[str, Value]:
        """The features of one candidate as its own model sees them."""
        scorer: Scorer = self.scorers[self.part[candidate]]
        return scorer.features(candidate, values, document, now)

    def version_of(self, candidate: int) -> str | None:
        """The version that scores a candidate."""
        part = self.part[candidate]
        return self.scorers[part].version if part >= 0 else None

    def logged(self, candidates: Indices) -> LoggedModels:
        """Which version has scored which of the candidates, for the log."""
        versions = [scorer.version for scorer in self.scorers]
        return LoggedModels(versions, self.part[candidates].tobytes())


def joined(scopes: Sequence[Scope | None], scorer_of: Callable[[Scope], Scorer]) -> Scorer | None:
    """One scorer of candidates by the scope of each; None where none has one.

    The widest scope is the first part: its version is said of decisions in which nothing is chosen.
    """
    parts = sorted({one for one in scopes if one is not None}, key=lambda one: one.sorted_by)
    if not parts:
        return None
    scorers = [scorer_of(one) for one in parts]
    if len(parts) == 1 and None not in scopes:
        return scorers[0]
    places = {scope: number for number, scope in enumerate(parts)}
    return MixedScorer(scorers, [-1 if one is None else places[one] for one in scopes])


def lacking_of(
    placement: str | None,
    candidates: Sequence[CandidateInfo],
    served: Mapping[Scope, Model],
    missing: Collection[Scope],
) -> int:
    """The mask of candidates that are scored without a model, or without that of their scope."""
    wanted = scopes_at(placement, candidates, {*served, *missing})
    return mask_where(scope in missing or scope not in served for scope in wanted)


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


def unproven_at(policy: Policy, scopes: Sequence[Scope], models: Mapping[Scope, Model]) -> int:
    """The candidates whose message has little evidence, each by its own model."""
    found = 0
    for scope in dict.fromkeys([*scopes, *(() if scopes else (EVERYWHERE,))]):
        own = mask_where(one == scope for one in scopes)
        found |= own & unproven(models.get(scope), policy.candidates, policy.settings)
    return found
