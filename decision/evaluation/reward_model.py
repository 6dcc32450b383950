"""A model of the reward, P(goal | logged features), which makes estimates more precise.

LightGBM on the logged features, cross-fitted with folds by customer: no reward is predicted by a
model that has seen it, or another decision of that customer. The model need not be right: DR and
SNDR are unbiased with any model that has not seen these rewards, and more precise with a good one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from decision.archive.features import OTHER
from decision.core.policy import Policy
from decision.core.values import Value
from decision.evaluation.choices import JudgedDay
from decision.evaluation.log import ArchivedLog
from decision.evaluation.supports import SILENCE
from decision.learning.feature_columns import FeatureColumns
from decision.scoring.features import (
    Feature,
    FeatureEncoder,
    UnknownFeature,
    check_feature,
    fields_of,
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
"""From this many rows on, several threads are faster than one."""


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
    sample = _Sample(log)
    features = sample.features()
    categories, matrix = sample.encoded(features)
    label, fold = np.array(sample.reached, np.float64), np.array(sample.folds, np.int64)
    # In order of ids, whatever the order of rows in the files.
    rank = sample.rank
    label[rank], fold[rank] = label.copy(), fold.copy()
    fitted = [_fit(features, matrix[fold != part], label[fold != part]) for part in range(FOLDS)]
    return RewardModel(features, categories, fitted, sample.silence(), len(label))


class _Sample:
    """Logged contacts with their features, in Arrow batches; of silent decisions only counts.

    `rank` is the place of each contact in order of ids.
    """

    def __init__(self, log: ArchivedLog) -> None:
        self.reached: list[float] = []
        self.folds: list[int] = []
        self._ids: list[str] = []
        self._batches: list[tuple[dict[str, Any], Any]] = []
        self._silent, self._answered = [0] * FOLDS, [0.0] * FOLDS
        share = MOST_ROWS / max(1, log.counted.decisions)
        for day in log.days():
            facts = log.judged_on(day, support=False, shares=False)
            for batch in log.features_on(day):
                self._add(facts, batch, share)
        order = sorted(range(len(self._ids)), key=self._ids.__getitem__)
        self.rank = np.empty(len(order), np.int64)
        self.rank[order] = np.arange(len(order))

    def _add(self, facts: JudgedDay, batch: Any, share: float) -> None:
        import pyarrow as pa

        rows, messages, channels = [], [], []
        for row, name in enumerate(batch.column("decision_id").to_pylist()):
            if name not in facts:
                continue
            logged = facts.pop(name)
            if crc32(name.encode()) / 2**32 >= share:
                continue
            fold = fold_of(logged.customer_id)
            if logged.message == SILENCE:
                self._silent[fold] += 1
                self._answered[fold] += logged.reached
                continue
            rows.append(row)
            messages.append(logged.message)
            channels.append(logged.channel)
            self._ids.append(name)
            self.folds.append(fold)
            self.reached.append(logged.reached)
        if not rows:
            return
        kept = batch.take(pa.array(rows, pa.int64()))
        columns = {}
        if "features" in kept.schema.names:
            struct = kept.column("features")
            columns = dict(zip(struct.type.names, struct.flatten(), strict=True))
        columns |= {"message.name": pa.array(messages), "message.channel": pa.array(channels)}
        others = kept.column(OTHER) if OTHER in kept.schema.names else None
        self._batches.append((columns, others))

    def features(self) -> list[Feature]:
        """The logged features: categorical if any value is a text, else numeric."""
        import pyarrow as pa

        text: dict[str, bool] = {}
        for columns, others in self._batches:
            for name, column in columns.items():
                if column.null_count < len(column):
                    kind = column.type
                    is_text = pa.types.is_string(kind) or pa.types.is_dictionary(kind)
                    text[name] = text.get(name, False) or is_text
            for row in () if others is None or not len(others.keys) else others.to_pylist():
                for name, value in row or ():
                    text[name] = text.get(name, False) or value.startswith('"')
        found = []
        for name, categorical in sorted(text.items()):
            feature = Feature(name, "categorical" if categorical else "numeric")
            try:
                check_feature(feature)
            except UnknownFeature:
                continue  # from another release, or from a rule that set something else
            found.append(feature)
        return found

    def encoded(self, features: Sequence[Feature]) -> tuple[dict[str, tuple[Value, ...]], Array]:
        """The categories, and the matrix with the rows in order of ids."""
        matrix = np.empty((len(self._ids), len(features)))
        columns = FeatureColumns(features, matrix)
        start = 0
        for given, others in self._batches:
            end = start + len(given["message.name"])
            columns.fill(self.rank[start:end], given, others)
            start = end
        self._batches = []
        return columns.settle(len(matrix)), matrix

    def silence(self) -> list[float]:
        """The share of responses among silent decisions outside each fold."""
        found = []
        for part in range(FOLDS):
            others = [fold for fold in range(FOLDS) if fold != part]
            count = sum(self._silent[fold] for fold in others)
            answered = sum(self._answered[fold] for fold in others)
            found.append(answered / count if count else 0.0)
        return found


def _fit(features: Sequence[Feature], matrix: Array, label: Array) -> Callable[[Array], Array]:
    """A function that predicts the label from the matrix."""
    responses = float(label.sum())
    mean = responses / len(label) if len(label) else 0.0
    if min(responses, len(label) - responses) < _LEAST_RESPONSES:
        return lambda rows: np.full(len(rows), mean)
    import lightgbm

    parameters = {**_PARAMETERS, "num_threads": 0 if len(matrix) >= _MANY else 1}
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
