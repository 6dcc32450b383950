"""Fits LightGBM to examples on this machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.learning.examples import Examples
from decision.learning.spec import Spec
from decision.scoring.features import Feature
from decision.scoring.linear import LinearScorer
from decision.scoring.structure import column_names

FIXED: Final[dict[str, Any]] = {
    "objective": "binary",
    "metric": "binary_logloss",
    "deterministic": True,
    "force_row_wise": True,
    "feature_pre_filter": False,
    "verbosity": -1,
}
_BLOCK: Final = 65_536
SHARED: Final = "cross_entropy"
"""The objective for labels between 0 and 1; its trees are served as those of `binary`."""
Move = Callable[[float], None]


class FittedModel(msgspec.Struct):
    """A fitted booster, its text model up to where training stops, and the number of trees.

    `start`: what the trees add to.
    """

    booster: Any
    text: str
    trees: int
    start: LinearScorer | None = None


class FitModel(Protocol):
    """Fits a model: here, or on a cluster (`dask_boosting`)."""

    def __call__(
        self, spec: Spec, examples: Examples, move: Move, start: LinearScorer | None
    ) -> FittedModel:
        """The fitted model; `move` is called with the share of rounds that are done."""


def parameters(spec: Spec, features: Sequence[Feature]) -> dict[str, Any]:
    """LightGBM's parameters: the fixed ones, the spec's, the seed, the constraints."""
    found = {**FIXED, "seed": spec.seed, **spec.lightgbm}
    if spec.attribution == "discounted":  # labels are shares of a response
        found |= {"objective": SHARED, "metric": SHARED}
    if spec.monotone:
        signs = {"increasing": 1, "decreasing": -1}
        found["monotone_constraints"] = [
            signs[spec.monotone[feature.name]] if feature.name in spec.monotone else 0
            for feature in features
        ]
    return found


def categorical_columns(features: Sequence[Feature]) -> list[int]:
    """The columns of the categorical features."""
    return [place for place, feature in enumerate(features) if feature.kind == "categorical"]


def dataset_of(
    spec: Spec,
    examples: Examples,
    rows: slice,
    start: LinearScorer | None = None,
    reference: Any = None,
) -> Any:
    """LightGBM's own form of some rows; trees add to what `start` says of them.

    It is made while the log is still being counted, and given when that has come to its end: the
    threads that boost wait for each other so often that nothing should run beside them.
    """
    import lightgbm

    data = lightgbm.Dataset(
        _as_columns(examples.matrix[rows]),
        examples.label[rows],
        weight=examples.weights(rows),
        init_score=None if start is None else start.log_odds(examples.matrix[rows]),
        reference=reference,
        feature_name=column_names(len(examples.features)),
        categorical_feature=categorical_columns(examples.features),
        params=parameters(spec, examples.features),
    ).construct()
    examples.counted()
    return data


def _as_columns(matrix: NDArray[np.float64]) -> Any:
    """A matrix in the form that LightGBM reads in the least time, without a copy: where columns lie
    each in one piece these are Arrow's, of which it makes the same bins."""
    if matrix.flags.c_contiguous:
        return matrix
    import pyarrow as pa

    return pa.table([pa.array(column) for column in matrix.T], column_names(matrix.shape[1]))


def boost(
    spec: Spec,
    examples: Examples,
    move: Move = lambda share: None,
    start: LinearScorer | None = None,
) -> FittedModel:
    """Fits on this machine, in memory; the held-out rows say when to stop."""
    import lightgbm

    chosen = parameters(spec, examples.features)

    def tell(environment: Any) -> None:
        move((environment.iteration + 1) / spec.rounds)

    fitted = dataset_of(spec, examples, slice(0, examples.fit), start)
    callbacks: list[Callable[..., Any]] = [tell]
    held_out = []
    if examples.judge > examples.fit:
        rows = slice(examples.fit, examples.judge)
        held_out = [dataset_of(spec, examples, rows, start, fitted)]
        callbacks.append(lightgbm.early_stopping(spec.early_stopping, verbose=False))
    booster = lightgbm.train(chosen, fitted, spec.rounds, valid_sets=held_out, callbacks=callbacks)
    best = booster.best_iteration or -1
    trees = int(booster.best_iteration or booster.num_trees())
    return FittedModel(booster, text_of(booster, best), trees, start)


def text_of(booster: Any, rounds: int) -> str:
    """The text model of so many rounds (−1: all).

    Serving knows one objective and reads the sums of the trees alone: log-odds, or an uplift.
    """
    text: str = booster.model_to_string(num_iteration=rounds)
    return re.sub(r"\nobjective=.*\n", "\nobjective=binary sigmoid:1\n", text, count=1)


def log_odds(boosted: FittedModel, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The log-odds of each row; of rows by columns, LightGBM would copy all that it is given."""
    odds = np.empty(len(matrix))
    for start in range(0, len(matrix), _BLOCK):
        part = slice(start, start + _BLOCK)
        odds[part] = boosted.booster.predict(
            matrix[part], raw_score=True, num_iteration=boosted.trees
        )
    return odds if boosted.start is None else boosted.start.log_odds(matrix) + odds


def in_blocks(
    score: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    matrix: NDArray[np.float64],
    rows: NDArray[np.intp],
) -> NDArray[np.float64]:
    """The scores of some rows of a matrix, of which only a part is copied at a time."""
    found = np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        found[part] = score(matrix[rows[part]])
    return found
