"""A model of the reward, P(goal | logged features), which makes estimates more precise.

LightGBM on the logged features, cross-fitted with folds by customer: no reward is predicted by a
model that has seen it, or another decision of that customer. The model need not be right: DR and
SNDR are unbiased with any model that has not seen these rewards, and more precise with a good one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from decision.archive.features import features_of
from decision.core.policy import Policy
from decision.core.values import MISSING, Value
from decision.evaluation.log import SILENCE, ArchivedLog
from decision.scoring.features import (
    Feature,
    FeatureEncoder,
    UnknownFeature,
    check_feature,
    encode_columns,
    fields_of,
    learn_categories,
)

Array = NDArray[np.float64]

FOLDS: Final = 3
MOST_ROWS: Final = 300_000
"""A model is fitted on at most this many decisions, chosen by a hash of their ids."""
_LEAST_RESPONSES: Final = 10
_PARAMETERS: Final[dict[str, Any]] = {
    "objective": "binary",
    "learning_rate": 0.08,
    "num_leaves": 15,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.8,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
    "seed": 7,
}
_ROUNDS: Final = 60
_MANY: Final = 50_000
"""From this many rows on, two threads are faster than one."""


def fold_of(customer_id: str) -> int:
    """The fold of a customer; it never changes."""
    return crc32(customer_id.encode("utf-8", "surrogatepass")) % FOLDS


class RewardModel:
    """Expected rewards of candidates, and of silence, by fold."""

    def __init__(
        self,
        features: Sequence[Feature],
        categories: Mapping[str, Sequence[Value]],
        folds: Sequence[Callable[[Array], Array]],
        silence: Sequence[float],
        rows: int,
    ) -> None:
        self.features = tuple(features)
        self.fields = fields_of(features)
        self.rows = rows
        self._categories = categories
        self._folds = folds
        self._silence = np.array(silence)

    def encoder(self, policy: Policy) -> FeatureEncoder:
        """The encoder of a policy's candidates; the policy must read `fields`."""
        return FeatureEncoder(
            self.features, self._categories, policy.candidates, policy.fields.slot
        )

    def expect(self, matrix: Array, fold: NDArray[np.int64]) -> Array:
        """P(goal) for each row, by a model that has not seen its fold."""
        found = np.empty(len(matrix))
        for number, predict in enumerate(self._folds):
            rows = fold == number
            if rows.any():
                found[rows] = predict(matrix[rows])
        return found

    def expect_silence(self, fold: int) -> float:
        """The share of silent decisions outside the fold that reached the goal."""
        return float(self._silence[fold])


def fit_reward_model(log: ArchivedLog) -> RewardModel:
    """The reward model of a log. With too few responses it predicts the mean."""
    sampled, silent = _sample(log)
    rows = [features for _, features, _, _ in sampled]
    features = _features_in(rows)
    columns = {each.name: [row.get(each.name, MISSING) for row in rows] for each in features}
    categories = learn_categories(features, columns)
    matrix = encode_columns(features, categories, columns)
    label = np.array([reached for _, _, reached, _ in sampled], dtype=np.float64)
    fold = np.array([fold for _, _, _, fold in sampled], dtype=np.int64)
    fitted = [_fit(features, matrix[fold != part], label[fold != part]) for part in range(FOLDS)]
    return RewardModel(features, categories, fitted, _silence(silent), len(rows))


def _sample(
    log: ArchivedLog,
) -> tuple[list[tuple[str, dict[str, Value], float, int]], list[tuple[int, float]]]:
    """(id, features, reward, fold) of logged contacts, in order of ids whatever the order of rows
    in the files, and (fold, reward) of silent decisions."""
    share = MOST_ROWS / max(1, log.counted.decisions)
    rows: list[tuple[str, dict[str, Value], float, int]] = []
    silent: list[tuple[int, float]] = []
    for day in log.days():
        facts = log.judged_on(day)
        for row in log.features_on(day):
            logged = facts.pop(row["decision_id"], None)
            if logged is None or crc32(logged.decision_id.encode()) / 2**32 >= share:
                continue
            if logged.message == SILENCE:
                silent.append((fold_of(logged.customer_id), logged.reached))
                continue
            named = {"message.name": logged.message, "message.channel": logged.channel}
            fold = fold_of(logged.customer_id)
            rows.append((logged.decision_id, {**features_of(row), **named}, logged.reached, fold))
    rows.sort(key=itemgetter(0))
    return rows, silent


def _features_in(rows: Sequence[Mapping[str, Value]]) -> list[Feature]:
    """The logged features: categorical if any value is a text, else numeric."""
    kinds: dict[str, bool] = {}
    for row in rows:
        for name, value in row.items():
            kinds[name] = kinds.get(name, False) or isinstance(value, str)
    found = []
    for name, text in sorted(kinds.items()):
        feature = Feature(name, "categorical" if text else "numeric")
        try:
            check_feature(feature)
        except UnknownFeature:
            continue  # from another release, or from a rule that set something else
        found.append(feature)
    return found


def _fit(features: Sequence[Feature], matrix: Array, label: Array) -> Callable[[Array], Array]:
    """A function that predicts the label from the matrix."""
    responses = float(label.sum())
    mean = responses / len(label) if len(label) else 0.0
    if min(responses, len(label) - responses) < _LEAST_RESPONSES:
        return lambda rows: np.full(len(rows), mean)
    import lightgbm

    parameters = {**_PARAMETERS, "num_threads": 2 if len(matrix) >= _MANY else 1}
    data = lightgbm.Dataset(
        matrix,
        label,
        categorical_feature=[
            index for index, feature in enumerate(features) if feature.kind == "categorical"
        ],
        params=parameters,
    )
    booster = lightgbm.train(parameters, data, _ROUNDS)

    def predict(rows: Array) -> Array:
        return np.asarray(booster.predict(rows, num_threads=1))

    return predict


def _silence(silent: Sequence[tuple[int, float]]) -> list[float]:
    """The share of responses among silent decisions outside each fold."""
    found = []
    for part in range(FOLDS):
        others = [reached for fold, reached in silent if fold != part]
        found.append(sum(others) / len(others) if others else 0.0)
    return found
