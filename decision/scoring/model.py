"""A loaded model version: from a matrix of features to calibrated probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from decision.scoring.features import Matrix
from decision.scoring.manifest import Isotonic, Manifest, Platt

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
        self._calibrate = calibrator(manifest.calibration or manifest.isotonic)

    @property
    def version(self) -> str:
        """The version, as decisions are logged with it."""
        return self.manifest.version

    def log_odds(self, matrix: Matrix) -> Scores:
        """What the trees say of each row, before calibration."""
        return self._trees(matrix)

    def probabilities(self, matrix: Matrix) -> Scores:
        """The calibrated probability of each row, in [0, 1]; NaN where the trees give no number."""
        return self._calibrate(self._trees(matrix))


def calibrator(calibration: Platt | Isotonic | None) -> Callable[[Scores], Scores]:
    """The function from the trees' log-odds to probabilities; NaN where they are no number."""
    if calibration is None:
        return to_probability
    if isinstance(calibration, Platt):
        slope, intercept = calibration.slope, calibration.intercept
        return lambda log_odds: to_probability(slope * log_odds + intercept)
    knots, probabilities = np.array(calibration.knots), np.array(calibration.probabilities)
    return lambda log_odds: _of_finite(log_odds, np.interp(log_odds, knots, probabilities))


def to_probability(log_odds: Scores) -> Scores:
    """σ(x), written so that it cannot overflow; an infinity is no number and gives NaN."""
    return _of_finite(log_odds, 0.5 + 0.5 * np.tanh(0.5 * log_odds))


def _of_finite(log_odds: Scores, found: Scores) -> Scores:
    """What was found, with NaN where the log-odds are no finite number."""
    if not np.isfinite(log_odds).all():
        found[~np.isfinite(log_odds)] = np.nan
    return found
