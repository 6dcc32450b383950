"""What `benchmarks.loop` is told to do, and what it counts."""

from __future__ import annotations

from typing import Final

import msgspec

ESTIMATORS: Final = ("ips", "snips", "dr", "sndr", "switch_dr")


class Tally(msgspec.Struct):
    """Sums over the decisions of a day, in the policy's currency.

    `worth`: of what was said; `expected`: in the mean over the draw; `greedy`: of what the model
    holds to be best; `best`, `random`: the best that could be said, and the mean of it; silence is
    0. `new_…`: the same where the best is the message that begins late; `new_said`: how probably
    it was said there.
    """

    decisions: int = 0
    responses: int = 0
    worth: float = 0.0
    expected: float = 0.0
    greedy: float = 0.0
    best: float = 0.0
    random: float = 0.0
    new_decisions: int = 0
    new_best: float = 0.0
    new_expected: float = 0.0
    new_said: float = 0.0


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one round. `truth` and `estimates` are empty on days that are not judged."""

    round: int
    tally: Tally
    truth: float | None
    estimates: dict[str, tuple[float, float, float]]
    promoted: bool
    version: str

    @property
    def regret(self) -> float:
        """The share of the best worth that was missed."""
        return 1 - self.tally.worth / self.tally.best

    @property
    def random_regret(self) -> float:
        """The same for choosing at random."""
        return 1 - self.tally.random / self.tally.best

    @property
    def greedy_regret(self) -> float:
        """The same for what the model holds to be best: without exploration."""
        return 1 - self.tally.greedy / self.tally.best

    @property
    def new_regret(self) -> float:
        """The part of the regret that is of decisions in which the new message was the best."""
        return (self.tally.new_best - self.tally.new_expected) / self.tally.best

    def covers(self, estimator: str) -> bool | None:
        """Whether the estimator's interval holds the truth; None where there is none."""
        if estimator not in self.estimates or self.truth is None:
            return None
        _, low, high = self.estimates[estimator]
        return low <= self.truth <= high


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """How the loop is run. `judged`: the estimates of every so many days are looked at."""

    rounds: int = 20
    decisions: int = 3000
    customers: int = 2000
    in_memory: bool = False
    judged: int = 1
