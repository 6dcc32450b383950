"""The trees of one decision, without a branch for each node.

The code of lleaves walks from node to node. That is fast for rows like those before. But each
decision is for another customer: the processor guesses most branches wrongly, and the code is
larger than its caches. Here no node costs a branch (QuickScorer, Lucchese et al. 2015). A tree's
leaves, from left to right, are the bits of a mask. A node that sends a row to the right takes the
leaves on its left out; the lowest bit that remains is the row's leaf.

What all nodes of a feature take out depends only on the two thresholds that its value is between.
That is computed when a version is compiled, and kept beside its code: a table with a row for each
such interval and a mask for each tree. In a decision, the customer's features are looked up once
for all candidates; what says what a message is, once for all decisions.

Leaves are added in the order in which lleaves adds them, so the sums are the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from decision.core.errors import NextbestError
from decision.scoring.leaf_kernel import compile_kernel
from decision.scoring.machine_code import address
from decision.scoring.model import Bound

if TYPE_CHECKING:
    from lleaves.compiler.ast.nodes import DecisionNode, Forest, Node

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
MOST_LEAVES: Final = 64
MOST_BYTES: Final = 16 << 20
_TINY: Final = -5e-324
"""The number next below 0."""
_NONE, _ZERO = 0, 1


class NoMasks(NextbestError, ValueError):
    """The trees are too large for it; the text says by what."""


class _Split(NamedTuple):
    """A node, its tree, and the mask of the leaves on its left."""

    node: DecisionNode
    tree: int
    left: int


class LeafTables(NamedTuple):
    """What a forest comes to.

    `leaves` are the values of each tree's leaves. `asked` are the features that some node splits.
    `table` has the rows of one feature after those of the other, from its place in `starts` on:
    that of no value, then one for each interval, ascending; `ends` has the intervals' upper ends.
    """

    leaves: Floats
    asked: Indices
    starts: Indices
    ends: Floats
    table: NDArray[Any]

    @classmethod
    def of(cls, forest: Forest) -> LeafTables:
        """Those of a forest.

        Raises:
            NoMasks: a tree has more leaves than a mask has bits, or the table would be too large.
        """
        roots = [tree.root_node for tree in forest.trees]
        most = max(map(_count, roots))
        if most > MOST_LEAVES:
            raise NoMasks(f"a tree has {most} leaves; {MOST_LEAVES} at most")
        kind = np.dtype(np.uint32 if most <= 32 else np.uint64)
        bits = kind.itemsize * 8
        leaves = np.zeros((len(roots), bits))
        nodes: list[list[_Split]] = [[] for _ in forest.features]
        for tree, root in enumerate(roots):
            _walk(root, tree, 0, leaves[tree], nodes)
        asked = np.array([feature for feature, own in enumerate(nodes) if own], dtype=np.int64)
        ends = [_ends([each.node for each in own]) for own in nodes]
        starts = np.cumsum([0, *map(len, ends)])
        rows = int(starts[-1])
        if rows * len(roots) * kind.itemsize > MOST_BYTES:
            raise NoMasks(f"{rows} rows of {len(roots)} trees are over {MOST_BYTES} bytes")
        table = np.full((rows, len(roots)), (1 << bits) - 1, kind)
        for own, end, start in zip(nodes, ends, starts.tolist(), strict=False):
            _fill(table[start : start + len(end)], own, end)
        return cls(leaves, asked, starts, np.concatenate(ends), table)

    @classmethod
    def read(cls, path: Path) -> LeafTables | None:
        """Those that were written; None where there are none.

        Raises:
            OSError, ValueError: the file cannot be read.
        """
        with np.load(path) as arrays:
            return cls(**arrays) if arrays.files else None


def write_tables(path: Path, tables: LeafTables | None) -> None:
    """Writes tables into a file whose name ends in `.npz`; None: that there are none."""
    np.savez(path, **({} if tables is None else tables._asdict()))


class LeafMasks:
    """The trees that tables are of, whose sums are made in blocks of that many trees."""

    def __init__(self, tables: LeafTables, block: int) -> None:
        self._leaves, asked, self._starts, self._ends, self._table = tables
        self._asked = {*asked.tolist()}
        self._type = self._table.dtype
        self._block = block
        self._code = compile_kernel(self._type.itemsize * 8)

    def bound(self, candidates: Floats, fixed: Sequence[int], own: Sequence[int]) -> Bound:
        """The trees over the decisions of some candidates, which have a row each here.

        Of each decision's matrix, the features `fixed` are as they are here; those of `own` differ
        from row to row; all others are the same in all rows. No value is infinite. Where no tree
        asks for one of `own`, only the first row of a matrix is looked at.
        """
        known = np.full((len(candidates), len(self._leaves)), ~self._type.type(0))
        for feature in fixed:
            known &= self._table[self._rows(feature, candidates[:, feature])]
        shared = self._split({*range(candidates.shape[1])} - {*fixed, *own})
        varying = self._split(own)
        kept = (*shared, *varying, self._ends, self._table, known, self._leaves)
        sizes = (candidates.shape[1], len(shared[0]), len(varying[0]), len(self._leaves))
        places = [array.ctypes.data for array in kept]
        same = np.array([*sizes, self._block, *places], dtype=np.int64)
        code, at, arrays = self._code, same.ctypes.data, (same, *kept)

        def log_odds(matrix: Floats, rows: Indices) -> Floats:
            found = np.zeros(len(rows))
            if len(rows) and arrays:  # they stay as long as this does: `at` leads to them
                code(address(matrix), rows.tobytes(), address(found), len(rows), at)
            return found

        return log_odds

    def _rows(self, feature: int, values: Floats) -> Indices:
        """The rows of the table for values of a feature."""
        first, end = self._starts[feature], self._starts[feature + 1]
        place = self._ends[first:end].searchsorted(values)
        found: Indices = np.where(np.isnan(values), first, first + place)
        return found

    def _split(self, features: Iterable[int]) -> tuple[Indices, Indices]:
        """Those of the features that some node splits, and where their rows begin."""
        found = np.array(sorted(self._asked.intersection(features)), dtype=np.int64)
        return found, self._starts[found]


def _walk(node: Node, tree: int, first: int, leaves: Floats, nodes: list[list[_Split]]) -> int:
    """Notes the leaves, and the nodes of each feature; gives the leaf after the last."""
    if node.is_leaf:
        leaves[first] = node.value
        return first + 1
    middle = _walk(node.left, tree, first, leaves, nodes)
    nodes[node.split_feature].append(_Split(node, tree, (1 << middle) - (1 << first)))
    return _walk(node.right, tree, middle, leaves, nodes)


def _count(node: Node) -> int:
    return 1 if node.is_leaf else _count(node.left) + _count(node.right)


def _ends(nodes: Sequence[DecisionNode]) -> Floats:
    """The upper ends of the intervals in which each of these nodes decides alike; -inf stands for
    no value. Those of a categorical feature are its codes."""
    ends = {np.inf}
    for node in nodes:
        if node.decision_type.is_categorical:
            ends.update(map(float, range(32 * len(node.cat_threshold))))
        else:
            ends.add(node.threshold)
            if _missing(node) == _ZERO:
                ends.update((_TINY, 0.0))
    return np.array([-np.inf, *sorted(ends)])


def _fill(table: NDArray[Any], splits: Sequence[_Split], ends: Floats) -> None:
    """Takes out of the rows of one feature what its nodes take out, as the code of lleaves does."""
    plain = []
    for split in splits:
        if not split.node.decision_type.is_categorical and _missing(split.node) != _ZERO:
            plain.append(split)
            continue
        table[_goes_right(split.node, ends), split.tree] &= ~table.dtype.type(split.left)
    # What goes to the right above a threshold, with all thresholds at once.
    limits = np.array([node.threshold for node, _, _ in plain], dtype=np.float64)
    trees = np.array([tree for _, tree, _ in plain], dtype=np.intp)
    kept = ~np.array([left for _, _, left in plain], dtype=table.dtype)
    first = ends.searchsorted(limits) + 1
    within = first < len(ends)
    above = np.full_like(table, ~table.dtype.type(0))
    np.bitwise_and.at(above, (first[within], trees[within]), kept[within])
    nothing = np.array([not _nothing_goes_left(node) for node, _, _ in plain], dtype=np.bool_)
    np.bitwise_and.at(table[0], trees[nothing], kept[nothing])
    table[1:] &= np.bitwise_and.accumulate(above[1:], axis=0)


def _goes_right(node: DecisionNode, ends: Floats) -> NDArray[np.bool_]:
    """The rows of its feature that the node sends to the right."""
    right = np.ones(len(ends), dtype=np.bool_)
    if node.decision_type.is_categorical:
        words: Sequence[int] = node.cat_threshold
        right[[32 * n + bit + 1 for n, word in enumerate(words) for bit in _bits(word)]] = False
        return right
    right[1:] = ends[1:] > node.threshold
    right[(ends == 0.0) | (ends == -np.inf)] = not _nothing_goes_left(node)
    return right


def _nothing_goes_left(node: DecisionNode) -> bool:
    if _missing(node) == _NONE:  # no value counts as 0
        return bool(node.threshold >= 0.0)
    return bool(node.decision_type.is_default_left)


def _missing(node: DecisionNode) -> int:
    """What counts as no value: `_NONE`, `_ZERO` or 2 (nothing but no value does)."""
    return int(node.decision_type.idx >> 2 & 3)


def _bits(word: int) -> list[int]:
    return [bit for bit in range(32) if word >> bit & 1]
