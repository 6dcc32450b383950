"""Uplift: what a message adds over silence, learned beside a model of responses.

The response model is cross-fitted on all rows, silence among them: there, what a message has is
missing. Two learners give the uplift of a candidate:

- S: the difference of that one model's probabilities, with the message and with silence;
- R: a regression of residual pseudo-outcomes, (y − m(x)) / (t − e), weighted by (t − e)²
  (Nie & Wager 2021, https://arxiv.org/abs/1712.04912). Each message is compared with silence: t is
  whether it was said, e the probability of that among the two, as logged, and m what is expected
  then, by the witness that has not seen the customer.

The one with the lower R-loss on customers that were not seen is served, unless the spec says which.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.learning.balance import Covariates
from decision.learning.boosting import categorical_columns, parameters, text_of
from decision.learning.cross_fitting import CrossFitted
from decision.learning.examples import Examples
from decision.learning.spec import Spec
from decision.learning.table import TrainingError
from decision.scoring.features import Matrix, counts_contacts, varies
from decision.scoring.manifest import Learner, Uplift
from decision.scoring.model import Model
from decision.scoring.notes import Note, note
from decision.scoring.structure import column_names

Array = NDArray[np.float64]

CATEGORY: Final = "message.category"
MOST_PAIRS: Final = 8
"""A decision in which nothing was said is compared with at most so many messages, drawn by seed."""


class LearnedUplift(NamedTuple):
    """The uplift of a version: what its manifest says, and the trees of the R-learner.

    `trees` is the text model of all rows, `without` those without each fold; None of the S-learner.
    """

    uplift: Uplift
    trees: str | None
    without: list[str] | None
    notes: tuple[Note, ...]


class Pairs(NamedTuple):
    """Rows for the R-learner: a candidate's features in a decision, and whether it was said.

    `row` is the decision's row, `share` the probability of the message among it and silence.
    """

    matrix: Matrix
    row: NDArray[np.intp]
    said: Array
    share: Array
    weight: Array


def learn_uplift(spec: Spec, crossed: CrossFitted) -> LearnedUplift:
    """The uplift, from a cross-fitted response model and its witnesses.

    Raises:
        TrainingError: the log has no decision in which nothing was said at random.
    """
    examples = crossed.whole.examples
    check_arms(examples)
    witnesses = [one.model() for one in crossed.witnesses]
    pairs = pairs_of(spec, examples)
    assert examples.fold is not None
    fold = examples.fold[pairs.row]
    with_it = _by_fold(witnesses, pairs.matrix, fold)
    without = _by_fold(witnesses, silent_matrix(examples)[pairs.row], fold)
    expected = pairs.share * with_it + (1 - pairs.share) * without
    gap = pairs.said - pairs.share
    outcome = (examples.label[pairs.row] - expected) / gap
    weight = pairs.weight * gap**2
    booster, boosters, rounds = _fit(spec, examples, pairs, outcome, weight, fold)
    held = np.empty(len(outcome))
    for number, one in enumerate(boosters):
        rows = np.flatnonzero(fold == number)
        if len(rows):
            held[rows] = one.predict(pairs.matrix[rows], num_iteration=rounds, num_threads=1)

    def loss(predicted: Array | float) -> float:
        return float(np.average((outcome - predicted) ** 2, weights=weight))

    losses = {"none": loss(0.0), "s": loss(with_it - without), "r": loss(held)}
    learner: Learner = spec.learner or ("s" if losses["s"] <= losses["r"] else "r")
    learned = Uplift(
        learner=learner,
        losses=losses,
        control=int((examples.message == silence_index(examples)).sum()),
        mean=float(np.average(outcome, weights=weight)),
        kin=by_category(examples, pairs.matrix, outcome, weight),
    )
    notes = unlike(examples)
    if learner == "s":
        return LearnedUplift(learned, None, None, notes)
    texts = [text_of(one, rounds) for one in boosters]
    return LearnedUplift(learned, text_of(booster, rounds), texts, notes)


def by_category(
    examples: Examples, matrix: Matrix, outcome: Array, weight: Array
) -> dict[str, float]:
    """Category → what its messages add, where the spec has that feature; rows are those of `Pairs`.

    Each mean is pulled to that of all, the more the less it is known to differ (James & Stein).
    """
    names = [one.name for one in examples.features]
    if CATEGORY not in names:
        return {}
    codes = matrix[:, names.index(CATEGORY)]
    mean = float(np.average(outcome, weights=weight))
    found: dict[str, float] = {}
    for code, category in enumerate(examples.categories[CATEGORY]):
        here = codes == code
        total = float(weight[here].sum())
        if not total > 0:
            continue
        own = float(np.average(outcome[here], weights=weight[here]))
        error = float((weight[here] ** 2 * (outcome[here] - own) ** 2).sum()) / total**2
        apart = own - mean
        kept = max(0.0, 1.0 - error / apart**2) if apart else 0.0
        found[str(category)] = mean + kept * apart
    return found


def silence_index(examples: Examples) -> int:
    """The index of silence among the messages; −1: there is none."""
    return examples.messages.index("") if "" in examples.messages else -1


def check_arms(examples: Examples) -> None:
    """Raises TrainingError if one of the two arms is missing, or nothing was left to chance."""
    silent = examples.message == silence_index(examples)
    if silent.all():
        raise TrainingError("nothing was said in any row: there is no message to learn of")
    chance = examples.silence
    if chance is None or not (silent & (chance < 1)).any():
        raise TrainingError(
            "objective: uplift compares messages with silence, and the log has no decision in "
            "which nothing was said by chance; give the rules a control group (experiments: "
            "{holdout: {share: 5%, seed: h-1}}), or import a log in which silence was drawn, and "
            "train again"
        )


def silent_matrix(examples: Examples) -> Matrix:
    """The rows as if nothing had been said: what a message has is missing."""
    matrix: Matrix = np.array(examples.matrix)
    matrix[:, own_columns(examples)] = np.nan
    return matrix


def own_columns(examples: Examples) -> list[int]:
    """The columns that differ between the candidates of a decision."""
    return [place for place, one in enumerate(examples.features) if varies(one)]


def pairs_of(spec: Spec, examples: Examples) -> Pairs:
    """Every message that was said, and each silence with the messages it could have been.

    What was not left to chance says nothing about uplift, and is no pair.
    """
    assert examples.silence is not None and examples.given is not None
    silent = examples.message == silence_index(examples)
    said = np.flatnonzero(~silent & (examples.silence > 0) & (examples.given > 0))
    kinds = examples.message.astype(np.int64) * len(examples.channels) + examples.channel
    known, first, counts = np.unique(kinds[~silent], return_index=True, return_counts=True)
    templates = examples.matrix[np.flatnonzero(~silent)[first]]
    own = own_columns(examples)
    for column in own:
        if counted := counts_contacts(examples.features[column]):
            templates[:, column] = 0.0 if counted == "count" else np.nan
    names = {_name(examples, int(kind)): place for place, kind in enumerate(known.tolist())}
    shares = counts / counts.sum()
    rows, kind_of, chance, weight = _silences(spec, examples, silent, names, shares)
    matrix = examples.matrix[rows]
    matrix[:, own] = templates[kind_of][:, own]
    share = examples.given[said] / (examples.given[said] + examples.silence[said])
    other = chance / (chance + examples.silence[rows])
    return Pairs(
        np.vstack([examples.matrix[said], matrix]),
        np.concatenate([said, rows]),
        np.concatenate([np.ones(len(said)), np.zeros(len(rows))]),
        np.concatenate([share, other]),
        np.concatenate([np.ones(len(said)), weight]),
    )


def _name(examples: Examples, kind: int) -> str:
    message, channel = divmod(kind, len(examples.channels))
    return f"{examples.messages[message]}/{examples.channels[channel]}"


def _silences(
    spec: Spec,
    examples: Examples,
    silent: NDArray[np.bool_],
    names: dict[str, int],
    shares: Array,
) -> tuple[NDArray[np.intp], NDArray[np.intp], Array, Array]:
    """(row, message, probability, weight) of each silence with a message that it could have been.

    Of a control group nothing was drawn: its messages have the shares that they have elsewhere.
    """
    assert examples.silence is not None
    draw = np.random.default_rng(spec.seed)
    rows: list[int] = []
    found: list[int] = []
    chances: list[float] = []
    weights: list[float] = []
    for row in np.flatnonzero(silent & (examples.silence < 1)).tolist():
        offered = examples.offered.get(row) or dict.fromkeys(names, 0.0)
        own = {names[name]: chance for name, chance in offered.items() if name in names}
        left = 1 - float(examples.silence[row])
        if own and not any(own.values()):
            total = float(sum(shares[place] for place in own))
            own = {place: left * float(shares[place]) / total for place in own}
        own = {place: chance for place, chance in own.items() if chance > 0}
        places = list(own)
        if len(places) > MOST_PAIRS:
            places = draw.choice(places, MOST_PAIRS, replace=False).tolist()
        rows += [row] * len(places)
        found += places
        chances += [own[place] for place in places]
        weights += [len(own) / len(places)] * len(places)
    return (
        np.array(rows, dtype=np.intp),
        np.array(found, dtype=np.intp),
        np.array(chances),
        np.array(weights),
    )


def _by_fold(witnesses: list[Model], matrix: Matrix, fold: NDArray[np.int8]) -> Array:
    """The probability of each row, by the witness that has not seen its fold."""
    found = np.empty(len(matrix))
    for number, model in enumerate(witnesses):
        rows = np.flatnonzero(fold == number)
        if len(rows):
            found[rows] = model.probabilities(matrix[rows])
    return found


def _fit(
    spec: Spec,
    examples: Examples,
    pairs: Pairs,
    outcome: Array,
    weight: Array,
    fold: NDArray[np.int8],
) -> tuple[Any, list[Any], int]:
    """The regression of all pairs, those without each fold, and the rounds that were best."""
    import lightgbm

    chosen = {**parameters(msgspec.structs.replace(spec, monotone={}), examples.features)}
    chosen |= {"objective": "regression", "metric": "l2"}
    rows = np.arange(len(outcome))

    def data() -> Any:
        return lightgbm.Dataset(
            pairs.matrix,
            outcome,
            weight=weight,
            feature_name=column_names(len(examples.features)),
            categorical_feature=categorical_columns(examples.features),
            params=chosen,
        )

    stop = lightgbm.early_stopping(spec.early_stopping, verbose=False)
    every: Any = lightgbm.cv(
        chosen,
        data(),
        spec.rounds,
        folds=[(rows[fold != one], rows[fold == one]) for one in range(spec.cross_fit)],
        callbacks=[stop],
        return_cvbooster=True,
    )["cvbooster"]
    rounds = max(1, every.best_iteration)
    return lightgbm.train(chosen, data(), rounds), list(every.boosters), rounds


def unlike(examples: Examples) -> tuple[Note, ...]:
    """Notes on what customers who were told nothing have other than those told something.

    Where silence fell as probably as is logged, nothing differs by more than chance.
    """
    assert examples.silence is not None
    gathered = Covariates()
    silent = examples.message == silence_index(examples)
    known = [place for place, one in enumerate(examples.features) if not varies(one)]
    names = [examples.features[place].name for place in known]
    rows = np.flatnonzero((examples.silence > 0) & (examples.silence < 1))
    for row in rows.tolist():
        chance = float(examples.silence[row])
        numbers = examples.matrix[row, known].tolist()
        values = {name: one for name, one in zip(names, numbers, strict=True) if one == one}
        arm, probability = ("silence", chance) if silent[row] else ("a message", 1 - chance)
        gathered.add(arm, probability, ("silence", "a message"), values)
    if not len(rows):
        return ()
    return tuple(
        note("silence_not_random", feature=one.covariate, error=f"{one.z:+.1f}")
        for one in gathered.check().differing
    )
