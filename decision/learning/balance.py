"""Whether the logged probabilities are those of the assignment: a check by what is known of rows.

If each row's arm was drawn with the probability that is logged, then of any covariate x the mean of
(x − x̄)·(1[arm]/probability − 1) over the rows that could get the arm is 0, whatever x and the
probabilities are. Where it is not, by more than chance, the arm went to other customers, or at
other times, than the probabilities say, and estimates by them are wrong.

Every covariate and arm is one test, as is each common value of a text, and each arm's share; the
bound on all of them together is Bonferroni's.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.core.values import Value

MOST_ROWS: Final = 500_000
"""Of a larger file, a sample of about so many rows is looked at."""

ALPHA: Final = 0.01
"""The chance that any covariate is named although the assignment was as the probabilities say."""

SHARE: Final = "share of the arm"
"""The name under which it is told that an arm came more or less often than it should have."""

_COMMON: Final = 20
"""Values of a text that are looked at one by one: the most frequent."""
_FEWEST: Final = 20
"""Rows that an arm and a value must have: the normal approximation needs some."""

Array = NDArray[np.float64]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A covariate that differs between an arm and all rows, by more than chance.

    `value` is that of a text (`mean_in_arm` and `mean` are then shares), None for a number.
    `difference` is in standard deviations of the covariate, `z` in standard errors.
    """

    covariate: str
    value: str | None
    arm: str
    mean_in_arm: float
    mean: float
    difference: float
    z: float


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """What came of the check: the tests made on so many rows, and what differs, the worst first.

    Of each covariate the arm and value that are furthest are named.
    """

    rows: int
    covariates: int
    tests: int
    differing: list[Difference]


class Covariates:
    """Gathers rows: the arm of each, its probability, which arms it could get, and what is known.

    >>> from random import Random
    >>> gathered, random = Covariates(), Random(7)
    >>> for number in range(2_000):
    ...     age = random.randrange(18, 80)
    ...     arm = "a" if random.random() < age / 100 else "b"  # but 0.5 is logged
    ...     gathered.add(arm, 0.5, ("a", "b"), {"age": age})
    >>> [(one.covariate, one.arm, round(one.difference, 2)) for one in gathered.check().differing]
    [('age', 'b', -0.35)]
    """

    def __init__(self) -> None:
        self._arms: list[str] = []
        self._probability: list[float] = []
        self._offered: dict[tuple[str, ...], int] = {}
        self._offer: list[int] = []
        self._columns: dict[str, list[Value]] = {}

    def add(
        self,
        arm: str,
        probability: float,
        offered: tuple[str, ...],
        known: Mapping[str, Value],
    ) -> None:
        """Adds a row; texts, numbers and truth values of `known` are looked at."""
        number = len(self._arms)
        self._arms.append(arm)
        self._probability.append(probability)
        self._offer.append(self._offered.setdefault(offered, len(self._offered)))
        for name, value in known.items():
            column = self._columns.setdefault(name, [])
            column.extend([None] * (number - len(column)))
            column.append(value)

    def check(self) -> Balance:
        """The tests of all covariates."""
        rows = len(self._arms)
        arms = list(dict.fromkeys(self._arms))
        if len(arms) < 2:
            return Balance(rows=rows, covariates=0, tests=0, differing=[])
        place = {arm: code for code, arm in enumerate(arms)}
        own = np.array([place[arm] for arm in self._arms])
        weights = 1 / np.array(self._probability)
        offers = np.array([[arm in offered for arm in arms] for offered in self._offered])
        could = offers[np.array(self._offer)]
        found: list[Difference] = []
        tests = 0
        columns: dict[str, Any] = {SHARE: None, **self._columns}
        for name, column in columns.items():
            for value, x in _numbers(column, rows):
                for code, arm in enumerate(arms):
                    one = _test(x, could[:, code], own == code, weights, share=column is None)
                    if one is None:
                        continue
                    tests += 1
                    found.append(
                        Difference(
                            covariate=name,
                            value=value,
                            arm=arm,
                            mean_in_arm=one[0],
                            mean=one[1],
                            difference=one[2],
                            z=one[3],
                        )
                    )
        return Balance(
            rows=rows, covariates=len(self._columns), tests=tests, differing=_worst(found, tests)
        )


def _numbers(column: Sequence[Value] | None, rows: int) -> list[tuple[str | None, Array]]:
    """(value, numbers) of a column: itself, or an indicator of each common value; NaN is missing.

    None is the constant: what is tested is then the share of each arm.
    """
    if column is None:
        return [(None, np.ones(rows))]
    padded = [*column, *[None] * (rows - len(column))]
    found: list[tuple[str | None, Array]] = []
    numbers = [_number(value) for value in padded]
    absent = np.array([value is None for value in padded])
    if 0 < absent.sum() < rows:
        found.append(("(none)", absent.astype(float)))
    plain = np.array([math.nan if one is None else one for one in numbers])
    if np.isfinite(plain).sum() == rows - absent.sum():
        return [*found, (None, plain)]
    texts = [None if value is None else _text(value) for value in padded]
    common = Counter(text for text in texts if text is not None).most_common(_COMMON)
    array = np.array([text if text is not None else "" for text in texts], dtype=object)
    for text, _ in common:
        found.append((text, ((array == text) & ~absent).astype(float)))
    return found


def _number(value: Value) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _text(value: Value) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _test(
    x: Array, could: NDArray[np.bool_], has: NDArray[np.bool_], weights: Array, *, share: bool
) -> tuple[float, float, float, float] | None:
    """(mean in the arm, mean, difference in standard deviations, z); None: nothing to be said."""
    use = could & np.isfinite(x)
    count = int(use.sum())
    own, has = x[use], has[use]
    if has.sum() < _FEWEST or count - has.sum() < _FEWEST:
        return None
    mean, spread = float(own.mean()), float(own.std())
    excess = np.where(has, weights[use], 0.0) - 1
    few = np.isin(own, (0.0, 1.0)).all() and min(own.sum(), count - own.sum()) < _FEWEST
    if not share and (spread == 0 or few):
        return None
    centred = excess if share else (own - mean) * excess
    shift, error = float(centred.mean()), float(centred.std()) / math.sqrt(count)
    if error == 0:
        return None
    weighed = float(excess.mean()) + 1
    if share:  # how often the arm came, against how often it should have
        came = float(has.mean())
        return came, came / weighed, shift, shift / error
    shift /= weighed  # of the weighted mean in the arm
    return mean + shift, mean, shift / spread, shift * weighed / error


def _worst(found: Sequence[Difference], tests: int) -> list[Difference]:
    """Of each covariate what is furthest, if that is beyond the bound."""
    worst: dict[str, Difference] = {}
    for one in found:
        if math.erfc(abs(one.z) / math.sqrt(2)) * tests >= ALPHA:
            continue
        if one.covariate not in worst or abs(one.z) > abs(worst[one.covariate].z):
            worst[one.covariate] = one
    return sorted(worst.values(), key=lambda one: -abs(one.z))
