"""What scores decisions: a model smoothed by its evidence, or a prior without a model.

Smoothing, as Pega does it for new actions: SP · SE / (SE + E) + p · E / (SE + E), with the
starting probability SP, its weight SE, and the evidence E: how often training saw the message (or
message × channel).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from decision.core.arrays import any_nan
from decision.core.candidates import CandidateInfo
from decision.core.definition import Settings
from decision.core.document import Document
from decision.core.fields import FieldTable
from decision.core.masks import mask_where
from decision.core.ports import Scorer
from decision.core.values import Value
from decision.scoring.choice import smoothing_by_code
from decision.scoring.compiled import CompiledTrees
from decision.scoring.features import (
    Feature,
    FeatureEncoder,
    Matrix,
    fields_of,
    of_message,
    varies,
)
from decision.scoring.manifest import Smoothing, Uplift, evidence_of
from decision.scoring.model import Bound, Model

Indices = NDArray[np.intp]
Floats = NDArray[np.float64]
_FIRST = np.zeros(1, dtype=np.intp)

EvidenceCounts = Mapping[tuple[str, str], tuple[int, int]]
"""(message, channel) → (shows, responses); the channel is empty for the sum of all channels."""


class _SmoothedCandidates:
    """The smoothing of a set of candidates, as arrays: weight, offset and prior of each."""

    def __init__(
        self,
        candidates: Sequence[CandidateInfo],
        settings: Settings,
        smoothing: Smoothing,
        evidence: EvidenceCounts,
    ) -> None:
        probability = smoothing.starting_probability
        if probability is None:
            probability = settings.starting_probability
        weight = smoothing.starting_evidence
        if weight is None:
            weight = settings.starting_evidence
        per_channel = smoothing.by == "message_channel"
        seen = [
            evidence.get((info.message, info.channel if per_channel else ""), (0, 0))
            for info in candidates
        ]
        shows = np.array([show for show, _ in seen], dtype=np.float64)
        responses = np.array([response for _, response in seen], dtype=np.float64)
        total = np.where(weight + shows > 0, weight + shows, 1.0)
        self.weight = shows / total
        self.offset = 1.0 - self.weight
        self.offset *= probability
        self.prior = self.offset + responses / total


class ModelScorer:
    """Scores all candidates of a decision in one matrix with a model version."""

    def __init__(
        self,
        model: Model,
        encoder: FeatureEncoder,
        candidates: Sequence[CandidateInfo],
        settings: Settings,
    ) -> None:
        self.version: str | None = model.version
        self._model = model
        self._encoder = encoder
        manifest = model.manifest
        self._smoothed = _SmoothedCandidates(
            candidates, settings, manifest.smoothing, evidence_of(manifest)
        )
        self._start = None if model.start is None else model.start.bound(encoder.template)
        self._trees, alike = _trees_of_decisions(model, encoder)
        self._alike = alike and self._start is None
        self._by_code = self._tried_code()

    def score(
        self, candidates: Indices, values: Sequence[Value], document: Document, now: int
    ) -> Floats:
        """The smoothed probability of each candidate; the prior if the model gives no number."""
        asked = candidates[:1] if self._alike else candidates
        matrix = self._encoder.encode(asked, values, document, now)
        start = None if self._start is None else self._start(matrix, candidates)
        return self._smooth(candidates, start, self._trees(matrix, candidates))

    def score_rows(self, candidates: Indices, matrix: Matrix) -> Floats:
        """The same for rows of any customers: a candidate and its features each."""
        start = None if self._model.start is None else self._model.start.log_odds(matrix)
        return self._smooth(candidates, start, self._model.trees(matrix))

    def _smooth(self, candidates: Indices, start: Floats | None, trees: Floats) -> Floats:
        """The smoothed probability by the log-odds of both parts of the model.

        With a linear start, which knows a message's kin, it is the trees that count only as far as
        there is evidence.
        """
        if self._by_code is not None:
            return self._by_code(candidates, trees)
        return self._smooth_arrays(candidates, start, trees)

    def _smooth_arrays(self, candidates: Indices, start: Floats | None, trees: Floats) -> Floats:
        smoothed = self._smoothed
        weight = smoothed.weight.take(candidates)
        if start is not None:
            found = self._model.calibrate(start + weight * trees)
        else:
            found = self._model.calibrate(trees)
            found *= weight
            found += smoothed.offset.take(candidates)
        if any_nan(found):
            found = np.where(np.isnan(found), smoothed.prior[candidates], found)
        return found

    def _tried_code(self) -> Callable[[Indices, Floats], Floats] | None:
        """The machine code of `_smooth`, where there is some and it gives what arrays do."""
        smoothed = self._smoothed
        known = smoothed.weight, smoothed.offset, smoothed.prior
        code = None if self._start is not None else smoothing_by_code(self._model, *known)
        if code is None:
            return None
        every = np.arange(len(smoothed.prior))
        odds = np.linspace(-20.0, 20.0, len(every))
        odds[::7] = np.nan
        same = code(every, odds).tobytes() == self._smooth_arrays(every, None, odds).tobytes()
        return code if same else None

    def features(
        self, candidate: int, values: Sequence[Value], document: Document, now: int
    ) -> dict[str, Value]:
        """The features of one candidate as the model sees them."""
        return self._encoder.features(candidate, values, document, now)


def _trees_of_decisions(model: Model, encoder: FeatureEncoder) -> tuple[Bound, bool]:
    """The trees over the matrix of one decision and its candidates, in the fastest way, and whether
    one row of the matrix is enough: nothing but what the message is differs between them."""
    trees, features = model.trees, model.manifest.features
    if not isinstance(trees, CompiledTrees) or trees.masks is None:
        return lambda matrix, candidates: model.trees(matrix), False
    fixed = [place for place, one in enumerate(features) if of_message(one)]
    own = [place for place, one in enumerate(features) if varies(one) and not of_message(one)]
    return trees.masks.bound(encoder.template, fixed, own), not own


class UpliftModelScorer(ModelScorer):
    """Scores with a model that also says what a message adds over silence."""

    def __init__(
        self,
        model: Model,
        encoder: FeatureEncoder,
        candidates: Sequence[CandidateInfo],
        settings: Settings,
        uplift: Uplift,
    ) -> None:
        super().__init__(model, encoder, candidates, settings)
        self._prior = np.array([uplift.start_of(info.category) for info in candidates])
        self._from_kin = self._start is not None and uplift.starting_uplift is None
        own = [place for place, one in enumerate(model.manifest.features) if varies(one)]
        self._own = np.array(own, dtype=np.intp)

    def uplift(
        self,
        candidates: Indices,
        probability: Floats,
        values: Sequence[Value],
        document: Document,
        now: int,
    ) -> Floats:
        """P(goal | candidate) − P(goal | silence), smoothed; `probability` are those of `score`.

        It is pulled to the starting uplift while there is little evidence, and is that if the model
        gives no number. It may be below 0. A linear start of an S-learner knows what kin add for
        this customer: there it is the trees of both that count only as far as there is evidence.
        """
        weight, prior = self._smoothed.weight[candidates], self._prior[candidates]
        trees = self._model.uplift_trees
        if trees is not None:
            found = weight * trees(self._encoder.encode(candidates, values, document, now))
        elif self._from_kin:
            found = probability - self.silence(values, document, now, weight)
            return np.where(np.isfinite(found), found, prior)
        elif self._start is not None:
            found = weight * (probability - self.silence(values, document, now, weight))
        else:  # as `probability` is smoothed already
            found = probability - self._smoothed.offset[candidates]
            found -= weight * self.silence(values, document, now, 1.0)
        found += (1.0 - weight) * prior
        return np.where(np.isfinite(found), found, prior)

    def silence(
        self, values: Sequence[Value], document: Document, now: int, weight: Floats | float
    ) -> Floats:
        """P(goal | silence): what a message has is missing; `weight` is of the trees, beside a
        linear start."""
        matrix = self._encoder.encode(_FIRST, values, document, now)
        matrix[:, self._own] = np.nan
        odds = np.asarray(weight * self._model.trees(matrix))
        if self._model.start is not None:
            odds = odds + self._model.start.log_odds(matrix)
        return self._model.calibrate(odds)


class PriorScorer:
    """Scores without a model: the starting probability, adjusted by evidence if there is any.

    It logs the features of `encoder`, so that a first model can be trained on its decisions.
    """

    version: str | None = None

    def __init__(
        self,
        candidates: Sequence[CandidateInfo],
        settings: Settings,
        encoder: FeatureEncoder,
        evidence: EvidenceCounts | None = None,
        smoothing: Smoothing | None = None,
    ) -> None:
        self._encoder = encoder
        start = _SmoothedCandidates(candidates, settings, smoothing or Smoothing(), evidence or {})
        self._priors = start.prior

    def score(
        self, candidates: Indices, values: Sequence[Value], document: Document, now: int
    ) -> Floats:
        """The prior of each candidate, the same for every customer."""
        return self._priors[candidates]

    def features(
        self, candidate: int, values: Sequence[Value], document: Document, now: int
    ) -> dict[str, Value]:
        """The features of one candidate, to be logged."""
        return self._encoder.features(candidate, values, document, now)


MINIMAL_FEATURES: tuple[Feature, ...] = (
    Feature("message.name", "categorical"),
    Feature("message.channel", "categorical"),
    Feature("message.category", "categorical"),
    Feature("message.purpose", "categorical"),
    Feature("message.value", "numeric"),
)
"""What a scorer without a model logs, if it is not given the features of a model's spec."""


