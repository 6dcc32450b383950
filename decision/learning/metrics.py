"""How good probabilities are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
PARTS = 10
"""Calibration error and lift are told by decile of the prediction."""


def measure(
    label: Array, probability: Array, weight: Array | None = None
) -> dict[str, float | None]:
    """Log loss, Brier score, area under the ROC curve, calibration error, lift of the top decile.

    `calibration_error` is the mean gap between predicted and observed, by decile, each weighed by
    its rows; `top_decile_lift` is the share of responses among the tenth predicted highest, over
    that of all. `weight` counts a row more or less.
    """
    weights = np.ones(len(label)) if weight is None else weight
    held = np.clip(probability, 1e-15, 1 - 1e-15)
    loss = -(label * np.log(held) + (1 - label) * np.log(1 - held))
    responses = float(weights @ label)
    predicted = float(weights @ probability)
    groups = deciles(label, probability, weights)
    gap = np.abs(groups.predicted - groups.observed) @ groups.weight / groups.weight.sum()
    share = responses / float(weights.sum())
    return {
        "log_loss": float(np.average(loss, weights=weights)),
        "brier": float(np.average((probability - label) ** 2, weights=weights)),
        "auc": auc(label, probability, weights),
        "predicted_over_observed": predicted / responses if responses else None,
        "calibration_error": float(gap),
        "top_decile_lift": float(groups.observed[-1]) / share if responses else None,
    }


class Groups:
    """Rows in groups of like prediction, lowest first: means of both, their weight, their rows."""

    def __init__(self, label: Array, probability: Array, weights: Array, parts: int) -> None:
        order = np.argsort(probability, kind="stable")
        starts = np.unique(np.arange(parts) * len(order) // parts)
        self.rows = np.diff([*starts, len(order)])
        self.weight: Array = np.add.reduceat(weights[order], starts)
        self.predicted: Array = np.add.reduceat((weights * probability)[order], starts)
        self.predicted /= self.weight
        self.responses: Array = np.add.reduceat((weights * label)[order], starts)
        self.observed: Array = self.responses / self.weight


def deciles(
    label: Array, probability: Array, weight: Array | None = None, parts: int = PARTS
) -> Groups:
    """The rows (one at least) in so many groups of equal size, by prediction."""
    weights = np.ones(len(label)) if weight is None else weight
    return Groups(label, probability, weights, parts)


def auc(label: Array, score: Array, weight: Array | None = None) -> float | None:
    """The chance that a response scores above a non-response, ties a half; None without both."""
    weights = np.ones(len(label)) if weight is None else weight
    _, place = np.unique(score, return_inverse=True)
    positive = np.bincount(place, weights * label)
    negative = np.bincount(place, weights * (1 - label))
    pairs = float(positive.sum() * negative.sum())
    if not pairs:
        return None
    below = np.cumsum(negative) - negative / 2
    return float(positive @ below) / pairs
