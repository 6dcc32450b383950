"""Cross-fitting over customers: a model of all rows, and its witnesses, each without one fold.

Folds are by a hash of the customer id, which is the same for every version. The witnesses say when
to stop, calibrate, and judge: what they predict for the fold that they lack, nobody has learned
from (Chernozhukov et al. 2018, https://arxiv.org/abs/1608.00060). Then the model is fitted once
more, on all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np

from decision.learning.boosting import (
    FittedModel,
    Move,
    boost,
    dataset_of,
    in_blocks,
    log_odds,
    parameters,
    text_of,
)
from decision.learning.calibration import Array, calibrate
from decision.learning.examples import Examples, check_split
from decision.learning.fitting import Fitted, manifest_of
from decision.learning.folds import Folds
from decision.learning.linear_start import fit_starts
from decision.learning.missing import know_missing, some_missing
from decision.learning.spec import Spec
from decision.learning.table import TrainingError
from decision.scoring.linear import LinearScorer


class CrossFitted(NamedTuple):
    """The model of all rows, and a witness for each fold, which has not seen it."""

    whole: Fitted
    witnesses: list[Fitted]


def cross_fit(
    spec: Spec,
    given: Examples,
    *,
    created_at: datetime | None = None,
    move: Move = lambda share: None,
) -> CrossFitted:
    """Fits all rows, with the rounds that are best for customers who were not seen.

    The figures of the manifest are those of the witnesses, over all rows.

    Raises:
        TrainingError: nothing can be learned, or the rows do not say whose they are.
    """
    if given.fold is None:
        raise TrainingError(
            "cross_fit needs the customer of each row: give table_of_columns(customer=…), or "
            "leave cross_fit out"
        )
    check_split(given)
    for fold in range(spec.cross_fit):
        some = given.label[given.fold != fold]
        if len(some) in (0, len(given)) or some.sum() in (0, len(some)):
            raise TrainingError(
                f"the {len(some):,} rows of customers outside fold {fold + 1} of {spec.cross_fit} "
                "are not enough: rows with and without a response are needed, of several customers"
            )
    examples, lacked = know_missing(spec, given)
    assert examples.fold is not None
    with some_missing(spec, examples, lacked):
        start, starts = fit_starts(spec, examples, spec.cross_fit)
        rounds, boosters = _rounds(spec, examples, examples.fold, starts, move)
        whole = boost(msgspec.structs.replace(spec, rounds=rounds), examples, move, start)
    without = [
        FittedModel(booster, text_of(booster, rounds), rounds, own)
        for booster, own in zip(boosters, starts, strict=True)
    ]
    odds = np.empty(len(examples))
    for fold, one in enumerate(without):
        rows = np.flatnonzero(examples.fold == fold)
        odds[rows] = in_blocks(partial(log_odds, one), examples.matrix, rows)
    when = (created_at or datetime.now(UTC)).astimezone(UTC).isoformat()
    everything = np.arange(len(examples))
    witnesses = [
        _fitted(spec, examples, one, odds, everything[examples.fold != fold], when)
        for fold, one in enumerate(without)
    ]
    found = _fitted(spec, examples, whole, odds, everything, when)
    judged = msgspec.structs.replace(examples, fit=0, judge=0)
    return CrossFitted(found._replace(examples=judged), witnesses)


def _rounds(
    spec: Spec,
    examples: Examples,
    fold: Folds,
    starts: Sequence[LinearScorer | None],
    move: Move,
) -> tuple[int, list[Any]]:
    """The number of rounds, and a booster without each fold, by LightGBM's own cross-validation.

    What is without a fold adds to a start that is without it, too.
    """
    import lightgbm

    def tell(environment: Any) -> None:
        move((environment.iteration + 1) / spec.rounds)

    rows = np.arange(len(examples))
    folds = [(rows[fold != one], rows[fold == one]) for one in range(spec.cross_fit)]
    coming = iter(zip(folds, starts, strict=True))

    def begin(fitted: Any, held_out: Any, chosen: dict[str, Any]) -> tuple[Any, Any, Any]:
        parts, start = next(coming)
        if start is not None:
            for data, part in zip((fitted, held_out), parts, strict=True):
                first = in_blocks(start.log_odds, examples.matrix, part)
                data.construct().set_init_score(first)
        return fitted, held_out, chosen

    found = lightgbm.cv(
        {**parameters(spec, examples.features)},
        dataset_of(spec, examples, slice(0, len(examples))),
        spec.rounds,
        folds=folds,
        fpreproc=begin,
        callbacks=[tell, lightgbm.early_stopping(spec.early_stopping, verbose=False)],
        return_cvbooster=True,
    )
    every: Any = found["cvbooster"]
    return max(1, every.best_iteration), list(every.boosters)


def _fitted(
    spec: Spec, examples: Examples, boosted: FittedModel, odds: Array, rows: Any, when: str
) -> Fitted:
    """A model of these rows, calibrated by what nobody had seen; all its rows judge it."""
    weights = None if examples.weight is None else examples.weight[rows]
    chosen = calibrate(spec.calibration, odds[rows], examples.label[rows], weights)
    judged = examples.facts(rows)
    manifest = manifest_of(spec, judged, boosted, odds[rows], chosen, when)
    return Fitted(manifest, boosted, judged, odds[rows])
