"""From the features struct of the archive to columns of the matrix, in batches of rows.

The functions that serve (`scoring.features`) turn values into numbers; here they are called once
per distinct value, and Arrow and numpy do the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from decision.core.values import Value
from decision.learning.seen_values import SeenValues
from decision.scoring.features import (
    Feature,
    Matrix,
    category_key,
    most_frequent,
    number_of,
)

Floats = NDArray[np.float64]
_BLOCK: Final = 32_768
_NO_CATEGORY: Final = -1.0
"""The preliminary code of a missing value."""


class CategoryCoder:
    """Gives the values of a categorical feature preliminary codes, in order of appearance."""

    def __init__(self) -> None:
        self._codes: dict[Value, float] = {}
        self._shown: list[Value] = []

    @property
    def distinct(self) -> int:
        """The number of categories so far."""
        return len(self._shown)

    def code(self, value: Value) -> float:
        """The value's code; -1 if it cannot be a category."""
        key = category_key(value)
        if key is None or key != key:
            return _NO_CATEGORY
        found = self._codes.get(key)
        if found is None:
            found = self._codes[key] = float(len(self._shown))
            self._shown.append(value)
        return found

    def counted(self, codes: Floats) -> NDArray[np.int64]:
        """How often each code occurs."""
        return np.bincount(codes.astype(np.int64) + 1, minlength=len(self._shown) + 1)[1:]

    def settle(self, counts: NDArray[np.int64]) -> tuple[tuple[Value, ...], Floats]:
        """The categories, by how often each code occurs, and the final code of each; the last one
        is that of a missing value."""
        seen = {key: int(counts[int(code)]) for key, code in self._codes.items()}
        kept = most_frequent({key: count for key, count in seen.items() if count})
        final = np.full(len(self._shown) + 1, np.nan)
        for place, key in enumerate(kept):
            final[int(self._codes[key])] = float(place)
        return tuple(self._shown[int(self._codes[key])] for key in kept), final


class FeatureColumns:
    """Fills a matrix from batches of features, then fixes the categories.

    It takes the least time where the columns of the matrix lie each in one piece (order F).
    `seen` says of what types the values of each feature were.
    """

    def __init__(self, features: Sequence[Feature], matrix: Matrix) -> None:
        self._features = features
        self.matrix = matrix
        self._coders = [CategoryCoder() if one.kind == "categorical" else None for one in features]
        self.seen = tuple(SeenValues() for _ in features)

    def fill(self, rows: NDArray[np.int64], columns: Mapping[str, Any], others: Any = None) -> None:
        """Puts Arrow arrays, by feature name, into these rows; without an array: missing.

        `others` is the map column of values that do not fit their array (see `archive.features`).
        """
        # Rows that follow each other are written in one piece.
        if rows[-1] - rows[0] == len(rows) - 1 and bool((np.diff(rows) == 1).all()):
            own: Any = slice(rows[0], rows[-1] + 1)
        else:
            own = rows
        for place, (feature, coder) in enumerate(zip(self._features, self._coders, strict=True)):
            column = columns.get(feature.name)
            if column is None or column.null_count == len(column):
                self.matrix[own, place] = np.nan if coder is None else _NO_CATEGORY
                continue
            self.seen[place].add_arrow(column)
            numbers = _looked_up(column, coder.code) if coder else _numbers(column)
            self.matrix[own, place] = numbers
        if others is not None and len(others.keys):
            self._put_others(rows, others)

    def _put_others(self, rows: NDArray[np.int64], others: Any) -> None:
        places = {feature.name: place for place, feature in enumerate(self._features)}
        for row, values in zip(rows.tolist(), others.to_pylist(), strict=True):
            for name, text in values or ():
                place = places.get(name)
                if place is None:
                    continue
                value, coder = json.loads(text), self._coders[place]
                self.seen[place].add([value])
                self.matrix[row, place] = number_of(value) if coder is None else coder.code(value)

    def settle(self, fit: int) -> dict[str, tuple[Value, ...]]:
        """The categories of the first `fit` rows; all rows have their codes afterwards."""
        categories = {}
        for place, coder in enumerate(self._coders):
            if coder is None:
                continue
            column = self.matrix[:, place]
            counts = coder.counted(np.empty(0))
            for codes in _blocks(column[:fit]):
                counts += coder.counted(codes)
            values, final = coder.settle(counts)
            self.seen[place].distinct = coder.distinct
            categories[self._features[place].name] = values
            for codes in _blocks(column):
                codes[:] = final[codes.astype(np.int64)]  # -1 finds the last one
        return categories


def _blocks(column: Floats) -> Iterator[Floats]:
    """Parts of a column that fit into a processor's cache."""
    for start in range(0, len(column), _BLOCK):
        yield column[start : start + _BLOCK]


def _numbers(column: Any) -> Floats:
    """`number_of` each value."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return _looked_up(column, number_of)
    found: Floats = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    finite = np.isfinite(found)
    return found if finite.all() else np.where(finite, found, np.nan)


def _looked_up(column: Any, number: Any) -> Floats:
    """A number for each value; the function is called once per distinct value."""
    import pyarrow as pa

    if pa.types.is_nested(column.type) or pa.types.is_null(column.type):
        return np.array([number(value) for value in column.to_pylist()], dtype=np.float64)
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    table = np.array([number(value) for value in coded.dictionary.to_pylist()] + [number(None)])
    places = coded.indices.fill_null(len(table) - 1).to_numpy(zero_copy_only=False)
    found: Floats = table[places]
    return found
