"""Counts of a block of decisions, small enough to be kept: what every report is a sum of.

A row counts `n` decisions of one local day, placement and slice, and what it counts is its `kind`:

- `decided`: `name` outcome, `other` reason of silence; `m` of them are of customers in a control
  group.
- `ended`: `name` of a `level`; `other` the number of an end (see `ends`): `n` decisions in which
  the one that came furthest of its candidates ended there, `m` candidates that did.
- `ranked`: `name` of a `level`; `other` its rank among the survivors, 1 is the highest priority;
  `m` decisions of them in which it was chosen.
- `won`: `name` of a `level` was chosen and `other` was not, though it was left; `x` sums the ranks
  of the loser, `y` the margins: the winner's priority − the loser's.
- `best`: `level` is a part of the priority (see `sensitivity`), `name` the candidate that is best,
  `other` the one that is with that part neutral.
- `several`: decisions with two or more survivors and a choice.

A decision counts once in the slice `""`, and once more in the slice of each test that it exposed
the customer to, with its variant as the value; likewise for a segment, where one is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from decision.analytics.candidates import sensitivity
from decision.analytics.candidates.block import Block, Coded, Floats, Ints
from decision.analytics.candidates.ends import ENDS, IN_DRAW
from decision.analytics.candidates.facts import Facts

CHOSEN_END: Final = len(ENDS) - 1
LEVELS: Final = ("decision", "message", "channel", "category", "candidate")
"""What candidates are counted by; `decision` has one name, empty, for all of a decision."""
COMPETING: Final = ("message", "channel", "category")
"""The levels by which winners and losers are counted."""
MOST_RANKS: Final = 20
"""Ranks from here on are counted as this one."""
UNKNOWN: Final = "?"
"""The category of a candidate whose policy is not kept."""


class Slices(NamedTuple):
    """Some of a block's decisions: which, and each one's local day, placement and value as one
    number, a place in `contexts`."""

    kind: str
    within: Any
    context: Ints
    contexts: list[tuple[int, str, str]]


class Grouping(NamedTuple):
    """The level's names, and the one of each candidate."""

    level: str
    names: list[str]
    of: Ints


class Survivors(NamedTuple):
    """The best candidate of each name of a level that is left in the draw, by row and rank."""

    row: Ints
    name: Ints
    rank: Ints
    priority: Floats
    chosen: Any


def tally(
    block: Block, days: Ints, facts: Facts | None, others: dict[str, Coded] | None = None
) -> Iterator[Any]:
    """Tables of counts. `days` are the local days of the decisions, as days since 1970-01-01.

    `others` are further slices: kind → the value of each decision, −1 for none.
    """
    everything = Coded(np.zeros(len(days), np.int64), [""])
    kinds = {"": everything, **block.variants, **(others or {})}
    groups = groupings(block, facts)
    furthest = [(one, *_furthest(block, one)) for one in groups]
    left = [(one, _survivors(block, one)) for one in groups if one.level in COMPETING]
    several = _several(block)
    choices = sensitivity.choices(block, facts) if facts else []
    for kind, values in kinds.items():
        count = _Counter(_slices(kind, values, days, block.placement))
        yield count.decided(block)
        yield from count.ended(block, furthest)
        for grouping, survivors in left:
            yield count.ranked(grouping, survivors)
            yield count.won(grouping, survivors)
        for one in choices:
            yield count.best(one, groups[-1].names)
        yield count.several(several)


def groupings(block: Block, facts: Facts | None) -> list[Grouping]:
    """By which names the candidates of a block are counted."""
    pairs = block.pairs
    categories = [
        UNKNOWN if facts is None or one not in facts else facts[one].category for one in pairs
    ]
    named = {
        "decision": [""] * len(pairs),
        "message": [message for message, _ in pairs],
        "channel": [channel for _, channel in pairs],
        "category": categories,
        "candidate": [f"{message}/{channel}" for message, channel in pairs],
    }
    found = []
    for level in LEVELS:
        names = list(dict.fromkeys(named[level]))
        numbers = {name: number for number, name in enumerate(names)}
        of = np.array([numbers[name] for name in named[level]], np.int64)
        found.append(Grouping(level, names, of))
    return found


