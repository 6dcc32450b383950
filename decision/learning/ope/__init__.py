"""Off-policy estimators: what a policy would have earned on decisions that another policy logged.

Dudík et al. 2011 (https://arxiv.org/abs/1103.4601) for IPS, DM and DR; Swaminathan & Joachims
2015 for the self-normalised ones; Wang et al. 2017 (https://arxiv.org/abs/1612.01205) for SWITCH.
Definitions agree with the Open Bandit Pipeline. Everything is per decision, in the unit of the
reward.

Every estimator also takes `confidence` (default 0.95), `cluster` (one whole number per decision:
decisions of one customer may depend on each other; by default all are independent), `bootstrap`
(the number of resamples, default 0: none) and `seed` (of the resamples).

Four decisions were logged, each chosen with probability 0.5. The target policy would always repeat
the first and the third, and never the others:

>>> reward, logged, target = [1, 0, 1, 1], [0.5, 0.5, 0.5, 0.5], [1.0, 0.0, 1.0, 0.0]
>>> ips(reward, logged, target).value
1.0
>>> found = snips(reward, logged, target)
>>> found.value, found.effective_sample_size
(1.0, 2.0)

With a model of the rewards of two actions; the target policy always takes the first:

>>> model = {"expected_reward": [[0.9, 0.4]] * 4, "target_distribution": [[1, 0]] * 4}
>>> round(dm(reward, logged, target, **model).value, 3)
0.9
>>> model["action"] = [0, 1, 0, 1]
>>> [round(each(reward, logged, target, **model).value, 3) for each in (dr, sndr)]
[1.0, 1.0]
>>> round(switch_dr(reward, logged, target, **model, tau=1.5).value, 3)
0.9
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypedDict, Unpack

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.learning.ope import terms as t
from decision.learning.ope.terms import Array, Terms, Weights, Whole

Numbers = Sequence[float] | NDArray[np.floating] | NDArray[np.integer]
Matrix = Sequence[Sequence[float]] | NDArray[np.floating]
Labels = Sequence[int] | NDArray[np.integer]


class EstimatorOptions(TypedDict, total=False):
    """Options of every estimator; see the module."""

    confidence: float
    cluster: Labels | None
    bootstrap: int
    seed: int


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """An estimated mean reward per decision.

    `confidence_interval` is normal (value ± z · standard error); `bootstrap_interval` has the
    percentiles of resamples, if there are any. `effective_sample_size` is (Σw)² / Σw² over the
    importance weights in use: how many on-policy decisions the log is worth.
    """

    value: float
    standard_error: float
    confidence_interval: tuple[float, float]
    effective_sample_size: float
    bootstrap_interval: tuple[float, float] | None = None


def ips(
    reward: Numbers,
    logged_probability: Numbers,
    target_probability: Numbers,
    **options: Unpack[EstimatorOptions],
) -> Estimate:
    """Inverse propensity scoring: mean(w · r) with w = target / logged probability. Unbiased.

    Raises:
        ValueError: the arrays differ in length, or have values that are not finite or possible.
    """
    rewards, weights = _weigh(reward, logged_probability, target_probability)
    return estimate(t.ips(rewards, weights), weights, **options)


def snips(
    reward: Numbers,
    logged_probability: Numbers,
    target_probability: Numbers,
    **options: Unpack[EstimatorOptions],
) -> Estimate:
    """Self-normalised IPS: Σ(w · r) / Σw; the standard error is that of a ratio (delta method).

    Raises:
        ValueError: as for `ips`; or the target would repeat none of the logged decisions.
    """
    rewards, weights = _weigh(reward, logged_probability, target_probability)
    return estimate(t.snips(rewards, weights), weights, **options)


def dm(
    reward: Numbers,
    logged_probability: Numbers,
    target_probability: Numbers,
    *,
    expected_reward: Matrix,
    target_distribution: Matrix,
    **options: Unpack[EstimatorOptions],
) -> Estimate:
    """The direct method: mean over decisions of Σₐ target(a) · expected_reward(a).

    Both matrices have a row per decision and a column per action. It is as biased as the model, and
    its standard error does not include that bias. `reward` is not used, only checked.

    Raises:
        ValueError: as for `ips`; or a matrix has the wrong shape or rows that do not sum to 1.
    """
    rewards, _ = _weigh(reward, logged_probability, target_probability)
    expected, target = _matrices(expected_reward, target_distribution, len(rewards))
    base = np.sum(expected * target, axis=1)
    return estimate(t.dm(base), np.ones(len(rewards)), **options)


def dr(
    reward: Numbers,
    logged_probability: Numbers,
    target_probability: Numbers,
    *,
    expected_reward: Matrix,
    target_distribution: Matrix,
    action: Labels,
    **options: Unpack[EstimatorOptions],
) -> Estimate:
    """Doubly robust: the direct method plus mean(w · (r − expected reward of what was logged)).

    `action` is the column of the logged action. Unbiased like IPS; the better the expected rewards,
    the lower its variance.

    Raises:
        ValueError: as for `dm`; or an action is not a column of the matrices.
    """
    rewards, weights = _weigh(reward, logged_probability, target_probability)
    base, logged = _model(expected_reward, target_distribution, action, len(rewards))
    return estimate(t.dr(rewards, weights, base, logged), weights, **options)


def sndr(
    reward: Numbers,
    logged_probability: Numbers,
    target_probability: Numbers,
    *,
    expected_reward: Matrix,
    target_distribution: Matrix,
    action: Labels,
    **options: Unpack[EstimatorOptions],
) -> Estimate:
    """Self-normalised doubly robust: the direct method plus Σ(w · (r − expected)) / Σw.

    Raises:
        ValueError: as for `dr` and `snips`.
    """
    rewards, weights = _weigh(reward, logged_probability, target_probability)
    base, logged = _model(expected_reward, target_distribution, action, len(rewards))
    return estimate(t.sndr(rewards, weights, base, logged), weights, **options)


def switch_dr(
    reward: Numbers,
    logged_probability: Numbers,
    target_probability: Numbers,
    *,
    expected_reward: Matrix,
    target_distribution: Matrix,
    action: Labels,
    tau: float | None = None,
    **options: Unpack[EstimatorOptions],
) -> Estimate:
    """SWITCH-DR: doubly robust for decisions with w ≤ τ, the direct method for the others.

    Without `tau`, the data say: the one with the least estimated error (`terms.switch_threshold`).

    Raises:
        ValueError: as for `dr`; or τ is not a positive number.
    """
    if tau is not None and not tau > 0:
        raise ValueError(f"tau is {tau}; must be more than 0")
    rewards, weights = _weigh(reward, logged_probability, target_probability)
    base, logged = _model(expected_reward, target_distribution, action, len(rewards))
    if tau is None:
        groups = clusters(options.get("cluster"), len(rewards))
        tau = t.switch_threshold(rewards, weights, base, logged, groups)
    used = np.where(weights <= tau, weights, 0.0)
    return estimate(t.dr(rewards, used, base, logged), used, **options)


def weights(
    logged_probability: Numbers, target_probability: Numbers, *, cluster: Labels | None = None
) -> Weights:
    """Diagnostics of the importance weights: look here before you trust an estimate.

    >>> found = weights([0.5, 0.5, 0.25], [0.5, 0.5, 0.5])
    >>> found.max, round(found.effective_sample_size, 2)
    (2.0, 2.67)

    Raises:
        ValueError: as for `ips`.
    """
    zeros = np.zeros(len(logged_probability))
    _, found = _weigh(zeros, logged_probability, target_probability)
    return t.diagnose(found, clusters(cluster, len(found)))


def cross_fit(fold: Labels, fit: Callable[[Whole, Whole], NDArray[np.floating]]) -> Array:
    """Predictions for each row by a model that has not seen its fold.

    `fit(train, held)` gets the rows to learn from and those to predict, and returns a row of
    predictions (one number or several) for each of `held`. A model that has seen the rewards that
    it corrects makes DR biased (Chernozhukov et al. 2018, https://arxiv.org/abs/1608.00060). Give
    all decisions of a customer the same fold.

    >>> reward = np.array([1.0, 0.0, 0.0, 0.0])
    >>> cross_fit([0, 0, 1, 1], lambda train, held: [reward[train].mean()] * len(held)).tolist()
    [0.0, 0.0, 0.5, 0.5]

    Raises:
        ValueError: there is only one fold, or `fit` returns another number of rows.
    """
    folds = np.asarray(fold)
    names = np.unique(folds)
    if len(names) < 2:
        raise ValueError(f"fold names {len(names)} fold; cross-fitting needs at least 2")
    found: Array | None = None
    for name in names:
        held = np.flatnonzero(folds == name)
        part = np.asarray(fit(np.flatnonzero(folds != name), held), dtype=np.float64)
        if len(part) != len(held):
            raise ValueError(f"fit gave {len(part)} rows for the {len(held)} of fold {name}")
        if found is None:
            found = np.empty((len(folds), *part.shape[1:]))
        found[held] = part
    assert found is not None
    return found


def estimate(
    terms: Terms,
    weight: Array,
    *,
    confidence: float = 0.95,
    cluster: Labels | None = None,
    bootstrap: int = 0,
    seed: int = 0,
) -> Estimate:
    """The estimate for terms, with its error and intervals.

    Raises:
        ValueError: an option is impossible.
    """
    groups = clusters(cluster, len(terms.base))
    if bootstrap < 0:
        raise ValueError(f"bootstrap is {bootstrap}; must be a number of resamples, or 0")
    drawn = None
    if bootstrap:
        drawn = t.Resampler(len(terms.base), bootstrap, seed, groups).draw(terms)
    return estimate_of(terms, weight, confidence, groups, drawn)


def estimate_of(
    terms: Terms,
    weight: Array,
    confidence: float,
    groups: Whole | None,
    drawn: Array | None = None,
) -> Estimate:
    """The estimate for terms; `groups` are cluster numbers from 0, `drawn` are resamples.

    Raises:
        ValueError: the confidence is impossible.
    """
    value = terms.value()
    error = t.standard_error(terms.influence(), groups)
    return Estimate(
        value=value,
        standard_error=error,
        confidence_interval=t.normal_interval(value, error, confidence),
        effective_sample_size=t.effective_sample_size(weight),
        bootstrap_interval=None if drawn is None else t.percentiles(drawn, confidence),
    )


def clusters(cluster: Labels | None, rows: int) -> Whole | None:
    """Clusters numbered from 0, or None.

    Raises:
        ValueError: it does not have one whole number per row.
    """
    if cluster is None:
        return None
    found = np.asarray(cluster)
    if found.shape != (rows,) or not np.issubdtype(found.dtype, np.integer):
        raise ValueError(f"cluster has shape {found.shape}; give {rows} whole numbers")
    numbers: Whole = np.unique(found, return_inverse=True)[1].astype(np.int64)
    return numbers


def _weigh(reward: Numbers, logged: Numbers, target: Numbers) -> tuple[Array, Array]:
    """The rewards and importance weights, checked."""
    rewards = _vector("reward", reward)
    propensities = _vector("logged_probability", logged)
    targets = _vector("target_probability", target)
    for name, array in (("logged_probability", propensities), ("target_probability", targets)):
        if len(array) != len(rewards):
            raise ValueError(f"{name} has {len(array)} entries; reward has {len(rewards)}")
    _refuse(
        "logged_probability", propensities, (propensities <= 0) | (propensities > 1), "in (0, 1]"
    )
    _refuse("target_probability", targets, (targets < 0) | (targets > 1), "in [0, 1]")
    return rewards, targets / propensities


def _vector(name: str, values: Numbers) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name} has {array.ndim} dimensions; give a 1-D array")
    if not len(array):
        raise ValueError(f"{name} is empty; give at least one logged decision")
    _refuse(name, array, ~np.isfinite(array), "finite")
    return array


def _refuse(name: str, values: Array, wrong: NDArray[np.bool_], must_be: str) -> None:
    if wrong.any():
        index = int(np.argmax(wrong))
        raise ValueError(f"{name}[{index}] is {values[index]}; must be {must_be}")


def _model(expected: Matrix, target: Matrix, action: Labels, rows: int) -> tuple[Array, Array]:
    """The expected rewards of the target, and of the logged actions."""
    rewards, shares = _matrices(expected, target, rows)
    return np.sum(rewards * shares, axis=1), _logged(rewards, action)


def _matrices(expected: Matrix, target: Matrix, rows: int) -> tuple[Array, Array]:
    rewards = np.asarray(expected, dtype=np.float64)
    shares = np.asarray(target, dtype=np.float64)
    for name, matrix in (("expected_reward", rewards), ("target_distribution", shares)):
        if matrix.ndim != 2 or len(matrix) != rows:
            raise ValueError(f"{name} has shape {matrix.shape}; give {rows} rows, one per decision")
        wrong = ~np.isfinite(matrix)
        if wrong.any():
            row, column = (int(place) for place in np.argwhere(wrong)[0])
            raise ValueError(f"{name}[{row}, {column}] is {matrix[row, column]}; must be finite")
    if rewards.shape != shares.shape:
        raise ValueError(
            f"expected_reward has shape {rewards.shape}, target_distribution {shares.shape}; "
            "give both one column per action"
        )
    sums = shares.sum(axis=1)
    wrong = (shares < 0).any(axis=1) | (np.abs(sums - 1) > 1e-6)
    if wrong.any():
        index = int(np.argmax(wrong))
        raise ValueError(
            f"target_distribution[{index}] sums to {sums[index]}; "
            "each row must have probabilities that sum to 1"
        )
    return rewards, shares


def _logged(expected: Array, action: Labels) -> Array:
    """The expected rewards of the logged actions."""
    actions = np.asarray(action)
    rows, columns = expected.shape
    if actions.shape != (rows,) or not np.issubdtype(actions.dtype, np.integer):
        raise ValueError(f"action has shape {actions.shape}; give {rows} whole numbers")
    wrong = (actions < 0) | (actions >= columns)
    if wrong.any():
        index = int(np.argmax(wrong))
        raise ValueError(
            f"action[{index}] is {actions[index]}; must name a column, 0 to {columns - 1}"
        )
    chosen: Array = expected[np.arange(rows), actions]
    return chosen
