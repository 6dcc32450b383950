"""Where everything was written: definitions, their keys and values, the parts of conditions."""

from __future__ import annotations

from collections.abc import Mapping

from decision.core.conditions import ALWAYS, Clause, Condition
from decision.rulebook.yaml_source import Node, Place

Nodes = Mapping[str, Mapping[str, Node]]
"""Section → name → what was written."""


class SourceMap:
    """Places of the definitions that one reading made.

    Conditions are found by identity: the map answers for those very objects, not for equal ones.
    """

    def __init__(self) -> None:
        self.nodes: Nodes = {}
        # Each condition is kept, so that no other object gets its identity.
        self._conditions: dict[int, tuple[Condition, Place]] = {}
        self._clauses: dict[int, tuple[Place, Node]] = {}

    def record(self, condition: Condition, place: Place) -> None:
        """Remembers where this very condition object was written."""
        if condition is not ALWAYS:
            self._conditions[id(condition)] = (condition, place)

    def record_clause(self, clause: Clause, field: Place, operand: Node) -> None:
        """Remembers a clause: where it names its field, and the node of its value."""
        self.record(clause, operand.key)
        self._clauses[id(clause)] = (field, operand)

    def condition(self, condition: Condition, section: str, name: str) -> Place:
        """Where a part of a definition's condition stands; for one that was not written, `when`."""
        found = self._conditions.get(id(condition))
        return self.key(section, name, "when") if found is None else found[1]

    def field(self, clause: Clause) -> Place:
        """Where a clause names its field."""
        return self._clauses[id(clause)][0]

    def operand(self, clause: Clause, text: str) -> Place:
        """Where a text stands in a clause, as its value or in its list."""
        return _item(self._clauses[id(clause)][1], text)

    def key(self, section: str, name: str, *path: str | int) -> Place:
        """Where the key at a path within a definition stands, or the nearest one above it."""
        return self._node(section, name, path).key

    def value(self, section: str, name: str, *path: str | int) -> Place:
        """Where the value at a path within a definition stands, or the nearest one above it."""
        return self._node(section, name, path).at

    def item(self, section: str, name: str, key: str, text: str) -> Place:
        """Where a text stands in the list, or as the one value, of a key."""
        return _item(self._node(section, name, (key,)), text)

    def _node(self, section: str, name: str, path: tuple[str | int, ...]) -> Node:
        node = self.nodes[section][name]
        for key in path:
            if isinstance(key, int) and not isinstance(node.value, list):
                continue  # one value stands for a list of it
            try:
                node = node.value[key]
            except (TypeError, LookupError):
                break
        return node


def _item(node: Node, text: str) -> Place:
    items = node.value if isinstance(node.value, list) else ()
    return next((item.at for item in items if item.value == text), node.at)
