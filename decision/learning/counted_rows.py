"""Rows of a log that count, and what customers did about them: what a join finds.

They are found one after the other, see `joining`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.scoring.notes import Note


class ControlRows(NamedTuple):
    """Of each row: the probability of silence, and that of what was said (NaN of silence).

    `offered` has, by row of silence, what could have been said, with its probability (0: nothing
    was drawn); `row_of` is the row of each decision in which nothing was said.
    """

    silence: NDArray[np.float64]
    given: NDArray[np.float64]
    offered: dict[int, dict[str, float]]
    row_of: dict[str, int]


class CountedRows(msgspec.Struct, kw_only=True):
    """The rows that count, in order of time, with the place of each in the archive (see `FILE`).

    `by_place` are the rows in order of their places. `closes_at` (microseconds) is when the first
    of the open windows closes. `silence` and `given`: as in `Examples`.
    """

    place: NDArray[np.int64]
    by_place: NDArray[np.intp]
    at: NDArray[np.int64]
    probability: NDArray[np.float64]
    position: NDArray[np.int32]
    messages: list[str]
    message: NDArray[np.int32]
    channels: list[str]
    channel: NDArray[np.int32]
    fold: NDArray[np.int8] | None
    silence: NDArray[np.float64] | None = None
    given: NDArray[np.float64] | None = None
    closes_at: int | None = None

    def __len__(self) -> int:
        return len(self.place)


class Responses(msgspec.Struct, kw_only=True):
    """The label of each row that counts, and what could have been said instead of silence."""

    label: NDArray[np.float64]
    control: ControlRows | None = None


class LeftOut(msgspec.Struct):
    """The number of selections and of outcomes that do not count, by reason, and notes on them."""

    rows: dict[str, int] = {}
    notes: tuple[Note, ...] = ()


def in_order_of(*keys: NDArray[Any]) -> NDArray[np.intp]:
    """The order by all keys, the first one first, in which most rows are nearly sorted already."""
    order = np.argsort(keys[0], kind="stable")
    first = keys[0][order]
    alike = first[1:] == first[:-1]
    places = np.flatnonzero(np.append(alike, False) | np.append(False, alike))
    some = order[places]
    order[places] = some[np.lexsort([key[some] for key in reversed(keys)])]
    return order


def present(names: Sequence[str], numbers: NDArray[Any]) -> tuple[list[str], NDArray[np.int32]]:
    """The names that occur, in order, and the index of each row's name among them."""
    found = np.flatnonzero(np.bincount(numbers, minlength=len(names)))
    place = np.zeros(len(names), np.int32)
    place[found] = np.arange(len(found), dtype=np.int32)
    return [names[each] for each in found.tolist()], place[numbers]
