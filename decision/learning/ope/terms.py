"""The arithmetic that all estimators share: their terms, errors, intervals and resamples.

Each estimator is mean(base) + Σ numerator / Σ denominator over decisions. This one form gives its
value, its influence function (how much each decision moves it), the standard error, the interval
of a difference or a ratio of two estimates on the same decisions, and the bootstrap.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Whole = NDArray[np.int64]
Interval = tuple[float, float]

BLOCKS: Final = 4096
"""More clusters than this are resampled in this many random blocks: the spread is the same."""
_CHUNK: Final = 1 << 22
_THRESHOLDS: Final = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 1.0)


class Terms(msgspec.Struct, frozen=True):
    """An estimator's terms, per decision; a denominator of None is 1 for each."""

    base: Array
    numerator: Array
    denominator: Array | None = None

    def value(self) -> float:
        """The estimate: a mean reward per decision."""
        return float(np.mean(self.base)) + self._shift()

    def influence(self) -> Array:
        """How much each decision moves the estimate, times the number of decisions; mean 0."""
        shift, count = self._shift(), len(self.base)
        centred = self.base - np.mean(self.base)
        if self.denominator is None:
            return centred + self.numerator - shift
        scale = count / float(np.sum(self.denominator))
        return centred + scale * (self.numerator - shift * self.denominator)

    def columns(self) -> list[Array]:
        """Base, numerator and denominator."""
        ones = np.ones_like(self.base)
        return [self.base, self.numerator, ones if self.denominator is None else self.denominator]

    def _shift(self) -> float:
        total = float(np.sum(self.numerator))
        if self.denominator is None:
            return total / len(self.base)
        return total / float(np.sum(self.denominator))


def of_rewards(reward: Array) -> Terms:
    """The mean reward, as an estimator."""
    return Terms(reward, np.zeros_like(reward))


def ips(reward: Array, weight: Array) -> Terms:
    """mean(w · r)."""
    return Terms(np.zeros_like(reward), weight * reward)


def snips(reward: Array, weight: Array) -> Terms:
    """Σ(w · r) / Σw."""
    return Terms(np.zeros_like(reward), weight * reward, _some(weight))


def dm(base: Array) -> Terms:
    """mean(base), the rewards that a model expects of the target."""
    return Terms(base, np.zeros_like(base))


def dr(reward: Array, weight: Array, base: Array, expected: Array) -> Terms:
    """mean(base) + mean(w · (r − expected))."""
    return Terms(base, weight * (reward - expected))


def sndr(reward: Array, weight: Array, base: Array, expected: Array) -> Terms:
    """mean(base) + Σ(w · (r − expected)) / Σw."""
    return Terms(base, weight * (reward - expected), _some(weight))


def switch_threshold(
    reward: Array, weight: Array, base: Array, expected: Array, cluster: Whole | None = None
) -> float:
    """τ of SWITCH-DR by the data: the one with the least estimated mean squared error.

    That is the squared standard error plus the square of the largest possible bias: how much of
    the target's choices is left to the model alone, times the largest reward (Wang et al. 2017,
    section 4). Tried are quantiles of the weights, and the largest one, with which nothing is left.
    """
    used = weight[weight > 0]
    if not len(used):
        return 1.0
    most = float(np.abs(reward).max(initial=0.0))
    grid = np.unique(np.quantile(used, _THRESHOLDS, method="higher"))

    def error(tau: float) -> float:
        below = weight <= tau
        spread = standard_error(dr(reward, weight * below, base, expected).influence(), cluster)
        return spread**2 + (most * float(np.sum(weight[~below])) / len(weight)) ** 2

    return float(min(grid[::-1].tolist(), key=error))


def _some(weight: Array) -> Array:
    if not np.sum(weight) > 0:
        raise ValueError(
            "target_probability is 0 for every logged decision; "
            "the log says nothing about this policy"
        )
    return weight


def standard_error(influence: Array, cluster: Whole | None = None) -> float:
    """The standard error for an influence function; infinite for a single cluster.

    Decisions of one cluster (a customer) may depend on each other in any way (Liang & Zeger
    1986); without clusters all are independent.
    """
    sums = influence if cluster is None else np.bincount(cluster, influence)
    groups = len(sums)
    if groups < 2:
        return float("inf")
    spread = float(np.sum(sums**2)) * groups / (groups - 1)
    return float(np.sqrt(spread)) / len(influence)


