"""Where boxes and arrows go, in layers from top to bottom (Sugiyama's method).

An arrow that leads back up is turned over first. Boxes get layers by the longest way to them;
between two layers is one for labels. An arrow that crosses layers has a bend in each, so that
nothing lies on anything else. Layers are put in order by barycenters, which keeps crossings few,
and then moved sideways to where their neighbours are, as far as their order allows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

Point = tuple[float, float]
Size = tuple[float, float]

_BESIDE: Final = 28.0
_BETWEEN: Final = 20.0
_SWEEPS: Final = 12
_BEND: Final = (10.0, 0.0)
"""Pixels: between boxes beside each other, between layers, and the size of a bend."""


class Layout(msgspec.Struct, frozen=True):
    """The centres of all boxes, and of each edge its points and the centre of its label."""

    centres: list[Point]
    routes: list[list[Point]]
    labels: list[Point]
    width: float
    height: float


class _Graph:
    """Places, which are boxes and bends, in layers; links lead from each layer to the next."""

    def __init__(self, sizes: Sequence[Size], edges: Sequence[tuple[int, int, Size]]) -> None:
        self.sizes = list(sizes)
        turned = _turned(len(sizes), edges)
        self.layer = _layers(
            len(sizes),
            [(b, a) if back else (a, b) for (a, b, _), back in zip(edges, turned, strict=True)],
        )
        self.above: dict[int, list[int]] = {}
        self.below: dict[int, list[int]] = {}
        self.chains: list[list[int]] = []
        """Of each edge the places that it goes through, from its source to its target."""
        self.label_at: list[int] = []
        for (source, target, label), back in zip(edges, turned, strict=True):
            self._chain(source, target, label, back)
        self.rows: list[list[int]] = [[] for _ in range(max(self.layer) + 1)]
        for place, layer in enumerate(self.layer):
            self.rows[layer].append(place)

    def _chain(self, source: int, target: int, label: Size, back: bool) -> None:
        top, bottom = (target, source) if back else (source, target)
        bends = range(self.layer[top] + 1, self.layer[bottom])
        first = len(self.sizes)
        self.sizes += [_BEND] * len(bends)
        self.layer += bends
        chain = [top, *range(first, first + len(bends)), bottom]
        for one, other in itertools.pairwise(chain):
            self.below.setdefault(one, []).append(other)
            self.above.setdefault(other, []).append(one)
        self.chains.append(chain[::-1] if back else chain)
        at = chain[-2 if back else 1]
        self.label_at.append(at)
        if label[0]:
            self.sizes[at] = label

    def height(self, place: int) -> float:
        """The height of the layer of a place."""
        return max(self.sizes[one][1] for one in self.rows[self.layer[place]])


def layout(sizes: Sequence[Size], edges: Sequence[tuple[int, int, Size]]) -> Layout:
    """Places boxes of these (width, height), and edges (source, target, size of the label).

    An edge from a box to itself has no route.

    >>> found = layout([(100, 40), (60, 40)], [(0, 1, (0, 0))])
    >>> found.centres, found.width, found.height
    ([(50.0, 20.0), (50.0, 100.0)], 100.0, 120.0)
    >>> found.routes
    [[(50.0, 40.0), (50.0, 60.0), (50.0, 60.0), (50.0, 80.0)]]
    """
    proper = [number for number, (a, b, _) in enumerate(edges) if a != b]
    graph = _Graph(sizes, [edges[number] for number in proper])
    _order(graph)
    x, y = _across(graph), _down(graph)
    routes: list[list[Point]] = [[] for _ in edges]
    labels: list[Point] = [(0.0, 0.0) for _ in edges]
    for number, chain, at in zip(proper, graph.chains, graph.label_at, strict=True):
        routes[number] = _route(graph, chain, x, y)
        labels[number] = (x[at], y[at])
    return Layout(
        [(x[one], y[one]) for one in range(len(sizes))],
        routes,
        labels,
        max(x[one] + size[0] / 2 for one, size in enumerate(graph.sizes)),
        max(y[one] + size[1] / 2 for one, size in enumerate(sizes)),
    )


def _turned(count: int, edges: Sequence[tuple[int, int, Size]]) -> list[bool]:
    """Of each edge whether it leads back to where a way from the first box came from."""
    outgoing: list[list[int]] = [[] for _ in range(count)]
    for number, (source, _, _) in enumerate(edges):
        outgoing[source].append(number)
    turned, state = [False] * len(edges), [0] * count  # 1: on the way, 2: done
    for root in range(count):
        todo = [(root, False)] if not state[root] else []
        while todo:
            box, done = todo.pop()
            if done:
                state[box] = 2
            elif not state[box]:
                state[box] = 1
                todo.append((box, True))
                for number in reversed(outgoing[box]):
                    target = edges[number][1]
                    if state[target] == 1:
                        turned[number] = True
                    elif not state[target]:
                        todo.append((target, False))
    return turned


def _layers(count: int, links: Sequence[tuple[int, int]]) -> list[int]:
    """The layer of each box: two below the lowest of those that lead to it."""
    layer = [0] * count
    changed = True
    while changed:
        changed = False
        for source, target in links:
            if layer[target] < layer[source] + 2:
                layer[target] = layer[source] + 2
                changed = True
    return layer


def _order(graph: _Graph) -> None:
    """Puts each layer in order, so that few links cross."""
    best, fewest = [list(row) for row in graph.rows], _crossings(graph)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        near = graph.above if down else graph.below
        rows = graph.rows if down else graph.rows[::-1]
        for fixed, row in itertools.pairwise(rows):
            place = {one: number for number, one in enumerate(fixed)}
            own = {one: float(number) for number, one in enumerate(row)}
            for one in row:
                own[one] = _mean((place[other] for other in near.get(one, ())), own[one])
            row.sort(key=lambda one, own=own: own[one])  # type: ignore[misc]
        found = _crossings(graph)
        if found < fewest:
            best, fewest = [list(row) for row in graph.rows], found
    graph.rows = best


def _crossings(graph: _Graph) -> int:
    """How many pairs of links cross."""
    total = 0
    for row, following in zip(graph.rows, graph.rows[1:], strict=False):
        place = {one: number for number, one in enumerate(following)}
        ends = [sorted(place[other] for other in graph.below.get(one, ())) for one in row]
        flat = [end for own in ends for end in own]
        total += sum(a > b for number, a in enumerate(flat) for b in flat[number + 1 :])
    return total


def _across(graph: _Graph) -> list[float]:
    """How far to the right the centre of each place is."""
    x = [0.0] * len(graph.sizes)
    for row in graph.rows:
        _settle(graph, row, x, dict.fromkeys(row, 0.0))
    for sweep in range(2 * _SWEEPS):
        down = sweep % 2 == 0
        near = graph.above if down else graph.below
        for row in graph.rows if down else graph.rows[::-1]:
            wanted = {one: _mean((x[other] for other in near.get(one, ())), x[one]) for one in row}
            _settle(graph, row, x, wanted)
    left = min(x[one] - size[0] / 2 for one, size in enumerate(graph.sizes))
    return [at - left for at in x]


def _settle(graph: _Graph, row: list[int], x: list[float], wanted: dict[int, float]) -> None:
    """Moves a layer's places as near as can be (least squares) to where they are wanted, in their
    order and with room between them: isotonic regression, by pooling adjacent violators."""
    shift, offsets = 0.0, []
    for before, one in zip([None, *row], row, strict=False):
        if before is not None:
            shift += (graph.sizes[before][0] + graph.sizes[one][0]) / 2 + _BESIDE
        offsets.append(shift)
    pools: list[tuple[float, int]] = []
    for one, offset in zip(row, offsets, strict=True):
        total, count = wanted[one] - offset, 1
        while pools and pools[-1][0] / pools[-1][1] > total / count:
            more, others = pools.pop()
            total, count = total + more, count + others
        pools.append((total, count))
    means = [total / count for total, count in pools for _ in range(count)]
    for one, mean, offset in zip(row, means, offsets, strict=True):
        x[one] = mean + offset


def _down(graph: _Graph) -> list[float]:
    """How far down the centre of each place is."""
    y, top = [0.0] * len(graph.sizes), 0.0
    for row in graph.rows:
        height = graph.height(row[0])
        for one in row:
            y[one] = top + height / 2
        top += height + _BETWEEN
    return y


def _route(graph: _Graph, chain: list[int], x: list[float], y: list[float]) -> list[Point]:
    """The points of an edge: where it leaves a box, where it meets the other, and between them
    the upper and the lower end of its way through each layer."""
    first, last = chain[0], chain[-1]
    way = 1 if y[last] > y[first] else -1
    start = (_port(graph, first, chain[1], x, way), y[first] + way * graph.sizes[first][1] / 2)
    end = (_port(graph, last, chain[-2], x, -way), y[last] - way * graph.sizes[last][1] / 2)
    bends = [(one, graph.height(one) / 2 * way) for one in chain[1:-1]]
    through = [(x[one], y[one] + half) for one, high in bends for half in (-high, high)]
    return [start, *through, end]


def _port(graph: _Graph, box: int, towards: int, x: list[float], way: int) -> float:
    """Where on its upper or lower side a box is left: spread in the order of where it leads."""
    near = (graph.below if way > 0 else graph.above)[box]
    place = sorted(near, key=lambda one: x[one]).index(towards)
    return x[box] + graph.sizes[box][0] * 0.7 * ((place + 1) / (len(near) + 1) - 0.5)


def _mean(values: Iterable[float], otherwise: float) -> float:
    found = list(values)
    return sum(found) / len(found) if found else otherwise
