"""How much each part of the priority decides: who would be best if that part said nothing.

priority = response probability × value × lever − channel cost; of a model of uplift, its uplift
stands in the place of the response probability, and is that part here. A part is *neutral* when it
is the same for every survivor of a decision: response probability and value are their mean, the
lever is 1, the cost is 0, all are of one tier; without exploration the best is taken. With one part
neutral and the others as they were, the best of the survivors is looked for again, in the tier that
goes first; if it is another candidate, the part decided. This is the sensitivity of the Decision
Analyzer in pdstools, which drops one factor of a product, with a cost and tiers added.

The lever is what the logged figures leave: (priority + cost) ÷ (response probability or uplift ×
value), and 1 where that product is 0. A tie changes nothing. Decisions that chose nothing do not
count. Of several selections the first counts.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from decision.analytics.candidates.block import Block, Floats, Ints
from decision.analytics.candidates.ends import IN_DRAW
from decision.analytics.candidates.facts import CandidateFacts, Facts

PARTS: Final = ("response_probability", "value", "lever", "cost", "exploration", "tiers")
_TIE: Final = 1e-6
"""Priorities that differ by less than this part of the larger one are equal: the log keeps them as
float32."""


class Choices(NamedTuple):
    """Of each decision (`rows`): the candidate that is best, and the best with a part neutral.

    For exploration it is the other way round: the one that was chosen, and the best.
    """

    part: str
    rows: Ints
    best: Ints
    otherwise: Ints


def choices(block: Block, facts: Facts) -> list[Choices]:
    """The choices of a block, for each part."""
    known = [facts.get(pair) for pair in block.pairs]
    values, costs, tiers = (
        np.array([0.0 if one is None else one[field] for one in known])
        for field in map(CandidateFacts._fields.index, ("value", "cost", "tier"))
    )
    left = (block.ends[block.place, block.row] >= IN_DRAW) & (block.first[block.row] >= 0)
    row, place = block.row[left], block.place[left]
    if not len(row):
        return []
    starts = np.flatnonzero(np.diff(row, prepend=-1))
    lengths = np.diff(np.append(starts, len(row)))
    rows = row[starts]

    def by_row(of: Any, how: Any) -> Any:
        return np.repeat(how.reduceat(of, starts), lengths)

    tier = tiers[place]
    foremost = tier == by_row(tier, np.minimum)

    def mean(of: Floats) -> Floats:
        total = by_row(np.where(foremost, of, 0.0), np.add)
        found: Floats = total / by_row(foremost.astype(float), np.add)
        return found

    effect, priority = block.effect[left], block.priority[left]
    value, cost = values[place], costs[place]
    product = effect * value
    gross = priority + cost
    lever = np.divide(gross, product, out=np.ones(len(row)), where=product != 0)
    neutral = {
        "response_probability": mean(effect) * value * lever - cost,
        "value": effect * mean(value) * lever - cost,
        "lever": product - cost,
        "cost": gross,
    }
    best = _best(priority, foremost, by_row, starts)
    found = [
        Choices(part, rows, place[best], place[_best(other, foremost, by_row, starts, best)])
        for part, other in neutral.items()
    ]
    alone = _best(priority, np.ones(len(row), bool), by_row, starts, best)
    return [
        *found,
        Choices("exploration", rows, block.first[rows], place[best]),
        Choices("tiers", rows, place[best], place[alone]),
    ]


def _best(
    priority: Floats, among: Any, by_row: Any, starts: Ints, unless: Ints | None = None
) -> Ints:
    """The entry with the highest priority of each row, the first of equal ones.

    `unless` are entries that stay where they are as good.
    """
    own = np.where(among, priority, -np.inf)
    highest = by_row(own, np.maximum)
    numbers = np.arange(len(own))
    equal = own >= highest - _TIE * np.maximum(1.0, np.abs(highest))
    found: Ints = np.minimum.reduceat(np.where(equal, numbers, len(own)), starts)
    return found if unless is None else np.where(equal[unless], unless, found)
