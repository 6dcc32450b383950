"""Conditions that tell what each of their clauses came to, and where each is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count

import msgspec

from decision.core.conditions import (
    Clause,
    Condition,
    Test,
    clauses,
    compile_clause,
    compile_condition,
)
from decision.core.definition import PolicyDefinition
from decision.core.values import Value, in_words

Tell = Callable[[int, bool, Value], None]
"""Is told of a clause: its number in the condition, whether it held, and its field's value."""


class PlacedClause(msgspec.Struct, frozen=True):
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
    numbers = count()

    def leaf(clause: Clause, slot_of: Callable[[str], int]) -> Test:
        test, number = compile_clause(clause, slot_of), next(numbers)
        slot = slot_of(clause.field)

        def ask(values: Sequence[Value]) -> bool:
            found = test(values)
            tell(number, found, values[slot])
            return found

        return ask

    return compile_condition(condition, slot_of, leaf)


def placed_clauses(definition: PolicyDefinition) -> list[PlacedClause]:
    """Every clause of every condition, with its place in the rule files."""
    return [
        PlacedClause(section, owner, number, *found)
        for section, owner, condition, sources in placed_conditions(definition)
        for number, found in enumerate(zip(clauses(condition), sources, strict=True))
    ]


def placed_conditions(
    definition: PolicyDefinition,
) -> Iterator[tuple[str, str, Condition, tuple[str, ...]]]:
    """(section, owner, condition, the places of its clauses) of every condition.

    What lifts quiet hours is owned by a channel and the number of its window.
    """
    for section in ("states", "rules", "messages", "caps", "events"):
        for owner in getattr(definition, section):
            yield section, owner.name, owner.when, owner.clause_sources
    for channel in definition.channels:
        for number, hours in enumerate(channel.quiet_hours):
            owner = f"{channel.name} {number}"
            yield "quiet hours", owner, hours.unless, hours.clause_sources
