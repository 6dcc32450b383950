"""Estimates with their intervals on the decisions of one log, by customer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decision.evaluation.gather import GatheredLog, TargetFigures
from decision.evaluation.report import EvaluationOptions
from decision.evaluation.rewards import array_of
from decision.learning.ope import Estimate, estimate_of
from decision.learning.ope import terms as t
from decision.learning.ope.terms import Lift, Resampler, Terms, Whole

Array = NDArray[np.float64]


class Estimates:
    """Figures and paired lifts of estimators on the decisions of a log; customers stay whole."""

    def __init__(self, found: GatheredLog, options: EvaluationOptions) -> None:
        self.confidence = options.confidence
        self.logged = array_of(found.logged)
        self.cluster: Whole = np.unique(
            np.frombuffer(found.customer, dtype=np.int64), return_inverse=True
        )[1].astype(np.int64)
        self.customers = int(self.cluster.max()) + 1
        self._resampler = (
            Resampler(len(found), options.bootstrap, options.seed, self.cluster)
            if options.bootstrap
            else None
        )

    def weight(self, target: TargetFigures) -> Array:
        """How much more often the target would have made each logged choice."""
        return array_of(target.probability) / self.logged

    def draw(self, terms: Terms) -> Array | None:
        """Resampled estimates, if there are resamples."""
        return None if self._resampler is None else self._resampler.draw(terms)

    def estimate(self, terms: Terms, weight: Array | None, drawn: Array | None) -> Estimate:
        """An estimate with its intervals; `weight` None: of rewards as they were logged."""
        used = np.ones(len(terms.base)) if weight is None else weight
        return estimate_of(terms, used, self.confidence, self.cluster, drawn)

    def lift(
        self, target: Terms, control: Terms, drawn: Array | None, control_drawn: Array | None
    ) -> Lift:
        """How much more the target earns, paired by decision."""
        return t.lift(
            target,
            control,
            confidence=self.confidence,
            cluster=self.cluster,
            target_draws=drawn,
            control_draws=control_drawn,
        )
