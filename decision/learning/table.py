"""The table that a model is trained on: one row per contact that was given, with its response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypedDict, Unpack

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.core.errors import NextbestError
from decision.core.values import MISSING, Value
from decision.scoring.features import Columns, Feature
from decision.scoring.notes import Note, note


class TrainingError(NextbestError, ValueError):
    """Nothing can be learned from this table or log; the text says what is wrong."""


class TableOptions(TypedDict, total=False):
    """Further facts about the rows: see `TrainingTable`."""

    weight: Sequence[float] | NDArray[Any] | None
    time: Sequence[int] | NDArray[Any] | None
    message: Sequence[str] | None
    channel: Sequence[str] | None
    customer: Sequence[str] | None


class TrainingTable(msgspec.Struct, kw_only=True):
    """Features by name, the response, and the time of each row.

    `label` is 1 for a response, else 0; `weight` is the weight of each row; `time` is microseconds
    (None: the rows are in order of time). `message` and `channel` say what was given, `customer` to
    whom, which is needed where the spec cross-fits.
    """

    columns: Columns
    label: NDArray[np.float64]
    message: Sequence[str]
    channel: Sequence[str]
    weight: NDArray[np.float64] | None = None
    time: NDArray[np.int64] | None = None
    customer: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: NDArray[np.intp]) -> TrainingTable:
        """The table of these rows, in this order."""
        places = rows.tolist()
        return TrainingTable(
            columns={
                name: column[rows]
                if isinstance(column, np.ndarray)
                else [column[place] for place in places]
                for name, column in self.columns.items()
            },
            label=self.label[rows],
            message=[self.message[place] for place in places],
            channel=[self.channel[place] for place in places],
            weight=None if self.weight is None else self.weight[rows],
            time=None if self.time is None else self.time[rows],
            customer=None if self.customer is None else [self.customer[place] for place in places],
        )


def table_of_columns(
    columns: Mapping[str, Sequence[Value] | NDArray[Any]],
    label: Sequence[float] | NDArray[Any],
    **given: Unpack[TableOptions],
) -> TrainingTable:
    """The table of columns by feature name, checked.

    Without `message` or `channel`, the columns `message.name` and `message.channel` are used.

    Raises:
        TrainingError: columns differ in length, or a label, weight or time is impossible.
    """
    labels = np.asarray(label, dtype=np.float64)
    count = len(labels)
    weight, time = given.get("weight"), given.get("time")
    message, channel = given.get("message"), given.get("channel")
    messages = columns.get("message.name") if message is None else message
    channels = columns.get("message.channel") if channel is None else channel
    if messages is None or channels is None:
        raise TrainingError(
            "the table does not say which message each row is about; give the columns "
            "message.name and message.channel, or the arguments message and channel"
        )
    lengths = {name: len(column) for name, column in columns.items()}
    lengths |= {"message": len(messages), "channel": len(channels)}
    customer = given.get("customer")
    both = (("weight", weight), ("time", time), ("customer", customer))
    lengths |= {name: len(values) for name, values in both if values is not None}
    for name, length in lengths.items():
        if length != count:
            raise TrainingError(f"{name} has {length} rows; the label has {count}")
    wrong = np.flatnonzero((labels != 0) & (labels != 1))
    if len(wrong):
        raise TrainingError(f"label[{wrong[0]}] is {labels[wrong[0]]}; must be 0 or 1")
    weights = None if weight is None else np.asarray(weight, dtype=np.float64)
    if weights is not None:
        wrong = np.flatnonzero(~(np.isfinite(weights) & (weights > 0)))
        if len(wrong):
            raise TrainingError(
                f"weight[{wrong[0]}] is {weights[wrong[0]]}; must be a finite number above 0"
            )
    return TrainingTable(
        columns=columns,
        label=labels,
        message=[str(each) for each in messages],
        channel=[str(each) for each in channels],
        weight=weights,
        time=None if time is None else np.asarray(time, dtype=np.int64),
        customer=None if customer is None else [str(each) for each in customer],
    )


def table_of_rows(
    rows: Sequence[Mapping[str, Value]],
    label: Sequence[float] | NDArray[Any],
    **given: Unpack[TableOptions],
) -> TrainingTable:
    """The table of rows, which map features to values as logged; absent features are missing.

    Raises:
        TrainingError: see `table_of_columns`.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name, MISSING) for row in rows] for name in names}
    return table_of_columns(columns, label, **given)


def fit_to(table: TrainingTable, features: Sequence[Feature]) -> tuple[TrainingTable, list[Note]]:
    """The table with a column for each feature, and a note for each that may be misspelt.

    Raises:
        TrainingError: the table is empty.
    """
    if not len(table):
        raise TrainingError("the table has no rows; there is nothing to learn from")
    columns = dict(table.columns)
    notes = []
    for feature in features:
        if feature.name in columns:
            continue
        told: dict[str, str | int] = {"feature": feature.name, "rows": len(table)}
        near = get_close_matches(feature.name, table.columns, 1)
        if near:
            notes.append(note("no_value_but_near", **told, near=near[0]))
        columns[feature.name] = [MISSING] * len(table)
    fitted = msgspec.structs.replace(table, columns=columns)
    return fitted, notes
