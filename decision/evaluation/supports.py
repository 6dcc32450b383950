"""What could have been chosen in logged decisions, read from their lists of candidates.

A list has an entry per candidate of the policy, so these lists are most of the log. They are read
in batches, and a byte or two are kept of each candidate that could have been chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from decision.archive.batches import column_batches, leaves, rows_with

SILENCE: Final = ""
"""Stands for "no message" where messages are keys."""

ENTRIES_AT_ONCE: Final = 1 << 19
"""Candidates read at once; this bounds memory."""

_MOST_SETS: Final = 4_096
_NEEDED: Final = ("message", "channel", "selection_probability")
_SHADOW: Final = "shadow_probability"

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]


class Supports:
    """Which candidates could have been chosen in each of some decisions, by place.

    `places` is decision id → place, from 0. `shadowed` is place → the candidate for which the
    challenger's probability is wanted: it is in `shadow` then, if there was one. With `shares`,
    the probabilities of the candidates are kept as well.

    Raises:
        ArrowException, OSError: a file cannot be read.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        places: Mapping[str, int],
        shadowed: Mapping[int, str],
        *,
        shares: bool,
    ) -> None:
        count = max(places.values(), default=-1) + 1
        self.shadow: dict[int, float] = {}
        self._places, self._shadowed, self._with_shares = places, shadowed, shares
        self._known: dict[str, int] = {}
        self._start, self._count = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._total = np.zeros(count)
        """The probability of all candidates together; the rest is that of silence."""
        self._kept: list[NDArray[Any]] = [np.empty(0, np.uint8)]
        self._kept_shares: list[Numbers] = [np.empty(0)]
        self._size = 0
        for path in paths:
            self._read(path)
        self._codes, self._shares = np.concatenate(self._kept), np.concatenate(self._kept_shares)
        del self._kept, self._kept_shares
        self._names = list(self._known)
        self._sets: dict[tuple[bytes, bool], frozenset[str]] = {}

    def names(self, place: int) -> frozenset[str]:
        """The candidates (`message/channel`) that could have been chosen; empty for silence."""
        codes, silent = self._codes[self._slice(place)], self._silent(place)
        key = (codes.tobytes(), silent)
        found = self._sets.get(key)
        if found is None:
            if len(self._sets) >= _MOST_SETS:
                self._sets.clear()
            names = [self._names[code] for code in codes.tolist()]
            found = self._sets[key] = frozenset([*names, SILENCE] if silent else names)
        return found

    def shares(self, place: int) -> dict[str, float]:
        """The probability of each of `names`; empty where they were not kept."""
        if not self._with_shares:
            return {}
        own = self._slice(place)
        names = [self._names[code] for code in self._codes[own].tolist()]
        found = dict(zip(names, self._shares[own].tolist(), strict=True))
        if self._silent(place):
            found[SILENCE] = float(1 - self._total[place])
        return found

    def _slice(self, place: int) -> slice:
        start = int(self._start[place])
        return slice(start, start + int(self._count[place]))

    def _silent(self, place: int) -> bool:
        return bool(self._total[place] < 1 - 1e-9)

    def _read(self, path: Path) -> None:
        within = {leaf.rpartition(".")[2]: leaf for leaf in leaves(path) if _listed(leaf)}
        if not within.keys() >= set(_NEEDED):
            return  # nothing is known of what could have been chosen but silence
        wanted = [*_NEEDED, *([_SHADOW] if self._shadowed and _SHADOW in within else [])]
        columns = ["decision_id", "position", *(within[name] for name in wanted)]
        texts = [within["message"], within["channel"]]
        rows = rows_with(path, texts[0], ENTRIES_AT_ONCE)
        for batch in column_batches(path, columns, texts, rows):
            ids = batch.column("decision_id").to_pylist()
            place = np.array([self._places.get(name, -1) for name in ids], np.int64)
            if "position" in batch.schema.names:
                position = batch.column("position").fill_null(1).to_numpy(zero_copy_only=False)
                place[position != 1] = -1
            if (place >= 0).any():
                self._add(place, batch.column("candidates"))

    def _add(self, place: Places, lists: Any) -> None:
        """Adds a batch: the place of each row (−1: not wanted), and its candidates."""
        ends = lists.offsets.to_numpy()
        values = lists.values.slice(ends[0], ends[-1] - ends[0])
        row = np.repeat(np.arange(len(place)), np.diff(ends))
        own = place[row] >= 0
        chance, known = _figures(values, "selection_probability")
        code = self._coded(values)
        wanted = place >= 0
        total = np.bincount(row, np.where(known, chance, 0.0), len(place))
        self._total[place[wanted]] = total[wanted]
        possible = own & known & (code >= 0) & ((chance > 0) | np.isnan(chance))
        count = np.bincount(row[possible], minlength=len(place))
        start = self._size + np.cumsum(count) - count
        self._start[place[wanted]], self._count[place[wanted]] = start[wanted], count[wanted]
        self._size += int(count.sum())
        self._kept.append(code[possible].astype(np.min_scalar_type(len(self._known))))
        if self._with_shares:
            self._kept_shares.append(chance[possible])
        if self._shadowed and values.type.get_field_index(_SHADOW) >= 0:
            self._note_shadows(place, ends - ends[0], code, *_figures(values, _SHADOW))

    def _coded(self, values: Any) -> Places:
        """The number of each candidate's name (`message/channel`); −1 where it has none."""
        (messages, message), (channels, channel) = (
            _texts(values.field(one)) for one in _NEEDED[:2]
        )
        names = [f"{one}/{other}" for one in messages for other in channels]
        table = np.array([self._known.setdefault(n, len(self._known)) for n in names] + [-1])
        place = message * len(channels) + channel
        found: Places = table[np.where((message < 0) | (channel < 0), len(names), place)]
        return found

    def _note_shadows(
        self,
        place: Places,
        ends: Places,
        code: Places,
        shadow: Numbers,
        known: NDArray[np.bool_],
    ) -> None:
        """Keeps what the challenger said of the chosen candidates."""
        for row, own in enumerate(place.tolist()):
            if own not in self._shadowed:
                continue
            chosen = self._known.get(self._shadowed[own], -2)
            here = np.flatnonzero(code[ends[row] : ends[row + 1]] == chosen)
            if len(here) and known[ends[row] + here[0]]:
                self.shadow[own] = float(shadow[ends[row] + here[0]])


def _listed(leaf: str) -> bool:
    """Whether a column is a field of the candidates."""
    return leaf.startswith("candidates.")


def _figures(values: Any, name: str) -> tuple[Numbers, NDArray[np.bool_]]:
    """A number per candidate, and whether it is known."""
    column = values.field(name)
    known = column.is_valid().to_numpy(zero_copy_only=False)
    return column.to_numpy(zero_copy_only=False), known


def _texts(column: Any) -> tuple[list[str], Places]:
    """The distinct texts, and the number of each candidate's; −1 where it has none."""
    import pyarrow as pa

    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    numbers = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return coded.dictionary.to_pylist(), numbers
