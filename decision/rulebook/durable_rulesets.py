"""Business rules in rulesets that durable-rules holds, and the facts that these are asked with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from decision.core.business_rules import Plan, SlotOf
from decision.core.conditions import All, Clause, Condition, Test
from decision.core.definition import Rule
from decision.core.values import Value
from decision.rulebook.durable_conditions import (
    EXACT,
    Leaf,
    Node,
    engine_node,
    leaves,
    number_text,
    paths,
)

TRIGGERS = ("event.type", "placement")
RULE_NAMES = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcde"
"""The names of a ruleset's rules: 31, and one more for the rule that is fired when it is made."""

# What the engine holds of one ruleset: paths (its stack is 64 deep) and properties of a fact (255,
# of which those that the ruleset does not read may be a quarter).
_MOST_PATHS = 60
_MOST_PROPERTIES = 150
# A trigger with more constants than this is not worth a copy of the rule for each.
_MOST_TRIGGERS = 8


class Item(NamedTuple):
    """A rule as the engine gets it: its index among the policy's rules, and its condition."""

    rule: int
    node: Node
    leaves: tuple[Leaf, ...]
    paths: int


class RulesetPlan:
    """The rules that go in one ruleset, within what the engine holds; `names` are of properties."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.items: dict[int, Item] = {}
        self.paths = 0
        self._names = names
        self._keys: set[str] = set()

    def add(self, item: Item) -> bool:
        """Adds a rule, unless it is there; false where it does not fit."""
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
        """By the names that rules have in the ruleset, their bits among the policy's rules."""
        return {name: 1 << rule for name, rule in zip(RULE_NAMES, self.items, strict=False)}

    def definition(self) -> dict[str, str]:
        """The engine's JSON of every condition, by rule name."""
        shared = Counter(self._test(leaf) for item in self.items.values() for leaf in item.leaves)

        def condition(node: Node) -> tuple[int, str]:
            if isinstance(node, Leaf):
                return -shared[self._test(node)], self._test(node)
            # What many rules share comes first: the engine then tests it once for all of them.
            parts = sorted(map(condition, node.parts))
            return 0, f'{{"{node.op}":[{",".join(text for _, text in parts)}]}}'

        return {
            name: condition(item.node)[1]
            for name, item in zip(RULE_NAMES, self.items.values(), strict=False)
        }

    def _test(self, leaf: Leaf) -> str:
        return leaf.condition(self._names[leaf.key])


class FactEncoder:
    """Writes the properties of facts from slot values, for some rules that are asked together.

    `places` says for each leaf's key where among the properties that `encode` gives its own is.
    """

    def __init__(self, items: Iterable[Item], names: Mapping[str, str]) -> None:
        texts: dict[str, tuple[int, dict[str, str]]] = {}
        truths: dict[str, tuple[int, dict[bool, str]]] = {}
        numbers: dict[str, tuple[int, str]] = {}
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
            else:
                numbers[leaf.key] = (leaf.slot, start)
        keys = (*texts, *truths, *numbers, *computed)
        self.places = {key: place for place, key in enumerate(keys)}
        self._texts = tuple(texts.values())
        self._truths = tuple(
            (slot, known.get(True, ""), known.get(False, "")) for slot, known in truths.values()
        )
        self._numbers = tuple(numbers.values())
        self._computed = tuple(computed.values())

    def encode(self, values: Sequence[Value]) -> list[str]:
        """The properties as JSON with a comma before it, and "" for those that are not there."""
        found = []
        for slot, known in self._texts:
            value = values[slot]
            found.append(known.get(value, "") if isinstance(value, str) else "")
        for slot, true, false in self._truths:
            value = values[slot]
            found.append(true if value is True else false if value is False else "")
        for slot, start in self._numbers:
            value = values[slot]
            if type(value) is int and -EXACT <= value <= EXACT:
                found.append(f"{start}{value}")
            else:
                number = number_text(value)
                found.append("" if number is None else start + number)
        for test, text in self._computed:
            found.append(text if test(values) else "")
        return found


class Route(NamedTuple):
    """Rulesets asked together: what encodes their facts, and the places of what each gets."""

    encoder: FactEncoder
    rulesets: list[tuple[RulesetPlan, tuple[int, ...]]]


class Routes:
    """Of one stratum: the mask of rules that always hold, and which rulesets are asked when.

    `always` is asked at every decision; `triggered` by the text in a slot.
    """

    def __init__(self) -> None:
        self.constant = 0
        self.always: Route | None = None
        self.triggered: list[tuple[int, dict[str, Route]]] = []

    def rulesets(self) -> list[RulesetPlan]:
        """Every ruleset once."""
        routes = [route for _, by_text in self.triggered for route in by_text.values()]
        if self.always:
            routes.append(self.always)
        return list(dict.fromkeys(plan for route in routes for plan, _ in route.rulesets))


def compile_rules(rules: Sequence[Rule], plan: Plan, slot_of: SlotOf) -> list[Routes]:
    """For each stratum of the plan, its rules in rulesets, grouped by what can trigger them."""
    names = _Names()
    found = []
    for stratum in plan.strata:
        routes = Routes()
        by_trigger: dict[tuple[str, str], list[Item]] = {}
        untriggered: list[Item] = []
        for index in stratum:
            node = engine_node(rules[index].when, slot_of)
            if isinstance(node, bool):
                routes.constant |= node << index
                continue
            item = Item(index, node, tuple(leaves(node)), paths(node))
            field, constants = _trigger(rules[index].when)
            for constant in constants:
                by_trigger.setdefault((field, constant), []).append(item)
            if not constants:
                untriggered.append(item)
        if untriggered:
            routes.always = _pack([untriggered], names)[0]
        for field in TRIGGERS:
            groups = {text: items for (name, text), items in by_trigger.items() if name == field}
            if groups:
                packed = _pack(groups.values(), names)
                routes.triggered.append((slot_of(field), dict(zip(groups, packed, strict=True))))
        found.append(routes)
    return found


class _Names(dict[str, str]):
    """The property of each leaf's key: the same in all rulesets, so that facts are encoded once."""

    def __missing__(self, key: str) -> str:
        name = self[key] = f"f{len(self)}"
        return name


def _trigger(condition: Condition) -> tuple[str, tuple[str, ...]]:
    """The trigger field and its constants without one of which the condition cannot hold."""
    conjuncts = list(_conjuncts(condition))
    for field in TRIGGERS:
        for clause in conjuncts:
            if clause.field != field:
                continue
            constants = (clause.value,) if clause.op == "eq" else clause.value
            if (
                clause.op in ("eq", "in")
                and len(constants) <= _MOST_TRIGGERS
                and all(isinstance(constant, str) for constant in constants)
            ):
                return field, tuple(dict.fromkeys(constants))
    return "", ()


def _conjuncts(condition: Condition) -> Iterator[Clause]:
    if isinstance(condition, Clause):
        yield condition
    elif isinstance(condition, All):
        for part in condition.parts:
            yield from _conjuncts(part)


def _pack(groups: Iterable[list[Item]], names: _Names) -> list[Route]:
    """For each group its rulesets; small groups share one, and none is split without need."""
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
