"""Conditions that tell what each of their clauses came to, and where each is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from decision.core.conditions import (
    All,
    AnyOf,
    Clause,
    Condition,
    Not,
    Test,
    clauses,
    compile_clause,
)
from decision.core.definition import Definition, PolicyDefinition
from decision.core.values import Value, in_words
from decision.rulebook.yaml_source import Node, read_yaml

Tell = Callable[[int, bool, Value], None]
"""Is told of a clause: its number in the condition, whether it held, and its field's value."""


class Told(msgspec.Struct, frozen=True):
    """A clause of the policy: its owner, its number there, its words, and its `file:line`."""

    section: str
    owner: str
    number: int
    clause: Clause
    source: str

    @property
    def words(self) -> str:
        """`cart-big: event.cart_value gte 300`."""
        clause = self.clause
        return f"{self.owner}: {clause.field} {clause.op} {in_words(clause.value)}"


def watched(condition: Condition, slot_of: Callable[[str], int], tell: Tell) -> Test:
    """The plain evaluator of a condition, telling of every clause that it asks.

    As conditions do, it stops where the rest cannot matter: a clause of *all of* is asked only
    while those before it hold, one of *any of* only until one holds.
    """
    return _watched(condition, slot_of, tell, iter(range(1 << 30)))


def _watched(
    condition: Condition, slot_of: Callable[[str], int], tell: Tell, numbers: Iterator[int]
) -> Test:
    match condition:
        case Clause():
            return _clause(condition, slot_of(condition.field), tell, next(numbers))
        case Not(part):
            inner = _watched(part, slot_of, tell, numbers)
            return lambda values: not inner(values)
        case All(parts):
            tests = [_watched(part, slot_of, tell, numbers) for part in parts]
            return lambda values: all(test(values) for test in tests)
        case AnyOf(parts):
            tests = [_watched(part, slot_of, tell, numbers) for part in parts]
            return lambda values: any(test(values) for test in tests)


def _clause(clause: Clause, slot: int, tell: Tell, number: int) -> Test:
    test = compile_clause(clause, slot)

    def ask(values: Sequence[Value]) -> bool:
        found = test(values)
        tell(number, found, values[slot])
        return found

    return ask


def conditions_of(definition: PolicyDefinition) -> Iterator[tuple[str, Definition, Condition]]:
    """(section, owner, condition) of everything that has a `when`."""
    for section in ("states", "rules", "messages"):
        for one in getattr(definition, section):
            yield section, one, one.when


def told_clauses(definition: PolicyDefinition) -> list[Told]:
    """Every clause of every condition, with its place in the rule files."""
    lines = _lines(definition)
    found = []
    for section, owner, condition in conditions_of(definition):
        places = lines.get((section, owner.name), [])
        file, _, first = owner.source.rpartition(":")
        for number, clause in enumerate(clauses(condition)):
            line = places[number] if number < len(places) else first
            found.append(Told(section, owner.name, number, clause, f"{file}:{line}"))
    return found


def _lines(definition: PolicyDefinition) -> dict[tuple[str, str], list[int]]:
    """(section, name) → the line of each clause of its `when`, in the order of the clauses."""
    found: dict[tuple[str, str], list[int]] = {}
    for name, text in definition.files.items():
        root = read_yaml(name, text).root
        sections: Any = root.value if root is not None else None
        for section in ("states", "rules", "messages"):
            items = sections.get(section) if isinstance(sections, dict) else None
            if items is None or not isinstance(items.value, dict):
                continue
            for owner, node in items.value.items():
                when = node.value.get("when") if isinstance(node.value, dict) else None
                if when is not None:
                    found[section, owner] = list(_clause_lines(when))
    return found


def _clause_lines(node: Node) -> Iterator[int]:
    for key, value in node.value.items() if isinstance(node.value, dict) else ():
        if key in ("all", "any"):
            for item in value.value:
                yield from _clause_lines(item)
        elif key == "not":
            yield from _clause_lines(value)
        elif isinstance(value.value, dict):
            yield from (operand.key_line for operand in value.value.values())
        else:
            yield value.key_line
