"""Measures of how good probabilities are."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
PARTS = 10
"""Calibration error and lift are computed by decile of the prediction."""


def measure(
    label: Array, probability: Array, weight: Array | None = None
) -> dict[str, float | None]:
    """Log loss, Brier score, area under the ROC curve, calibration error, lift of the top decile.

    `calibration_error` is the mean gap between predicted and observed shares by decile, weighted by
    rows; `top_decile_lift` is the share of responses in the tenth with the highest predictions,
    divided by that of all rows. `weight` is the weight of each row.
    """
    weights = np.ones(len(label)) if weight is None else weight
    loss = log_losses(label, probability)
    responses = float(weights @ label)
    predicted = float(weights @ probability)
    groups = deciles(label, probability, weights)
    share = responses / float(weights.sum())
    return {
        "log_loss": float(np.average(loss, weights=weights)),
        "brier": float(np.average((probability - label) ** 2, weights=weights)),
        "auc": auc(label, probability, weights),
        "predicted_over_observed": predicted / responses if responses else None,
        "calibration_error": groups.calibration_error(),
        "top_decile_lift": float(groups.observed[-1]) / share if responses else None,
    }


class PredictionGroups:
    """Rows in groups by prediction, lowest first: means of both, weight and number of rows."""

    def __init__(self, label: Array, probability: Array, weights: Array, parts: int) -> None:
        order = np.argsort(probability, kind="stable")
        starts = np.unique(np.arange(parts) * len(order) // parts)
        self.rows = np.diff([*starts, len(order)])
        self.weight: Array = np.add.reduceat(weights[order], starts)
        self.predicted: Array = np.add.reduceat((weights * probability)[order], starts)
        self.predicted /= self.weight
        self.responses: Array = np.add.reduceat((weights * label)[order], starts)
        self.observed: Array = self.responses / self.weight

    def calibration_error(self) -> float:
        """The mean gap between predicted and observed, weighted by the groups' rows."""
        gap = np.abs(self.predicted - self.observed) @ self.weight / self.weight.sum()
        return float(gap)


def log_losses(label: Array, probability: Array, least: float = 1e-15) -> Array:
    """The log loss of each row; probabilities are kept at least `least` away from 0 and 1."""
    held = np.clip(probability, least, 1 - least)
    found: Array = -np.log(np.where(label == 1, held, 1 - held))
    return found


def wilson(responses: float, rows: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927): valid near 0 and 1, and for few rows.

    >>> [round(bound, 3) for bound in wilson(3, 100)]
    [0.01, 0.085]
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, squared = responses / rows, z * z / rows
    centre = (share + squared / 2) / (1 + squared)
    reach = z / (1 + squared) * sqrt(share * (1 - share) / rows + squared / (4 * rows))
    return (max(0.0, centre - reach), min(1.0, centre + reach))


def deciles(
    label: Array, probability: Array, weight: Array | None = None, parts: int = PARTS
) -> PredictionGroups:
    """The rows (at least one) in `parts` groups of equal size, by prediction."""
    weights = np.ones(len(label)) if weight is None else weight
    return PredictionGroups(label, probability, weights, parts)


def auc(label: Array, score: Array, weight: Array | None = None) -> float | None:
    """The probability that a response scores above a non-response; ties count a half.

    None if there are only responses, or none.
    """
    weights = np.ones(len(label)) if weight is None else weight
    _, place = np.unique(score, return_inverse=True)
    positive = np.bincount(place, weights * label)
    negative = np.bincount(place, weights * (1 - label))
    pairs = float(positive.sum() * negative.sum())
    if not pairs:
        return None
    below = np.cumsum(negative) - negative / 2
    return float(positive @ below) / pairs
