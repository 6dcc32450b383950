"""A loaded model version: from a matrix of features to calibrated probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from decision.scoring.features import Matrix
from decision.scoring.manifest import Manifest

Scores = NDArray[np.float64]
Trees = Callable[[Matrix], Scores]
"""Log-odds, a number for each row of a matrix."""


class Model:
    """A model version, ready to score.

    `engine` says what runs the trees; `note` says why that is not `compiled` where it is not.
    """

    def __init__(
        self,
        manifest: Manifest,
        trees: Trees,
        engine: Literal["compiled", "lightgbm"],
        note: str | None = None,
    ) -> None:
        self.manifest = manifest
        self.engine = engine
        self.note = note
        self._trees = trees
        calibration = manifest.calibration
        self._slope = calibration.slope if calibration else 1.0
        self._intercept = calibration.intercept if calibration else 0.0

    @property
    def version(self) -> str:
        """The version, as decisions are logged with it."""
        return self.manifest.version

    def log_odds(self, matrix: Matrix) -> Scores:
        """What the trees say of each row, before calibration."""
        return self._trees(matrix)

    def probabilities(self, matrix: Matrix) -> Scores:
        """The calibrated probability of each row, in [0, 1]; NaN where the trees give no number."""
        return to_probability(self._slope * self._trees(matrix) + self._intercept)


def to_probability(log_odds: Scores) -> Scores:
    """σ(x), written so that it cannot overflow; an infinity is no number and gives NaN."""
    found: Scores = 0.5 + 0.5 * np.tanh(0.5 * log_odds)
    if not np.isfinite(log_odds).all():
        found[~np.isfinite(log_odds)] = np.nan
    return found