def _slices(kind: str, values: Coded, days: Ints, placement: Coded) -> Slices:
    wide, places = len(values.names), len(placement.names)
    number = (days * places + placement.codes) * wide + values.codes
    within = values.codes >= 0
    found, inverse = np.unique(number[within], return_inverse=True)
    context = np.zeros(len(days), np.int64)
    context[within] = inverse
    contexts = [
        (one // wide // places, placement.names[one // wide % places], values.names[one % wide])
        for one in found.tolist()
    ]
    return Slices(kind, within, context, contexts)


def _furthest(block: Block, grouping: Grouping) -> tuple[Any, Ints, Ints]:
    """How far the one that came furthest of each name's candidates came, by name and decision;
    the candidates in the order of the names, and where each name begins."""
    order = np.argsort(grouping.of, kind="stable")
    starts = np.searchsorted(grouping.of[order], np.arange(len(grouping.names)))
    return np.maximum.reduceat(block.ends[order], starts, axis=0), order, starts


def _several(block: Block) -> Ints:
    """The decisions with two or more survivors and a choice."""
    left = block.row[block.ends[block.place, block.row] >= IN_DRAW]
    chosen = (block.ends == CHOSEN_END).any(axis=0)
    many: Ints = np.flatnonzero((np.bincount(left, minlength=len(chosen)) > 1) & chosen)
    return many


def _survivors(block: Block, grouping: Grouping) -> Survivors:
    end = block.ends[block.place, block.row]
    left = np.flatnonzero(end >= IN_DRAW)
    row, place, priority = block.row[left], block.place[left], block.priority[left]
    order = np.lexsort((place, -priority, row))
    row, name, priority = row[order], grouping.of[place[order]], priority[order]
    chosen = end[left][order] == CHOSEN_END
    width = len(grouping.names)
    keys, best, inverse = np.unique(row * width + name, return_index=True, return_inverse=True)
    any_chosen = np.bincount(inverse, chosen, len(keys)) > 0
    ranked = np.argsort(best, kind="stable")  # by row, then as their best candidates are
    row, name, priority = row[best][ranked], name[best][ranked], priority[best][ranked]
    return Survivors(row, name, rank_of(row), priority, any_chosen[ranked])


def rank_of(row: Ints) -> Ints:
    """The place of each entry among those of its row, from 1; `row` ascends."""
    found: Ints = np.arange(len(row)) - np.searchsorted(row, row) + 1
    return found


class _Counter:
    """Counts of one kind of slices."""

    def __init__(self, slices: Slices) -> None:
        self._slices = slices

    def decided(self, block: Block) -> Any:
        rows = np.flatnonzero(self._slices.within)
        others = [*block.reason.names, ""]
        other = block.reason.codes[rows] % len(others)  # −1, null, is the last
        held = block.holdout[rows].astype(np.int64)
        name, names = block.outcome.codes[rows], block.outcome.names
        return self._counted("decided", "", rows, name, other, names, others, m=held)

    def ended(
        self, block: Block, furthest: list[tuple[Grouping, Any, Ints, Ints]]
    ) -> Iterator[Any]:
        rows, width = self._slices.within, len(ENDS) + 1
        base = self._slices.context[rows] * width + 1
        size = len(self._slices.contexts)

        def counted(ends: Any) -> Any:
            found = [np.bincount(base + one, minlength=size * width) for one in ends[:, rows]]
            return np.reshape(found, (len(ends), size, width))[:, :, 1:]

        own = counted(block.ends)  # by candidate
        names = [str(number) for number in range(len(ENDS))]
        for grouping, ends, order, starts in furthest:
            n = counted(ends)
            m = np.add.reduceat(own[order], starts, axis=0)
            name, context, end = where = np.nonzero(n + m)
            yield self._table(
                "ended", grouping.level, context, name, end, grouping.names, names,
                n[where], m[where],
            )  # fmt: skip

    def ranked(self, grouping: Grouping, left: Survivors) -> Any:
        own = np.flatnonzero(self._slices.within[left.row])
        rank = np.minimum(left.rank[own], MOST_RANKS)
        names = [str(number) for number in range(MOST_RANKS + 1)]
        return self._counted(
            "ranked", grouping.level, left.row[own], left.name[own], rank, grouping.names, names,
            m=left.chosen[own].astype(np.int64),
        )  # fmt: skip

    def won(self, grouping: Grouping, left: Survivors) -> Any:
        own = self._slices.within[left.row]
        winners, losers = np.flatnonzero(own & left.chosen), np.flatnonzero(own & ~left.chosen)
        first = np.searchsorted(left.row[winners], left.row[losers], "left")
        many = np.searchsorted(left.row[winners], left.row[losers], "right") - first
        loser = np.repeat(losers, many)
        winner = winners[
            np.repeat(first, many) + rank_of(np.repeat(np.arange(len(losers)), many)) - 1
        ]
        return self._counted(
            "won", grouping.level, left.row[loser], left.name[winner], left.name[loser],
            grouping.names, grouping.names, x=left.rank[loser],
            y=left.priority[winner] - left.priority[loser],
        )  # fmt: skip

    def best(self, one: sensitivity.Choices, names: list[str]) -> Any:
        own = self._slices.within[one.rows]
        best, otherwise = one.best[own], one.otherwise[own]
        return self._counted("best", one.part, one.rows[own], best, otherwise, names, names)

    def several(self, rows: Ints) -> Any:
        own = rows[self._slices.within[rows]]
        none = np.zeros(len(own), np.int64)
        return self._counted("several", "", own, none, none, [""], [""])

    def _counted(
        self, kind: str, level: str, rows: Ints, name: Ints, other: Ints,
        names: list[str], others: list[str], **sums: Any,
    ) -> Any:  # fmt: skip
        """A row for each (context, name, other) that occurs."""
        width = len(names) * len(others)
        key = self._slices.context[rows] * width + name * len(others) + other
        found, inverse, n = np.unique(key, return_inverse=True, return_counts=True)
        totals = {one: np.bincount(inverse, of, len(found)) for one, of in sums.items()}
        return self._table(
            kind, level, found // width, found % width // len(others), found % len(others),
            names, others, n, **totals,
        )  # fmt: skip

    def _table(
        self, kind: str, level: str, context: Ints, name: Ints, other: Ints,
        names: list[str], others: list[str], n: Ints, m: Any = None, x: Any = None, y: Any = None,
    ) -> Any:  # fmt: skip
        import pyarrow as pa

        def zeros(values: Any, dtype: Any) -> Any:
            return np.zeros(len(n), dtype) if values is None else np.asarray(values).astype(dtype)

        def repeated(text: str) -> Any:
            return _named(np.zeros(len(n), np.int64), [text])

        contexts = self._slices.contexts
        return pa.table(
            {
                "kind": repeated(kind),
                "slice": repeated(self._slices.kind),
                "value": _named(context, [value for _, _, value in contexts]),
                "day": np.array([day for day, _, _ in contexts], np.int32)[context],
                "placement": _named(context, [place for _, place, _ in contexts]),
                "level": repeated(level),
                "name": _named(name, names),
                "other": _named(other, others),
                "n": n.astype(np.int64),
                "m": zeros(m, np.int64),
                "x": zeros(x, np.float64),
                "y": zeros(y, np.float64),
            }
        )


def _named(codes: Ints, names: list[str]) -> Any:
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(names, pa.string()))
