"""Conditions of business rules as durable-rules' conditions, and the facts they need.

The engine compares loosely ("5" with 5, true with 1) and has small limits, so it gets only what it
does exactly as `core.conditions.holds`. A fact has one property for each field *and type* that
some rule compares:

- text or true/false that must equal a constant: present only with one of the constants. The
  engine compares text as it is written in JSON, so it is always written the same way, as ASCII;
- numbers: present if some rule's comparison with a constant holds, as integers or decimals that
  the engine reads exactly; beyond ±2^53 as ±2^60, which compares the same with every constant;
- everything else (`ne`, `in`, `contains`, `matches`, `exists`, order of texts, constants out of
  range, everything under `not`) is evaluated here, and its property is present only as true.

A missing property satisfies no test. `and` and `or` are the engine's; a part of a condition that
is too large for the engine becomes one property evaluated here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

from decision.core.business_rules import SlotOf
from decision.core.conditions import All, AnyOf, Clause, Condition, Not, Test, compile_condition
from decision.core.values import Value

# Limits of the engine per rule: 32 expressions, two for each `and` and `or`.
_MOST_GROUPS = 12
_MOST_LEAVES = 32
# `or` fires a rule once for every combination of branches that hold.
_MOST_PATHS = 8
# The engine counts a text's bytes in 16 bits.
_LONGEST_TEXT = 1_000

EXACT = 2**53
"""Integers up to this size, and only those, are the same as floats."""
_BEYOND = 2**60
_ORDER = {"gt": "$gt", "gte": "$gte", "lt": "$lt", "lte": "$lte"}


class Leaf(NamedTuple):
    """One property of a fact and what it must be.

    `literal` is the JSON of the constant. Properties of one `key` are the same. A property is
    present if the slot has a `constant`, or a number for which the comparison with a `constant`
    holds, or if there is a `test` that holds.
    """

    key: str
    op: str = "eq"
    literal: str = "true"
    slot: int = -1
    constant: str | bool | float | None = None
    test: Test | None = None

    def condition(self, name: str) -> str:
        """The engine's JSON for the property under that name."""
        equal = f'{{"{name}":{self.literal}}}'
        return equal if self.op == "eq" else f'{{"{_ORDER[self.op]}":{equal}}}'


class Group(NamedTuple):
    """All (`$and`) or any (`$or`) of at least two nodes."""

    op: Literal["$and", "$or"]
    parts: tuple[EngineNode, ...]
    source: Condition
    negated: bool


EngineNode = Leaf | Group


def number_text(value: Value) -> str | None:
    """A number as the engine reads it exactly; None if it is not a number."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return int.__repr__(value if -EXACT <= value <= EXACT else _beyond(value))
    if not isinstance(value, float) or value != value:
        return None
    if not -EXACT <= value <= EXACT:
        return int.__repr__(_beyond(value))
    if value.is_integer():
        return int.__repr__(int(value))
    text = float.__repr__(value)
    # The engine reads an exponent only after a decimal point.
    return text.replace("e", ".0e") if "e" in text and "." not in text else text


def _beyond(value: float) -> int:
    return _BEYOND if value > 0 else -_BEYOND


def engine_node(condition: Condition, slot_of: SlotOf) -> EngineNode | bool:
    """The condition as the engine gets it, or the constant that it is."""
    node = _lower(condition, False, slot_of)
    if isinstance(node, Group) and (
        sum(1 for _ in leaves(node)) > _MOST_LEAVES or _groups(node) > _MOST_GROUPS
    ):
        return _computed(condition, False, slot_of)
    return node


def _lower(condition: Condition, negated: bool, slot_of: SlotOf) -> EngineNode | bool:
    """The condition, or its negation, as the engine's node, or the constant that it is."""
    match condition:
        case Clause():
            native = None if negated else _native(condition, slot_of)
            return native or _computed(condition, negated, slot_of)
        case Not(part):
            return _lower(part, not negated, slot_of)
        case All(parts) | AnyOf(parts):
            conjunction = isinstance(condition, All) is not negated
            op: Literal["$and", "$or"] = "$and" if conjunction else "$or"
            nodes: list[EngineNode] = []
            for part in parts:
                node = _lower(part, negated, slot_of)
                if isinstance(node, bool):
                    if node is not conjunction:
                        return node
                elif isinstance(node, Group) and node.op == op:
                    nodes.extend(node.parts)
                else:
                    nodes.append(node)
            if len(nodes) < 2:
                return nodes[0] if nodes else conjunction
            group = Group(op, tuple(nodes), condition, negated)
            return _bounded(group, slot_of)


def _bounded(group: Group, slot_of: SlotOf) -> EngineNode:
    """The node with enough alternatives evaluated here so that few paths are left."""
    if group.op == "$or":
        if paths(group) <= _MOST_PATHS:
            return group
        return _computed(group.source, group.negated, slot_of)
    parts = list(group.parts)
    while math.prod(map(paths, parts)) > _MOST_PATHS:
        widest = max(range(len(parts)), key=lambda i: paths(parts[i]))
        part = parts[widest]
        assert isinstance(part, Group)
        parts[widest] = _computed(part.source, part.negated, slot_of)
    return group._replace(parts=tuple(parts))


def _native(clause: Clause, slot_of: SlotOf) -> Leaf | None:
    """The clause as the engine's own comparison, if that is exact."""
    wanted, op, slot = clause.value, clause.op, slot_of(clause.field)
    if op == "eq" and isinstance(wanted, bool):
        return Leaf(f"{slot} truth", op, json.dumps(wanted), slot, wanted)
    if op == "eq" and isinstance(wanted, str) and len(wanted) <= _LONGEST_TEXT:
        return Leaf(f"{slot} text", op, json.dumps(wanted), slot, wanted)
    number = number_text(wanted) if op == "eq" or op in _ORDER else None
    if number is not None and -EXACT <= wanted <= EXACT:
        return Leaf(f"{slot} number", op, number, slot, wanted)
    return None


def _computed(condition: Condition, negated: bool, slot_of: SlotOf) -> Leaf:
    test = compile_condition(condition, slot_of)
    return Leaf(
        f"{'not ' if negated else ''}{condition!r}",
        test=(lambda values: not test(values)) if negated else test,
    )


def leaves(node: EngineNode) -> Iterator[Leaf]:
    """Every leaf under the node."""
    if isinstance(node, Leaf):
        yield node
    else:
        for part in node.parts:
            yield from leaves(part)


def paths(node: EngineNode) -> int:
    """How often the node can fire: once for every combination of alternatives."""
    if isinstance(node, Leaf):
        return 1
    return (math.prod if node.op == "$and" else sum)(map(paths, node.parts))


def _groups(node: EngineNode) -> int:
    return 0 if isinstance(node, Leaf) else 1 + sum(map(_groups, node.parts))
