"""The figures of a report, computed from a training; nothing is drawn here.

All figures except importance are of the rows that judge; if nothing was held out, of the fitted
rows (`judged` says which).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.learning import drift
from decision.learning.boosting import FittedModel, log_odds
from decision.learning.examples import Examples
from decision.learning.metrics import (
    Gain,
    PredictionGroups,
    auc,
    deciles,
    gain,
    log_losses,
    sorted_rows,
    wilson,
)
from decision.learning.notices import FEW_OF_EACH, FEW_ROWS
from decision.learning.spec import Spec
from decision.scoring.features import Feature
from decision.scoring.linear import LinearScorer
from decision.scoring.manifest import ModelError, read_version
from decision.scoring.model import to_probability

Floats = NDArray[np.float64]
Z: Final = 1.959963984540054
CURVE_GROUPS: Final = 15
SHAP_ROWS: Final = 1_500
_GROUP: Final = 100
"""Rows of which a point of the calibration curve is made, at least."""
_GAIN_PARTS: Final = 100


class MeasuredFigure(NamedTuple):
    """A figure with its 95 % interval, if there is one."""

    value: float
    low: float | None = None
    high: float | None = None


class MessageFacts(NamedTuple):
    """One message: rows, responses, their share, the mean prediction, and its value."""

    message: str
    shows: int
    responses: int
    share: MeasuredFigure
    predicted: float
    value: float | None
    expected_value: float | None


class Contributions(NamedTuple):
    """What each feature added to the log-odds of some rows (SHAP), with the features' values."""

    added: Floats
    values: Floats


class ReportFacts(msgspec.Struct, kw_only=True):
    """What a report shows. `gain`: (share of rows, share of responses), best predictions first.

    `importance` is each feature's share of the gain of all splits; where the trees add to a
    `linear` start, of the mean of absolute contributions.
    `no_curves` says why no curves of the predictions are drawn; "" if they are. `not_compared` is
    feature → why its drift is not known.
    """

    spec: Spec
    features: tuple[Feature, ...]
    judged: bool
    rows: int
    predictions: Floats
    figures: dict[str, MeasuredFigure]
    curve: PredictionGroups
    tenths: Gain
    gain: tuple[Floats, Floats]
    importance: dict[str, float]
    linear: bool
    contributions: Contributions
    messages: list[MessageFacts]
    drift: dict[str, float] | None
    not_compared: dict[str, str] = {}
    against: str | None
    no_curves: str = ""


