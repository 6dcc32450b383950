"""The places of definitions, of their keys and values, and of the parts of conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from decision.core.conditions import ALWAYS, Clause, Condition, clauses
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
        """The place of a part of a condition; `when` if the part itself was not written."""
        found = self._conditions.get(id(condition))
        return self.key(section, name, "when") if found is None else found[1]

    def clause_sources(self, condition: Condition) -> tuple[str, ...]:
        """`file:line` of each clause of a condition, in the order of `core.conditions.clauses`."""
        return tuple(self._conditions[id(clause)][1].label for clause in clauses(condition))

    def field(self, clause: Clause) -> Place:
        """The place of a clause's field."""
        return self._clauses[id(clause)][0]

    def fields_read(self, condition: Condition) -> Iterator[tuple[str, Place]]:
        """The fields of a condition, also the operands, each with its place."""
        for clause in clauses(condition):
            yield clause.field, self.field(clause)
            if clause.operand is not None:
                yield clause.operand, self.operand(clause, clause.operand)

    def operand(self, clause: Clause, text: str) -> Place:
        """The place of a text in a clause: its value, an item of its list, or another field."""
        node = self._clauses[id(clause)][1]
        return _item(node if clause.operand is None else node.value["field"], text)

    def key(self, section: str, name: str, *path: str | int) -> Place:
        """The place of the key at a path within a definition, or of the nearest one above."""
        return self._node(section, name, path).key

    def value(self, section: str, name: str, *path: str | int) -> Place:
        """The place of the value at a path within a definition, or of the nearest one above."""
        return self._node(section, name, path).at

    def item(self, section: str, name: str, key: str, text: str) -> Place:
        """The place of a text in the value of a key: the value itself, or an item of its list."""
        return _item(self._node(section, name, (key,)), text)

    def _node(self, section: str, name: str, path: tuple[str | int, ...]) -> Node:
        node = self.nodes[section][name]
        for key in path:
            if isinstance(key, int) and not isinstance(node.value, list):
                continue  # a single value counts as a list of one
            try:
                node = node.value[key]
            except (TypeError, LookupError):
                break
        return node


def _item(node: Node, text: str) -> Place:
    items = node.value if isinstance(node.value, list) else ()
    return next((item.at for item in items if item.value == text), node.at)
