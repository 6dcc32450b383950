"""Of what types the values of a feature are, before they become numbers.

A matrix no longer tells a text where a number was wanted from a value that is missing: `notices`
tells them apart by this.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from decision.core.values import MISSING, Value
from decision.scoring.features import category_key

MOST_EXAMPLES: Final = 20
_PLAIN: Final = {float: "numbers", int: "numbers", bool: "truths", str: "texts"}
_NOTHING: Final = frozenset({type(None), type(MISSING)})
_NUMPY: Final = {"b": "truths", "i": "numbers", "u": "numbers", "f": "numbers", "U": "texts"}
_TRUTHS: Final = frozenset({"true", "false", "yes", "no", "t", "f", "y", "n"})
_DATE: Final = re.compile(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}([T ].*)?|\d{8}T\d{6}.*")

TextType = Literal["truth", "date", "text"]


class SeenValues:
    """How many values of one feature were of which type; `examples` are some of the texts.

    `distinct` is the number of categories, of a categorical feature.

    >>> seen = SeenValues()
    >>> seen.add([1, None, 2.5, "3", ["tea"]])
    >>> seen.numbers, seen.texts, seen.others, seen.examples
    (2, 1, 1, ['3'])
    """

    def __init__(self) -> None:
        self.numbers = self.truths = self.texts = self.others = self.distinct = 0
        self._examples: dict[str, None] = {}

    @property
    def known(self) -> int:
        """Values that are not missing."""
        return self.numbers + self.truths + self.texts + self.others

    @property
    def examples(self) -> list[str]:
        """Different texts, in the order in which they came."""
        return list(self._examples)

    def text_type(self) -> TextType:
        """What the texts have in common."""
        if all(one.strip().lower() in _TRUTHS for one in self._examples):
            return "truth"
        return "date" if all(_DATE.fullmatch(one.strip()) for one in self._examples) else "text"

    def add(self, values: Sequence[Value]) -> None:
        """Adds plain values."""
        for kind, count in Counter(map(type, values)).items():
            if kind not in _NOTHING:
                self._count(_PLAIN.get(kind, "others"), count)
        if len(self._examples) < MOST_EXAMPLES:
            self._keep(one for one in values if type(one) is str)

    def add_numpy(self, values: NDArray[Any]) -> None:
        """Adds an array; NaN is missing."""
        kind = _NUMPY.get(values.dtype.kind)
        if kind is None:
            self.add(values.tolist())
            return
        missing = int(np.isnan(values).sum()) if values.dtype.kind == "f" else 0
        self._count(kind, len(values) - missing)
        if kind == "texts":
            self._keep(values[: 10 * MOST_EXAMPLES].tolist())

    def add_arrow(self, values: Any) -> None:
        """Adds an Arrow array."""
        import pyarrow as pa

        kind, known = values.type, len(values) - values.null_count
        if pa.types.is_boolean(kind):
            self._count("truths", known)
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
            self._count("numbers", known)
        elif pa.types.is_dictionary(kind) or pa.types.is_string(kind):
            self._count("texts", known)
            if len(self._examples) < MOST_EXAMPLES:
                self._keep(values.slice(0, 10 * MOST_EXAMPLES).unique().to_pylist())
        elif not pa.types.is_null(kind):
            self._count("others", known)

    def _count(self, kind: str, count: int) -> None:
        setattr(self, kind, getattr(self, kind) + count)

    def _keep(self, texts: Iterable[Any]) -> None:
        for text in texts:
            if len(self._examples) >= MOST_EXAMPLES:
                return
            if text is not None:
                self._examples.setdefault(text)


def seen_in(column: Sequence[Value] | NDArray[Any], *, categorical: bool) -> SeenValues:
    """The values of one column of a table."""
    seen = SeenValues()
    if isinstance(column, np.ndarray):
        seen.add_numpy(column)
        column = column.tolist() if categorical else column
    else:
        seen.add(column)
    if categorical:
        keys = {category_key(value) for value in column}
        seen.distinct = len({key for key in keys if key is not None and key == key})
    return seen


def shortened(text: str, most: int = 40) -> str:
    """A text of at most this many characters, to be shown as an example."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