def normal_interval(value: float, error: float, confidence: float) -> Interval:
    """value ± z · error."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; must be between 0 and 1")
    reach = NormalDist().inv_cdf(0.5 + confidence / 2) * error
    return (value - reach, value + reach)


def percentiles(found: Array, confidence: float) -> Interval | None:
    """The middle share of resampled estimates; None if there are none."""
    usable = found[np.isfinite(found)]
    if not len(usable):
        return None
    low, high = np.quantile(usable, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return (float(low), float(high))


class Resampler:
    """The bootstrap (Efron 1979) over whole clusters, seeded, with multinomial weights.

    All estimates drawn from one resampler use the same resamples, so that their differences are
    paired. Memory is limited to resamples × `BLOCKS`, for any number of rows.
    """

    def __init__(self, rows: int, draws: int, seed: int, cluster: Whole | None = None) -> None:
        generator = np.random.default_rng(seed)
        groups = np.arange(rows) if cluster is None else cluster
        count = int(groups.max()) + 1
        if count > BLOCKS:
            groups = (generator.permutation(count) % BLOCKS)[groups]
            count = BLOCKS
        self._groups, self._count, self._rows = groups, count, rows
        self._weights = np.empty((draws, count))
        at_once = max(1, _CHUNK // count)
        for start in range(0, draws, at_once):
            size = min(at_once, draws - start)
            picked = generator.integers(0, count, (size, count))
            picked += np.arange(size)[:, None] * count
            found = np.bincount(picked.ravel(), minlength=size * count)
            self._weights[start : start + size] = found.reshape(size, count)

    def draw(self, terms: Terms) -> Array:
        """The estimate on each resample; NaN if its denominator is 0."""
        sums = [np.bincount(self._groups, each, self._count) for each in terms.columns()]
        base, above, below = (self._weights @ np.column_stack(sums) / self._rows).T
        with np.errstate(divide="ignore", invalid="ignore"):
            found: Array = base + above / below
        return found


class Lift(msgspec.Struct, frozen=True, kw_only=True):
    """A target compared with a control on the same decisions, paired.

    `difference` is target − control; `relative` is (target − control) / control, None if the
    control earns nothing or less. Intervals are normal (delta method), and by the bootstrap if
    there are resamples.
    """

    difference: float
    difference_interval: Interval
    difference_bootstrap: Interval | None = None
    relative: float | None = None
    relative_interval: Interval | None = None
    relative_bootstrap: Interval | None = None


def lift(
    target: Terms,
    control: Terms,
    *,
    confidence: float = 0.95,
    cluster: Whole | None = None,
    target_draws: Array | None = None,
    control_draws: Array | None = None,
) -> Lift:
    """How much more the target earns than the control; draws are paired resampled estimates."""
    tested, held = target.value(), control.value()
    ahead, behind = target.influence(), control.influence()
    gap = tested - held
    error = standard_error(ahead - behind, cluster)
    gaps = ratios = np.empty(0)
    if target_draws is not None and control_draws is not None:
        gaps = target_draws - control_draws
        usable = control_draws > 0
        ratios = gaps[usable] / control_draws[usable]
    found = Lift(
        difference=gap,
        difference_interval=normal_interval(gap, error, confidence),
        difference_bootstrap=percentiles(gaps, confidence),
    )
    if not held > 0:
        return found
    error = standard_error((ahead - tested / held * behind) / held, cluster)
    return msgspec.structs.replace(
        found,
        relative=gap / held,
        relative_interval=normal_interval(gap / held, error, confidence),
        relative_bootstrap=percentiles(ratios, confidence),
    )


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """Importance weights, and whether they can be trusted.

    `mean` should be 1: `mean_z` is its distance from 1 in standard errors. `quantiles` are the
    median, 90 %, 99 % and 99.9 %; `top_share` is the share of all weight in the heaviest 1 % of
    decisions; `zero_share` is the share of logged choices that the target would never make.
    """

    mean: float
    mean_error: float
    mean_z: float | None
    max: float
    quantiles: tuple[float, float, float, float]
    top_share: float
    zero_share: float
    effective_sample_size: float


def diagnose(weight: Array, cluster: Whole | None = None) -> Weights:
    """Statistics of importance weights."""
    mean = float(np.mean(weight))
    error = standard_error(weight - mean, cluster)
    ordered = np.sort(weight)
    total = float(ordered.sum())
    top = ordered[-max(1, round(len(ordered) * 0.01)) :]
    marks = np.quantile(ordered, [0.5, 0.9, 0.99, 0.999]).tolist()
    z = 0.0 if mean == 1 else (mean - 1) / error if 0 < error < float("inf") else None
    return Weights(
        mean=mean,
        mean_error=error,
        mean_z=z,
        max=float(ordered[-1]),
        quantiles=(marks[0], marks[1], marks[2], marks[3]),
        top_share=float(top.sum()) / total if total > 0 else 0.0,
        zero_share=float(np.mean(weight == 0)),
        effective_sample_size=effective_sample_size(weight),
    )


def effective_sample_size(weight: Array) -> float:
    """(Σw)² / Σw²: how many on-policy decisions the log is worth (Kish 1965)."""
    squares = float(np.sum(weight**2))
    return float(np.sum(weight)) ** 2 / squares if squares else 0.0
