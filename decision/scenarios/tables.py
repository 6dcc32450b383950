"""One scenario with a table → one scenario per row, each with the places of its own cells.

A row is laid over the scenario above it: each cell is put where its column says. So an error in a
cell is reported at that cell, and a row that fails points to its own line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from decision.core import calendar
from decision.core.fields import STATE_FIELD, measured_date
from decision.core.policy import Policy
from decision.rulebook.diagnostics import hint_for
from decision.rulebook.yaml_source import Node, Source
from decision.scenarios.arrange import CannotArrange, date_for, events_for, fields_of_state
from decision.scenarios.columns import Column, Columns, Path, UnknownColumn

TABLE: Final = "table"
_RESULTS: Final = ("expect", "name")
_OUTCOME: Final = ("outcome", "message", "channel")
_LONGEST_CELL = 40


def rows_of(source: Source, node: Node, policy: Policy) -> Iterator[Node]:
    """The scenarios that a scenario with a table stands for; complains in its source."""
    table = node.value[TABLE]
    if not isinstance(table.value, list) or not table.value:
        what = "is empty" if table.value in ([], None) else "must be a list of rows"
        hint = "write a row as - {customer.country: CN, expect: news}"
        source.report("bad-value", table.key[1:], f"the table {what}", hint)
        return
    base = Node(source, {key: one for key, one in node.value.items() if key != TABLE}, *node.at[1:])
    columns = Columns(policy)
    names: dict[str, int] = {}
    for row in table.value:
        before = len(source.diagnostics)
        found = _Row(source, base, row, columns).scenario()
        if found is None or len(source.diagnostics) > before:
            continue
        given = found.value.get("name")
        name = str(given.value) if given is not None else ""
        if given is not None and name in names:
            message = f"this row has the name of the one in line {names[name]}: {name}"
            source.report("duplicate-name", row.at[1:], message, "give it a name of its own")
            continue
        names[name] = row.line
        yield found


class _Row:
    """One row, laid over its scenario."""

    def __init__(self, source: Source, base: Node, row: Node, columns: Columns) -> None:
        self.source = source
        self.row = row
        self.columns = columns
        self.policy = columns.policy
        self.root = Node(source, dict(base.value), *row.at[1:])
        steps = base.value.get("steps")
        self.steps = len(steps.value) if steps is not None and isinstance(steps.value, list) else 0
        self.measures: dict[str, Node] = {}

    def scenario(self) -> Node | None:
        """The scenario of this row, or None after a complaint."""
        if not isinstance(self.row.value, dict):
            hint = "write {customer.country: CN, expect: news}"
            self.source.report("wrong-type", self.row.at[1:], "a row is a mapping of columns", hint)
            return None
        placed: dict[str, list[Path]] = {}
        for name, cell in self.row.value.items():
            column = self.column(name, cell)
            if column is None:
                continue
            paths = _paths(column, cell)
            other = next((key for key, taken in placed.items() if _meet(paths, taken)), None)
            if other is not None:
                message = f'the columns "{other}" and "{name}" are about the same thing'
                self.source.report("conflict", cell.key[1:], message, "keep one of the two")
                continue
            placed[name] = paths
            self.put_cell(column, paths, cell)
        self.put_events()
        if "name" not in self.row.value:
            self.name_it()
        return self.root

    def column(self, name: str, cell: Node) -> Column | None:
        try:
            return self.columns.find(name, self.steps)
        except UnknownColumn as error:
            self.source.report("unknown-key", cell.key[1:], str(error), error.hint)
            return None

    def put_cell(self, column: Column, paths: list[Path], cell: Node) -> None:
        if column.measure:
            self.measures[column.measure] = cell
        elif len(paths) > 1:
            self.put_outcome(column.path, cell)
        else:
            self.put(paths[0], cell)

    def put_outcome(self, path: Path, cell: Node) -> None:
        """`none`, `fallback`, a message, or message/channel: these, and nothing else than these."""
        text = cell.value
        for key in _OUTCOME:
            self.drop((*path, key))
        message, _, channel = text.partition("/")
        if text in ("none", "fallback", "selected") and text not in self.policy.messages:
            self.put((*path, "outcome"), cell)
            return
        if message not in self.policy.messages:
            known = ["none", "fallback", *self.policy.messages]
            text = f'there is no message "{message}"'
            self.source.report("unknown-name", cell.at[1:], text, hint_for(message, known))
            return
        self.put((*path, "message"), _like(cell, message))
        if channel:
            self.put((*path, "channel"), _like(cell, channel))

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
            node = self.holder(path, self.row)
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
                own = _like(found, dict(found.value))
            elif isinstance(found.value, list) and part == "steps":
                own = _like(found, list(found.value))
            else:
                return None
            node.value[part] = node = own
        return node

    # Events made up for fields

    def put_events(self) -> None:
        """Adds the events, and attributes, by which fields have the values of this row.

        The first decision is expected to see these values: made-up events may contradict them.
        """
        first: Path = ("steps", 0) if self.steps else ()
        for name, cell in self.measures.items():
            self.put((*first, "expect", "fields", name), cell)
        given = dict(self.measures)
        state = given.pop(STATE_FIELD, None)
        if state is not None:
            self.put_state(state, given)
        by_type: dict[str, dict[str, Node]] = {}
        for name, cell in given.items():
            if measured := measured_date(name):
                self.put_date(*measured, cell)
                continue
            kind, _, measure = name.removeprefix("events.").rpartition(".")
            by_type.setdefault(kind, {})[measure] = cell
        for kind, cells in by_type.items():
            self.add_events(kind, cells)

    def put_state(self, cell: Node, given: dict[str, Node]) -> None:
        try:
            wanted = fields_of_state(self.policy, str(cell.value))
        except CannotArrange as error:
            states = [state.name for state in self.policy.definition.states]
            hint = hint_for(str(cell.value), states) if str(cell.value) not in states else ""
            self.source.report("unknown-name", cell.at[1:], str(error), hint)
            return
        for name, value in wanted.items():
            made = _node(cell, value)
            if name.startswith("events.") or measured_date(name):
                given.setdefault(name, made)
            elif name.startswith(("customer.", "score.")):
                path: Path = ("customer", "attributes", *name.split(".")[1:])
                if name.startswith("score."):
                    path = ("customer", "scores", name.removeprefix("score."))
                if self.at(path) is None:
                    self.put(path, made)

    def put_date(self, attribute: str, measure: str, cell: Node) -> None:
        """A date in the attribute, of which the measure has the cell's value; null: none."""
        path: Path = ("customer", "attributes", *attribute.split("."))
        moment = self.moment()
        if cell.value is None:
            self.drop(path)
        elif moment is not None:
            try:
                day = date_for(measure, cell.plain(), moment.astimezone(self.zone()).date())
            except CannotArrange as error:
                self.source.report("bad-value", cell.at[1:], str(error))
            else:
                self.put(path, _like(cell, day))

    def add_events(self, kind: str, cells: dict[str, Node]) -> None:
        first = next(iter(cells.values()))
        before = self.at(("customer", "events"))
        past = before.value if before is not None and isinstance(before.value, list) else []
        known = [one.plain() for one in past]
        if any(isinstance(one, dict) and one.get("type") == kind for one in known):
            message = f"events of the type {kind} are also given under customer.events"
            self.source.report("conflict", first.key[1:], message, "keep one of the two")
            return
        moment = self.moment()
        if moment is None:
            return
        try:
            wanted = {name: cell.plain() for name, cell in cells.items()}
            events = events_for(kind, wanted, moment, self.zone())
        except CannotArrange as error:
            self.source.report("bad-value", first.at[1:], str(error))
            return
        self.put(("customer", "events"), _like(first, [*past, *(_node(first, e) for e in events)]))

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

    def name_it(self) -> None:
        """Names the row by the values that it differs in."""
        cells = [
            f"{name}: {_shown(cell.plain())}"
            for name, cell in self.row.value.items()
            if name.rpartition(".")[2] not in _RESULTS and "expect." not in name
        ]
        base = self.at(("name",))
        if base is not None and isinstance(base.value, str) and cells:
            name = _like(base, f"{base.value} [{', '.join(cells)}]")
            self.root.value["name"] = name


