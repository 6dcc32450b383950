"""A version as a run in MLflow: parameters, figures, files, and the model by `mlflow.lightgbm`.

MLflow is no part of any extra: `nextbest train --mlflow` uses the one that is installed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from decision.learning.table import TrainingError
from decision.scoring.manifest import Manifest, read_version
from decision.scoring.notes import text_of

URI: Final = "MLFLOW_TRACKING_URI"
_MOST_TEXT: Final = 500
"""MLflow refuses longer parameters and tags."""


def wanted(asked: bool | None) -> bool:
    """Whether versions are to be logged: as asked for, else if MLflow's own variable says where."""
    return bool(os.environ.get(URI)) if asked is None else asked


def log_version(version: Path) -> str:
    """Logs a version as a run of the experiment named after its model; returns the run's id.

    Where to is MLflow's: the variable MLFLOW_TRACKING_URI, else its default. The model is logged
    by `mlflow.lightgbm`: the trees alone, before a linear start and calibration. What serves
    is among the artifacts, in `version/`, and is promoted from the models folder.

    Raises:
        TrainingError: MLflow is not installed, or could not log it.
    """
    try:
        import mlflow
        import mlflow.lightgbm
    except ImportError as error:
        raise TrainingError(
            f"MLflow cannot be used: {error}; pip install mlflow, or train without --mlflow"
        ) from None
    manifest, text = read_version(version)
    try:
        mlflow.set_experiment(manifest.name)
        with mlflow.start_run(run_name=f"{manifest.name}/{manifest.version}") as run:
            _log(mlflow, manifest, text, version)
        return str(run.info.run_id)
    except (mlflow.exceptions.MlflowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise TrainingError(
            f"{version} is published, but MLflow did not log it: {reason}"
        ) from None


def _log(mlflow: Any, manifest: Manifest, text: str, version: Path) -> None:
    import lightgbm

    training = manifest.training
    facts: dict[str, object] = {
        **training.parameters,
        "features": len(manifest.features),
        "trees": training.trees,
        "seed": training.seed,
        "response": manifest.target,
    }
    mlflow.log_params({name: str(value)[:_MOST_TEXT] for name, value in facts.items()})
    figures = {name: value for name, value in training.metrics.items() if value is not None}
    counts = {"rows": training.rows, "responses": training.positives}
    counts |= {"rows_judged": training.test_rows, "responses_judged": training.test_positives}
    mlflow.log_metrics({**figures, **counts})
    notes = [text_of(one) for one in training.notes]
    mlflow.set_tags({"nextbest.version": manifest.version, "nextbest.notes": str(len(notes))})
    mlflow.log_text("".join(f"{one}\n" for one in notes), "notes.txt")
    mlflow.log_artifacts(str(version), "version")
    mlflow.lightgbm.log_model(lightgbm.Booster(model_str=text), name="model")
