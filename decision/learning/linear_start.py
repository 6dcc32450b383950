"""Fits the linear start of a model (`start: linear`): a ridge logistic regression.

The finer the part of a message that coefficients belong to, the stronger the ridge: what the rows
do not show of a message alone is that of its kin. One factor scales all ridges; it is chosen by
cross-validation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.learning.examples import Examples
from decision.learning.spec import Spec
from decision.scoring.features import Matrix, of_message, varies
from decision.scoring.linear import LinearScorer, LinearStart, Number

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

MOST_ROWS: Final = 200_000
"""Of more rows, so many are drawn: some thousand coefficients need no more."""
MOST_TO_CHOOSE: Final = 20_000
"""The ridge is chosen on at most this many rows."""
MOST_CODES: Final = 30
"""So many of the most frequent values of a categorical feature have coefficients."""
RIDGES: Final = (300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3)
FOLDS: Final = 3
OF_ALL, OF_KIN, OF_ONE, OF_RATE = 0.25, 0.5, 1.0, 0.1
"""The ridge of coefficients of all messages, of kin and of one message; and what multiplies it for
those of the column of ones: rates differ more than what moves them."""
EXACT, ROUGH = 1e-8, 1e-6
"""By how much, relatively, the last step made the loss smaller: at the end, and to choose."""
_ITERATIONS: Final = 200


def fit_starts(
    spec: Spec, examples: Examples, folds: int = 0
) -> tuple[LinearScorer | None, Sequence[LinearScorer | None]]:
    """The start of the fitted rows; with folds of customers, also one without each of them.

    None, where the spec has none.
    """
    if spec.start is None:
        return None, [None] * folds
    rows = np.arange(examples.fit or len(examples))
    if len(rows) > MOST_ROWS:
        rows = np.sort(np.random.default_rng(spec.seed).choice(rows, MOST_ROWS, replace=False))
    form = _form(spec, examples, rows)
    fold = rows % FOLDS if examples.fold is None or not folds else examples.fold[rows]
    data = _Design.of(form, examples, rows)
    ridge, near = _best_ridge(spec, data, fold)

    def fitted(which: Any) -> LinearScorer:
        theta = data.take(which).solve(ridge, near)
        start = msgspec.structs.replace(form, ridge=ridge, coefficients=_tuples(theta))
        return LinearScorer(start, examples.features)

    return fitted(slice(None)), [fitted(fold != one) for one in range(folds)]


def _form(spec: Spec, examples: Examples, rows: Rows) -> LinearStart:
    """What has coefficients, and how numbers are standardised; without coefficients."""
    numbers, categories, tags, messages = {}, {}, [], {}
    for place, feature in enumerate(examples.features):
        count = len(examples.categories.get(feature.name, ()))
        if of_message(feature):
            if feature.kind == "categorical":
                messages[feature.name] = count
            elif feature.name != "message.value":
                tags.append(feature.name)
        elif varies(feature) or feature.name in spec.monotone:
            continue
        elif feature.kind == "categorical":
            categories[feature.name] = min(count, MOST_CODES)
        elif (number := _number(np.asarray(examples.matrix[rows, place]))) is not None:
            numbers[feature.name] = number
    form = LinearStart(
        numbers=numbers, categories=categories, tags=tuple(tags), messages=messages, ridge=0.0
    )
    return msgspec.structs.replace(form, coefficients=_tuples(np.zeros(form.shape)))


def _tuples(theta: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in theta.tolist())


def _number(column: Floats) -> Number | None:
    """How a column is standardised; None where it says nothing."""
    known = column[~np.isnan(column)]
    if not len(known):
        return None
    low, high = np.quantile(known, (0.005, 0.995))
    if low == high:
        low, high = known.min(), known.max()
    with np.errstate(over="ignore", invalid="ignore"):
        clipped = np.clip(known, low, high)
        mean, spread = clipped.mean(), clipped.std()
        scale = 1 / spread if spread > 0 else np.inf
        whole = np.isfinite([mean, scale, (high - mean) * scale, (low - mean) * scale]).all()
    if not whole:
        return None
    return Number(
        low=float(low),
        high=float(high),
        mean=float(mean),
        scale=float(scale),
        lacks=bool(len(known) < len(column)),
    )


class _Design(NamedTuple):
    """Rows in order of their kind of message; `kinds` has m of each kind.

    `penalty` is the ridge of each coefficient, before the common factor.
    """

    customers: Floats
    label: Floats
    weight: Floats
    kind: Rows
    kinds: Any
    penalty: Floats
    order: Rows

    @classmethod
    def of(cls, form: LinearStart, examples: Examples, rows: Rows) -> _Design:
        from scipy.sparse import csr_array

        scorer = LinearScorer(form, examples.features)
        matrix: Matrix = np.asarray(examples.matrix[rows])
        told = np.nan_to_num(matrix[:, scorer.message_columns], nan=-1.0)
        _, first, kind = np.unique(told, axis=0, return_index=True, return_inverse=True)
        order = np.argsort(kind.ravel(), kind="stable")
        label = examples.label[rows]
        weight = np.ones(len(rows)) if examples.weight is None else examples.weight[rows]
        finest = np.full(form.shape[0], OF_KIN)
        finest[0] = OF_ALL
        if "message.name" in form.messages:
            begin = 1 + len(form.tags)
            for name, count in form.messages.items():
                if name == "message.name":
                    finest[begin : begin + count] = OF_ONE
                begin += count
        penalty = np.outer(finest, np.ones(form.shape[1]))
        penalty[:, 0] *= OF_RATE
        return cls(
            scorer.customers(matrix)[order],
            label[order],
            weight[order],
            kind.ravel()[order],
            csr_array(scorer.messages(matrix[first])),
            penalty,
            order,
        )

    def take(self, which: Any) -> _Design:
        """Some rows, by their places before they were ordered."""
        if isinstance(which, slice):
            return self
        kept = which[self.order]
        return self._replace(
            customers=self.customers[kept],
            label=self.label[kept],
            weight=self.weight[kept],
            kind=self.kind[kept],
            order=(np.cumsum(which) - 1)[self.order[kept]],
        )

    def parts(self) -> list[tuple[int, int, int]]:
        """(kind, first row, end) of each kind that has rows."""
        begins = np.flatnonzero(np.r_[True, np.diff(self.kind) != 0])
        ends = [*begins[1:].tolist(), len(self.kind)]
        return list(zip(self.kind[begins].tolist(), begins.tolist(), ends, strict=True))

    def odds(self, theta: Floats, parts: Sequence[tuple[int, int, int]] | None = None) -> Floats:
        """The log-odds of each row."""
        per_kind = self.kinds @ theta
        found = np.empty(len(self.kind))
        for kind, begin, end in parts or self.parts():
            found[begin:end] = np.einsum("ij,j", self.customers[begin:end], per_kind[kind])
        return found

    def loss(self, theta: Floats) -> float:
        """The mean log loss."""
        odds = self.odds(theta)
        lost = np.logaddexp(0.0, odds) - self.label * odds
        return float(self.weight @ lost) / float(self.weight.sum())

    def solve(self, ridge: float, first: Floats | None = None, exact: float = EXACT) -> Floats:
        """Θ with the least log loss and ridge, by L-BFGS from `first`.

        Sums by einsum are the same on any number of processors.
        """
        from scipy.optimize import minimize

        free = np.zeros(self.penalty.shape, dtype=np.bool_)
        free[0, 0] = True  # the base rate is not shrunk
        scale = 1 / np.sqrt(ridge * self.penalty)
        scale[0, 0] = 1.0
        parts, shape = self.parts(), self.penalty.shape
        of_kind = np.zeros((self.kinds.shape[0], shape[1]))

        def objective(flat: Floats) -> tuple[float, Floats]:
            point = flat.reshape(shape)
            odds = self.odds(point * scale, parts)
            held = np.where(free, 0.0, point)
            value = self.weight @ (np.logaddexp(0.0, odds) - self.label * odds)
            residual = self.weight * (0.5 + 0.5 * np.tanh(0.5 * odds) - self.label)
            for kind, begin, end in parts:
                of_kind[kind] = np.einsum("i,ij", residual[begin:end], self.customers[begin:end])
            gradient = (self.kinds.T @ of_kind) * scale + held
            return float(value + 0.5 * (held * held).sum()), gradient.ravel()

        if first is None:
            first = np.zeros(shape)
            rate = (float(self.weight @ self.label) + 0.5) / (float(self.weight.sum()) + 1.0)
            first[0, 0] = np.log(rate / (1 - rate))
        found = minimize(
            objective,
            (first / scale).ravel(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": _ITERATIONS, "ftol": exact, "gtol": 1e-6},
        )
        theta: Floats = found.x.reshape(shape) * scale
        return theta


def _best_ridge(spec: Spec, data: _Design, fold: NDArray[Any]) -> tuple[float, Floats | None]:
    """The factor with the least loss for those who were not seen, and about its Θ."""
    if len(fold) > MOST_TO_CHOOSE:
        drawn = np.zeros(len(fold), dtype=np.bool_)
        seen = np.random.default_rng(spec.seed).choice(len(fold), MOST_TO_CHOOSE, replace=False)
        drawn[seen] = True
        data, fold = data.take(drawn), fold[drawn]
    pairs = [(data.take(fold != one), data.take(fold == one)) for one in np.unique(fold)]
    pairs = [(fit, held) for fit, held in pairs if len(fit.kind)]
    if not pairs:
        return RIDGES[0], None
    known: list[Floats | None] = [None] * len(pairs)
    best, near, least = 0, known[0], np.inf
    for place, ridge in enumerate(RIDGES):
        lost = 0.0
        for one, (fit, held) in enumerate(pairs):
            known[one] = theta = fit.solve(ridge, known[one], ROUGH)
            lost += held.loss(theta) * float(held.weight.sum())
        if lost < least:
            best, near, least = place, known[0], lost
        elif place > best:
            break
    return RIDGES[best], near
