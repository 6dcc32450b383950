"""Qini and AUUC: how well predicted uplifts put customers in order, with intervals.

Both are areas between a curve and chance, over that of the best order that the outcomes allow: 1 is
the best, 0 is chance. The Qini curve (Radcliffe 2007) is the responses gained by telling the first
customers, the uplift curve the difference of the shares of responses times their number. Equal to
scikit-uplift's `qini_auc_score` and `uplift_auc_score` where all weights are 1.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class UpliftScores(msgspec.Struct, frozen=True, kw_only=True):
    """Qini and AUUC, normalised, with percentile intervals of resampled customers."""

    qini: float
    qini_interval: tuple[float, float] | None
    auuc: float
    auuc_interval: tuple[float, float] | None


class _Order:
    """Rows by a score, the highest first; rows alike are one point of a curve."""

    def __init__(self, score: Array, response: Array, told: Array) -> None:
        self._rows = np.argsort(score, kind="mergesort")[::-1]
        self._response, self._told = response[self._rows], told[self._rows]
        self._ends = np.append(np.flatnonzero(np.diff(score[self._rows])), len(score) - 1)

    def areas(self, weight: Array) -> tuple[float, float]:
        """The areas under the Qini and the uplift curve, less that of chance."""
        weight = weight[self._rows]
        told, silent = weight * self._told, weight * (1 - self._told)
        number, others, yes, alone = (
            np.append(0.0, each.cumsum()[self._ends])
            for each in (told, silent, told * self._response, silent * self._response)
        )
        ratio = np.divide(number, others, out=np.zeros_like(number), where=others > 0)
        gained = np.divide(yes, number, out=np.zeros_like(yes), where=number > 0)
        lost = np.divide(alone, others, out=np.zeros_like(alone), where=others > 0)
        place = number + others
        return (
            _above_chance(place, yes - alone * ratio),
            _above_chance(place, (gained - lost) * place),
        )


def _above_chance(place: Array, curve: Array) -> float:
    area = np.diff(place) @ (curve[1:] + curve[:-1]) / 2
    return float(area) - float(place[-1] * curve[-1]) / 2


def uplift_scores(
    response: Array,
    uplift: Array,
    told: Array,
    *,
    weight: Array | None = None,
    customer: NDArray[np.int64] | None = None,
    resamples: int = 200,
    confidence: float = 0.95,
    seed: int = 7,
) -> UpliftScores | None:
    """The scores of a predicted uplift; None if everybody was told, or nobody, or all did the same.

    `response` and `told` are 1 or 0; `weight` is that of each row; `customer` says whose it is, and
    whole customers are resampled (`resamples` 0: no intervals).

    >>> response, told = np.array([1.0, 0, 1, 0, 1, 0]), np.array([1.0, 0, 1, 0, 0, 1])
    >>> found = uplift_scores(response, np.arange(6.0, 0, -1), told, resamples=0)
    >>> round(found.qini, 3), round(found.auuc, 3)
    (0.744, 1.0)
    """
    weights = np.ones(len(response)) if weight is None else weight
    if not 0 < told.sum() < len(told) or not 0 < response.sum() < len(response):
        return None
    orders = _orders(response, uplift, told)
    qini, auuc = _normalised(orders, weights)
    clusters = np.arange(len(response)) if customer is None else _numbered(customer)
    count, generator = int(clusters.max()) + 1, np.random.default_rng(seed)
    drawn = np.array(
        [
            _normalised(orders, weights * times[clusters])
            for times in (
                np.bincount(generator.integers(0, count, count), minlength=count)
                for _ in range(resamples)
            )
        ]
    )
    bounds = None
    if resamples:
        tail = (1 - confidence) / 2
        bounds = np.nanquantile(drawn, [tail, 1 - tail], axis=0).T.tolist()
    return UpliftScores(
        qini=qini,
        qini_interval=None if bounds is None else tuple(bounds[0]),
        auuc=auuc,
        auuc_interval=None if bounds is None else tuple(bounds[1]),
    )


def _numbered(customer: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique(customer, return_inverse=True)[1].astype(np.int64)


def _orders(response: Array, uplift: Array, told: Array) -> tuple[_Order, _Order, _Order]:
    """By the prediction, and the best orders for the Qini and for the uplift curve.

    The best is the one in scikit-uplift: those first who responded when told, then those who did
    neither; those last who responded when not told.
    """
    best_qini = response * told - response * (1 - told)
    alone = float((response * (1 - told)).sum())
    in_vain = float(((1 - response) * told).sum())
    best_auuc = 2.0 * (response == told) + (response if alone > in_vain else told)
    return (
        _Order(uplift, response, told),
        _Order(best_qini, response, told),
        _Order(best_auuc, response, told),
    )


def _normalised(orders: tuple[_Order, _Order, _Order], weight: Array) -> tuple[float, float]:
    own, best_qini, best_auuc = orders
    qini, auuc = own.areas(weight)
    most_qini, most_auuc = best_qini.areas(weight)[0], best_auuc.areas(weight)[1]
    return (
        qini / most_qini if most_qini else float("nan"),
        auuc / most_auuc if most_auuc else float("nan"),
    )
