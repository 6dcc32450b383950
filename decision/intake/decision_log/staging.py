"""Checked rows of a table, kept in a file until all are read, then given back in order of time.

Of each row only a few numbers stay in memory: the file may be larger than the machine's.
"""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.intake.decision_log.reading import LoggedRow

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(LoggedRow).decode


class StagedRows:
    """Rows that wait in a file. Add them all within its context, then call `settle`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb")
        self._size = 0
        self._at = array("q")
        self._identity = array("Q")
        self._customer = array("Q")
        self._start = array("q")

    def __enter__(self) -> StagedRows:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, row: LoggedRow) -> None:
        """Adds a row."""
        data = _encode(row)
        self._file.write(data)
        self._at.append(row.at)
        self._identity.append(int.from_bytes(row.identity()[:8], "big"))
        digest = blake2b(row.customer_id.encode(), digest_size=8).digest()
        self._customer.append(int.from_bytes(digest, "big"))
        self._start.append(self._size)
        self._size += len(data)

    def settle(self) -> SettledRows:
        """All rows, after the context has ended."""
        self._start.append(self._size)
        return SettledRows(
            self._path,
            np.array(self._at, np.int64),
            np.array(self._identity, np.uint64),
            np.array(self._customer, np.uint64),
            np.array(self._start, np.int64),
        )


class Again(msgspec.Struct, frozen=True):
    """A row about the decision of an earlier one: their numbers, and whether all is the same."""

    number: int
    first: int
    same: bool


class SettledRows:
    """All rows of a table. `at` (microseconds) and `key` are by their order in the file.

    `key` is a number made of what identifies the decision: rows are sampled by it.
    """

    def __init__(
        self,
        path: Path,
        at: NDArray[np.int64],
        key: NDArray[np.uint64],
        customer: NDArray[np.uint64],
        start: NDArray[np.int64],
    ) -> None:
        self.at = at
        self.key = key
        self._path = path
        self._start = start
        self._kept = np.ones(len(at), bool)
        _, inverse, counts = np.unique(customer, return_inverse=True, return_counts=True)
        self._alone = counts[inverse] == 1 if len(at) else np.empty(0, bool)

    def __len__(self) -> int:
        return int(self._kept.sum())

    def span(self) -> tuple[int, int]:
        """The times of the first row and of the last."""
        own = self.at[self._kept]
        return int(own.min()), int(own.max())

    def months(self) -> set[str]:
        """The months, in UTC, that have rows: `2026-11`."""
        found = np.unique(self.at[self._kept].astype("datetime64[us]").astype("datetime64[M]"))
        return set(found.astype(str).tolist())

    def drop_repeated(self) -> list[Again]:
        """Leaves out rows about a decision that an earlier row is about; says which they are."""
        order = np.lexsort((np.arange(len(self.key)), self.key))
        keys = self.key[order]
        starts = np.concatenate(([True], keys[1:] != keys[:-1])) if len(keys) else keys
        firsts = order[np.maximum.accumulate(np.where(starts, np.arange(len(keys)), 0))]
        found = []
        with _mapped(self._path) as data:
            for place in np.flatnonzero(~starts) if len(keys) else ():
                one, first = self._row(data, order[place]), self._row(data, firsts[place])
                if one.identity() != first.identity():
                    continue
                self._kept[order[place]] = False
                same = msgspec.structs.replace(one, number=first.number) == first
                found.append(Again(one.number, first.number, same))
        return sorted(found, key=lambda again: again.number)

    def rows(self) -> Iterator[tuple[LoggedRow, bool, int]]:
        """(row, whether its customer has this one alone, key) of all rows, in order of time."""
        order = np.lexsort((np.arange(len(self.at)), self.at))
        order = order[self._kept[order]]
        alone, keys = self._alone[order].tolist(), self.key[order].tolist()
        with _mapped(self._path) as data:
            for place, own, key in zip(order.tolist(), alone, keys, strict=True):
                yield self._row(data, place), own, key

    def _row(self, data: Any, place: int) -> LoggedRow:
        return _decode(data[self._start[place] : self._start[place + 1]])


@contextmanager
def _mapped(path: Path) -> Iterator[Any]:
    """The bytes of a file, read as they are asked for."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
