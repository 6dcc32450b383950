"""Fits LightGBM on a Dask cluster, by LightGBM's own integration.

Rows are sent to the workers in parts; each worker builds its own histograms, and they are added up.
The integration cannot stop early, so all rounds are fitted, and then the trees after the best round
are removed, by the held-out rows. The order of sums depends on where rows are: the model may differ
from one made here in the last digits, and with the number of workers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final

import numpy as np

from decision.installation import install_hint
from decision.learning.boosting import FitModel, FittedModel, Move, categorical_columns, parameters
from decision.learning.examples import Examples
from decision.learning.metrics import log_losses
from decision.learning.spec import Spec
from decision.learning.table import TrainingError
from decision.scoring.linear import LinearScorer
from decision.scoring.model import to_probability
from decision.scoring.structure import column_names

PARTS_A_WORKER: Final = 2
_NEEDED: Final = ("dask.array", "dask.dataframe", "distributed", "pandas", "sklearn")
CONNECT_WITHIN: Final = 10
"""Seconds."""
_NETWORK: Final = re.compile(
    r"^\[(machines|num_machines|local_listen_port|time_out|machine_list_filename|tree_learner"
    r"|pre_partition): .*\]\n",
    re.MULTILINE,
)


@contextmanager
def cluster(address: str) -> Iterator[FitModel]:
    """A function that fits on the cluster of the scheduler at an address, as `tcp://host:8786`.

    Raises:
        TrainingError: Dask is not installed, or no scheduler answers.
    """
    try:
        for name in _NEEDED:
            import_module(name)
    except ImportError as error:
        raise TrainingError(install_hint(f"--dask needs {error.name}", "dask")) from None
    try:
        client = import_module("distributed").Client(address, timeout=CONNECT_WITHIN)
    except (OSError, ValueError) as error:
        raise TrainingError(f"no Dask scheduler answers at {address}: {error}") from None
    with client:

        def fit(
            spec: Spec, examples: Examples, move: Move, start: LinearScorer | None
        ) -> FittedModel:
            return boost_on(client, spec, examples, move, start)

        yield fit


def boost_on(
    client: Any, spec: Spec, examples: Examples, move: Move, start: LinearScorer | None = None
) -> FittedModel:
    """Fits on a cluster; the linear start was fitted here.

    Raises:
        TrainingError: it has no workers, or lacks what LightGBM needs.
    """
    import lightgbm
    from lightgbm.dask import DaskLGBMClassifier

    da = import_module("dask.array")
    workers = len(client.scheduler_info()["workers"])
    if not workers:
        raise TrainingError("the Dask cluster has no workers; start some with: dask worker")
    rows = -(-examples.fit // (PARTS_A_WORKER * workers))
    chosen = parameters(spec, examples.features)
    del chosen["metric"]
    try:
        model = DaskLGBMClassifier(
            client=client, n_estimators=spec.rounds, tree_learner="data", **chosen
        )
        count = examples.matrix.shape[1]
        weight = examples.weights(slice(0, examples.fit))
        odds = None if start is None else start.log_odds(examples.matrix[: examples.fit])
        model.fit(
            da.from_array(np.asarray(examples.matrix[: examples.fit]), (rows, count)),
            da.from_array(examples.label[: examples.fit].astype(np.int64), rows),
            sample_weight=None if weight is None else da.from_array(weight, rows),
            init_score=None if odds is None else da.from_array(odds, rows),
            feature_name=column_names(count),
            categorical_feature=categorical_columns(examples.features),
        )
    except lightgbm.basic.LightGBMError as error:
        raise TrainingError(f"the cluster could not train: {error}") from None
    move(1.0)
    booster = model.booster_
    trees = _best(booster, spec, examples, start)
    text = _NETWORK.sub("", booster.model_to_string(num_iteration=trees))
    return FittedModel(booster, text, trees, start)


def _best(booster: Any, spec: Spec, examples: Examples, start: LinearScorer | None) -> int:
    """The number of trees with the lowest loss on the held-out rows, as by early stopping."""
    rows = slice(examples.fit, examples.judge)
    total = int(booster.num_trees())
    if examples.judge == examples.fit:
        return total
    matrix, label = examples.matrix[rows], examples.label[rows]
    weights = examples.weights(rows)
    odds = np.zeros(len(label)) if start is None else start.log_odds(matrix)
    best, least = total, np.inf
    for tree in range(total):
        odds += booster.predict(matrix, raw_score=True, start_iteration=tree, num_iteration=1)
        loss = np.average(log_losses(label, to_probability(odds)), weights=weights)
        if loss < least:
            best, least = tree + 1, loss
        elif tree + 1 - best >= spec.early_stopping:
            break
    return best
