"""Ours, as it is compared with Vowpal Wabbit: the product's own functions, a day at a time."""

from __future__ import annotations

import numpy as np

from benchmarks._bandit_ours import SPEC, Ours
from benchmarks._bandit_problems import Problem
from benchmarks.bandits import regrets


def problem(days: int, rounds: int) -> Problem:
    """Two actions: which of them is responded to is plain from one fact about a customer."""
    draw = np.random.default_rng(5)
    features = draw.normal(size=(200, 2))
    customer = draw.integers(200, size=days * rounds)
    first = features[customer, :1] > 0
    truth = np.where(np.hstack([first, ~first]), 0.8, 0.1)
    return Problem("plain", features, customer, truth, (draw.random(truth.shape) < truth) * 1.0)


def test_what_is_plain_is_learned_within_days_and_through_the_gate() -> None:
    """The first version passes the gate for the first, the next ones that for what is in force."""
    given = problem(days=4, rounds=300)
    ours = Ours(given, SPEC.replace("rounds: 300", "rounds: 30"))
    found = regrets(given, ours, days=4, seed=1)
    assert found[0] > 0.3 and found[-1] < 0.05
    assert ours.model is not None and len(ours.witness) == 3


def test_without_rows_to_learn_from_nothing_changes() -> None:
    """A day on which nobody responds cannot be learned from: it is noted, and the prior stays."""
    given = problem(days=1, rounds=50)
    nobody = given._replace(response=np.zeros_like(given.response))
    ours = Ours(nobody, SPEC)
    regrets(nobody, ours, days=1, seed=1)
    assert ours.model is None and "responses" in ours.notes[0]
