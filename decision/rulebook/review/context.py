"""What every part of the review works on: the definitions, their places, what can be proven."""

from __future__ import annotations

from collections.abc import Mapping

from decision.core.conditions import ALWAYS, Condition, clauses
from decision.core.definition import PolicyDefinition
from decision.rulebook.report import Report
from decision.rulebook.review.candidates import Candidates
from decision.rulebook.review.fields import Universe
from decision.rulebook.review.logic import Logic
from decision.rulebook.yaml_source import Node, Place

Nodes = Mapping[str, Mapping[str, Node]]
"""Section → name → what was written."""


class Context:
    """A policy, and where each part of it was written.

    With `sound` false there were errors: then less is known of what fields may be. `impossible`
    are the definitions, as (section, name), whose condition never holds: nothing else is said of
    them.
    """

    def __init__(
        self, report: Report, definition: PolicyDefinition, nodes: Nodes, *, sound: bool = True
    ) -> None:
        self.report = report
        self.definition = definition
        self.nodes = nodes
        self.impossible: set[tuple[str, str]] = set()
        self.candidates = Candidates(definition)
        last = definition.states[-1].when if definition.states else None
        self.logic = Logic(
            Universe(
                (placement.name for placement in definition.placements),
                (state.name for state in definition.states),
                leftover=last != ALWAYS or not sound,
                variants={
                    experiment.name: experiment.variants
                    for experiment in definition.experiments
                    if len(experiment.variants or ()) > 1 and sound
                },
            )
        )

    def key(self, section: str, name: str, *path: str) -> Place:
        """Where the key at a path within a definition stands, or the nearest one above it."""
        return self._node(section, name, path).key

    def value(self, section: str, name: str, *path: str) -> Place:
        """Where the value at a path within a definition stands, or the nearest one above it."""
        return self._node(section, name, path).at

    def item(self, section: str, name: str, path: str, text: str) -> Place:
        """Where a text stands in the list, or as the one value, of a key."""
        node = self._node(section, name, (path,))
        for item in node.value if isinstance(node.value, list) else ():
            if item.value == text:
                place: Place = item.at
                return place
        return node.at

    def place_of(self, condition: Condition, section: str, name: str) -> Place:
        """Where a condition of a definition was written."""
        return self.report.place_of(condition) or self.key(section, name, "when")

    def _node(self, section: str, name: str, path: tuple[str, ...]) -> Node:
        node = self.nodes[section][name]
        for key in path:
            found = node.value.get(key) if isinstance(node.value, dict) else None
            if found is None:
                break
            node = found
        return node


def size_of(condition: Condition) -> int:
    """How many clauses a condition has."""
    return sum(1 for _ in clauses(condition))


def listed(names: list[str], most: int = 4) -> str:
    """`a, b and c`, shortened where there are many."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([*([", ".join(names[:-1])] if len(names) > 1 else []), *names[-1:]])
