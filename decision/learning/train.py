"""Training: a table of contacts and responses → a published version folder.

The same spec and table give the same bytes: LightGBM runs in its deterministic mode, and rows are
split by time. Early stopping, calibration and metrics use the latest rows, which are not fitted.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from decision.learning.metrics import fit_platt, measure
from decision.learning.spec import Spec
from decision.learning.table import TrainingError, TrainingTable, fit_to
from decision.scoring.features import Feature, encode_columns, learn_categories, varies
from decision.scoring.loading import load_model
from decision.scoring.manifest import Evidence, Manifest, ModelError, Training, write_version
from decision.scoring.model import to_probability
from decision.scoring.structure import column_names

THREADS: Final = 2
TRIAL_LIMIT: Final = 900.0
"""Seconds in which a new version must be scored and compiled."""
_FIXED: Final[dict[str, Any]] = {
    "objective": "binary",
    "metric": "binary_logloss",
    "deterministic": True,
    "force_row_wise": True,
    "feature_pre_filter": False,
    "verbosity": -1,
}


def train(
    spec: Spec, table: TrainingTable, out_dir: Path | str, *, created_at: datetime | None = None
) -> Path:
    """Trains, tries and writes a version; returns its folder `out_dir/<name>/<version>`.

    The version is named by its content: training the same again finds the folder there.
    `created_at` is only noted down, and is now where it is left out.

    Raises:
        TrainingError: the table holds nothing that could be learned.
        ModelError: the version did not pass its trial.
    """
    features = sorted(spec.features, key=varies)
    fitted, notes = fit_to(table, features)
    fit, held = _split(fitted, spec.validation)
    categories = learn_categories(features, fit.columns)
    booster = _boost(spec, features, categories, fit, held)
    text: str = booster.model_to_string(num_iteration=booster.best_iteration or -1)
    calibration = None
    metrics: dict[str, float | None] = {}
    if len(held):
        matrix = encode_columns(features, categories, held.columns)
        log_odds = np.asarray(booster.predict(matrix, raw_score=True, num_threads=1))
        if spec.calibration == "platt":
            calibration = fit_platt(log_odds, held.label)
            log_odds = calibration.slope * log_odds + calibration.intercept
        metrics = measure(held.label, to_probability(log_odds))
    manifest = Manifest(
        name=spec.name,
        created_at=(created_at or datetime.now(UTC)).astimezone(UTC).isoformat(),
        target=spec.target_in_words(),
        features=tuple(features),
        categories=categories,
        calibration=calibration,
        smoothing=spec.smoothing,
        exploration=spec.exploration,
        evidence=_evidence(fit),
        training=Training(
            rows=len(fit),
            positives=int(fit.label.sum()),
            validation_rows=len(held),
            validation_positives=int(held.label.sum()),
            seed=spec.seed,
            trees=int(booster.best_iteration or booster.num_trees()),
            from_time=None if table.time is None else int(table.time.min()),
            to_time=None if table.time is None else int(table.time.max()),
            parameters=_parameters(spec),
            metrics=metrics,
            notes=tuple(notes),
            libraries={name: version(name) for name in ("lightgbm", "numpy")},
        ),
    )
    return _publish(manifest, text.encode(), Path(out_dir) / spec.name)


def _parameters(spec: Spec) -> dict[str, Any]:
    return {"num_threads": THREADS, **_FIXED, "seed": spec.seed, **spec.lightgbm}


def _split(table: TrainingTable, share: float) -> tuple[TrainingTable, TrainingTable]:
    """The earlier rows to fit, the latest share of them to validate; both in order of time."""
    order = np.arange(len(table))
    if table.time is not None:
        order = np.argsort(table.time, kind="stable")
    cut = len(table) - round(len(table) * share)
    fit, held = table.take(order[:cut]), table.take(order[cut:])
    for name, part in (("to fit", fit), ("held out", held)):
        positives = int(part.label.sum())
        if part is held and not len(held):
            continue
        if positives in (0, len(part)):
            raise TrainingError(
                f"{positives} of the {len(part)} rows {name} are responses; "
                "both responses and none are needed: give more rows or a wider goal"
            )
    return fit, held


def _boost(
    spec: Spec,
    features: Sequence[Feature],
    categories: dict[str, Any],
    fit: TrainingTable,
    held: TrainingTable,
) -> Any:
    """A fitted LightGBM booster."""
    import lightgbm

    parameters = _parameters(spec)

    def dataset(part: TrainingTable, reference: Any = None) -> Any:
        return lightgbm.Dataset(
            encode_columns(features, categories, part.columns),
            part.label,
            weight=part.weight,
            reference=reference,
            feature_name=column_names(len(features)),
            categorical_feature=[
                index for index, feature in enumerate(features) if feature.kind == "categorical"
            ],
            params=parameters,
        )

    fitted = dataset(fit)
    callbacks: list[Callable[..., Any]] = []
    held_out = []
    if len(held):
        held_out = [dataset(held, fitted)]
        callbacks = [lightgbm.early_stopping(spec.early_stopping, verbose=False)]
    return lightgbm.train(parameters, fitted, spec.rounds, valid_sets=held_out, callbacks=callbacks)


def _evidence(table: TrainingTable) -> tuple[Evidence, ...]:
    counts: dict[tuple[str, str], list[int]] = {}
    labels: NDArray[np.float64] = table.label
    for message, channel, label in zip(table.message, table.channel, labels.tolist(), strict=True):
        row = counts.setdefault((message, channel), [0, 0])
        row[0] += 1
        row[1] += label == 1
    return tuple(
        Evidence(message=message, channel=channel, shows=shows, responses=responses)
        for (message, channel), (shows, responses) in sorted(counts.items())
    )


def _publish(manifest: Manifest, trees: bytes, home: Path) -> Path:
    """Writes the folder aside, tries it there, and moves it to its place."""
    home.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=home, prefix=".making-") as scratch:
        made = Path(scratch) / "version"
        made.mkdir()
        sealed = write_version(made, manifest, trees)
        load_model(made, time_limit=TRIAL_LIMIT)
        folder = home / sealed.version
        try:
            load_model(folder, time_limit=TRIAL_LIMIT)
        except ModelError:
            shutil.rmtree(folder, ignore_errors=True)
            made.rename(folder)
    return folder
