"""`when:` as written → the tree of clauses that the core evaluates."""

from __future__ import annotations

from typing import Any, TypeVar

from decision.core.conditions import ALWAYS, OPERATORS, All, AnyOf, Clause, Condition, Not
from decision.core.fields import Field
from decision.rulebook import condition_hints
from decision.rulebook.checker import Checker
from decision.rulebook.comparisons import read_operand
from decision.rulebook.field_names import known_field
from decision.rulebook.field_values import check_range, fits, warn_of_doubts
from decision.rulebook.mapping_reader import MappingReader
from decision.rulebook.operands import read_constant, read_times
from decision.rulebook.yaml_source import INVALID, Node, Place

C = TypeVar("C", bound=Condition)


def read_when(entry: MappingReader, key: str = "when", default: Condition = ALWAYS) -> Condition:
    """The condition under `when`, or another key; `default` if it is missing or has an error."""
    node = entry.get(key)
    if node is None:
        return default
    return read_condition(entry.checker, node, entry.label(key)) or default


def read_condition(checker: Checker, node: Node, what: str) -> Condition | None:
    """The condition that a mapping means; None if it has an error."""
    return _ConditionReader(checker, what).mapping(node)


class _ConditionReader:
    def __init__(self, checker: Checker, what: str) -> None:
        self.checker = checker
        self.what = what

    def mapping(self, node: Node) -> Condition | None:
        """All keys of a mapping must be true; {} is always true."""
        if not isinstance(node.value, dict):
            hint = condition_hints.for_mapping(node.plain(), self.checker.names, self.what)
            self.checker.wrong_type(node, self.what, "a mapping of fields and values", hint)
            return None
        parts: list[Condition] = []
        for key, value in node.value.items():
            match key:
                case "all":
                    parts.append(self.written(All(self.several(value, key)), value.key))
                case "any":
                    parts.append(self.written(AnyOf(self.several(value, key)), value.key))
                case "not":
                    inner = self.mapping(value) or ALWAYS
                    parts.append(self.written(Not(inner), value.key))
                case _ if hint := condition_hints.joining(key, value):
                    message = f'"{key}" is not a key of conditions'
                    self.checker.error("unknown-key", value.key, message, hint)
                case _:
                    parts.extend(self.field(key, value))
        if not parts:
            return ALWAYS
        return parts[0] if len(parts) == 1 else self.written(All(tuple(parts)), node.at)

    def written(self, condition: C, place: Place) -> C:
        """The condition, remembered with its place."""
        self.checker.places.record(condition, place)
        return condition

    def several(self, node: Node, key: str) -> tuple[Condition, ...]:
        if not isinstance(node.value, list):
            hint = f"write {key}: [{{…}}, {{…}}]"
            self.checker.wrong_type(node, f"{key} in {self.what}", "a list of conditions", hint)
            return ()
        if not node.value:
            message = f"{key} in {self.what} is an empty list"
            self.checker.error("bad-value", node.at, message, "add a condition, or delete the key")
        found = [self.mapping(item) for item in node.value]
        return tuple(part for part in found if part is not None)

    def field(self, name: str, node: Node) -> list[Clause]:
        """The clauses that one field's value means."""
        checker, value = self.checker, node.value
        what = f"{name} in {self.what}"
        field = self.known_field(name, node.key, node.plain())
        if value is INVALID:
            return []
        if value is None:
            hint = condition_hints.for_no_value(name)
            checker.error("bad-value", node.key, f"{what} has no value", hint)
            return []
        if isinstance(value, list):
            wanted = "one value, or operators such as {in: […]}"
            checker.wrong_type(node, what, wanted, condition_hints.for_list(name, node))
            return []
        if not isinstance(value, dict):
            return self.operator(field, name, "eq", node, what, node.key)
        if not value:
            hint = f"use one of {', '.join(OPERATORS)}"
            checker.error("bad-value", node.at, f"{what} has no operator", hint)
        found: list[Clause] = []
        for operator, operand in value.items():
            if operator in OPERATORS:
                of = f"{operator} of {what}"
                found.extend(self.operator(field, name, operator, operand, of, node.key))
            else:
                hint = condition_hints.for_operator(name, operator, operand)
                message = f'there is no operator "{operator}"'
                checker.error("unknown-operator", operand.key, message, hint)
        check_range(checker, name, found, node, self.what)
        return found

    def known_field(self, name: str, place: Place, value: Any = None) -> Field | None:
        return known_field(self.checker, name, place, self.what, value)

    def operator(
        self, field: Field | None, name: str, operator: str, node: Node, what: str, place: Place
    ) -> list[Clause]:
        """One clause, or none if the value is wrong; `place` is that of its field."""
        checker = self.checker
        value: Any
        if isinstance(node.value, dict):
            value = read_operand(checker, field, operator, node, what, self.known_field)
        else:
            value = read_constant(checker, operator, node, what)
            if value is not INVALID and field is not None:
                if not fits(checker, field, operator, node):
                    return []
                if field.kind == "time" and operator != "exists":
                    value = read_times(checker, operator, node, what)
        if value is INVALID:
            return []
        if field is not None and field.kind == "any":
            warn_of_doubts(checker, name, operator, node)
        clause = Clause(name, operator, value)
        checker.places.record_clause(clause, place, node)
        return [clause]
