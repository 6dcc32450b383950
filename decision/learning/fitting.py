"""Fitting: from examples to a model that scores, before anything is written.

`train` publishes what this gives; the gate and benchmarks fit with it and publish nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version
from typing import NamedTuple

from decision.learning.boosting import FitModel, FittedModel, Move, boost, log_odds, parameters
from decision.learning.calibration import Array, ChosenCalibration, calibrate
from decision.learning.examples import Examples, check_split, evidence_of
from decision.learning.linear_start import fit_starts
from decision.learning.metrics import measure
from decision.learning.missing import know_missing, some_missing
from decision.learning.notices import notices_on_figures
from decision.learning.spec import Spec
from decision.scoring.linear import START
from decision.scoring.loading import reference_trees
from decision.scoring.manifest import Isotonic, Manifest, Platt, Training
from decision.scoring.model import Model, calibrator


class Fitted(NamedTuple):
    """A fitted model: its manifest (without digests), and what it was made of.

    `examples` are those it was fitted on, with its notes; `odds` are the trees' log-odds of the
    rows held out.
    """

    manifest: Manifest
    boosted: FittedModel
    examples: Examples
    odds: Array

    def model(self) -> Model:
        """The model, scored by LightGBM itself."""
        trees, start = reference_trees(self.boosted.text), self.boosted.start
        return Model(self.manifest, trees, "lightgbm", start=start)


def fit_examples(
    spec: Spec,
    given: Examples,
    *,
    created_at: datetime | None = None,
    fit: FitModel = boost,
    move: Move = lambda share: None,
) -> Fitted:
    """Fits the trees, calibrates and measures them; nothing is written.

    Raises:
        TrainingError: nothing can be learned from the examples.
    """
    check_split(given)
    examples, lacked = know_missing(spec, given)
    with some_missing(spec, examples, lacked):
        start, _ = fit_starts(spec, examples)
        boosted = fit(spec, examples, move, start)
    odds = log_odds(boosted, examples.matrix[examples.fit :])
    chosen = _calibrate(spec, examples, odds)
    when = (created_at or datetime.now(UTC)).astimezone(UTC).isoformat()
    return Fitted(manifest_of(spec, examples, boosted, odds, chosen, when), boosted, examples, odds)


def _calibrate(spec: Spec, examples: Examples, odds: Array) -> ChosenCalibration:
    """The calibration, fitted on the earlier half of the held-out rows."""
    rows = slice(examples.fit, examples.judge)
    count = examples.judge - examples.fit
    if not count:
        return ChosenCalibration(None, "none", {})
    return calibrate(spec.calibration, odds[:count], examples.label[rows], examples.weights(rows))


def manifest_of(
    spec: Spec,
    examples: Examples,
    boosted: FittedModel,
    odds: Array,
    chosen: ChosenCalibration,
    when: str,
) -> Manifest:
    """The manifest; `odds` are of the rows held out. With `cross_fit` these are all rows."""
    fit, held = slice(0, examples.fit), slice(examples.fit, len(examples))
    judging = slice(examples.judge, len(examples))
    metrics: dict[str, float | None] = {}
    notes = examples.notes
    if judging.start < judging.stop:
        probability = calibrator(chosen.fitted)(odds[examples.judge - examples.fit :])
        metrics = measure(examples.label[judging], probability, examples.weights(judging))
        notes += notices_on_figures(metrics, examples.label[judging])
    time = examples.time
    return Manifest(
        name=spec.name,
        created_at=when,
        target=str(spec.responses.in_words()),
        responses=spec.responses,
        scope=spec.scope,
        features=examples.features,
        categories=examples.categories,
        start=None if boosted.start is None else START,
        calibration=chosen.fitted if isinstance(chosen.fitted, Platt) else None,
        isotonic=chosen.fitted if isinstance(chosen.fitted, Isotonic) else None,
        smoothing=spec.smoothing,
        exploration=spec.exploration_at(len(examples)),
        evidence=evidence_of(examples, fit if examples.fit else held),
        training=Training(
            rows=examples.fit or len(examples),
            positives=examples.positives(fit if examples.fit else held),
            validation_rows=held.stop - held.start,
            validation_positives=examples.positives(held),
            test_rows=judging.stop - judging.start,
            test_positives=examples.positives(judging),
            left_out=examples.left_out,
            seed=spec.seed,
            trees=boosted.trees,
            from_time=None if time is None else int(time.min()),
            to_time=None if time is None else int(time.max()),
            learned_until=None if time is None else int(time[: examples.judge or None].max()),
            parameters=parameters(spec, examples.features),
            metrics=metrics,
            calibrations=chosen.tried,
            notes=notes,
            libraries={name: version(name) for name in ("lightgbm", "numpy")},
        ),
    )
