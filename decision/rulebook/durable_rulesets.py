"""Business rules in rulesets within the limits of durable-rules, and the facts they are asked."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from decision.core.business_rules import RuleStrata, SlotOf
from decision.core.conditions import Clause, Condition, Test, conjuncts
from decision.core.definition import Rule
from decision.core.values import MISSING, Value
from decision.rulebook.durable_conditions import (
    EngineNode,
    Leaf,
    engine_node,
    leaves,
    number_text,
    paths,
)

TRIGGERS = ("event.type", "placement")
"""Fields of the request: rules are always grouped by the values of these fields."""
RULE_NAMES = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcde"
"""The names of a ruleset's 31 rules; the engine's 32nd rule is fired when it is made."""

# Limits of the engine per ruleset: paths (its stack is 64 deep) and properties of a fact (255; up
# to a quarter of them may be properties that the ruleset does not read).
_MOST_PATHS = 60
_MOST_PROPERTIES = 150
# A trigger with more constants than this is not worth a copy of the rule for each.
_MOST_TRIGGERS = 8
# Rules are grouped by another field only if this many can be: each such field may cost one question
# to the engine, and saves the questions of all groups that other values would trigger.
_FEWEST_BY_FIELD = len(RULE_NAMES)


class EngineRule(NamedTuple):
    """A rule as the engine gets it: its index among the policy's rules, and its condition."""

    rule: int
    node: EngineNode
    leaves: tuple[Leaf, ...]
    paths: int


class RulesetPlan:
    """The rules of one ruleset, within the limits of the engine; `names` are of properties."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.items: dict[int, EngineRule] = {}
        self.paths = 0
        self._names = names
        self._keys: set[str] = set()

    def add(self, item: EngineRule) -> bool:
        """Adds a rule, unless it is there; false if it does not fit."""
        if item.rule in self.items:
            return True
        keys = self._keys.union(leaf.key for leaf in item.leaves)
        if (
            len(self.items) == len(RULE_NAMES)
            or self.paths + item.paths > _MOST_PATHS
            or len(keys) > _MOST_PROPERTIES
        ):
            return False
        self.items[item.rule] = item
        self.paths += item.paths
        self._keys = keys
        return True

    def masks(self) -> dict[str, int]:
        """Name of a rule in the ruleset → its bit among the policy's rules."""
        return {name: 1 << rule for name, rule in zip(RULE_NAMES, self.items, strict=False)}

    def definition(self) -> dict[str, str]:
        """The engine's JSON of every condition, by rule name."""
        shared = Counter(self._test(leaf) for item in self.items.values() for leaf in item.leaves)

        def condition(node: EngineNode) -> tuple[int, str]:
            if isinstance(node, Leaf):
                return -shared[self._test(node)], self._test(node)
            # What many rules share comes first, so that the engine tests it once for all of them.
            parts = sorted(map(condition, node.parts))
            return 0, f'{{"{node.op}":[{",".join(text for _, text in parts)}]}}'

        return {
            name: condition(item.node)[1]
            for name, item in zip(RULE_NAMES, self.items.values(), strict=False)
        }

    def _test(self, leaf: Leaf) -> str:
        return leaf.condition(self._names[leaf.key])


