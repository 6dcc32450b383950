"""Measures of how good probabilities are."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist
from typing import NamedTuple

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
    divided by that of all rows. `weight` is the weight of each row. No figure depends on the order
    of the rows, not even in its last digit.
    """
    weights = np.ones(len(label)) if weight is None else weight
    label, probability, weights = sorted_rows(label, probability, weights)
    loss = log_losses(label, probability)
    responses = float(weights @ label)
    predicted = float(weights @ probability)
    return {
        "log_loss": float(np.average(loss, weights=weights)),
        "brier": float(np.average((probability - label) ** 2, weights=weights)),
        "auc": auc(label, probability, weights),
        "predicted_over_observed": predicted / responses if responses else None,
        "calibration_error": deciles(label, probability, weights).calibration_error(),
        "top_decile_lift": top_lift(label, probability, weights) if responses else None,
    }


def sorted_rows(label: Array, probability: Array, weights: Array) -> tuple[Array, Array, Array]:
    """The rows by prediction, lowest first; those alike in all three are interchangeable."""
    order = np.lexsort((weights, label, probability))
    return label[order], probability[order], weights[order]


class PredictionGroups:
    """Rows in groups by prediction, lowest first: means of both, weight and number of rows.

    Groups are of about equal size; rows of equal prediction are in one, where their middle is.

    >>> import numpy as np
    >>> PredictionGroups(np.eye(9)[0], np.r_[np.full(8, 0.1), 0.9], np.ones(9), 3).rows.tolist()
    [8, 1]
    """

    def __init__(self, label: Array, probability: Array, weights: Array, parts: int) -> None:
        label, probability, weights = sorted_rows(label, probability, weights)
        first = np.flatnonzero(np.diff(probability, prepend=-np.inf))  # row of each prediction
        middle = (first + np.append(first[1:], len(label)) - 1) // 2
        cuts = np.arange(parts) * len(label) // parts
        places = np.unique(np.searchsorted(middle, cuts))
        starts = first[places[places < len(first)]]
        self.rows = np.diff([*starts, len(label)])
        self.weight: Array = np.add.reduceat(weights, starts)
        self.predicted: Array = np.add.reduceat(weights * probability, starts)
        self.predicted /= self.weight
        self.responses: Array = np.add.reduceat(weights * label, starts)
        self.observed: Array = self.responses / self.weight

    def calibration_error(self) -> float:
        """The mean gap between predicted and observed, weighted by the groups' rows."""
        gap = np.abs(self.predicted - self.observed) @ self.weight / self.weight.sum()
        return float(gap)


def log_losses(label: Array, probability: Array, least: float = 1e-15) -> Array:
    """The log loss of each row; probabilities are kept at least `least` away from 0 and 1."""
    held = np.clip(probability, least, 1 - least)
    found: Array = -(label * np.log(held) + (1 - label) * np.log(1 - held))
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
    """The rows (at least one) in `parts` groups of equal size, by prediction; ties stay whole."""
    weights = np.ones(len(label)) if weight is None else weight
    return PredictionGroups(label, probability, weights, parts)


class Gain(NamedTuple):
    """Weight and responses of the rows with the highest predictions: of none, of more …, of all."""

    rows: Array
    weight: Array
    responses: Array

    def shares(self) -> tuple[Array, Array]:
        """Both as shares of all."""
        return self.weight / self.weight[-1], self.responses / (self.responses[-1] or 1.0)

    def lifts(self) -> Array:
        """The share of responses in each part, the highest first, divided by that of all rows."""
        share = self.responses[-1] / self.weight[-1]
        found: Array = np.diff(self.responses) / np.diff(self.weight) / share
        return found


def gain(label: Array, probability: Array, weights: Array, parts: int = PARTS) -> Gain:
    """The gain at the ends of `parts` parts of equal size.

    Where a part ends among rows of equal prediction, it has that share of their responses.

    >>> gain(np.r_[np.ones(5), np.zeros(15)], np.full(20, 0.25), np.ones(20), 2).responses.tolist()
    [0.0, 2.5, 5.0]
    """
    label, probability, weights = sorted_rows(label, np.negative(probability), weights)
    ends = np.flatnonzero(np.append(np.diff(probability), 1)) + 1
    places = np.unique(-(np.arange(parts + 1) * -len(label) // parts)).astype(np.float64)

    def at(each: Array) -> Array:
        known = np.append(0.0, np.cumsum(each)[ends - 1])
        found: Array = np.interp(places, np.append(0, ends), known)
        return found

    return Gain(places, at(weights), at(weights * label))


def top_lift(label: Array, probability: Array, weights: Array) -> float:
    """The lift of the tenth with the highest predictions; there must be a response."""
    return float(gain(label, probability, weights).lifts()[0])


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
