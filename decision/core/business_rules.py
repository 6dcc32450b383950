"""Business rules: in which order they are asked, and what their `set` changes.

Rules take effect in file order: a rule sees the fields that the rules before it set, never those
that only rules after it set, and of two rules that set one field the later wins. Each rule is
asked once. Rules that do not feed each other are asked together, as one *stratum*.

What rules do to candidates has no order: a candidate that any rule excludes, or any `allow_only`
leaves out, is filtered out, however much others boost it; boosts of one candidate multiply.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from decision.core.conditions import Test, compile_condition, fields_read
from decision.core.definition import Rule
from decision.core.values import Value

if TYPE_CHECKING:  # the trial of new rules starts a process with few imports
    from decision.core.ports import RuleMatcher

SlotOf = Callable[[str], int]


class Override(NamedTuple):
    """A field that a rule has set: its slot, the value, and the rule's index."""

    slot: int
    value: Value
    rule: int


class RuleStrata(NamedTuple):
    """The order in which rules are asked.

    `strata` holds the rules' indices, ascending within each stratum; `setters` is for each
    stratum the bit mask of its rules that set fields; `assignments` is for each rule what it
    sets as (slot, value); empty where `strata_of` was given no slots.
    """

    strata: tuple[tuple[int, ...], ...]
    setters: tuple[int, ...]
    assignments: tuple[tuple[tuple[int, Value], ...], ...] = ()


def strata_of(rules: Sequence[Rule], slot_of: SlotOf | None = None) -> RuleStrata:
    """Puts every rule in the first stratum in which it sees just what rules before it set.

    With `slot_of` the fields that rules set are resolved now instead of at every decision.
    """
    read_in: dict[str, int] = {}
    set_in: dict[str, int] = {}
    strata: list[list[int]] = []
    for index, rule in enumerate(rules):
        reads = set(fields_read(rule.when))
        stratum = max(
            max((set_in[field] + 1 for field in reads if field in set_in), default=0),
            max((set_in.get(field, 0) for field in rule.set), default=0),
            max((read_in.get(field, 0) for field in rule.set), default=0),
        )
        for field in reads:
            read_in[field] = max(stratum, read_in.get(field, 0))
        for field in rule.set:
            set_in[field] = stratum
        strata.extend([] for _ in range(stratum + 1 - len(strata)))
        strata[stratum].append(index)
    return RuleStrata(
        strata=tuple(map(tuple, strata)),
        setters=tuple(sum(1 << i for i in stratum if rules[i].set) for stratum in strata),
        assignments=tuple(
            tuple((slot_of(field), value) for field, value in rule.set.items()) for rule in rules
        )
        if slot_of
        else (),
    )


class PlainMatcher:
    """Asks rules with the plain evaluator: the reference for every other matcher."""

    def __init__(self, rules: Sequence[Rule], order: RuleStrata, slot_of: SlotOf) -> None:
        self._strata: list[list[tuple[int, Test]]] = [
            [(1 << index, compile_condition(rules[index].when, slot_of)) for index in stratum]
            for stratum in order.strata
        ]

    def match(self, stratum: int, values: Sequence[Value]) -> int:
        """A bit mask of the stratum's rules that hold for the slot values."""
        found = 0
        for bit, test in self._strata[stratum]:
            if test(values):
                found |= bit
        return found


def run(
    order: RuleStrata,
    rules: Sequence[Rule],
    matcher: RuleMatcher,
    values: list[Value],
    slot_of: SlotOf,
    overrides: list[Override] | None = None,
) -> int:
    """Asks all rules, writes what they set into `values`, and returns the mask of those that hold.

    What was set is also appended to `overrides`, in the order in which it took effect.
    """
    fired = 0
    for stratum, setters in enumerate(order.setters):
        found = matcher.match(stratum, values)
        fired |= found
        found &= setters
        while found:
            lowest = found & -found
            found ^= lowest
            index = lowest.bit_length() - 1
            for slot, value in (
                order.assignments[index]
                if order.assignments
                else ((slot_of(field), value) for field, value in rules[index].set.items())
            ):
                values[slot] = value
                if overrides is not None:
                    overrides.append(Override(slot, value, index))
    return fired
