"""The report on a policy: estimates, their intervals, and whether to trust them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.evaluation.control import ControlRate
from decision.evaluation.exploration_grid import ExplorationReport
from decision.evaluation.gather import GatheredLog, ScoreAgreement, TargetFigures
from decision.evaluation.log import LogCounts
from decision.evaluation.rewards import LEAST_SAMPLE, UNSUPPORTED, Rewards, array_of
from decision.evaluation.supports import SILENCE
from decision.evaluation.targets import CONTROL, GRID, WHOLE
from decision.evaluation.uplift_figures import UpliftResult
from decision.learning.ope import Estimate, estimate_of
from decision.learning.ope import terms as t
from decision.learning.ope.terms import Lift, Resampler, Terms, Weights, Whole

Array = NDArray[np.float64]

MOST_SEGMENTS: Final = 20
OTHERS: Final = "(others)"


class EvaluationOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The confidence of intervals, and the number of bootstrap resamples (0: none)."""

    confidence: float = 0.95
    bootstrap: int = 1000
    seed: int = 7


class EstimatorResult(msgspec.Struct, frozen=True, kw_only=True):
    """One estimator's estimate, and its lift over what was logged (paired)."""

    estimate: Estimate
    lift: Lift


class PolicyResult(msgspec.Struct, frozen=True, kw_only=True):
    """A target policy: metric (`responses`, `value`) → estimator → result, per decision.

    `unsupported` is the mean probability of choices that could not have been logged.
    `over_random`: metric → lift over the arm that chooses at random, for impact arms. `cautions`
    say why these figures may be wrong. `switch_at`: metric → τ of SWITCH-DR, by the data.
    """

    name: str
    metrics: dict[str, dict[str, EstimatorResult]]
    weights: Weights
    unsupported: float
    over_random: dict[str, Lift] = {}
    cautions: list[str] = []
    switch_at: dict[str, float] = {}


class MessageResult(msgspec.Struct, frozen=True, kw_only=True):
    """One message × channel: how often it is chosen, and its responses and value, per decision.

    `logged_rate` is its responses per time that it was given.
    """

    message: str
    channel: str
    logged_share: float
    target_share: float
    logged_responses: float
    target_responses: Estimate
    logged_value: float
    target_value: Estimate
    logged_rate: float | None = None


class ConstantResult(msgspec.Struct, frozen=True, kw_only=True):
    """The message × channel that would have earned most if it were given whenever it could be, and
    nothing else: the simplest policy, which a model should beat.

    `possible` is the share of decisions in which it could be given. `lift`: metric → of the judged
    policy over it, paired. It was chosen by the decisions that judge it, which flatters it.
    """

    message: str
    channel: str
    possible: float
    metrics: dict[str, Estimate]
    lift: dict[str, Lift]


class SegmentResult(msgspec.Struct, frozen=True, kw_only=True):
    """One group of decisions: what was earned, and what the target would have earned."""

    field: str
    segment: str
    decisions: int
    logged: dict[str, Estimate]
    target: dict[str, EstimatorResult]


class EvaluationReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result of `evaluate`. `best` names the estimator to read first. `control` says how often
    customers respond without a message, where silence counts as earning nothing. `uplifts` are of a
    model of uplift: each message against silence. `exploration` has a grid of γ, where asked for.
    """

    log: LogCounts
    customers: int
    silent: int
    holdout: int
    again: ScoreAgreement
    best: str
    reward_model_rows: int
    logged: dict[str, Estimate]
    policies: list[PolicyResult]
    messages: list[MessageResult]
    segments: list[SegmentResult]
    notes: list[str]
    options: EvaluationOptions
    control: ControlRate | None = None
    uplifts: list[UpliftResult] = []
    constant: ConstantResult | None = None
    exploration: ExplorationReport | None = None


class ReportBuilder:
    """Makes the report of a log."""

    def __init__(
        self, found: GatheredLog, options: EvaluationOptions, control: ControlRate | None = None
    ) -> None:
        self.control = control
        self.found = found
        self.options = options
        self.metrics = ("responses", "value")
        self.cluster: Whole = np.unique(
            np.frombuffer(found.customer, dtype=np.int64), return_inverse=True
        )[1].astype(np.int64)
        self.customers = int(self.cluster.max()) + 1
        self.resampler = (
            Resampler(len(found), options.bootstrap, options.seed, self.cluster)
            if options.bootstrap
            else None
        )
        self.rewards = {metric: Rewards(found, metric, self.cluster) for metric in self.metrics}
        self._controls: dict[str, tuple[Terms, Array | None]] = {}
        for metric, rewards in self.rewards.items():
            terms = t.of_rewards(rewards.reward)
            self._controls[metric] = (terms, self._draw(terms))
        self.best = "sndr" if self.rewards["responses"].modelled else "snips"
        self.logged = array_of(found.logged)

    def report(self, counted: LogCounts, notes: Sequence[str], rows: int) -> EvaluationReport:
        """The whole report."""
        found = self.found
        policies = [self._policy(name) for name in found.targets if name not in GRID]
        return EvaluationReport(
            log=counted,
            customers=self.customers,
            silent=found.silent,
            holdout=found.holdout,
            again=found.again,
            best=self.best,
            reward_model_rows=rows,
            logged={
                metric: self._estimate(terms, None, drawn)
                for metric, (terms, drawn) in self._controls.items()
            },
            policies=policies,
            messages=self._messages(),
            segments=self._segments(),
            notes=list(notes),
            options=self.options,
            control=self.control,
            constant=self._constant(),
        )

    def _constant(self) -> ConstantResult | None:
        """The best constant among what was given often enough to say what it earns."""
        found = self.found
        codes, earned = found.choice.codes(), self.rewards["value"].reward
        worths: dict[str, float] = {}
        for name, code in found.choice.names.items():
            if name != SILENCE:
                weight = np.where(codes == code, 1.0, 0.0) / self.logged
                if t.effective_sample_size(weight) >= LEAST_SAMPLE:
                    worths[name] = _constant_terms(earned, weight).value()
        if not worths:
            return None
        name = max(worths, key=worths.__getitem__)
        weight = np.where(codes == found.choice.names[name], 1.0, 0.0) / self.logged
        target = found.targets[WHOLE]
        metrics, lifts = {}, {}
        for metric, rewards in self.rewards.items():
            terms = _constant_terms(rewards.reward, weight)
            metrics[metric] = self._estimate(terms, weight, None)
            tested = rewards.terms(target, self._weight(target)).get(self.best)
            if tested is not None:
                lifts[metric] = self._lift(tested[0], terms, None, None)
        message, _, channel = name.rpartition("/")
        return ConstantResult(
            message=message,
            channel=channel,
            possible=min(1.0, float(np.mean(weight))),
            metrics=metrics,
            lift=lifts,
        )

    def _weight(self, target: TargetFigures) -> Array:
        return array_of(target.probability) / self.logged

    def _policy(self, name: str) -> PolicyResult:
        target = self.found.targets[name]
        weight = self._weight(target)
        metrics = {}
        for metric, rewards in self.rewards.items():
            metrics[metric] = {
                estimator: self._judged(terms, used, metric)
                for estimator, (terms, used) in rewards.terms(target, weight).items()
            }
        weights = t.diagnose(weight, self.cluster)
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
            control = rewards.terms(random, self._weight(random)).get(self.best)
            if tested is not None and control is not None:
                drawn = self._draw(tested[0]), self._draw(control[0])
                found[metric] = self._lift(tested[0], control[0], *drawn)
        return found

    def _judged(self, terms: Terms, weight: Array, metric: str) -> EstimatorResult:
        drawn = self._draw(terms)
        control, control_drawn = self._controls[metric]
        return EstimatorResult(
            estimate=self._estimate(terms, weight, drawn),
            lift=self._lift(terms, control, drawn, control_drawn),
        )

    def _draw(self, terms: Terms) -> Array | None:
        return None if self.resampler is None else self.resampler.draw(terms)

    def _estimate(self, terms: Terms, weight: Array | None, drawn: Array | None) -> Estimate:
        used = np.ones(len(terms.base)) if weight is None else weight
        return estimate_of(terms, used, self.options.confidence, self.cluster, drawn)

    def _lift(
        self, target: Terms, control: Terms, drawn: Array | None, control_drawn: Array | None
    ) -> Lift:
        return t.lift(
            target,
            control,
            confidence=self.options.confidence,
            cluster=self.cluster,
            target_draws=drawn,
            control_draws=control_drawn,
        )

    def _cautions(
        self, weights: Weights, unsupported: float, metrics: dict[str, dict[str, EstimatorResult]]
    ) -> list[str]:
        found = []
        if self.control is not None and self.control.clear:
            found.append(self.control.in_words())
        if unsupported > UNSUPPORTED:
            found.append(
                f"{unsupported:.1%} of this policy's choices could not have happened in the log: "
                "only the reward model says anything about them, and IPS counts them as 0"
            )
        if weights.mean_z is not None and abs(weights.mean_z) > 3:
            found.append(
                f"the mean weight is {weights.mean:.3g}, {abs(weights.mean_z):.1f} standard errors "
                "from 1: the logged probabilities are not those of the choices, or some choices "
                "could not have happened in the log"
            )
        if weights.effective_sample_size < LEAST_SAMPLE:
            found.append(
                f"the log is worth only {weights.effective_sample_size:.0f} decisions of this "
                "policy; with fewer than 100, intervals are too narrow: log more, or explore more"
            )
        if weights.top_share > 0.5:
            found.append(
                f"1 % of the decisions have {weights.top_share:.0%} of the weight, so the estimate "
                "depends on few rewards"
            )
        estimates = metrics["responses"]
        if "dm" in estimates and "snips" in estimates:
            low, high = estimates["snips"].estimate.confidence_interval
            if not low <= estimates["dm"].estimate.value <= high:
                found.append(
                    "the estimate by the reward model alone (DM) is outside the interval of SNIPS: "
                    "do not trust DM here"
                )
        return found

    def _messages(self) -> list[MessageResult]:
        found, target = self.found, self.found.targets[WHOLE]
        weight = self._weight(target)
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
                figures[metric] = (float(np.mean(part)), self._estimate(terms, weight, None))
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
        weight = self._weight(target)
        cluster = np.unique(self.cluster[rows], return_inverse=True)[1].astype(np.int64)
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


def _constant_terms(reward: Array, weight: Array) -> Terms:
    """What one candidate earns: self-normalised where it could be given in every decision, else
    nothing is earned in the others."""
    off = abs(float(np.mean(weight)) - 1.0)
    always = off <= 3 * float(np.std(weight)) / len(weight) ** 0.5
    return t.snips(reward, weight) if always else t.ips(reward, weight)
