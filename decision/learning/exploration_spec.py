"""Exploration in a model spec: one γ, or a schedule by the rows that were learned from."""

from __future__ import annotations

import math

import msgspec

from decision.rulebook.checker import Checker
from decision.rulebook.yaml_source import Node


class ExplorationSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """Exploration that decreases with experience: γ from `start` to `end` over `over` rows.

    γ grows with the square root of the number of rows, as in SquareCB (Foster & Rakhlin 2020).
    """

    start: float
    end: float
    over: int

    def at(self, rows: int) -> float:
        """γ of a model that learned from `rows` rows.

        >>> ExplorationSchedule(start=30, end=130, over=10_000).at(2_500)
        80.0
        """
        share = math.sqrt(min(1.0, rows / self.over))
        return self.start + (self.end - self.start) * share


def read_exploration(checker: Checker, node: Node | None) -> float | ExplorationSchedule | None:
    """γ, or its schedule; None: the policy's."""
    if node is None or not isinstance(node.value, dict):
        return None if node is None else checker.number(node, "exploration", least=0)
    with checker.entry(node, "exploration") as entry:
        start = entry.require("from", Checker.number, 0.0, least=0)
        end = entry.require("to", Checker.number, start, least=0)
        over = entry.require("over", Checker.whole, 1)
        if end < start and (place := entry.get("to")):
            message = f"exploration goes from {start:g} down to {end:g}, but γ can only grow"
            checker.error("bad-value", place.at, message, "a higher γ explores less")
        return ExplorationSchedule(start=start, end=end, over=over)
