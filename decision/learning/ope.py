"""Off-policy estimators: what a policy would have earned on decisions that another one logged.

Dudík et al. 2011 (https://arxiv.org/abs/1103.4601) for IPS, DM and DR; Swaminathan & Joachims
2015 for the self-normalised ones; Wang et al. 2017 (https://arxiv.org/abs/1612.01205) for SWITCH.
Definitions agree with those of the Open Bandit Pipeline. Everything is per decision, in the unit
of the reward.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Numbers = Sequence[float] | NDArray[np.floating] | NDArray[np.integer]
Matrix = Sequence[Sequence[float]] | NDArray[np.floating]


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """An estimated mean reward a decision.

    The interval is normal (value ± z · standard error). `effective_sample_size` is (Σw)² / Σw²
    over the importance weights in use: how many on-policy decisions the log is worth.
    """

    value: float
    standard_error: float
    confidence_interval: tuple[float, float]
    effective_sample_size: float


def ips(
    reward: Numbers,
    logged_probability: Numbers,
    target_probability: Numbers,
    *,
    confidence: float = 0.95,
) -> Estimate:
    """Inverse propensity scoring: mean(w · r) with w = target / logged probability. Unbiased.

    Raises:
        ValueError: the arrays differ in length, or hold what is no probability or not finite.
    """
    rewards, weights = _weigh(reward, logged_probability, target_probability)
    return _of_terms(weights * rewards, weights, confidence)


def snips(
    reward: Numbers,
    logged_probability: Numbers,
    target_probability: Numbers,
    *,
    confidence: float = 0.95,
) -> Estimate:
    """Self-normalised IPS: Σ(w · r) / Σw; the standard error is that of a ratio (delta method).

    Raises:
        ValueError: as for `ips`; or no logged decision has any probability under the target.
    """
    rewards, weights = _weigh(reward, logged_probability, target_probability)
    total = _total(weights)
    value = float(np.sum(weights * rewards)) / total
    residuals = weights * (rewards - value)
    error = float(np.sqrt(np.sum(residuals**2))) / total
    return _estimate(value, error, weights, confidence)


def dm(
    reward: Numbers,
    logged_probability: Numbers,
    target_probability: Numbers,
    *,
    expected_reward: Matrix,
    target_distribution: Matrix,
    confidence: float = 0.95,
) -> Estimate:
    """The direct method: mean over decisions of Σₐ target(a) · expected_reward(a).

    Both matrices have a row a decision and a column an action. As biased as the model is; its
    standard error says nothing of that bias. The reward is not used: it stands for symmetry.

    Raises:
        ValueError: as for `ips`; or a matrix has the wrong shape or rows that do not sum to 1.
    """
    rewards, weights = _weigh(reward, logged_probability, target_probability)
    expected, target = _matrices(expected_reward, target_distribution, len(rewards))
    return _of_terms(np.sum(expected * target, axis=1), np.ones(len(weights)), confidence)


def dr(
    reward: Numbers,
    logged_probability: Numbers,
    target_probability: Numbers,
    *,
    expected_reward: Matrix,
    target_distribution: Matrix,
    action: Sequence[int] | NDArray[np.integer],
    confidence: float = 0.95,
) -> Estimate:
    """Doubly robust: the direct method plus mean(w · (r − expected reward of what was logged)).

    `action` is the column of the logged action. Unbiased as IPS, of less variance the better the
    expected rewards are.

    Raises:
        ValueError: as for `dm`; or an action is no column of the matrices.
    """
    rewards, weights = _weigh(reward, logged_probability, target_probability)
    expected, target = _matrices(expected_reward, target_distribution, len(rewards))
    base = np.sum(expected * target, axis=1)
    terms = base + weights * (rewards - _logged(expected, action))
    return _of_terms(terms, weights, confidence)


def sndr(
    reward: Numbers,
    logged_probability: Numbers,
    target_probability: Numbers,
    *,
    expected_reward: Matrix,
    target_distribution: Matrix,
    action: Sequence[int] | NDArray[np.integer],
    confidence: float = 0.95,
) -> Estimate:
    """Self-normalised doubly robust: the direct method plus Σ(w · (r − expected)) / Σw.

    Raises:
        ValueError: as for `dr` and `snips`.
    """
    rewards, weights = _weigh(reward, logged_probability, target_probability)
    expected, target = _matrices(expected_reward, target_distribution, len(rewards))
    base = np.sum(expected * target, axis=1)
    residuals = weights * (rewards - _logged(expected, action))
    total = _total(weights)
    shift = float(np.sum(residuals)) / total
    value = float(np.mean(base)) + shift
    influence = base - np.mean(base) + len(rewards) / total * (residuals - weights * shift)
    error = float(np.sqrt(np.sum(influence**2))) / len(rewards)
    return _estimate(value, error, weights, confidence)


def switch_dr(
    reward: Numbers,
    logged_probability: Numbers,
    target_probability: Numbers,
    *,
    expected_reward: Matrix,
    target_distribution: Matrix,
    action: Sequence[int] | NDArray[np.integer],
    tau: float,
    confidence: float = 0.95,
) -> Estimate:
    """SWITCH-DR: doubly robust where w ≤ τ, the direct method alone beyond.

    Raises:
        ValueError: as for `dr`; or τ is not a positive number.
    """
    if not tau > 0:
        raise ValueError(f"tau is {tau}; must be more than 0")
    rewards, weights = _weigh(reward, logged_probability, target_probability)
    expected, target = _matrices(expected_reward, target_distribution, len(rewards))
    used = np.where(weights <= tau, weights, 0.0)
    base = np.sum(expected * target, axis=1)
    terms = base + used * (rewards - _logged(expected, action))
    return _of_terms(terms, used, confidence)


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


def _matrices(expected: Matrix, target: Matrix, rows: int) -> tuple[Array, Array]:
    rewards = np.asarray(expected, dtype=np.float64)
    shares = np.asarray(target, dtype=np.float64)
    for name, matrix in (("expected_reward", rewards), ("target_distribution", shares)):
        if matrix.ndim != 2 or len(matrix) != rows:
            raise ValueError(f"{name} has shape {matrix.shape}; give a row for each of {rows}")
        if not np.isfinite(matrix).all():
            raise ValueError(f"{name} holds a value that is not finite")
    if rewards.shape != shares.shape:
        raise ValueError(
            f"expected_reward has shape {rewards.shape}, target_distribution {shares.shape}; "
            "give both a column for each action"
        )
    sums = shares.sum(axis=1)
    if (shares < 0).any() or (np.abs(sums - 1) > 1e-6).any():
        index = int(np.argmax(np.abs(sums - 1)))
        raise ValueError(
            f"target_distribution[{index}] sums to {sums[index]}; "
            "each row must hold probabilities that sum to 1"
        )
    return rewards, shares


def _logged(expected: Array, action: Sequence[int] | NDArray[np.integer]) -> Array:
    """The expected reward of what was logged."""
    actions = np.asarray(action)
    rows, columns = expected.shape
    if actions.shape != (rows,) or not np.issubdtype(actions.dtype, np.integer):
        raise ValueError(f"action has shape {actions.shape}; give {rows} whole numbers")
    if ((actions < 0) | (actions >= columns)).any():
        raise ValueError(f"action must name a column, 0 to {columns - 1}")
    chosen: Array = expected[np.arange(rows), actions]
    return chosen


def _total(weights: Array) -> float:
    total = float(np.sum(weights))
    if total <= 0:
        raise ValueError(
            "target_probability is 0 for every logged decision; the log says nothing of this policy"
        )
    return total


def _of_terms(terms: Array, weights: Array, confidence: float) -> Estimate:
    """The mean of independent terms with the standard error of a mean."""
    count = len(terms)
    error = float(np.std(terms, ddof=1)) / count**0.5 if count > 1 else float("inf")
    return _estimate(float(np.mean(terms)), error, weights, confidence)


def _estimate(value: float, error: float, weights: Array, confidence: float) -> Estimate:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; must be between 0 and 1")
    reach = NormalDist().inv_cdf(0.5 + confidence / 2) * error
    squares = float(np.sum(weights**2))
    return Estimate(
        value=value,
        standard_error=error,
        confidence_interval=(value - reach, value + reach),
        effective_sample_size=float(np.sum(weights)) ** 2 / squares if squares else 0.0,
    )