def fields_read(model: Model | None, features: Sequence[Feature] = MINIMAL_FEATURES) -> list[str]:
    """The fields that the scorer of `bind` reads.

    Raises:
        UnknownFeature: one of the features cannot exist.
    """
    return fields_of(model.manifest.features if model is not None else features)


def bind(
    model: Model | None,
    candidates: Sequence[CandidateInfo],
    fields: FieldTable,
    settings: Settings,
    features: Sequence[Feature] = MINIMAL_FEATURES,
) -> Scorer:
    """The scorer of a policy's candidates; the field table must have its `fields_read`.

    Without a model, a prior scores, and `features` (such as those of a model's spec) are logged.

    Raises:
        UnknownFeature: one of `features` cannot exist.
    """
    if model is None:
        encoder = FeatureEncoder(features, {}, candidates, fields.slot)
        return PriorScorer(candidates, settings, encoder)
    manifest = model.manifest
    encoder = FeatureEncoder(manifest.features, manifest.categories, candidates, fields.slot)
    if manifest.uplift is not None:
        return UpliftModelScorer(model, encoder, candidates, settings, manifest.uplift)
    return ModelScorer(model, encoder, candidates, settings)


def unproven(model: Model | None, candidates: Sequence[CandidateInfo], settings: Settings) -> int:
    """The mask of candidates with a message that training saw less than `exploration_until` times.

    Without an exploration floor it is empty, as it is not used.
    """
    if settings.exploration_floor <= 0:
        return 0
    evidence = evidence_of(model.manifest) if model is not None else {}
    return mask_where(
        evidence.get((info.message, ""), (0, 0))[0] < settings.exploration_until
        for info in candidates
    )
