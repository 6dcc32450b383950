"""A loaded model version: from a matrix of features to calibrated probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from decision.core.arrays import all_finite
from decision.core.values import MISSING
from decision.scoring.features import Columns, Matrix, encode_columns
from decision.scoring.linear import LinearScorer
from decision.scoring.manifest import Isotonic, Manifest, Platt

Scores = NDArray[np.float64]
Trees = Callable[[Matrix], Scores]
"""A function from a matrix to the log-odds of its rows."""
Bound = Callable[[Matrix, NDArray[np.intp]], Scores]
"""The same for one decision's matrix and the candidates of its rows."""


class Model:
    """A model version, ready to score.

    `engine` says what runs the trees; if it is not `compiled`, `note` says why. The trees add to
    the log-odds of `start`, if there is one. `uplift_trees` are those of an R-learner, whose sum is
    the uplift of a candidate.
    """

    def __init__(
        self,
        manifest: Manifest,
        trees: Trees,
        engine: Literal["compiled", "lightgbm"],
        note: str | None = None,
        start: LinearScorer | None = None,
        uplift_trees: Trees | None = None,
    ) -> None:
        self.manifest = manifest
        self.engine = engine
        self.note = note
        self.trees = trees
        self.start = start
        self.calibrate = calibrator(manifest.calibration or manifest.isotonic)
        self.uplift_trees = uplift_trees

    @property
    def version(self) -> str:
        """The version, as it is logged with decisions."""
        return self.manifest.version

    def log_odds(self, matrix: Matrix) -> Scores:
        """The log-odds of each row by the trees, and the linear start, before calibration."""
        found = self.trees(matrix)
        return found if self.start is None else self.start.log_odds(matrix) + found

    def probabilities(self, matrix: Matrix) -> Scores:
        """The calibrated probability of each row, in [0, 1]; NaN if the trees give no number."""
        return self.calibrate(self.log_odds(matrix))

    def score(self, columns: Columns) -> Scores:
        """The calibrated probability of each row of a table: columns of plain values by feature.

        Values are those that a decision would see; a feature that has no column is missing.

        Raises:
            ValueError: no column is a feature, or columns differ in length.
        """
        features = self.manifest.features
        known = {one.name: columns[one.name] for one in features if one.name in columns}
        lengths = {len(column) for column in known.values()}
        if len(lengths) != 1:
            names = ", ".join(one.name for one in features)
            raise ValueError(
                f"columns differ in length: {sorted(lengths)}"
                if lengths
                else f"no column is a feature of {self.version}: {names}"
            )
        missing = [MISSING] * lengths.pop()
        full = {one.name: known.get(one.name, missing) for one in features}
        return self.probabilities(encode_columns(features, self.manifest.categories, full))


def calibrator(calibration: Platt | Isotonic | None) -> Callable[[Scores], Scores]:
    """The function from the trees' log-odds to probabilities; NaN for what is not finite.

    >>> probability = calibrator(Isotonic(knots=(-1.0, 1.0), probabilities=(0.1, 0.3)))
    >>> [round(each, 2) for each in probability(np.array([-5.0, 0.0, 9.0])).tolist()]
    [0.1, 0.2, 0.3]
    """
    if calibration is None or isinstance(calibration, Platt):
        return Logistic(calibration)
    knots, probabilities = np.array(calibration.knots), np.array(calibration.probabilities)
    return lambda log_odds: _of_finite(log_odds, np.interp(log_odds, knots, probabilities))


class Logistic:
    """σ of log-odds, which a Platt calibration shifts and scales; NaN for what is not finite."""

    def __init__(self, calibration: Platt | None = None) -> None:
        slope, intercept = (calibration.slope, calibration.intercept) if calibration else (1.0, 0.0)
        # numpy takes arrays in two thirds of the time that it takes for plain numbers
        self._slope, self._intercept = np.array(0.5 * slope), np.array(0.5 * intercept)
        self._shifts = intercept != 0.0

    def half(self, log_odds: Scores) -> Scores:
        """Half of the log-odds, calibrated: σ(x) is (1 + tanh(x / 2)) / 2."""
        found: Scores = self._slope * log_odds
        if self._shifts:
            found += self._intercept
        return found

    def __call__(self, log_odds: Scores) -> Scores:
        """The probabilities of log-odds."""
        half = self.half(log_odds)
        found = np.tanh(half)
        found *= 0.5
        found += 0.5
        return _of_finite(half, found)


def to_probability(log_odds: Scores) -> Scores:
    """σ(x), written so that it cannot overflow; NaN for infinities.

    >>> to_probability(np.array([0.0, np.inf])).tolist()
    [0.5, nan]
    """
    return _PLAIN(log_odds)


_PLAIN: Final = Logistic()


def _of_finite(given: Scores, found: Scores) -> Scores:
    """The result, with NaN where what is given is not finite."""
    if not all_finite(given):
        found[~np.isfinite(given)] = np.nan
    return found
