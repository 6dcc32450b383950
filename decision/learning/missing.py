"""What a missing value means to a model when all rows to learn from have one.

LightGBM reads a missing number as 0 if it has seen none that is missing, and a missing category as
one of the rare ones. So some rows are fitted as if they lacked the value: the model learns that
without it about the mean is to be expected.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.learning.examples import Examples
from decision.learning.notices import notices
from decision.learning.spec import Spec
from decision.scoring.features import can_be_missing
from decision.scoring.notes import note

FEW: Final = 20
"""From this many rows without a value (LightGBM's smallest leaf) the model learns by itself."""
_BLOCK: Final = 65_536


def know_missing(spec: Spec, examples: Examples) -> tuple[Examples, list[int]]:
    """The examples with notes on their features, and the columns to fit with `some_missing`.

    A feature is noted if nobody lacked it, if it is the same in all rows that are fitted, or if it
    has no value that can be used. If few lacked a categorical one, its categories end with None.
    """
    notes, categories, places = [*examples.noted, *notices(examples)], dict(examples.categories), []
    noted = {(one.kind, one.values.get("feature")) for one in notes}
    lacking, same = _counts(examples)
    for place, feature in enumerate(examples.features):
        name, text = feature.name, feature.kind == "categorical"
        if lacking[place] == examples.fit:
            if examples.seen and not examples.seen[place].known:
                if ("no_value_but_near", name) not in noted:
                    notes.append(note("no_value", feature=name, rows=len(examples)))
            else:
                notes.append(note("no_category" if text else "no_number", feature=name))
            continue
        if same[place]:
            notes.append(note("constant", feature=name, rows=examples.fit))
        if lacking[place] >= FEW or not can_be_missing(feature):
            continue
        if not lacking[place]:
            read_as = "rare" if text else "0"
            notes.append(
                note("never_missing", feature=name, share=spec.missing)
                if spec.missing
                else note(f"never_missing_read_as_{read_as}", feature=name)
            )
        if spec.missing:
            places.append(place)
        if spec.missing and text:
            code = float(len(categories[feature.name]))
            categories[feature.name] = (*categories[feature.name], None)
            column = examples.matrix[:, place]
            examples.matrix[:, place] = np.where(np.isnan(column), code, column)
    found = msgspec.structs.replace(examples, categories=categories, noted=tuple(notes))
    return found, places


def _counts(examples: Examples) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """How many fitted rows lack each feature, and whether it is the same in all of them."""
    columns = examples.matrix.shape[1]
    lacking, same = np.zeros(columns, dtype=np.int64), np.ones(columns, dtype=np.bool_)
    for start in range(0, examples.fit, _BLOCK):
        block = examples.matrix[start : min(start + _BLOCK, examples.fit)]
        lacking += np.isnan(block).sum(axis=0)
        same &= (block == examples.matrix[0]).all(axis=0)
    return lacking, same


@contextmanager
def some_missing(spec: Spec, examples: Examples, places: list[int]) -> Iterator[None]:
    """Within the context, a share of the fitted rows lacks the features at these places.

    The rows are drawn by the spec's seed, for each feature anew.
    """
    matrix, kept = examples.matrix, []
    for place in places:
        values = examples.categories.get(examples.features[place].name)
        drawn = np.random.default_rng([spec.seed, place]).random(examples.fit)
        rows = np.flatnonzero(drawn < spec.missing)
        kept.append((rows, place, matrix[rows, place]))
        matrix[rows, place] = np.nan if values is None else len(values) - 1
    try:
        yield
    finally:
        for rows, place, column in kept:
            matrix[rows, place] = column