_COMPARE: Final = {
    "eq": operator.eq,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


class _NumberTexts(dict[Value, str]):
    """The property of a number, written once for each value; "" if no comparison holds.

    Booleans, which are found as 0 and 1, must not be looked up.
    """

    _MOST = 500

    def __init__(self, start: str) -> None:
        super().__init__({MISSING: ""})
        self.comparisons: set[tuple[str, float]] = set()
        self._start = start

    def __missing__(self, value: Any) -> str:
        number = number_text(value)
        if number is None:
            return ""
        if len(self) > self._MOST:
            self.clear()
            self[MISSING] = ""
        holds = any(_COMPARE[op](value, constant) for op, constant in self.comparisons)
        text = self[value] = self._start + number if holds else ""
        return text


class FactEncoder:
    """Writes the properties of facts from slot values, for rules that are asked together.

    `places` says where, in the result of `encode`, the property of each leaf's key is.
    """

    def __init__(self, items: Iterable[EngineRule], names: Mapping[str, str]) -> None:
        texts: dict[str, tuple[int, dict[Value, str]]] = {}
        truths: dict[str, tuple[int, dict[bool, str]]] = {}
        numbers: dict[str, tuple[int, _NumberTexts]] = {}
        computed: dict[str, tuple[Test, str]] = {}
        for leaf in (leaf for item in items for leaf in item.leaves):
            start = f',"{names[leaf.key]}":'
            if leaf.test is not None:
                computed[leaf.key] = (leaf.test, start + leaf.literal)
            elif isinstance(leaf.constant, str):
                texts.setdefault(leaf.key, (leaf.slot, {}))[1][leaf.constant] = start + leaf.literal
            elif isinstance(leaf.constant, bool):
                known = truths.setdefault(leaf.key, (leaf.slot, {}))[1]
                known[leaf.constant] = start + leaf.literal
            elif leaf.constant is not None:
                known_numbers = numbers.setdefault(leaf.key, (leaf.slot, _NumberTexts(start)))[1]
                known_numbers.comparisons.add((leaf.op, leaf.constant))
        keys = (*texts, *numbers, *truths, *computed)
        self.places = {key: place for place, key in enumerate(keys)}
        self._texts = tuple(texts.values())
        self._numbers = tuple(numbers.values())
        self._truths = tuple(
            (slot, known.get(True, ""), known.get(False, "")) for slot, known in truths.values()
        )
        self._computed = tuple(computed.values())

    def encode(self, values: Sequence[Value]) -> list[str]:
        """The properties as JSON, each after a comma; "" for those that are missing."""
        try:
            found = self._plain(values)
        except TypeError:  # a list or mapping cannot be hashed; it is neither text nor number
            found = self._plain(
                [MISSING if isinstance(value, list | tuple | dict) else value for value in values]
            )
        for test, text in self._computed:
            found.append(text if test(values) else "")
        return found

    def _plain(self, values: Sequence[Value]) -> list[str]:
        found = [known.get(values[slot], "") for slot, known in self._texts]
        for slot, numbers in self._numbers:
            value = values[slot]
            found.append("" if value is True or value is False else numbers[value])
        for slot, true, false in self._truths:
            value = values[slot]
            found.append(true if value is True else false if value is False else "")
        return found


class Route(NamedTuple):
    """Rulesets asked together: the encoder of their facts, and which properties each gets."""

    encoder: FactEncoder
    rulesets: list[tuple[RulesetPlan, tuple[int, ...]]]


class StratumRoutes:
    """For one stratum: the mask of rules that always hold, and when each ruleset is asked.

    `always` is asked at every decision; `triggered` for a certain text or `True` in a slot.
    """

    def __init__(self) -> None:
        self.constant = 0
        self.always: Route | None = None
        self.triggered: list[tuple[int, dict[str | bool, Route]]] = []

    def rulesets(self) -> list[RulesetPlan]:
        """Every ruleset once."""
        routes = [route for _, by_value in self.triggered for route in by_value.values()]
        if self.always:
            routes.append(self.always)
        return list(dict.fromkeys(plan for route in routes for plan, _ in route.rulesets))


def compile_rules(rules: Sequence[Rule], plan: RuleStrata, slot_of: SlotOf) -> list[StratumRoutes]:
    """For each stratum of the plan, its rules in rulesets, grouped by what can trigger them."""
    names = _PropertyNames()
    found = []
    for stratum in plan.strata:
        routes = StratumRoutes()
        items: dict[int, EngineRule] = {}
        for index in stratum:
            node = engine_node(rules[index].when, slot_of)
            if isinstance(node, bool):
                routes.constant |= node << index
            else:
                items[index] = EngineRule(index, node, tuple(leaves(node)), paths(node))
        grouped, untriggered = _group({index: rules[index].when for index in items})
        if untriggered:
            routes.always = _pack([[items[index] for index in untriggered]], names)[0]
        for field, groups in grouped.items():
            members = [[items[index] for index in group] for group in groups.values()]
            packed = dict(zip(groups, _pack(members, names), strict=True))
            routes.triggered.append((slot_of(field), packed))
        found.append(routes)
    return found


Groups = dict[str | bool, list[int]]
"""Value that a field must have → rules; a rule may be in several groups."""


def _group(conditions: Mapping[int, Condition]) -> tuple[dict[str, Groups], list[int]]:
    """Field → rules by the value that triggers them; and the rules that no field triggers.

    Each rule is grouped by one field: first by those of the request, then by the most common.
    """
    left = {index: _triggers(condition) for index, condition in conditions.items()}
    grouped: dict[str, Groups] = {}
    while True:
        able = Counter(field for triggers in left.values() for field in triggers)
        field = next((name for name in TRIGGERS if name in able), None)
        if field is None:
            field, count = max(able.items(), key=lambda one: one[1], default=("", 0))
            if count < _FEWEST_BY_FIELD:
                return grouped, list(left)
        groups = grouped[field] = {}
        for index, triggers in list(left.items()):
            if field in triggers:
                for value in triggers[field]:
                    groups.setdefault(value, []).append(index)
                del left[index]


def _triggers(condition: Condition) -> dict[str, tuple[str | bool, ...]]:
    """Field → values; the condition cannot hold unless the field has one of them."""
    found: dict[str, tuple[str | bool, ...]] = {}
    for clause in conjuncts(condition):
        if not isinstance(clause, Clause) or clause.operand is not None:
            continue
        values = clause.value if clause.op == "in" else (clause.value,)
        if (
            clause.op in ("eq", "in")
            and 0 < len(values) <= _MOST_TRIGGERS
            and all(isinstance(value, str) or value is True for value in values)
        ):
            found.setdefault(clause.field, tuple(dict.fromkeys(values)))
    return found


class _PropertyNames(dict[str, str]):
    """Key of a leaf → name of its property: the same in all rulesets, to encode facts once."""

    def __missing__(self, key: str) -> str:
        name = self[key] = f"f{len(self)}"
        return name


def _pack(groups: Iterable[list[EngineRule]], names: _PropertyNames) -> list[Route]:
    """The rulesets of each group; small groups share one, and a group is split only if it must."""
    found = []
    ruleset = RulesetPlan(names)
    for items in groups:
        if len(ruleset.items) + len(items) > len(RULE_NAMES):
            ruleset = RulesetPlan(names)
        members: dict[RulesetPlan, dict[str, None]] = {}
        for item in items:
            if not ruleset.add(item):
                ruleset = RulesetPlan(names)
                ruleset.add(item)
            members.setdefault(ruleset, {}).update(dict.fromkeys(leaf.key for leaf in item.leaves))
        encoder = FactEncoder(items, names)
        rulesets = [
            (plan, tuple(encoder.places[key] for key in keys)) for plan, keys in members.items()
        ]
        found.append(Route(encoder, rulesets))
    return found
