"""One metric of a log: what was earned, and every estimator of what a target policy would earn."""

from __future__ import annotations

from array import array
from typing import Final

import numpy as np
from numpy.typing import NDArray

from decision.evaluation.gather import GatheredLog, TargetFigures
from decision.learning.ope import terms as t
from decision.learning.ope.terms import Terms, Whole

Array = NDArray[np.float64]

LEAST_SAMPLE: Final = 100.0
"""With a smaller effective sample, intervals are too narrow."""
UNSUPPORTED: Final = 0.01
"""A larger share of a policy's choices without support in the log leaves too much unknown."""


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

    def best(self, target: TargetFigures, weight: Array) -> Terms:
        """The estimator to read first: SNDR, or SNIPS without a reward model.

        Raises:
            ValueError: the target would have made no choice of the log.
        """
        if not self.modelled:
            return t.snips(self.reward, weight)
        return t.sndr(self.reward, weight, self.base(target), self.expected)


def array_of(numbers: array[float]) -> Array:
    """The numbers, without a copy."""
    return np.frombuffer(numbers, dtype=np.float64) if numbers else np.empty(0)
