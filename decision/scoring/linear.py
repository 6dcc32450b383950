"""The linear start of a model: a logistic regression, to whose log-odds the trees add.

log-odds = m · Θ x. *x* is the customer and the moment: 1, the numeric features standardised, one
column for each that was missing, one for each frequent category. *m* is the message: 1, its tags,
one row for each category, purpose, channel and name. So coefficients add up: those of all messages,
those of the kin (category, purpose, channel, tags), and the message's own. A message that training
has not seen has those of its kin.

What a message's history, a monotone constraint or `message.value` say is left to the trees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.files import read_regular
from decision.scoring.features import Feature, Matrix
from decision.scoring.manifest import ModelError

Floats = NDArray[np.float64]
START: Final = "start.json"
_BLOCK: Final = 16_384


class Number(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a numeric feature is standardised: (clipped to [low, high] − mean) · scale.

    A missing one counts as the mean; where `lacks`, being missing has coefficients of its own.
    """

    low: float
    high: float
    mean: float
    scale: float
    lacks: bool = False


class LinearStart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`start.json`. `coefficients` (Θ) has a row for each part of a message, and a column for each
    part of a customer.

    Columns: 1; `numbers`; those of them that `lacks`; the first codes of each of `categories`.
    Rows: 1; `tags`; the codes of each of `messages`.
    """

    numbers: dict[str, Number] = {}
    categories: dict[str, int] = {}
    tags: tuple[str, ...] = ()
    messages: dict[str, int] = {}
    ridge: float
    coefficients: tuple[tuple[float, ...], ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """The rows and columns that the coefficients must have."""
        lacking = sum(number.lacks for number in self.numbers.values())
        return (
            1 + len(self.tags) + sum(self.messages.values()),
            1 + len(self.numbers) + lacking + sum(self.categories.values()),
        )


class LinearScorer:
    """A linear start, ready to score matrices with columns of these features.

    Raises:
        ValueError: it does not fit the features, or a number of it is not finite.
    """

    def __init__(self, start: LinearStart, features: Sequence[Feature]) -> None:
        place = {feature.name: column for column, feature in enumerate(features)}
        self.start = start
        self._shape = start.shape
        self.coefficients = np.array(start.coefficients, dtype=np.float64)
        numbers = list(start.numbers.values())
        self._numbers = _columns(start.numbers, place)
        self._low, self._high, self._mean, self._scale = (
            np.array([getattr(each, name) for each in numbers], dtype=np.float64)
            for name in ("low", "high", "mean", "scale")
        )
        self._lacks = np.flatnonzero([each.lacks for each in numbers])
        first = 1 + len(numbers)
        self._categories = _coded(start.categories, place, first + len(self._lacks))
        self._tags = _columns(start.tags, place)
        self._messages = _coded(start.messages, place, 1 + len(self._tags))
        known = (self.coefficients, self._low, self._high, self._mean, self._scale)
        if self.coefficients.shape != self._shape or not all(np.isfinite(x).all() for x in known):
            raise ValueError(f"its coefficients must be {self._shape} finite numbers")

    def encoded(self) -> bytes:
        """The bytes of its file."""
        return msgspec.json.encode(self.start) + b"\n"

    @property
    def features(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The feature of each row and of each column of the coefficients; -1: of none."""
        sides = (
            ([*self._tags.tolist()], self._messages),
            ([*self._numbers.tolist(), *self._numbers[self._lacks].tolist()], self._categories),
        )
        rows, columns = (
            np.array([-1, *plain, *(column for column, _, count in coded for _ in range(count))])
            for plain, coded in sides
        )
        return rows, columns

    @property
    def message_columns(self) -> list[int]:
        """The columns of the matrix that say which message it is."""
        return [*self._tags.tolist(), *(column for column, _, _ in self._messages)]

    def customers(self, matrix: Matrix) -> Floats:
        """x of each row."""
        found = np.zeros((len(matrix), self._shape[1]))
        found[:, 0] = 1.0
        values = matrix[:, self._numbers]
        missing = np.isnan(values)
        values = (np.clip(values, self._low, self._high) - self._mean) * self._scale
        values[missing] = 0.0
        first = 1 + len(self._numbers)
        found[:, 1:first] = values
        found[:, first : first + len(self._lacks)] = missing[:, self._lacks]
        _mark(found, matrix, self._categories)
        return found

    def messages(self, matrix: Matrix) -> Floats:
        """m of each row."""
        found = np.zeros((len(matrix), self._shape[0]))
        found[:, 0] = 1.0
        found[:, 1 : 1 + len(self._tags)] = matrix[:, self._tags] > 0
        _mark(found, matrix, self._messages)
        return found

    def of_messages(self, matrix: Matrix) -> Floats:
        """m · Θ of each row: the coefficients of its message, in one order of additions."""
        found = np.repeat(self.coefficients[:1], len(matrix), axis=0)
        for row, column in enumerate(self._tags.tolist(), start=1):
            found[matrix[:, column] > 0] += self.coefficients[row]
        for coded in self._messages:
            known, places = _known(matrix, *coded)
            found[known] += self.coefficients[places]
        return found

    def log_odds(self, matrix: Matrix) -> Floats:
        """The log-odds of each row by the linear start alone."""
        found = np.empty(len(matrix))
        for start in range(0, len(matrix), _BLOCK):
            block = np.asarray(matrix[start : start + _BLOCK])
            parts = self.of_messages(block) * self.customers(block)
            found[start : start + _BLOCK] = np.add.reduce(parts, axis=1)
        return found

    def bound(self, candidates: Matrix) -> Callable[[Matrix, NDArray[np.intp]], Floats]:
        """The log-odds of one decision's matrix and its candidates (rows of `candidates`).

        All rows of the matrix are of one customer at one moment. The sums are over all candidates,
        so that one has the same log-odds to the last bit whichever others are asked for.
        """
        by_column = np.ascontiguousarray(self.of_messages(candidates).T)
        known = zip(self._numbers.tolist(), self.start.numbers.values(), strict=True)
        numbers, lacking = [], 1 + len(self._numbers)
        for place, (column, number) in enumerate(known, start=1):
            scaling = (number.low, number.high, number.mean, number.scale)
            numbers.append((column, place, lacking if number.lacks else 0, *scaling))
            lacking += number.lacks
        coded = self._categories

        def log_odds(matrix: Matrix, rows: NDArray[np.intp]) -> Floats:
            if not len(rows):
                return np.empty(0)  # nobody is left of whom it could be told
            row = matrix[0].tolist()
            places, values = [0], [1.0]
            for column, place, lacks, low, high, mean, scale in numbers:
                value = row[column]
                if value == value:
                    value = low if value < low else high if value > high else value
                    places.append(place)
                    values.append((value - mean) * scale)
                elif lacks:
                    places.append(lacks)
                    values.append(1.0)
            for column, first, count in coded:
                code = row[column]
                if 0 <= code < count:
                    places.append(first + int(code))
                    values.append(1.0)
            found: Floats = np.array(values) @ by_column.take(places, axis=0)
            return found.take(rows)

        return log_odds


