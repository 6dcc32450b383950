"""Rules that set fields for each other in a circle."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Final, NamedTuple

from decision.core.conditions import Clause, conjuncts, fields_read
from decision.core.definition import Rule
from decision.rulebook.review.context import ReviewContext, fields_of, listed, size_of

_MOST_CIRCLES: Final = 10
_MOST_ROUNDS: Final = 100
_MOST_PROOFS: Final = 2_000
"""After this many, a rule that may feed another is taken to do so."""
_LISTED_STEPS: Final = 20

_Edges = dict[str, dict[str, list[int]]]
"""Field that is set → field that it is set from → indices of the rules that do so."""


class _Step(NamedTuple):
    """One rule of a circle: it reads one field and sets `target`."""

    read: str
    target: str
    rule: int


def review_cycles(context: ReviewContext) -> None:
    """Warns of fields that feed themselves through others; one field alone may be set again.

    Reading a field is not enough for a circle: the value that was set must be able to make the
    other rule hold. Two rules that each set a default if the other's field is known are no circle.
    """
    edges: _Edges = defaultdict(dict)
    for index, rule in enumerate(context.definition.rules):
        reads = dict.fromkeys(fields_read(rule.when))
        for target in rule.set:
            for field in reads:
                if field != target:
                    edges[target].setdefault(field, []).append(index)
    feeds = _CycleSearch(context)
    said = 0
    for _ in range(_MOST_ROUNDS):
        try:
            TopologicalSorter({target: list(reads) for target, reads in edges.items()}).prepare()
        except CycleError as error:
            fields: list[str] = error.args[1]
            if steps := feeds.round(fields, edges):
                _warn(context, steps)
                said += 1
            del edges[fields[1]][fields[0]]
        else:
            return
        if said == _MOST_CIRCLES:
            return


class _CycleSearch:
    """Finds out which rules can hold because of what another rule has set."""

    def __init__(self, context: ReviewContext) -> None:
        self.rules = context.definition.rules
        self.solver = context.solver
        self._proofs = 0

    def round(self, fields: list[str], edges: _Edges) -> list[_Step]:
        """Rules that form a circle, each fed by the one before it; empty if there is none.

        Each of `fields` is what the next one is set from; the last is the first.
        """
        layers = [(read, target, edges[target][read]) for read, target in pairwise(fields)]
        for first in layers[0][2]:
            ways = {first: [_Step(*layers[0][:2], first)]}
            for read, target, rules in layers[1:]:
                ways = {
                    rule: [*way, _Step(read, target, rule)]
                    for rule in rules
                    for way in self._fed(ways, rule, read)
                }
            for way in self._fed(ways, first, fields[0]):
                return way
        return []

    def _fed(self, ways: dict[int, list[_Step]], rule: int, field: str) -> Iterator[list[_Step]]:
        """The first of the ways that end in a rule which can make this one hold."""
        for last, way in ways.items():
            if self._feeds(last, rule, field):
                yield way
                return

    def _feeds(self, one: int, other: int, field: str) -> bool:
        """Whether the other rule may hold with what the one sets, if the one holds."""
        self._proofs += 1
        if self._proofs > _MOST_PROOFS:
            return True
        setter, reader = self.rules[one], self.rules[other]
        value = setter.set[field]
        left = [part for part in conjuncts(setter.when) if not fields_of(part) & setter.set.keys()]
        self.solver.allow(size_of(setter.when) + size_of(reader.when))
        return self.solver.can_hold(Clause(field, "eq", value), reader.when, *left)


def _warn(context: ReviewContext, steps: list[_Step]) -> None:
    rules = context.definition.rules
    start = min(range(len(steps)), key=lambda at: steps[at].rule)
    steps = steps[start:] + steps[:start]
    told = listed([_told(rules[step.rule], step) for step in steps], _LISTED_STEPS)
    message = f"these rules set fields for each other in a circle: {told}"
    hint = (
        "a rule sees only what rules above it have set; in one of these rules, set a field "
        "with another name"
    )
    first = steps[0]
    place = context.places.key("rules", rules[first.rule].name, "set", first.target)
    context.report.warn(place, message, hint, "set-cycle")


def _told(rule: Rule, step: _Step) -> str:
    return f'rule "{rule.name}" ({rule.source}) sets {step.target} from {step.read}'
