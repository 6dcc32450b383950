"""The report on a policy: estimates, their intervals, what it is compared with, and cautions."""

from __future__ import annotations

from typing import Literal

import msgspec

from decision.evaluation.control import ControlRate
from decision.evaluation.exploration_grid import ExplorationReport
from decision.evaluation.gather import ScoreAgreement
from decision.evaluation.log import LogCounts
from decision.evaluation.uplift_figures import UpliftResult
from decision.learning.ope import Estimate
from decision.learning.ope.terms import Lift, Weights


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


class ComparisonResult(msgspec.Struct, frozen=True, kw_only=True):
    """Another policy on the same decisions, and how much more the judged one earns, paired.

    `kind`: `version` is the one to compare with. `constant` is the message × channel (`name`) that
    would have earned most on its channel if it were given whenever it could be, and nothing else:
    the simplest policy, which a model should beat. It was chosen by the decisions that judge it,
    which flatters it. `possible` is the share of decisions in which a constant could be given.
    `metrics`: metric → its estimate. `lift`: metric → of the judged policy over it.
    """

    kind: Literal["version", "constant"]
    name: str
    metrics: dict[str, Estimate]
    lift: dict[str, Lift]
    possible: float | None = None
    cautions: list[str] = []


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
    model of uplift: each message against silence. `comparisons`: the version to compare with, then
    the best constant of each channel, the best first. `exploration` has a grid of γ, where asked
    for. Notes and cautions can be said in other languages: encoders want `core.said.plain` as their
    `enc_hook`.
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
    comparisons: list[ComparisonResult] = []
    exploration: ExplorationReport | None = None
