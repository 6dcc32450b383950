"""What is known of a customer while time stands still, and what that says of conditions.

Nothing is calculated in rule files, so what steps set is known. Other fields are as they are: they
stay so while no time passes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from decision.core.conditions import ALWAYS, All, AnyOf, Clause, Condition, Not, fields_read
from decision.core.fields import STATE_FIELD
from decision.core.values import Value
from decision.rulebook.review.context import ReviewContext, size_of

Spot = tuple[str, str]
"""Journey, and step."""

Known = Mapping[str, Value]


class Flow(NamedTuple):
    """A state: runs that are `due`, of which the first one goes on, and others that wait.

    `known` are the attributes that were set, `told` what holds besides. `before` is what was known
    and told when the first run began to go on, None where it has not; `sets` what it has set since.
    """

    due: tuple[Spot, ...]
    waiting: frozenset[Spot] = frozenset()
    told: tuple[Condition, ...] = ()
    known: Known = MappingProxyType({})
    before: tuple[Known, tuple[Condition, ...]] | None = None
    sets: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """The same for the same state."""
        before = None if self.before is None else _shown(*self.before)
        now = _shown(self.known, self.told)
        return repr((self.due, sorted(self.waiting), now, before, sorted(self.sets)))


def unclear_after(context: ReviewContext, fields: Iterable[str]) -> set[str]:
    """The fields that rules and states make of some that are set: what they are is not followed."""
    definition, given = context.definition, set(fields)
    found = {name for rule in definition.rules for name in rule.set if name in given}
    while True:
        named = {name for rule in definition.rules if reads(rule.when, given) for name in rule.set}
        if any(reads(state.when, given) for state in definition.states):
            named.add(STATE_FIELD)
        if named <= found:
            return found
        found |= named
        given |= named


def reads(condition: Condition, fields: Collection[str]) -> bool:
    """Whether a condition reads some fields, or parts of them."""
    return any(_is_of(name, fields) for name in fields_read(condition))


def _is_of(name: str, fields: Collection[str]) -> bool:
    """Whether a field is one of some, or a part of one."""
    return name in fields or any(name.startswith(f"{field}.") for field in fields)


class Decider:
    """Says what conditions may be in a state; `unclear` are fields of which nobody knows, and
    `families` beginnings of the names of such fields."""

    def __init__(
        self, context: ReviewContext, unclear: Collection[str], families: tuple[str, ...]
    ) -> None:
        self.solver: Final = context.solver
        self.unclear: Final = unclear
        self.families: Final = families

    def decided(self, flow: Flow, condition: Condition) -> Iterator[tuple[bool, bool, Flow]]:
        """(whether the condition holds, whether that is certain for some customer, state)."""
        if condition == ALWAYS:
            yield True, True, flow
        elif self._is_unclear(condition):
            yield True, False, flow
            yield False, False, flow
        else:
            held = [*flow.told, *_as_clauses(flow.known)]
            self._allow(condition, *held)
            yes = self.solver.can_hold(condition, *held)
            no = self.solver.can_hold(*held, but=[condition])
            if yes:
                told = (*flow.told, condition) if no else flow.told
                yield True, True, flow._replace(told=told)
            if no:
                told = (*flow.told, Not(condition)) if yes else flow.told
                yield False, True, flow._replace(told=told)

    def became(self, flow: Flow, condition: Condition) -> Iterator[tuple[bool, bool, Flow]]:
        """As `decided`: whether it holds, and did not before the run went on."""
        touched = self.unclear if reads(condition, self.unclear) else flow.sets
        if not reads(condition, touched) or flow.before is None:
            yield False, True, flow
            return
        for holds, sure, world in self.decided(flow, condition):
            if not holds or not sure:
                yield holds, sure, world
                continue
            known, told = flow.before
            earlier = _as_clauses({name: known[name] for name in known if name in flow.sets})
            held = [
                *world.told,
                *_as_clauses(world.known),
                *(_before(one, flow.sets) for one in (*told, *earlier)),
            ]
            then = _before(condition, flow.sets)
            self._allow(then, *held)
            if self.solver.can_hold(*held, but=[then]):
                yield True, True, world
            if self.solver.can_hold(then, *held):
                yield False, True, world

    def _is_unclear(self, condition: Condition) -> bool:
        moving = any(name.startswith(self.families) for name in fields_read(condition))
        return moving or reads(condition, self.unclear)

    def _allow(self, *conditions: Condition) -> None:
        self.solver.allow(sum(map(size_of, conditions)))


def _shown(known: Known, told: Iterable[Condition]) -> tuple[object, object]:
    return sorted(known.items()), sorted(map(repr, told))


def _as_clauses(known: Known) -> list[Condition]:
    return [Clause(name, "eq", value) for name, value in known.items() if name[0] != "/"]


def _before(condition: Condition, fields: Collection[str]) -> Condition:
    """The same condition, on what some fields were before: as if they were other ones."""

    def other(name: str) -> str:
        return f"customer./before.{name}" if _is_of(name, fields) else name

    match condition:
        case Clause(field=field, operand=None):
            return msgspec.structs.replace(condition, field=other(field))
        case Clause(field=field, value=value):
            operand = msgspec.structs.replace(value, field=other(value.field))
            return msgspec.structs.replace(condition, field=other(field), value=operand)
        case Not(part=part):
            return Not(_before(part, fields))
        case All(parts=parts):
            return All(tuple(_before(part, fields) for part in parts))
        case AnyOf(parts=parts):
            return AnyOf(tuple(_before(part, fields) for part in parts))
