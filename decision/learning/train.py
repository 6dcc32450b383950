"""Training: from examples of contacts and responses to a published version folder.

The same spec and examples give the same bytes: LightGBM runs in its deterministic mode, and rows
are split by time. The latest rows are not fitted: their earlier half stops training and
calibrates, their later half judges.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Final

import msgspec
import numpy as np

from decision.core.definition import Goal
from decision.learning import drift
from decision.learning.boosting import FitModel, boost
from decision.learning.cross_fitting import CrossFitted, cross_fit
from decision.learning.dask_boosting import cluster
from decision.learning.examples import Examples, examples_of
from decision.learning.export import check_export, write_export
from decision.learning.fitting import Fitted, fit_examples
from decision.learning.report.facts import ReportFacts, facts_of
from decision.learning.report.page import write_report
from decision.learning.spec import SPEC, Spec
from decision.learning.table import TrainingError, TrainingTable
from decision.learning.training_table import examples_of_log
from decision.learning.uplift import LearnedUplift, learn_uplift
from decision.progress import SILENT, Progress
from decision.scoring.linear import START
from decision.scoring.loading import check_version, load_model, reference_trees
from decision.scoring.manifest import UPLIFT, Manifest, ModelError, Parity, write_version
from decision.scoring.model import calibrator
from decision.scoring.trial import probe_rows
from decision.scoring.versions import latest_version
from decision.scoring.witness import witness_files

TRIAL_LIMIT: Final = 900.0
"""Seconds within which a new version must be scored and compiled."""
PARITY_ROWS: Final = 20_000
"""Compiled trees are compared with LightGBM on this many of the latest rows, and on probes."""


def train(
    spec: Spec,
    given: Examples | TrainingTable,
    out_dir: Path | str,
    *,
    created_at: datetime | None = None,
    against: Path | None = None,
    report: bool = False,
    values: Mapping[str, float] = MappingProxyType({}),
    export: Path | None = None,
    fit: FitModel = boost,
    progress: Progress = SILENT,
) -> Path:
    """Trains, tries and writes a version; returns its folder `out_dir/<name>/<version>`.

    The version is named by its content: training the same again finds the folder there.
    `created_at` (default: now) is only recorded. `report` also writes a report, with charts if
    matplotlib is installed; `against` is the version folder that its drift is measured against,
    `values` are those of the messages, which the report shows. `export` is an empty folder into
    which the training is written for other tools (see `learning.export`).

    Raises:
        TrainingError: nothing can be learned from the examples.
        ModelError: the version did not pass its trial.
    """
    examples = examples_of(given, spec) if isinstance(given, TrainingTable) else given
    if export is not None:
        check_export(export)
    if spec.cross_fit and fit is not boost:
        raise TrainingError("a cluster cannot cross-fit: train without --dask, or cross_fit")
    if spec.attribution == "discounted" and fit is not boost:
        raise TrainingError("a cluster cannot learn shares of a response: train without --dask")
    others: dict[str, bytes] = {}
    with progress.bar("Training", total=1.0) as move:
        if spec.cross_fit:
            crossed = cross_fit(spec, examples, created_at=created_at, move=move)
            learned = learn_uplift(spec, crossed) if spec.objective == "uplift" else None
            fitted, others = _cross_fitted(spec, crossed, learned)
        else:
            fitted = fit_examples(spec, examples, created_at=created_at, fit=fit, move=move)
    manifest, boosted, examples, odds = fitted
    probability = calibrator(manifest.calibration or manifest.isotonic)(odds)
    profile = drift.profile_of(examples, probability)
    facts = None
    if report:
        with progress.step("Reporting"):
            facts = facts_of(spec, examples, boosted, probability, profile, against, values)
    others[SPEC] = msgspec.json.encode(spec, order="deterministic")
    others[drift.PROFILE] = drift.encode_profile(profile)
    if boosted.start is not None:
        others[START] = boosted.start.encoded()
    with progress.step("Compiling and trying"):
        home = Path(out_dir) / spec.name
        folder = _publish(manifest, boosted.text, others, facts, examples, home)
    if export is not None:
        with progress.step("Exporting"):
            write_export(export, folder, examples)
    return folder


def _cross_fitted(
    spec: Spec, crossed: CrossFitted, learned: LearnedUplift | None
) -> tuple[Fitted, dict[str, bytes]]:
    """The model of all rows, with the files of its witnesses, and of its uplift."""
    texts = [(one.manifest, one.boosted.text, one.boosted.start) for one in crossed.witnesses]
    if learned is None:
        return crossed.whole, witness_files(texts)
    others = witness_files(texts, learned.without or ())
    if learned.trees is not None:
        others[UPLIFT] = learned.trees.encode()
    uplift = msgspec.structs.replace(learned.uplift, starting_uplift=spec.starting_uplift)
    manifest = crossed.whole.manifest
    notes = (*manifest.training.notes, *learned.notes)
    training = msgspec.structs.replace(manifest.training, notes=notes)
    manifest = msgspec.structs.replace(manifest, uplift=uplift, training=training)
    return crossed.whole._replace(manifest=manifest), others


def train_on_log(
    spec: Spec,
    log: Path,
    goals: Mapping[str, Goal],
    models: Path,
    *,
    until: int | None = None,
    dask: str | None = None,
    report: bool = True,
    values: Mapping[str, float] = MappingProxyType({}),
    export: Path | None = None,
    progress: Progress = SILENT,
) -> Path:
    """Trains a version from an archived log, as `train` does; returns its folder.

    `goals` and `values` are those of the messages. `until` (microseconds) is the time up to which
    the log is complete. `dask` is the address of a scheduler, to train on its cluster. Drift is
    measured against the latest version of the same name.

    Raises:
        TrainingError: nothing can be learned from the log, or the cluster does not answer.
        ModelError: the version did not pass its trial.
    """
    with ExitStack() as stack:
        fit = boost if dask is None else stack.enter_context(cluster(dask))
        reading = examples_of_log(log, spec, goals, until=until, progress=progress)
        examples = stack.enter_context(reading)
        progress.say(f"{len(examples):,} rows to learn from")
        return train(
            spec,
            examples,
            models,
            against=latest_version(models, spec.name),
            report=report,
            values=values,
            export=export,
            fit=fit,
            progress=progress,
        )


def _publish(
    manifest: Manifest,
    text: str,
    others: Mapping[str, bytes],
    facts: ReportFacts | None,
    examples: Examples,
    home: Path,
) -> Path:
    """Writes a temporary folder, tries the version there, and moves it to its place."""
    home.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=home, prefix=".making-") as scratch:
        made = Path(scratch) / "version"
        made.mkdir()
        write_version(made, manifest, text.encode(), others)
        manifest = msgspec.structs.replace(manifest, parity=_parity(made, examples))
        sealed = write_version(made, manifest, text.encode(), others)
        if facts is not None:
            write_report(made / "report", sealed, facts)
        folder = home / sealed.version
        try:
            load_model(folder, time_limit=TRIAL_LIMIT)
        except ModelError:
            shutil.rmtree(folder, ignore_errors=True)
            made.rename(folder)
    return folder


def _parity(folder: Path, examples: Examples) -> Parity | None:
    """Compiled trees compared with LightGBM, on the trial's probes and on training rows.

    Raises:
        ModelError: the version did not pass its trial.
    """
    model = load_model(folder, time_limit=TRIAL_LIMIT)
    manifest, text, structure = check_version(folder)
    if model.engine != "compiled":
        return None
    rows = np.vstack([probe_rows(manifest, structure), examples.matrix[-PARITY_ROWS:]])
    furthest = np.abs(model.trees(rows) - reference_trees(text)(rows)).max()
    return Parity(rows=len(rows), difference=float(furthest))
