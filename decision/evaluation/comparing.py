"""What the judged policy is compared with on the same decisions: another version, and constants."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from decision.evaluation.estimating import Array, Estimates
from decision.evaluation.gather import GatheredLog, TargetFigures
from decision.evaluation.report import ComparisonResult
from decision.evaluation.rewards import LEAST_SAMPLE, Rewards
from decision.evaluation.supports import SILENCE
from decision.evaluation.targets import AGAINST
from decision.learning.ope import Estimate
from decision.learning.ope import terms as t
from decision.learning.ope.terms import Lift, Terms


class Comparing:
    """Compares one target with others, by the estimator `best`."""

    def __init__(
        self,
        found: GatheredLog,
        estimates: Estimates,
        rewards: Mapping[str, Rewards],
        target: TargetFigures,
        best: str,
    ) -> None:
        self._found = found
        self._estimates = estimates
        self._rewards = rewards
        self._best = best
        self._tested: dict[str, tuple[Terms, Array | None]] = {}
        for metric in rewards:
            if (terms := self._terms(metric, target)) is not None:
                self._tested[metric] = (terms, estimates.draw(terms))

    def version(self, name: str, cautions: list[str]) -> ComparisonResult:
        """The version to compare with, estimated like the target."""
        target = self._found.targets[AGAINST]
        terms = {metric: self._terms(metric, target) for metric in self._rewards}
        known = {metric: each for metric, each in terms.items() if each is not None}
        weight = self._estimates.weight(target)
        metrics, lift = self._row(known, weight)
        return ComparisonResult(
            kind="version", name=name, metrics=metrics, lift=lift, cautions=cautions
        )

    def constants(self) -> list[ComparisonResult]:
        """The best constant of each channel, the best first, among what was given often enough to
        say what it earns."""
        choice, logged = self._found.choice, self._estimates.logged
        codes = choice.codes()
        best: dict[str, tuple[float, str]] = {}
        for name, code in choice.names.items():
            weight = np.where(codes == code, 1.0, 0.0) / logged
            if name != SILENCE and t.effective_sample_size(weight) >= LEAST_SAMPLE:
                worth = _constant_terms(self._rewards["value"].reward, weight).value()
                channel = name.rpartition("/")[2]
                best[channel] = max(best.get(channel, (worth, name)), (worth, name))
        rows = []
        for _, name in sorted(best.values(), reverse=True):
            weight = np.where(codes == choice.names[name], 1.0, 0.0) / logged
            terms = {
                metric: _constant_terms(each.reward, weight)
                for metric, each in self._rewards.items()
            }
            metrics, lift = self._row(terms, weight)
            possible = min(1.0, float(np.mean(weight)))
            rows.append(
                ComparisonResult(
                    kind="constant", name=name, metrics=metrics, lift=lift, possible=possible
                )
            )
        return rows

    def _terms(self, metric: str, target: TargetFigures) -> Terms | None:
        weight = self._estimates.weight(target)
        found = self._rewards[metric].terms(target, weight).get(self._best)
        return None if found is None else found[0]

    def _row(
        self, terms: Mapping[str, Terms], weight: Array
    ) -> tuple[dict[str, Estimate], dict[str, Lift]]:
        """The estimates of a policy, and the lifts of the target over it."""
        metrics, lifts = {}, {}
        for metric, each in terms.items():
            drawn = self._estimates.draw(each)
            metrics[metric] = self._estimates.estimate(each, weight, drawn)
            if metric in self._tested:
                tested, draws = self._tested[metric]
                lifts[metric] = self._estimates.lift(tested, each, draws, drawn)
        return metrics, lifts


def _constant_terms(reward: Array, weight: Array) -> Terms:
    """What one candidate earns: self-normalised where it could be given in every decision, else
    nothing is earned in the others."""
    off = abs(float(np.mean(weight)) - 1.0)
    always = off <= 3 * float(np.std(weight)) / len(weight) ** 0.5
    return t.snips(reward, weight) if always else t.ips(reward, weight)
