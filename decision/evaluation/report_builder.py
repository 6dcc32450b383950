"""Makes the report on a policy from what was gathered of a log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from decision.core.said import Said
from decision.evaluation.comparing import Comparing
from decision.evaluation.control import ControlRate
from decision.evaluation.estimating import Array, Estimates
from decision.evaluation.gather import GatheredLog, TargetFigures
from decision.evaluation.log import LogCounts
from decision.evaluation.report import (
    ComparisonResult,
    EstimatorResult,
    EvaluationOptions,
    EvaluationReport,
    MessageResult,
    PolicyResult,
    SegmentResult,
)
from decision.evaluation.rewards import LEAST_SAMPLE, UNSUPPORTED, Rewards, array_of
from decision.evaluation.supports import SILENCE
from decision.evaluation.targets import AGAINST, CONTROL, GRID, WHOLE
from decision.learning.ope import estimate_of
from decision.learning.ope import terms as t
from decision.learning.ope.terms import Lift, Terms, Weights

MOST_SEGMENTS: Final = 20
OTHERS: Final = "(others)"


class ReportBuilder:
    """Makes the report of a log."""

    def __init__(
        self, found: GatheredLog, options: EvaluationOptions, control: ControlRate | None = None
    ) -> None:
        self.control = control
        self.found = found
        self.options = options
        self.estimates = Estimates(found, options)
        self.metrics = ("responses", "value")
        cluster = self.estimates.cluster
        self.rewards = {metric: Rewards(found, metric, cluster) for metric in self.metrics}
        self._controls: dict[str, tuple[Terms, Array | None]] = {}
        for metric, rewards in self.rewards.items():
            terms = t.of_rewards(rewards.reward)
            self._controls[metric] = (terms, self.estimates.draw(terms))
        self.best = "sndr" if self.rewards["responses"].modelled else "snips"

    def report(
        self, counted: LogCounts, notes: Sequence[str], rows: int, against: str | None = None
    ) -> EvaluationReport:
        """The whole report; `against` names the version to compare with."""
        found = self.found
        policies = [self._policy(name) for name in found.targets if name not in (AGAINST, *GRID)]
        return EvaluationReport(
            log=counted,
            customers=self.estimates.customers,
            silent=found.silent,
            holdout=found.holdout,
            again=found.again,
            best=self.best,
            reward_model_rows=rows,
            logged={
                metric: self.estimates.estimate(terms, None, drawn)
                for metric, (terms, drawn) in self._controls.items()
            },
            policies=policies,
            messages=self._messages(),
            segments=self._segments(),
            notes=list(notes),
            options=self.options,
            control=self.control,
            comparisons=self._comparisons(policies[-1], against),
        )

    def _comparisons(self, judged: PolicyResult, against: str | None) -> list[ComparisonResult]:
        found, target = self.found, self.found.targets[WHOLE]
        comparing = Comparing(found, self.estimates, self.rewards, target, self.best)
        rows = comparing.constants()
        if against is not None:
            told = self._policy(AGAINST).cautions
            own = [text for text in told if text not in judged.cautions]
            rows.insert(0, comparing.version(against, own))
        return rows

    def _policy(self, name: str) -> PolicyResult:
        target = self.found.targets[name]
        weight = self.estimates.weight(target)
        metrics = {}
        for metric, rewards in self.rewards.items():
            metrics[metric] = {
                estimator: self._judged(terms, used, metric)
                for estimator, (terms, used) in rewards.terms(target, weight).items()
            }
        weights = t.diagnose(weight, self.estimates.cluster)
        unsupported = float(np.mean(array_of(target.unsupported)))
        return PolicyResult(
            name=name,
            metrics=metrics,
            weights=weights,
            unsupported=unsupported,
            over_random=self._over_random(name, target, weight),
            cautions=self._cautions(weights, unsupported, metrics),
            switch_at={
                metric: rewards.switch_at(target, weight)
                for metric, rewards in self.rewards.items()
                if rewards.modelled
            },
        )

    def _over_random(self, name: str, target: TargetFigures, weight: Array) -> dict[str, Lift]:
        random = self.found.targets.get(CONTROL)
        if random is None or name == CONTROL:
            return {}
        found = {}
        for metric, rewards in self.rewards.items():
            tested = rewards.terms(target, weight).get(self.best)
            control = rewards.terms(random, self.estimates.weight(random)).get(self.best)
            if tested is not None and control is not None:
                drawn = self.estimates.draw(tested[0]), self.estimates.draw(control[0])
                found[metric] = self.estimates.lift(tested[0], control[0], *drawn)
        return found

    def _judged(self, terms: Terms, weight: Array, metric: str) -> EstimatorResult:
        drawn = self.estimates.draw(terms)
        control, control_drawn = self._controls[metric]
        return EstimatorResult(
            estimate=self.estimates.estimate(terms, weight, drawn),
            lift=self.estimates.lift(terms, control, drawn, control_drawn),
        )

    def _cautions(
        self, weights: Weights, unsupported: float, metrics: dict[str, dict[str, EstimatorResult]]
    ) -> list[str]:
        found = []
        if self.control is not None and self.control.clear:
            found.append(self.control.in_words())
        if unsupported > UNSUPPORTED:
            found.append(
                Said(
                    "%(share)s of this policy's choices could not have happened in the log: only "
                    "the reward model says anything about them, and IPS counts them as 0",
                    share=f"{unsupported:.1%}",
                )
            )
        if weights.mean_z is not None and abs(weights.mean_z) > 3:
            found.append(
                Said(
                    "the mean weight is %(mean)s, %(errors)s standard errors from 1: the logged "
                    "probabilities are not those of the choices, or some choices could not have "
                    "happened in the log",
                    mean=f"{weights.mean:.3g}",
                    errors=f"{abs(weights.mean_z):.1f}",
                )
            )
        if weights.effective_sample_size < LEAST_SAMPLE:
            found.append(
                Said(
                    "the log is worth only %(n)s decisions of this policy; with fewer than 100, "
                    "intervals are too narrow: log more, or explore more",
                    n=f"{weights.effective_sample_size:.0f}",
                )
            )
        if weights.top_share > 0.5:
            found.append(
                Said(
                    "1 %% of the decisions have %(share)s of the weight, so the estimate depends "
                    "on few rewards",
                    share=f"{weights.top_share:.0%}",
                )
            )
        estimates = metrics["responses"]
        if "dm" in estimates and "snips" in estimates:
            low, high = estimates["snips"].estimate.confidence_interval
            if not low <= estimates["dm"].estimate.value <= high:
                found.append(
                    Said(
                        "the estimate by the reward model alone (DM) is outside the interval of "
                        "SNIPS: do not trust DM here"
                    )
                )
        return found

    def _messages(self) -> list[MessageResult]:
        found, target = self.found, self.found.targets[WHOLE]
        weight = self.estimates.weight(target)
        codes = found.choice.codes()
        count = len(found)
        rows = []
        given = {name: float(target.given[place]) for name, place in found.numbers.items()}
        given = {name: total for name, total in given.items() if total > 0}
        names = dict.fromkeys((*found.choice.names, *given))
        for name in names:
            here = (codes == found.choice.names.get(name, -1)).astype(np.float64)
            figures = {}
            for metric, rewards in self.rewards.items():
                part = rewards.reward * here
                terms = t.snips(part, weight) if weight.any() else t.ips(part, weight)
                figures[metric] = (
                    float(np.mean(part)),
                    self.estimates.estimate(terms, weight, None),
                )
            message, _, channel = name.rpartition("/")
            rows.append(
                MessageResult(
                    message=message if name else SILENCE,
                    channel=channel,
                    logged_share=float(np.mean(here)),
                    target_share=given.get(name, 0.0) / count,
                    logged_responses=figures["responses"][0],
                    target_responses=figures["responses"][1],
                    logged_value=figures["value"][0],
                    target_value=figures["value"][1],
                    logged_rate=figures["responses"][0] / float(np.mean(here))
                    if here.any()
                    else None,
                )
            )
        return sorted(rows, key=lambda row: (-row.target_share, row.message, row.channel))

    def _segments(self) -> list[SegmentResult]:
        rows: list[SegmentResult] = []
        for field, column in self.found.segments.items():
            codes = column.codes()
            sizes = np.bincount(codes, minlength=len(column.names))
            names = list(column.names)
            order = sorted(range(len(names)), key=lambda code: (-sizes[code], names[code]))
            rows += [
                self._segment(field, names[code], np.flatnonzero(codes == code))
                for code in order[:MOST_SEGMENTS]
            ]
            rest = np.flatnonzero(np.isin(codes, order[MOST_SEGMENTS:]))
            if len(rest):
                rows.append(self._segment(field, OTHERS, rest))
        return rows

    def _segment(self, field: str, name: str, rows: NDArray[np.intp]) -> SegmentResult:
        """The figures of some decisions; intervals are normal, clustered by customer."""
        target = self.found.targets[WHOLE]
        weight = self.estimates.weight(target)
        cluster = np.unique(self.estimates.cluster[rows], return_inverse=True)[1].astype(np.int64)
        confidence = self.options.confidence
        logged, judged = {}, {}

        for metric, rewards in self.rewards.items():
            control = t.of_rewards(rewards.reward[rows])
            logged[metric] = estimate_of(control, np.ones(len(rows)), confidence, cluster)
            used = weight[rows]
            if not used.any():
                continue
            reward = rewards.reward[rows]
            terms = t.snips(reward, used)
            if rewards.modelled:
                terms = t.sndr(reward, used, rewards.base(target)[rows], rewards.expected[rows])
            judged[metric] = EstimatorResult(
                estimate=estimate_of(terms, used, confidence, cluster),
                lift=t.lift(terms, control, confidence=confidence, cluster=cluster),
            )
        return SegmentResult(
            field=field, segment=name, decisions=len(rows), logged=logged, target=judged
        )
