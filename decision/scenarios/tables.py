"""One scenario with a table → one scenario per row, each with the places of its own cells.

A row is laid over the scenario above it: each cell is put where its column says. So an error in a
cell is reported at that cell, and a row that fails points to its own line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from decision.core.policy import Policy
from decision.rulebook.diagnostics import hint_for
from decision.rulebook.yaml_source import Node, Source
from decision.scenarios.columns import Column, Columns, Path, UnknownColumn
from decision.scenarios.laid import Laid, like
from decision.scenarios.made_up import MadeUp

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


class _Row(Laid):
    """One row, laid over its scenario."""

    def __init__(self, source: Source, base: Node, row: Node, columns: Columns) -> None:
        root = Node(source, dict(base.value), *row.at[1:])
        super().__init__(source, root, columns.policy)
        self.row = row
        self.columns = columns
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
        MadeUp(self, self.columns, self.measures, self.steps).put()
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
        self.put((*path, "message"), like(cell, message))
        if channel:
            self.put((*path, "channel"), like(cell, channel))

    def name_it(self) -> None:
        """Names the row by the values that it differs in."""
        cells = [
            f"{name}: {_shown(cell.plain())}"
            for name, cell in self.row.value.items()
            if name.rpartition(".")[2] not in _RESULTS and "expect." not in name
        ]
        base = self.at(("name",))
        if base is not None and isinstance(base.value, str) and cells:
            name = like(base, f"{base.value} [{', '.join(cells)}]")
            self.root.value["name"] = name


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
        if path[-3:-1] == ("customer", "consents"):
            return [(*path, "*")]
    return [path]


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
