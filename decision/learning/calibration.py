"""Calibration: from the trees' log-odds to probabilities; Platt scaling, isotonic, or none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from decision.learning.metrics import PredictionGroups, log_losses, sorted_rows
from decision.learning.spec import Calibration
from decision.scoring.manifest import MOST_KNOTS, Isotonic, Platt
from decision.scoring.model import calibrator, to_probability

Array = NDArray[np.float64]
Fitted = Platt | Isotonic | None

FOLDS: Final = 5
_ROUNDS: Final = 100
_HALVINGS: Final = 40
_LEAST_IN_KNOT: Final = 50
LEAST_ISOTONIC: Final = 200
"""Fewer rows would make only a few groups, and nearly the same probability for everyone."""
_CERTAIN: Final = 1e-12


class ChosenCalibration(NamedTuple):
    """A fitted calibration, its name, and the cross-validated log loss of each candidate."""

    fitted: Fitted
    name: str
    tried: dict[str, float]


def calibrate(
    wanted: Calibration, log_odds: Array, label: Array, weight: Array | None = None
) -> ChosenCalibration:
    """Fits the calibration that was asked for; `auto` chooses one by cross-validation.

    `auto` prefers the simpler one: it takes Platt scaling instead of none, and isotonic instead of
    Platt scaling, only if that is better by more than one standard error of the difference. With
    fewer than `LEAST_ISOTONIC` rows Platt scaling replaces isotonic. The order of rows does not
    matter: they are put in folds in order of their log-odds.
    """
    weights = np.ones(len(label)) if weight is None else weight
    label, log_odds, weights = sorted_rows(label, log_odds, weights)
    name = wanted
    tried: dict[str, float] = {}
    if wanted == "auto":
        name, tried = _choose(log_odds, label, weights)
    if name == "isotonic" and len(label) < LEAST_ISOTONIC:
        name = "platt"
    return ChosenCalibration(_FITS[name](log_odds, label, weights), name, tried)


def _choose(log_odds: Array, label: Array, weights: Array) -> tuple[Calibration, dict[str, float]]:
    """The name, and the mean log loss of each; every row is predicted by a fit without it."""
    fold = np.arange(len(label)) % FOLDS
    losses: dict[Calibration, Array] = {name: np.empty(len(label)) for name in _FITS}
    for part in range(FOLDS):
        held = fold == part
        for name, fit in _FITS.items():
            fitted = fit(log_odds[~held], label[~held], weights[~held])
            probability = calibrator(fitted)(log_odds[held])
            losses[name][held] = log_losses(label[held], probability, _CERTAIN)
    best: Calibration = "none"
    for name in ("platt", "isotonic"):
        gain = weights * (losses[best] - losses[name])
        if gain.sum() > gain.std() * np.sqrt(len(gain)):
            best = name
    return best, {name: float(np.average(each, weights=weights)) for name, each in losses.items()}


def fit_isotonic(log_odds: Array, label: Array, weight: Array | None = None) -> Isotonic:
    """A rising curve through groups of rows with similar log-odds, `MOST_KNOTS` knots at most.

    Pool-adjacent-violators over groups of equal size (Barlow et al. 1972). Each group starts with
    one row at the base rate, so that no probability becomes 0 or 1.

    >>> import numpy as np
    >>> odds = np.repeat([-2.0, 0.0, 2.0], 100)
    >>> label = np.concatenate([np.arange(100) < share for share in (10, 60, 50)])
    >>> found = fit_isotonic(odds, label.astype(float))
    >>> [round(each, 2) for each in found.probabilities]
    [0.1, 0.55]
    """
    weights = np.ones(len(label)) if weight is None else weight
    count = max(1, min(MOST_KNOTS, len(label) // _LEAST_IN_KNOT))
    groups = PredictionGroups(label, log_odds, weights, count)
    total, responses = groups.weight, groups.responses
    place = groups.predicted * total
    rate = (float(weights @ label) + 0.5) / (float(weights.sum()) + 1)
    blocks: list[list[float]] = []
    for size, at, hits in zip(total.tolist(), place.tolist(), responses.tolist(), strict=True):
        block = [at, hits + rate, size, size + 1.0]
        while blocks and (
            blocks[-1][1] / blocks[-1][3] >= block[1] / block[3]
            or blocks[-1][0] / blocks[-1][2] >= block[0] / block[2]
        ):
            block = [one + other for one, other in zip(blocks.pop(), block, strict=True)]
        blocks.append(block)
    return Isotonic(
        knots=tuple(at / size for at, _, size, _ in blocks),
        probabilities=tuple(hits / seen for _, hits, _, seen in blocks),
    )


def fit_platt(log_odds: Array, label: Array, weight: Array | None = None) -> Platt:
    """Fits σ(slope · x + intercept) by Newton's method, to Platt's targets, which are never 0 or 1.

    Platt 1999, in the form of Lin, Lin & Weng 2007: starts at slope 0 and the base rate, and halves
    each step until the loss falls. If the slope would not be positive, which would reverse the
    order, it is slope 1 and intercept 0: no calibration.

    >>> import numpy as np
    >>> label = np.concatenate([np.arange(100) < 20, np.arange(100) < 60]).astype(float)
    >>> fitted = fit_platt(np.repeat([-1.0, 1.0], 100), label)
    >>> round(fitted.slope, 2), round(fitted.intercept, 2)
    (0.87, -0.49)
    """
    weights = np.ones(len(label)) if weight is None else weight
    positives = float(weights @ label)
    negatives = float(weights.sum()) - positives
    target = label * ((positives + 1) / (positives + 2)) + (1 - label) / (negatives + 2)
    design = np.column_stack([log_odds, np.ones_like(log_odds)])
    point = np.array([0.0, np.log((positives + 1) / (negatives + 1))])
    loss = _loss(design @ point, target, weights)
    for _ in range(_ROUNDS):
        share = to_probability(design @ point)
        gradient = design.T @ (weights * (share - target))
        curvature = (design * (weights * share * (1 - share))[:, None]).T @ design
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        tried = (point - step * 0.5**halvings for halvings in range(_HALVINGS))
        better = next(
            (each for each in tried if _loss(design @ each, target, weights) < loss), None
        )
        if better is None:
            break
        point, loss = better, _loss(design @ better, target, weights)
    if point[0] > 0:
        return Platt(slope=float(point[0]), intercept=float(point[1]))
    return Platt(slope=1.0, intercept=0.0)


def _loss(log_odds: Array, target: Array, weights: Array) -> float:
    """The log loss of log-odds against targets in (0, 1), without overflow."""
    return float(weights @ (np.logaddexp(0.0, log_odds) - target * log_odds))


_FITS: Final[dict[Calibration, Callable[[Array, Array, Array], Fitted]]] = {
    "none": lambda log_odds, label, weights: None,
    "platt": fit_platt,
    "isotonic": fit_isotonic,
}
