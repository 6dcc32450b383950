"""Problems for `benchmarks.bandits`: customers, and how likely each responds to each action."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Problem(NamedTuple):
    """Rounds in order of time: who comes, and what they would respond to.

    `features` has a row per customer; `customer` is the customer of each round; `truth` has the
    probability of a response for each round × action, and `response` what is drawn of it, the same
    for whoever learns.
    """

    name: str
    features: Array
    customer: NDArray[np.int64]
    truth: Array
    response: Array

    @property
    def actions(self) -> int:
        """How many there are."""
        return self.truth.shape[1]


def _rounds(
    name: str, features: Array, by_customer: Array, rounds: int, draw: np.random.Generator
) -> Problem:
    customer = draw.integers(len(features), size=rounds)
    truth = by_customer[customer]
    response = (draw.random(truth.shape) < truth).astype(np.float64)
    return Problem(name, features, customer, truth, response)


def ten_actions(rounds: int, seed: int) -> Problem:
    """Ten messages that 3,000 customers like or not, by five facts about them and by their groups."""
    draw = np.random.default_rng([seed, 10])
    people, actions = 3_000, 10
    facts = draw.normal(size=(people, 5))
    groups = draw.integers(4, size=(people, 2))
    liking = draw.normal(size=(5, actions)) * 0.6
    of_group = draw.normal(size=(2, 4, actions)) * 0.6
    odds = -1.6 + 0.6 * draw.normal(size=actions) + facts @ liking
    odds = odds + of_group[0][groups[:, 0]] + of_group[1][groups[:, 1]]
    features = np.column_stack([facts, groups.astype(np.float64)])
    return _rounds("ten actions", features, 1 / (1 + np.exp(-odds)), rounds, draw)


def _classes(name: str) -> Callable[[int, int], Problem]:
    """A classification as a bandit: the action is a class, and only the right one is responded to."""

    def made(rounds: int, seed: int) -> Problem:
        from sklearn import datasets

        loaded: Any = getattr(datasets, f"load_{name}")()
        spread = loaded.data.std(axis=0)
        facts = (loaded.data - loaded.data.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        right = np.eye(len(loaded.target_names))[loaded.target]
        return _rounds(name, facts, right, rounds, np.random.default_rng([seed, 11]))

    return made


PROBLEMS: Final[dict[str, Callable[[int, int], Problem]]] = {
    "ten_actions": ten_actions,
    **{name: _classes(name) for name in ("digits", "wine", "breast_cancer", "iris")},
}
