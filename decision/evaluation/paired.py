"""Two policies compared on logged decisions: one number for each decision, doubly robust.

With π of the challenger, φ of what is in force, μ what was logged, and f = 1 + the lift that is
asked for, the increment of a decision is

    D + g(A)/μ(A) · value(A) · (response − p(A)),     g = π − f · φ,
    D = Σ g(a) · (value(a) · p(a) − cost(a))

Its expectation is what the challenger earns there less f times what is in force earns, whatever p
is, if p has not seen this response. Where a weight g/μ is large, p is kept so close to 0 (or to 1,
if g is negative) that no increment is below a bound that is known before; what was not possible in
the log counts as the worst that can be.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MOST: Final = 4.0
"""How far the log may pull an increment below D, in units of the highest value."""


class PairedRows(NamedTuple):
    """Decisions × candidates: probabilities, predictions, values, costs; what came of the choice.

    Values and costs may have one row for all. Silence is a candidate where it earns something.
    `chosen` is −1 for silence else, and for what is no candidate.
    """

    challenger: Array
    champion: Array
    logged: Array
    predicted: Array
    value: Array
    cost: Array
    chosen: NDArray[np.intp]
    reached: Array


def with_silence(
    rows: PairedRows, logged: float, predicted: float, value: float, *, chosen: bool
) -> PairedRows:
    """One decision with silence as its last candidate; it has the probability that is left.

    `value` is what a response after silence counts; it costs nothing.
    """

    def left(probability: Array) -> Array:
        return np.column_stack([probability, np.maximum(0.0, 1.0 - probability.sum(axis=1))])

    def also(column: Array, number: float) -> Array:
        return np.column_stack([column, np.full(len(column), number)])

    return PairedRows(
        left(rows.challenger),
        left(rows.champion),
        also(rows.logged, logged),
        also(rows.predicted, predicted),
        also(rows.value, value),
        also(rows.cost, 0.0),
        np.array([rows.logged.shape[1]]) if chosen else rows.chosen,
        rows.reached,
    )


def increments(rows: PairedRows, factor: float) -> Array:
    """The increment of each decision; `factor` is 1 + the lift that is asked for."""
    gain = rows.challenger - factor * rows.champion
    possible = rows.logged > 0
    weight = gain / np.where(possible, rows.logged, 1.0)
    with np.errstate(divide="ignore"):
        room = MOST / np.abs(weight)
    kept = np.where(
        gain > 0, np.minimum(rows.predicted, room), np.maximum(rows.predicted, 1.0 - room)
    )
    kept = np.where(possible, kept, np.where(gain > 0, 0.0, 1.0))
    found: Array = np.sum(gain * (rows.value * kept - rows.cost), axis=1)
    said = np.flatnonzero(rows.chosen >= 0)
    action = rows.chosen[said]
    worth = np.broadcast_to(rows.value, gain.shape)[said, action]
    found[said] += weight[said, action] * worth * (rows.reached[said] - kept[said, action])
    return found


def least_increment(value: Array, cost: Array, factor: float) -> float:
    """b: no increment of candidates with these values and costs is below −b."""
    top, dearest = float(value.max(initial=0.0)), float(cost.max(initial=0.0))
    return (MOST + factor) * top + dearest
