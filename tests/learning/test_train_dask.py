"""Training on a Dask cluster gives a version like any other, near the one trained here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decision.learning.examples import examples_of
from decision.learning.spec import parse_spec
from decision.learning.table import TrainingError
from decision.learning.train import train
from decision.scoring.loading import load_model
from tests.scoring.build import MADE, SPEC, table

distributed: Any = pytest.importorskip("distributed", reason="nextbest[dask] is not installed")
for needed in ("dask.array", "dask.dataframe", "pandas", "sklearn"):
    pytest.importorskip(needed, reason="nextbest[dask] is not installed")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, processes=True
    ) as two:
        yield two.scheduler_address


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Dask and LightGBM about each other
def test_two_workers_train_a_model_that_is_served_and_says_nearly_the_same(
    address: str, tmp_path: Path
) -> None:
    from decision.learning.dask_boosting import cluster

    spec = parse_spec("small", SPEC)
    examples = examples_of(table(4_000), spec)
    with cluster(address) as fit:
        there = load_model(train(spec, examples, tmp_path / "a", created_at=MADE, fit=fit))
    here = load_model(train(spec, examples, tmp_path / "b", created_at=MADE))
    assert there.engine == "compiled"
    assert "127.0.0.1" not in (tmp_path / "a/small" / there.version / "model.txt").read_text(
        "utf-8"
    )
    rows = examples.matrix[examples.judge :]
    one, other = there.probabilities(rows), here.probabilities(rows)
    assert np.corrcoef(one, other)[0, 1] > 0.9
    assert one.mean() == pytest.approx(other.mean(), rel=0.1)
    auc = there.manifest.training.metrics["auc"]
    assert auc is not None and auc > 0.6


def test_a_scheduler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from decision.learning import dask_boosting

    monkeypatch.setattr(dask_boosting, "CONNECT_WITHIN", 0.2)
    with (
        pytest.raises(TrainingError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"),
        dask_boosting.cluster("tcp://127.0.0.1:9"),
    ):
        pass
