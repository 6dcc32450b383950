"""Vowpal Wabbit, for `benchmarks.bandits`: the same rounds, features and evenings."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks._bandit_problems import Array, Problem


class VowpalWabbit:
    """`--cb_explore_adf`, with all customer × action interactions; it learns in the evening.

    `explore` is `--squarecb` or `--epsilon 0.1`.
    """

    def __init__(self, problem: Problem, explore: str) -> None:
        from vowpalwabbit import Workspace

        self.problem = problem
        self.vw: Any = Workspace(
            f"--cb_explore_adf {explore} --interactions CA --quiet --random_seed 7"
        )
        self.shared = [
            "shared |C " + " ".join(f"f{place}:{value:.5g}" for place, value in enumerate(row))
            for row in problem.features.tolist()
        ]
        self.rows = np.empty(0, dtype=np.int64)

    def _example(self, row: int, label: str = "", chosen: int = -1) -> list[str]:
        return [
            self.shared[self.problem.customer[row]],
            *(
                f"{label if action == chosen else ''}|A m{action}"
                for action in range(self.problem.actions)
            ),
        ]

    def decide(self, rows: Any) -> Array:
        """The probabilities by which actions are drawn on a day."""
        self.rows = rows
        found = np.array([self.vw.predict(self._example(row)) for row in rows.tolist()])
        return found / found.sum(axis=1, keepdims=True)

    def learn(self, chosen: Any, shares: Array) -> None:
        """The evening."""
        for place, (row, action) in enumerate(
            zip(self.rows.tolist(), chosen.tolist(), strict=True)
        ):
            cost = -self.problem.response[row, action]
            label = f"0:{cost:g}:{shares[place, action]:.6f} "
            self.vw.learn(self._example(row, label, action))
