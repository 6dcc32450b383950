"""A version is a run in MLflow, by MLflow itself; without it, training says how to get it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decision.learning import tracking
from decision.learning.spec import parse_spec
from decision.learning.table import TrainingError
from decision.learning.train import train
from decision.scoring.loading import load_model
from tests.scoring.build import MADE, SPEC, table


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    return train(parse_spec("small", SPEC), table(600), folder, created_at=MADE)


def test_mlflow_is_used_when_asked_for_or_where_its_own_variable_says_where(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(tracking.URI, raising=False)
    assert [tracking.wanted(asked) for asked in (None, True, False)] == [False, True, False]
    monkeypatch.setenv(tracking.URI, "http://127.0.0.1:5000")
    assert [tracking.wanted(asked) for asked in (None, True, False)] == [True, True, False]


@pytest.mark.filterwarnings("ignore")  # of MLflow about its own
def test_a_run_has_the_parameters_figures_files_and_trees_of_its_version(
    version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow: Any = pytest.importorskip("mlflow", reason="mlflow is not installed: make mlflow")
    monkeypatch.setenv(tracking.URI, f"sqlite:///{tmp_path / 'runs.db'}")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'runs.db'}")
    run = mlflow.get_run(tracking.log_version(version))
    model = load_model(version)
    training = model.manifest.training
    assert mlflow.get_experiment(run.info.experiment_id).name == "small"
    assert run.info.run_name == f"small/{model.version}"
    assert run.data.metrics["auc"] == training.metrics["auc"]
    assert run.data.metrics["rows"] == training.rows
    assert run.data.params["num_leaves"] == "6" and run.data.params["seed"] == "7"
    assert run.data.tags["nextbest.version"] == model.version
    kept = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id))
    assert (kept / "version" / "manifest.json").read_bytes() == (
        version / "manifest.json"
    ).read_bytes()
    assert "few" in (kept / "notes.txt").read_text("utf-8")
    trees = mlflow.lightgbm.load_model(f"runs:/{run.info.run_id}/model")
    matrix = np.random.default_rng(1).normal(size=(20, len(model.manifest.features)))
    raw = trees.predict(matrix, raw_score=True)
    assert raw == pytest.approx(model.log_odds(matrix), abs=1e-9)


@pytest.mark.filterwarnings("ignore")
def test_a_place_that_cannot_be_written_is_said_and_the_version_stays(
    version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow: Any = pytest.importorskip("mlflow", reason="mlflow is not installed: make mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    with pytest.raises(TrainingError, match="is published, but MLflow did not log it"):
        tracking.log_version(version)
    assert load_model(version).version == version.name


def test_without_mlflow_the_error_says_how_to_get_it(
    version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    with pytest.raises(TrainingError, match="pip install mlflow"):
        tracking.log_version(version)