def _columns(names: Any, place: Mapping[str, int]) -> NDArray[np.intp]:
    """The columns of features.

    Raises:
        ValueError: there is no such feature.
    """
    if unknown := [name for name in names if name not in place]:
        raise ValueError(f"it has coefficients of {unknown[0]!r}, which is no feature")
    return np.array([place[name] for name in names], dtype=np.intp)


def _coded(
    counts: Mapping[str, int], place: Mapping[str, int], first: int
) -> list[tuple[int, int, int]]:
    """(column of the matrix, where its codes begin, how many there are) of each."""
    found = []
    for column, count in zip(_columns(counts, place).tolist(), counts.values(), strict=True):
        found.append((column, first, count))
        first += count
    return found


def _mark(found: Floats, matrix: Matrix, coded: Sequence[tuple[int, int, int]]) -> None:
    """Writes a 1 where a row has a code."""
    for each in coded:
        found[_known(matrix, *each)] = 1.0


def _known(
    matrix: Matrix, column: int, first: int, count: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The rows with a code that has coefficients, and its place among them."""
    code = matrix[:, column]
    known = np.flatnonzero((code >= 0) & (code < count))
    return known, first + code[known].astype(np.intp)


def read_start(folder: Path, name: str | None, features: Sequence[Feature]) -> LinearScorer | None:
    """The linear start in a file of a version's folder, for these features; None without one.

    Raises:
        ModelError: it cannot be read, or does not fit.
    """
    if name is None:
        return None
    path = folder / Path(name).name
    try:
        start = msgspec.json.decode(read_regular(path), type=LinearStart)
        return LinearScorer(start, features)
    except (OSError, ValueError, OverflowError) as error:
        raise ModelError(f"{path}: {error}; train the model again") from None
