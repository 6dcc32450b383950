"""What a training should be told of: losses and leaks that its figures do not show.

The kinds and their texts are in `scoring.notes`. What is missing everywhere is `missing`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from decision.core.definition import Goal
from decision.learning.examples import Examples
from decision.learning.metrics import auc
from decision.learning.seen_values import SeenValues, shortened
from decision.learning.spec import Spec
from decision.scoring.features import MOST_CATEGORIES, Feature, varies
from decision.scoring.notes import Note, note

FEW_ROWS: Final = 300
FEW_OF_EACH: Final = 30
"""With fewer judged rows, or fewer with and without a response, figures say little."""
ALONE: Final = 0.95
"""A feature that has at least this AUC by itself is suspect."""
TOO_GOOD: Final = 0.98
"""A model with at least this AUC on rows that it has not seen is suspect."""
_LEAST_OF_EACH: Final = 20
_ROWS: Final = 100_000
_BINS: Final = 32
_IDS_FROM: Final = 200
_NEW: Final = 0.05
_BY_DELIVERY: Final = ("message.sent", "message.delivered", "message.shown")
_TEXTS: Final = {"truth": "truth_for_number", "date": "date_for_number", "text": "text_for_number"}

Floats = NDArray[np.float64]


def notices(examples: Examples) -> tuple[Note, ...]:
    """What the features of examples lose, and which of them tell the response by themselves."""
    found: list[Note] = []
    for place, (feature, seen) in enumerate(zip(examples.features, examples.seen, strict=False)):
        found += _of_types(feature, seen)
        if feature.kind == "categorical":
            found += _of_categories(examples, place, seen)
    return (*found, *_leaks(examples))


def notices_on_goals(spec: Spec, goals: Mapping[str, Goal]) -> tuple[Note, ...]:
    """What counts as a response although it says nothing about customers."""
    wanted = [spec.target] if spec.target else [*goals.values(), spec.without_goal]
    events = dict.fromkeys(one.event for one in wanted if one is not None)
    return tuple(note("follows_the_decision", event=one) for one in events if one in _BY_DELIVERY)


def notices_on_figures(metrics: Mapping[str, float | None], label: Floats) -> tuple[Note, ...]:
    """What to think of figures that were measured on rows with these labels."""
    rows, responses = len(label), int(label.sum())
    found = []
    if rows < FEW_ROWS or min(responses, rows - responses) < FEW_OF_EACH:
        told = {"rows": rows, "responses": responses, "least": FEW_ROWS, "each": FEW_OF_EACH}
        found.append(note("few_judged", **told))
    area = metrics.get("auc")
    if area is not None and area >= TOO_GOOD and _enough(label):
        found.append(note("too_good", auc=f"{area:.3f}"))
    return tuple(found)


def notices_on_weights(probability: Floats, clip: float) -> tuple[Note, ...]:
    """How many rows count less than 1 / their selection probability."""
    rows = int(np.count_nonzero(probability * clip < 1))
    if not rows:
        return ()
    return (note("clipped", rows=rows, share=rows / len(probability), clip=f"{clip:g}"),)


def _of_types(feature: Feature, seen: SeenValues) -> Iterator[Note]:
    """Values of another type than the feature's."""
    known = seen.known
    if seen.others:
        share = seen.others / known
        yield note("neither_number_nor_text", feature=feature.name, share=share)
    if not seen.texts:
        return
    share, example = seen.texts / known, f'"{shortened(seen.examples[0])}"'
    told: dict[str, str | float] = {"feature": feature.name, "share": share, "example": example}
    if feature.kind == "numeric":
        yield note(_TEXTS[seen.text_type()], **told)
    elif seen.numbers or seen.truths:
        yield note("mixed_types", **told)


def _of_categories(examples: Examples, place: int, seen: SeenValues) -> Iterator[Note]:
    """Categories that are folded away, that only held-out rows have, or that are names of rows."""
    feature = examples.features[place]
    known = seen.known - seen.others
    if not known:
        return
    column = examples.matrix[:, place]
    kept = len(examples.categories[feature.name])
    if seen.distinct >= known / 2 and known >= _IDS_FROM:
        yield note("id_like", feature=feature.name, count=seen.distinct, rows=known)
    elif kept >= MOST_CATEGORIES and seen.distinct > kept:
        lost = max(0.0, 1 - np.count_nonzero(~np.isnan(column)) / known)
        told: dict[str, str | float] = {"feature": feature.name, "count": seen.distinct}
        yield note("folded", **told, kept=kept, share=lost)
    elif seen.distinct > kept and examples.fit < len(examples):
        # All categories of fitted rows are kept, so those that are lost are of the rows held out.
        lost = known - int(np.count_nonzero(~np.isnan(column)))
        share = lost / (len(examples) - examples.fit)
        if share >= _NEW:
            yield note("new_categories", feature=feature.name, share=share)


def _leaks(examples: Examples) -> Iterator[Note]:
    """Features of customers, events and contexts that nearly tell the response by themselves."""
    step = -(-len(examples) // _ROWS) or 1
    rows, label = examples.matrix[::step], examples.label[::step]
    if not (_enough(label[::2]) and _enough(label[1::2])):
        return
    for place, feature in enumerate(examples.features):
        if varies(feature):
            continue
        groups = _groups(rows[:, place], categorical=feature.kind == "categorical")
        area = _area_alone(groups, label)
        if area is not None and area >= ALONE:
            yield note("tells_the_response", feature=feature.name, auc=f"{area:.3f}")


def _groups(column: Floats, *, categorical: bool) -> NDArray[np.int64]:
    """A group for each row: its category, or one of some with about as many rows; 0 is missing."""
    missing = np.isnan(column)
    if missing.all():
        return np.zeros(len(column), dtype=np.int64)
    if categorical:
        found = np.where(missing, -1.0, column)
    else:
        edges = np.unique(np.quantile(column[~missing], np.arange(1, _BINS) / _BINS))
        found = np.where(missing, -1, np.searchsorted(edges, column, side="left"))
    groups: NDArray[np.int64] = found.astype(np.int64) + 1
    return groups


def _area_alone(groups: NDArray[np.int64], label: Floats) -> float | None:
    """The AUC of each group's share of responses: learned on every other row, judged on the rest.

    >>> _area_alone(np.array([0, 0, 1, 1] * 9), np.array([0.0, 0.0, 1.0, 1.0] * 9))
    1.0
    """
    count = int(groups.max()) + 1
    rows = np.bincount(groups[::2], minlength=count)
    responses = np.bincount(groups[::2], label[::2], minlength=count)
    mean = label[::2].mean()
    share = (responses + mean) / (rows + 1.0)
    return auc(label[1::2], share[groups[1::2]])


def _enough(label: Floats) -> bool:
    responses = int(label.sum())
    return min(responses, len(label) - responses) >= _LEAST_OF_EACH
