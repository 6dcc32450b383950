"""Loads a model version, or refuses it with a message; a bad version never crashes this process.

First its digests are checked. Then a child process with a time limit checks the structure of the
text model and tries it, unless one has on this kind of machine. Only a version that passes is
loaded here. The folder must be trusted like code: a person who can write it can make this process
run machine code.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import numpy as np

from decision.children import Child
from decision.files import read_regular
from decision.scoring import compiled
from decision.scoring.features import Matrix
from decision.scoring.linear import read_start
from decision.scoring.manifest import TREES, UPLIFT, Manifest, ModelError, read_version
from decision.scoring.model import Model, Scores, Trees
from decision.scoring.scope import Scope
from decision.scoring.structure import DamagedModel, Structure, check_structure
from decision.scoring.versions import current_version, own_scopes

REFUSED: Final = 3
"""The exit code of a trial whose last line says why the version must not serve."""

TIME_LIMIT: Final = 300.0
"""Seconds for a trial, which may compile a large model with low priority on a busy machine."""


def load_model(folder: Path | str, *, time_limit: float = TIME_LIMIT) -> Model:
    """The model of a version folder, compiled if possible.

    Blocks while the version is tried: some milliseconds if this machine has tried it before, else
    seconds, at most `time_limit`. Without lleaves, or if it fails, LightGBM runs the trees, and
    `Model.note` says why.

    Raises:
        ModelError: the version must not serve.
    """
    folder = Path(folder)
    manifest, text = read_version(folder)
    start = read_start(folder, manifest.start, manifest.features)
    path = compiled.find_object(folder, manifest)
    note = None
    if path is None:
        note = _try(folder, time_limit)
        path = compiled.find_object(folder, manifest)
    uplift = _uplift_trees(folder, manifest)
    if path is not None:
        try:
            trees = compiled.compile_trees(folder, manifest, path)
            return Model(manifest, trees, "compiled", start=start, uplift_trees=uplift)
        except (OSError, RuntimeError, ValueError) as error:
            note = f"{path}: {error}"
    return Model(manifest, reference_trees(text), "lightgbm", note, start, uplift)


def reference_model(folder: Path) -> Model:
    """The model of a version folder, scored by LightGBM, without a trial.

    Raises:
        ModelError: the version must not serve.
    """
    manifest, text, _ = check_version(folder)
    start = read_start(folder, manifest.start, manifest.features)
    uplift = _uplift_trees(folder, manifest)
    trees = reference_trees(text)
    return Model(manifest, trees, "lightgbm", start=start, uplift_trees=uplift)


def _uplift_trees(folder: Path, manifest: Manifest) -> Trees | None:
    """The trees of an R-learner, which LightGBM runs; they have been checked like the others."""
    if not _learned_apart(manifest):
        return None
    path = folder / UPLIFT
    try:
        return reference_trees(read_regular(path).decode())
    except OSError as error:
        raise ModelError(f"{path}: {error}; train the model again") from None


def _check_uplift(folder: Path, manifest: Manifest) -> None:
    path = folder / UPLIFT
    if UPLIFT not in manifest.files:
        raise ModelError(f"{path}: the manifest has no digest of it; train the model again")
    try:
        check_structure(read_regular(path).decode(), manifest.features)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: {error}; train the model again") from None


def _learned_apart(manifest: Manifest) -> bool:
    """Whether the uplift has trees of its own."""
    return manifest.uplift is not None and manifest.uplift.learner == "r"


def load_scoped_models(folder: str | None) -> dict[Scope, Model]:
    """The models that decide in one scope alone, by scope. Blocks while they are tried.

    Raises:
        ModelError: one must not serve.
    """
    if folder is None:
        return {}
    models = Path(folder)
    found = {scope: current_version(models, scope) for scope in own_scopes(models)}
    return {scope: load_model(place) for scope, place in found.items() if place is not None}


def check_version(folder: Path) -> tuple[Manifest, str, Structure]:
    """The manifest, the text model and its structure, checked without running any of it.

    The trees of an R-learner are checked as well.

    Raises:
        ModelError: the version must not serve.
    """
    manifest, text = read_version(folder)
    read_start(folder, manifest.start, manifest.features)
    if _learned_apart(manifest):
        _check_uplift(folder, manifest)
    try:
        return manifest, text, check_structure(text, manifest.features)
    except DamagedModel as error:
        raise ModelError(f"{folder / TREES}: {error}; train the model again") from None


def reference_trees(text: str) -> Trees:
    """LightGBM itself, on one thread: compiled trees are compared with it, or replaced by it."""
    from lightgbm import Booster

    booster = Booster(model_str=text)

    def predict(matrix: Matrix) -> Scores:
        return np.asarray(booster.predict(matrix, raw_score=True, num_threads=1))

    return predict


def _try(folder: Path, time_limit: float) -> str | None:
    """Tries the version in a child process; returns why it could not be compiled, if so."""
    try:
        command = (sys.executable, "-P", "-m", "decision.scoring.trial", str(folder.absolute()))
        output, errors, code = Child(command).run(b"", time_limit)
        problem = _last_line(errors) or f"the trial ended with {code}"
        if code < 0:
            problem = f"the trial was ended by signal {-code} ({signal.strsignal(-code)})"
    except subprocess.TimeoutExpired as error:
        output, code = error.stdout or b"", 1
        problem = f"the trial took longer than {time_limit:g} s"
    if code == REFUSED:
        raise ModelError(problem)
    steps = output.decode(errors="replace").splitlines()
    if "trial: scored" not in steps:
        raise ModelError(f"{folder}: it cannot be scored safely: {problem}; train the model again")
    return None if code == 0 else f"the trees are not compiled: {problem}"


def _last_line(data: bytes) -> str:
    lines = data.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
