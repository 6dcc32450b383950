"""How good probabilities are, and Platt's calibration of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decision.scoring.manifest import Platt
from decision.scoring.model import to_probability

Array = NDArray[np.float64]
_ROUNDS = 100
_HALVINGS = 40


def measure(label: Array, probability: Array) -> dict[str, float | None]:
    """Log loss, Brier score, area under the ROC curve, and predicted over observed responses."""
    held = np.clip(probability, 1e-15, 1 - 1e-15)
    responses = float(label.sum())
    return {
        "log_loss": float(-np.mean(label * np.log(held) + (1 - label) * np.log(1 - held))),
        "brier": float(np.mean((probability - label) ** 2)),
        "auc": auc(label, probability),
        "predicted_over_observed": float(probability.sum()) / responses if responses else None,
    }


def auc(label: Array, score: Array) -> float | None:
    """The chance that a response scores above a non-response, ties a half; None without both."""
    positives = int(label.sum())
    negatives = len(label) - positives
    if not positives or not negatives:
        return None
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    above = float(ranks[place][label == 1].sum()) - positives * (positives + 1) / 2
    return above / (positives * negatives)


def fit_platt(log_odds: Array, label: Array) -> Platt:
    """Fits σ(slope · x + intercept) by Newton's method, with Platt's targets against certainty.

    Platt 1999, in the form of Lin, Lin & Weng 2007: from slope 0 and the base rate, each step
    halved until the loss falls. Where the fit would turn the order round, or there is nothing to
    fit, calibration is left out: slope 1, intercept 0.
    """
    positives = float(label.sum())
    negatives = len(label) - positives
    target = np.where(label == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    design = np.column_stack([log_odds, np.ones_like(log_odds)])
    point = np.array([0.0, np.log((positives + 1) / (negatives + 1))])
    loss = _loss(design @ point, target)
    for _ in range(_ROUNDS):
        share = to_probability(design @ point)
        gradient = design.T @ (share - target)
        curvature = (design * (share * (1 - share))[:, None]).T @ design
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        tried = (point - step * 0.5**halvings for halvings in range(_HALVINGS))
        better = next((each for each in tried if _loss(design @ each, target) < loss), None)
        if better is None:
            break
        point, loss = better, _loss(design @ better, target)
    if point[0] > 0:
        return Platt(slope=float(point[0]), intercept=float(point[1]))
    return Platt(slope=1.0, intercept=0.0)


def _loss(log_odds: Array, target: Array) -> float:
    """The log loss of log-odds against targets in (0, 1), without overflow."""
    return float(np.sum(np.logaddexp(0.0, log_odds) - target * log_odds))
