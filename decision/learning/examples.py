"""What a model learns from: a matrix with rows in order of time, and facts about each row.

The earliest rows are fitted; the rest is held out. Its earlier half says when to stop, and
calibrates; the latest rows are used only to judge the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.core.values import Value
from decision.learning.counted_rows import LeftOut
from decision.learning.folds import folds_of
from decision.learning.seen_values import SeenValues, seen_in
from decision.learning.spec import Spec
from decision.learning.table import TrainingError, TrainingTable, fit_to
from decision.scoring.features import Feature, Matrix, encode_columns, learn_categories, varies
from decision.scoring.manifest import Evidence
from decision.scoring.notes import Note

Floats = NDArray[np.float64]


_BY_ROW: Final = (
    *("label", "weight", "time", "probability", "position"),
    *("message", "channel", "fold", "silence", "given"),
)


class Examples(msgspec.Struct, kw_only=True):
    """Rows to learn from. `matrix` has a column per feature, encoded with `categories`.

    `label` is 1 for a response, else 0; `message` and `channel` are indices into `messages` and
    `channels`; `weight` is the weight of each row; times are microseconds. Rows [0, fit) are
    fitted, [fit, judge) stop and calibrate, [judge, end) judge. `fold` is the fold of each row's
    customer, if the spec cross-fits. If it learns uplift, silence is the message "", `silence` is
    the probability of saying nothing, `given` that of the message that was said (NaN of silence),
    and `offered` has, by row of silence, what could have been said: message/channel → probability
    (0: not known, as nothing was drawn). `counted` says what of the log does not count, as soon as
    that is known (TrainingError: a file is damaged); `noted` are notes on the rows that do. `seen`
    says of what types the values of each feature were.
    """

    features: tuple[Feature, ...]
    categories: dict[str, tuple[Value, ...]]
    matrix: Matrix
    label: Floats
    messages: list[str]
    message: NDArray[np.int32]
    channels: list[str]
    channel: NDArray[np.int32]
    fit: int
    judge: int
    weight: Floats | None = None
    time: NDArray[np.int64] | None = None
    probability: Floats | None = None
    position: NDArray[np.int32] | None = None
    fold: NDArray[np.int8] | None = None
    silence: Floats | None = None
    given: Floats | None = None
    offered: dict[int, dict[str, float]] = {}
    counted: Callable[[], LeftOut] = LeftOut
    noted: tuple[Note, ...] = ()
    seen: tuple[SeenValues, ...] = ()

    def __len__(self) -> int:
        return len(self.label)

    @property
    def left_out(self) -> dict[str, int]:
        """The number of rows of the log that do not count, by reason: waits for `counted`."""
        return self.counted().rows

    @property
    def notes(self) -> tuple[Note, ...]:
        """All notes: waits for `counted`."""
        return (*self.counted().notes, *self.noted)

    def facts(self, rows: NDArray[np.intp]) -> Examples:
        """Some rows without their features; all judge, as what is predicted was not learned."""

        def of(column: Any) -> Any:
            return None if column is None else column[rows]

        changed = {name: of(getattr(self, name)) for name in _BY_ROW}
        return msgspec.structs.replace(self, **changed, matrix=self.matrix[:0], fit=0, judge=0)

    def weights(self, rows: slice) -> Floats | None:
        """The weights of some rows, or None if all count the same."""
        return None if self.weight is None else self.weight[rows]

    def positives(self, rows: slice) -> int:
        """The number of responses among some rows."""
        return int(self.label[rows].sum())


def in_order(spec: Spec) -> tuple[Feature, ...]:
    """The features in the order of the matrix: those shared by all candidates come first."""
    return tuple(sorted(spec.features, key=varies))


def cuts(rows: int, share: float) -> tuple[int, int]:
    """The first held-out row, and the first of the rows that judge.

    >>> cuts(1000, 0.2)
    (800, 900)
    """
    fit = rows - round(rows * share)
    return fit, fit + (rows - fit) // 2


def check_split(examples: Examples) -> None:
    """Raises TrainingError if a part of the rows has only responses, or none."""
    if not len(examples):
        raise TrainingError(f"there are no rows to learn from{_because(examples.left_out)}")
    parts = (
        ("to fit", slice(0, examples.fit)),
        ("held out to calibrate", slice(examples.fit, examples.judge)),
        ("held out to judge", slice(examples.judge, len(examples))),
    )
    for name, rows in parts:
        count, positives = rows.stop - rows.start, examples.positives(rows)
        if positives in (0, count) and (count or examples.fit < len(examples)):
            raise TrainingError(
                f"{positives} of the {count} rows {name} are responses; rows with and without a "
                "response are needed: give more rows, or a goal with a longer window"
                f"{_because(examples.left_out)}"
            )


def _because(left_out: dict[str, int]) -> str:
    told = [f"{count:,} {reason}" for reason, count in left_out.items() if count]
    return f" (left out: {'; '.join(told)})" if told else ""


def examples_of(table: TrainingTable, spec: Spec) -> Examples:
    """The examples of a table of plain values.

    Raises:
        TrainingError: the table is empty.
    """
    features = in_order(spec)
    fitted, notes = fit_to(table, features)
    if table.time is not None:
        fitted = fitted.take(np.argsort(table.time, kind="stable"))
    fit, judge = cuts(len(fitted), 0.0 if spec.cross_fit else spec.validation)
    categories = learn_categories(features, fitted.take(np.arange(fit)).columns)
    messages, message = _coded(fitted.message)
    channels, channel = _coded(fitted.channel)
    return Examples(
        features=features,
        categories=categories,
        matrix=encode_columns(features, categories, fitted.columns),
        label=fitted.label,
        messages=messages,
        message=message,
        channels=channels,
        channel=channel,
        fit=fit,
        judge=judge,
        weight=fitted.weight,
        time=fitted.time,
        fold=folds_of(fitted.customer, spec.cross_fit)
        if fitted.customer and spec.cross_fit
        else None,
        noted=tuple(notes),
        seen=tuple(
            seen_in(fitted.columns[each.name], categorical=each.kind == "categorical")
            for each in features
        ),
    )


def _coded(names: Sequence[str]) -> tuple[list[str], NDArray[np.int32]]:
    places = {name: place for place, name in enumerate(sorted(set(names)))}
    return list(places), np.array([places[name] for name in names], dtype=np.int32)


def inverse_propensity(probability: Floats, clip: float) -> Floats:
    """1 / probability, at most `clip`, scaled to a mean of 1.

    >>> inverse_propensity(np.array([0.5, 0.5, 0.01]), clip=8.0).tolist()
    [0.5, 0.5, 2.0]
    """
    weights: Floats = np.minimum(1 / probability, clip)
    weights /= weights.mean()
    return weights


def evidence_of(examples: Examples, rows: slice) -> tuple[Evidence, ...]:
    """How often each message × channel was given in some rows, and how often with a response."""
    channels = len(examples.channels)
    place = examples.message[rows].astype(np.int64) * channels + examples.channel[rows]
    shows = np.bincount(place)
    responses = np.bincount(place, examples.label[rows])
    found = [
        Evidence(
            message=examples.messages[each // channels],
            channel=examples.channels[each % channels],
            shows=int(shows[each]),
            responses=round(responses[each]),
        )
        for each in np.flatnonzero(shows).tolist()
    ]
    return tuple(sorted(found, key=lambda row: (row.message, row.channel)))