def facts_of(
    spec: Spec,
    examples: Examples,
    boosted: FittedModel,
    probability: Floats,
    profile: drift.Profile,
    against: Path | None,
    values: Mapping[str, float] = MappingProxyType({}),
) -> ReportFacts:
    """The facts of a training; `probability` is of the held-out rows.

    `values` are those of the messages in the rules, for where `message.value` is no feature.
    """
    judged = examples.judge < len(examples)
    start = examples.judge if judged else 0
    rows = slice(start, len(examples))
    found = probability[start - examples.fit :] if judged else _fitted(boosted, examples)
    label = examples.label[rows]
    weights = examples.weights(rows)
    weight = np.ones(len(label)) if weights is None else weights
    drifted, uncompared = _drift(examples, profile, against)
    contributions = _contributions(boosted, examples.matrix[rows])
    counted = boosted.booster.feature_importance("gain", iteration=boosted.trees)
    if boosted.start is not None:
        counted = np.abs(contributions.added).mean(axis=0)
    names = [feature.name for feature in examples.features]
    importance = dict(zip(names, (counted / (counted.sum() or 1.0)).tolist(), strict=True))
    return ReportFacts(
        spec=spec,
        features=examples.features,
        judged=judged,
        rows=len(label),
        predictions=found,
        figures=_figures(label, found, weight),
        curve=deciles(label, found, weight, min(CURVE_GROUPS, max(4, len(label) // _GROUP))),
        tenths=gain(label, found, weight),
        gain=gain(label, found, weight, _GAIN_PARTS).shares(),
        importance=dict(sorted(importance.items(), key=lambda row: (-row[1], row[0]))),
        linear=boosted.start is not None,
        contributions=contributions,
        messages=_messages(examples, rows, found, values),
        drift=drifted,
        not_compared=uncompared,
        against=against.name if drifted is not None and against is not None else None,
        no_curves=_no_curves(label, found),
    )


def _drift(
    examples: Examples, profile: drift.Profile, against: Path | None
) -> tuple[dict[str, float] | None, dict[str, str]]:
    """The drift since another version, and why some features are not compared."""
    old = drift.read_profile(against) if against is not None else None
    if old is None or against is None:
        return None, {}
    before = None
    with suppress(ModelError):
        before = read_version(against)[0].training.span
    time = examples.time
    now = None if time is None or not len(time) else int(time.max() - time.min())
    return drift.drift_of_versions(old, profile, (before, now))


def _no_curves(label: Floats, probability: Floats) -> str:
    """Why no curve of the predictions should be drawn, or ""."""
    rows, responses = len(label), float(label.sum())
    if rows < FEW_ROWS or min(responses, rows - responses) < FEW_OF_EACH:
        return (
            f"{rows:,} rows with {responses:,.0f} responses are too few: single rows would make "
            f"the curve. {FEW_ROWS} rows are needed, {FEW_OF_EACH} of them with and {FEW_OF_EACH} "
            "without a response."
        )
    if np.ptp(probability) < 1e-12:
        return "All predictions are the same, so they put the rows in no order."
    return ""


def _fitted(boosted: FittedModel, examples: Examples) -> Floats:
    return to_probability(log_odds(boosted, examples.matrix))


def share_interval(responses: float, rows: float) -> MeasuredFigure:
    """A share with its interval; without an interval if there are no rows."""
    if rows <= 0:
        return MeasuredFigure(0.0)
    return MeasuredFigure(responses / rows, *wilson(responses, rows))


def _mean(values: Floats, weight: Floats) -> MeasuredFigure:
    """A weighted mean, with the interval of its standard error."""
    total = float(weight.sum())
    mean = float(weight @ values) / total
    error = float(np.sqrt(((weight * (values - mean)) ** 2).sum())) / total
    return MeasuredFigure(mean, mean - Z * error, mean + Z * error)


def _figures(label: Floats, probability: Floats, weight: Floats) -> dict[str, MeasuredFigure]:
    label, probability, weight = sorted_rows(label, probability, weight)
    loss = log_losses(label, probability)
    base = _mean(label, weight)
    found = {"share of responses": base, "log loss": _mean(loss, weight)}
    if base.value:
        known = np.where(label == 1, base.value, max(1 - base.value, 1e-15))
        ignorant: Floats = np.negative(np.log(known))
        found["log loss minus that of the base rate"] = _mean(loss - ignorant, weight)
    found["Brier score"] = _mean((probability - label) ** 2, weight)
    ranked = auc(label, probability, weight)
    if ranked is not None:
        error = _auc_error(label, probability)
        found["area under the ROC curve"] = MeasuredFigure(
            ranked, max(0.0, ranked - Z * error), min(1.0, ranked + Z * error)
        )
    if base.value:
        ratio = float(weight @ probability) / float(weight @ label)
        spread = _mean(probability - ratio * label, weight)
        reach = (spread.high or 0.0) - spread.value
        found["predicted over observed"] = MeasuredFigure(
            ratio, ratio - reach / base.value, ratio + reach / base.value
        )
        tenths = gain(label, probability, weight)
        rows = float(tenths.rows[1])
        top = share_interval(float(tenths.lifts()[0]) * base.value * rows, rows)
        found["lift of the top tenth"] = MeasuredFigure(
            *(None if each is None else each / base.value for each in top)  # type: ignore[arg-type]
        )
        found["calibration error"] = MeasuredFigure(
            deciles(label, probability, weight).calibration_error()
        )
    return found


def _auc_error(label: Floats, score: Floats) -> float:
    """The standard error by DeLong (1988), from each row's share of the other kind below it."""
    positive, negative = np.sort(score[label == 1]), np.sort(score[label == 0])

    def below(these: Floats, others: Floats) -> Floats:
        low = np.searchsorted(others, these, side="left")
        high = np.searchsorted(others, these, side="right")
        found: Floats = (low + high) / (2 * len(others))
        return found

    parts = (below(positive, negative), below(negative, positive))
    return math.sqrt(sum(float(part.var()) / len(part) for part in parts))


def _contributions(boosted: FittedModel, matrix: Any) -> Contributions:
    places = np.unique(np.linspace(0, len(matrix) - 1, SHAP_ROWS).round().astype(np.int64))
    values = np.asarray(matrix[places])
    added = boosted.booster.predict(values, pred_contrib=True, num_iteration=boosted.trees)
    found = np.asarray(added)[:, :-1]
    if boosted.start is not None:
        found = found + linear_contributions(boosted.start, values)
    return Contributions(found, values)


def linear_contributions(start: LinearScorer, matrix: Floats) -> Floats:
    """What each feature adds to the log-odds of the linear start, compared with the mean row.

    Shapley values: of a coefficient of a message and a customer, each side gets half of what it
    changes with the other at the row's, and half with the other at the mean.
    """
    theta = start.coefficients
    message, customer = start.messages(matrix), start.customers(matrix)
    mean_message, mean_customer = message.mean(axis=0), customer.mean(axis=0)
    parts = (
        (message - mean_message) * ((customer + mean_customer) @ theta.T) / 2,
        (customer - mean_customer) * ((message + mean_message) @ theta) / 2,
    )
    found = np.zeros(matrix.shape)
    for part, features in zip(parts, start.features, strict=True):
        known = features >= 0
        np.add.at(found.T, features[known], part.T[known])
    return found


def _messages(
    examples: Examples, rows: slice, probability: Floats, values: Mapping[str, float]
) -> list[MessageFacts]:
    names = [feature.name for feature in examples.features]
    worth = (
        examples.matrix[rows, names.index("message.value")] if "message.value" in names else None
    )
    message, label = examples.message[rows], examples.label[rows]
    count = len(examples.messages)
    shows = np.bincount(message, minlength=count)
    responses = np.bincount(message, label, count)
    predicted = np.bincount(message, probability, count) / np.maximum(shows, 1)
    found = []
    place: int
    for place in np.flatnonzero(shows).tolist():
        value = values.get(examples.messages[place])
        if worth is not None:
            known = worth[message == place]
            known = known[~np.isnan(known)]
            value = float(known.mean()) if len(known) else value
        mean = float(predicted[place])
        found.append(
            MessageFacts(
                message=examples.messages[place],
                shows=int(shows[place]),
                responses=int(responses[place]),
                share=share_interval(float(responses[place]), float(shows[place])),
                predicted=mean,
                value=value,
                expected_value=None if value is None else mean * value,
            )
        )
    found.sort(key=lambda row: (-(row.expected_value or 0.0), -row.predicted, row.message))
    return found
