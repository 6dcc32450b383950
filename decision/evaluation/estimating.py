"""Estimates with their intervals on the decisions of one log, by customer."""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

from decision.evaluation.gather import GatheredLog, TargetFigures
from decision.evaluation.report import EvaluationOptions
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


class Rewards:
    """One metric: what was earned, and what the reward model expects of the logged choice."""

    def __init__(self, found: GatheredLog, metric: str, cluster: Whole) -> None:
        self._cluster = cluster
        self._thresholds: dict[int, float] = {}
        reached, worth, cost = (array_of(each) for each in (found.reached, found.worth, found.cost))
        self.metric = metric
        plain = metric == "responses"
        self.reward = reached if plain else reached * worth - cost
        expected = array_of(found.expected)
        self.modelled = len(expected) == len(reached)
        self.expected = expected
        if self.modelled and not plain:
            self.expected = expected * worth - cost

    def base(self, target: TargetFigures) -> Array:
        """The rewards that the model expects of the target."""
        return array_of(target.response if self.metric == "responses" else target.value)

    def switch_at(self, target: TargetFigures, weight: Array) -> float:
        """τ of SWITCH-DR."""
        if id(target) not in self._thresholds:
            self._thresholds[id(target)] = t.switch_threshold(
                self.reward, weight, self.base(target), self.expected, self._cluster
            )
        return self._thresholds[id(target)]

    def terms(self, target: TargetFigures, weight: Array) -> dict[str, tuple[Terms, Array]]:
        """Every estimator that is possible, with the weights it uses."""
        reward = self.reward
        found = {"ips": (t.ips(reward, weight), weight)}
        some = bool(weight.any())
        if some:
            found["snips"] = (t.snips(reward, weight), weight)
        if self.modelled:
            base, expected = self.base(target), self.expected
            used = np.where(weight <= self.switch_at(target, weight), weight, 0.0)
            found["dm"] = (t.dm(base), np.ones_like(weight))
            found["dr"] = (t.dr(reward, weight, base, expected), weight)
            if some:
                found["sndr"] = (t.sndr(reward, weight, base, expected), weight)
            found["switch_dr"] = (t.dr(reward, used, base, expected), used)
        return found


def array_of(numbers: array[float]) -> Array:
    """Gathered numbers as numpy has them."""
    return np.frombuffer(numbers, dtype=np.float64) if numbers else np.empty(0)
