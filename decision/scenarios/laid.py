"""A scenario as a tree of nodes with places, which a row of a table is laid over."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from decision.core import calendar
from decision.core.policy import Policy
from decision.rulebook.yaml_source import Node, Source
from decision.scenarios.columns import Path

_FREE: Final = (
    ("customer", "attributes"),
    ("ask", "context"),
    ("ask", "event", "properties"),
)
"""Places that may hold anything."""


class Laid:
    """A scenario, in which nodes can be put without changing the one that it was copied from."""

    def __init__(self, source: Source, root: Node, policy: Policy) -> None:
        self.source = source
        self.root = root
        self.policy = policy

    def put(self, path: Path, cell: Node) -> None:
        """Puts a cell at its place; what is on the way is copied, or made.

        What cannot hold it stays as it is: reading the scenario reports that it is wrong, except
        within attributes and properties, where any value may stand.
        """
        node = self.holder(path, cell)
        if node is not None:
            node.value[path[-1]] = cell
        elif any(path[: len(free)] == free for free in _FREE):
            message = (
                f"{'.'.join(map(str, path))} has no place: a part of it is a value, no mapping"
            )
            self.source.report(
                "conflict", cell.key[1:], message, "change the value above the table"
            )

    def drop(self, path: Path) -> None:
        if self.at(path) is not None:
            node = self.holder(path, self.root)
            if node is not None:
                del node.value[path[-1]]

    def holder(self, path: Path, cell: Node) -> Node | None:
        """The mapping that a path's last part is a key of, made this row's own."""
        node = self.root
        for part in path[:-1]:
            found = node.value[part] if isinstance(part, int) else node.value.get(part)
            if found is None or found.value is None:
                own = Node(self.source, {}, cell.line, cell.column, *cell.key[1:])
            elif isinstance(found.value, dict):
                own = like(found, dict(found.value))
            elif isinstance(found.value, list) and part == "steps":
                own = like(found, list(found.value))
            else:
                return None
            node.value[part] = node = own
        return node

    def at(self, path: Path) -> Node | None:
        """What stands at a path, or None."""
        node: Any = self.root
        for part in path:
            if isinstance(part, int) and isinstance(node.value, list):
                node = node.value[part]
            elif isinstance(node.value, dict):
                node = node.value.get(part)
            else:
                return None
            if node is None:
                return None
        return node if isinstance(node, Node) else None

    def moment(self) -> datetime | None:
        """`now`, or None where it is not a time: reading the scenario reports that."""
        node = self.at(("now",))
        try:
            found = datetime.fromisoformat(str(node.value)) if node is not None else None
        except ValueError:
            return None
        return found if found is not None and found.tzinfo is not None else None

    def zone(self) -> Any:
        node = self.at(("customer", "timezone"))
        try:
            return calendar.zone(str(node.value)) if node is not None else self.policy.zone
        except ValueError:
            return self.policy.zone


def like(node: Node, value: Any) -> Node:
    """A node with another value at the same place."""
    return Node(node.source, value, node.line, node.column, node.key_line, node.key_column)


def node_of(place: Node, value: Any) -> Node:
    """Plain data as nodes, all at one place."""
    if isinstance(value, dict):
        return like(place, {key: node_of(place, inner) for key, inner in value.items()})
    if isinstance(value, list | tuple):
        return like(place, [node_of(place, inner) for inner in value])
    return like(place, value)
