"""What exploration costs and what it brings, for a grid of γ, by one log.

A plain estimate of value cannot choose γ: not to explore always seems best, because what is learned
later is not in it. So each γ has two figures. The *loss* is what it earns less than the same policy
without exploration (greedy), as a share of that: a paired doubly robust estimate, with an interval.
The *evidence* is how often it would choose the message that it chooses least, and how many
decisions of another policy its log would be worth.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec
import numpy as np

from decision.evaluation.gather import GatheredLog, TargetFigures
from decision.evaluation.rewards import LEAST_SAMPLE, Rewards, array_of
from decision.evaluation.supports import SILENCE
from decision.evaluation.targets import GREEDY, GRID, RANDOM, WHOLE
from decision.learning.ope import terms as t
from decision.learning.ope.terms import Interval, Terms, Whole
from decision.scoring.model import Model

PER: Final = 1000
"""`next_effective_sample` is of this many decisions."""


class ExplorationResult(msgspec.Struct, frozen=True, kw_only=True):
    """One exploration. `gamma` None: none, or that of the policy as it is.

    `loss`: the share of greedy's value that it loses, None where greedy earns nothing.
    `least_message`: the one of those that are explored which it would choose least, `least_a_day`
    times. `effective_sample`: how many decisions of its own the log is worth.
    `next_effective_sample`: how many decisions of a policy that chooses at random 1,000 of its own
    would be worth, of those in which something could be chosen: 1,000 if it chooses at random
    itself, 0 if it never explores. `unsupported`: the share of its choices, beyond greedy's,
    that could not have happened in the log; in `loss_at_most` it counts as lost.
    """

    name: str
    gamma: float | None
    loss: float | None
    loss_interval: Interval | None
    least_message: str | None
    least_a_day: float | None
    effective_sample: float
    next_effective_sample: float
    unsupported: float

    @property
    def loss_at_most(self) -> float | None:
        """The upper end of the interval, and what is unsupported; None where nothing is known."""
        return None if self.loss_interval is None else self.loss_interval[1] + self.unsupported

    def shows(self, most: float) -> bool:
        """Whether the log shows a loss of `most` or less."""
        at_most = self.loss_at_most
        return at_most is not None and at_most <= most and self.effective_sample >= LEAST_SAMPLE


class ExplorationReport(msgspec.Struct, frozen=True, kw_only=True):
    """The grid, from choosing at random to greedy, and the policy `as_it_is`.

    `proposed`: the smallest γ whose loss is `most` at most, by `loss_at_most`; None: no γ is shown
    to. `rows`: how many the model learned from. `said` is that in words.
    """

    most: float
    confidence: float
    rows: int | None
    grid: list[ExplorationResult]
    as_it_is: ExplorationResult
    proposed: float | None
    said: str


def weigh(
    found: GatheredLog,
    cluster: Whole,
    most: float,
    confidence: float,
    *,
    days: float,
    learned_from: int | None = None,
) -> ExplorationReport:
    """Loss and evidence of the grid, and the γ that they propose for a loss of `most` at most.

    `days`: how many the log has. `learned_from`: rows of the model; None without a model.
    """
    weighing = _Weighing(found, cluster, confidence, days)
    grid = [weighing.result(name, gamma) for name, gamma in GRID.items()]
    proposed = proposal(grid, most)
    return ExplorationReport(
        most=most,
        confidence=confidence,
        rows=learned_from,
        grid=grid,
        as_it_is=weighing.result(WHOLE, None),
        proposed=None if proposed is None else proposed.gamma,
        said=_said(grid, proposed, most, learned_from),
    )


def proposal(grid: list[ExplorationResult], most: float) -> ExplorationResult | None:
    """The smallest γ of those that show a loss of `most` or less, and all larger ones with it.

    They are tested from the largest down, and the first that fails ends it. So the error of all
    tests together is that of one: a γ that loses more is proposed in 2.5 % of logs at most.
    """
    found = None
    for one in sorted(_explored(grid), key=lambda one: -(one.gamma or 0.0)):
        if not one.shows(most):
            break
        found = one
    return found


def learned_from(model: Model | None, *, cross_fitted: bool) -> int | None:
    """The number of rows by which a schedule of exploration gave the model its γ."""
    if model is None:
        return None
    training = model.manifest.training
    return training.rows + (0 if cross_fitted else training.validation_rows)


class _Weighing:
    def __init__(self, found: GatheredLog, cluster: Whole, confidence: float, days: float) -> None:
        self.found, self.cluster, self.confidence = found, cluster, confidence
        self.days = max(1.0, days)
        self.logged = array_of(found.logged)
        self.rewards = Rewards(found, "value", cluster)
        self.greedy = self._terms(found.targets[GREEDY])
        random, greedy = (_by_message(found, found.targets[name]) for name in (RANDOM, GREEDY))
        self.explored = [
            name for name, given in random.items() if given > greedy.get(name, 0.0) + 1e-9
        ]

    def _terms(self, target: TargetFigures) -> Terms | None:
        weight = array_of(target.probability) / self.logged
        return self.rewards.best(target, weight) if weight.any() else None

    def result(self, name: str, gamma: float | None) -> ExplorationResult:
        """The figures of one target."""
        found, target = self.found, self.found.targets[name]
        terms = self._terms(target)
        loss, interval = None, None
        if terms is not None and self.greedy is not None:
            lift = t.lift(terms, self.greedy, confidence=self.confidence, cluster=self.cluster)
            if lift.relative is not None and lift.relative_interval is not None:
                low, high = lift.relative_interval
                loss, interval = 0.0 - lift.relative, (0.0 - high, 0.0 - low)
        given = _by_message(found, target)
        least = min(self.explored, key=lambda each: given.get(each, 0.0), default=None)
        return ExplorationResult(
            name=name,
            gamma=gamma,
            loss=loss,
            loss_interval=interval,
            least_message=least,
            least_a_day=None if least is None else given.get(least, 0.0) / self.days,
            effective_sample=t.effective_sample_size(array_of(target.probability) / self.logged),
            next_effective_sample=PER * found.open / target.squares if target.squares else 0.0,
            unsupported=max(0.0, _unsupported(target) - _unsupported(found.targets[GREEDY])),
        )


def _unsupported(target: TargetFigures) -> float:
    return float(np.mean(array_of(target.unsupported)))


def _by_message(found: GatheredLog, target: TargetFigures) -> dict[str, float]:
    """Message → how often the target would have chosen it, on all its channels."""
    given: dict[str, float] = {}
    for name, place in found.numbers.items():
        if name != SILENCE:
            message = name.rpartition("/")[0]
            given[message] = given.get(message, 0.0) + float(target.given[place])
    return given


def _explored(grid: list[ExplorationResult]) -> Iterator[ExplorationResult]:
    return (one for one in grid if one.gamma is not None)


def _said(
    grid: list[ExplorationResult],
    proposed: ExplorationResult | None,
    most: float,
    rows: int | None,
) -> str:
    """The proposal in a sentence, or why there is none."""
    if all(one.loss is None for one in grid):
        return "without exploration this policy earns no value above 0, so no loss is a share of it"
    if proposed is None or proposed.gamma is None:
        return (
            f"no γ of the grid is shown to lose {most:.1%} of the value at most: {_lacking(grid)}"
        )
    gamma = proposed.gamma
    text = (
        f"γ = {gamma:g} is the smallest that is shown to lose {most:.1%} of the value at most "
        f"(estimated {proposed.loss or 0.0:.1%}, at most {proposed.loss_at_most or 0.0:.1%})"
    )
    if proposed.least_a_day is not None:
        text += (
            f"; {proposed.least_message}, chosen least, would be chosen "
            f"{proposed.least_a_day:.3g} times a day"
        )
    text += f". In the model's spec: exploration: {gamma:g}"
    if rows and gamma:
        text += (
            f"; or, to explore less as it learns, exploration: {{from: 0, to: {2 * gamma:g}, "
            f"over: {4 * rows}}}, which is {gamma:g} at its {rows:,} rows"
        )
    return text


def _lacking(grid: list[ExplorationResult]) -> str:
    """Why not even the largest γ is shown to lose little."""
    last = max(_explored(grid), key=lambda one: one.gamma or 0.0)
    if last.loss_at_most is None:
        return f"{last.name} would have made no choice of the log"
    if last.effective_sample < LEAST_SAMPLE:
        return (
            f"the log is worth only {last.effective_sample:.0f} decisions at {last.name}; "
            f"{LEAST_SAMPLE:.0f} are needed"
        )
    unsupported = ""
    if last.unsupported > 0:
        unsupported = (
            f", of which {last.unsupported:.1%} are choices that could not have happened in the log"
        )
    return (
        f"{last.name} may lose {last.loss_at_most:.1%}{unsupported}; more decisions would tell, or "
        "allow a larger loss"
    )