_FREE: Final = (
    ("customer", "attributes"),
    ("ask", "context"),
    ("ask", "event", "properties"),
)
"""Places that may hold anything."""


def _meet(some: list[Path], others: list[Path]) -> bool:
    """Whether two of the paths are the same place, or one lies inside the other."""
    return any(one[: len(other)] == other[: len(one)] for one in some for other in others)


def _paths(column: Column, cell: Node) -> list[Path]:
    """The places that a cell is put at: several for `expect: message/channel`."""
    path = column.path
    if column.measure and path[0] != "customer":
        return [("measures", column.measure)]
    if isinstance(cell.value, str):
        if path[-1] == "expect":
            return [(*path, key) for key in _OUTCOME]
        if path[-2:] == ("ask", "event"):
            return [(*path, "type")]
        if path[:2] == ("customer", "consents") and len(path) == 3:
            return [(*path, "*")]
    return [path]


def _like(node: Node, value: Any) -> Node:
    """A node with another value at the same place."""
    return Node(node.source, value, node.line, node.column, node.key_line, node.key_column)


def _node(place: Node, value: Any) -> Node:
    if isinstance(value, dict):
        return _like(place, {key: _node(place, inner) for key, inner in value.items()})
    if isinstance(value, list | tuple):
        return _like(place, [_node(place, inner) for inner in value])
    return _like(place, value)


_OTHERWISE: Final = re.compile(r"true|false|null|[-+]?[0-9.]+", re.IGNORECASE)
"""Texts that are something else without quotes: they are shown with them."""


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and _OTHERWISE.fullmatch(value):
        return f'"{value}"'
    if isinstance(value, list):
        text = "[" + ", ".join(map(_shown, value)) + "]"
    elif isinstance(value, dict):
        text = "{" + ", ".join(f"{key}: {_shown(inner)}" for key, inner in value.items()) + "}"
    else:
        text = str(value)
    return text if len(text) <= _LONGEST_CELL else f"{text[: _LONGEST_CELL - 1]}…"


def unique(source: Source, before: int) -> None:
    """Reports an error in the scenario itself once, instead of once per row."""
    seen: set[tuple[int, int, str]] = set()
    for one in list(source.diagnostics[before:]):
        key = (one.line, one.column, one.message)
        if key in seen:
            source.diagnostics.remove(one)
        seen.add(key)
