"""GrowthBook's vectors of conditions: what we can say means the same, or differs on purpose.

Every vector of `evalCondition` is counted in one of three places: it agrees, by all three readers
of conditions; it differs on purpose (`ON_PURPOSE`, with the reason); or it needs something that
rule files cannot say (`NOT_OURS`, by what is needed).

What has another name is translated: `$nin` is `not_in`, null is `exists: false`, `$regexi` is a
pattern with (?i), so is `$ini` of a text, a saved group is `in` with its members. GrowthBook's
attributes have declared types; where one is a list, `$in` and `$all` are `any` and `all` of
`contains`, as is `$elemMatch` of equality.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
import re2

from decision.core.business_rules import strata_of
from decision.core.condition_words import failures
from decision.core.conditions import (
    All,
    AnyOf,
    Clause,
    Condition,
    Not,
    clauses,
    compile_condition,
)
from decision.core.definition import Rule
from decision.core.fields import FieldTable, Situation, parse_field
from decision.core.policy_builder import compile_policy
from decision.rulebook.durable_engine import DurableMatcher
from tests.core.small import NOON, customer, definition
from tests.data import needed

AGREE = 193

NOT_A_PATTERN = "a pattern that is none is an error in the rule file, not a condition that is false"
ON_PURPOSE = {
    "comparing numbers and strings": 'text and numbers have no order: "8" is not more than 5',
    "comparing numbers and strings - v2": 'text and numbers have no order: 8 is not more than "5"',
    "missing attribute with comparison operators": "what is missing is not 0: it has no order",
    "empty $or - pass": "any of nothing never holds; the rule file is refused, too",
    "$regex invalid - pass": NOT_A_PATTERN,
    "$regex invalid - fail": NOT_A_PATTERN,
}

NOT_OURS = {
    # what a list's items are like, beyond having one, and how many there are
    "$elemMatch": 5,
    "$size": 9,
    "$ini of a list": 1,
    "$alli": 2,
    # types are never asked for: a comparison says which type it is about
    "$type": 12,
    # refused when the rule file is checked
    "$in of what is no list": 1,
    "$nin of what is no list": 1,
    "$regx": 1,
    "a mapping as a value": 4,
}

LOGIC = {"$and", "$or", "$nor", "$not"}
PLAIN = {
    f"${op}": op
    for op in ("eq", "ne", "gt", "gte", "lt", "lte", "vgt", "vgte", "vlt", "vlte", "veq", "vne")
}


class NotOurs(Exception):
    """Rule files have nothing for what is named."""


class Translator:
    """GrowthBook's condition as ours, for attributes whose types are those of these facts."""

    def __init__(self, facts: dict[str, Any], groups: dict[str, list[Any]]) -> None:
        self.groups = groups
        document = customer(attributes=facts)
        self.read = lambda name: parse_field(name).read(
            Situation(document, "outbound", NOON, compile_policy(definition()).zone)
        )

    def condition(self, given: dict[str, Any]) -> Condition:
        parts: list[Condition] = []
        for key, value in given.items():
            match key:
                case "$and":
                    parts.append(All(tuple(map(self.condition, value))))
                case "$or":
                    parts.append(AnyOf(tuple(map(self.condition, value))))
                case "$nor":
                    parts.append(Not(AnyOf(tuple(map(self.condition, value)))))
                case "$not":
                    parts.append(Not(self.condition(value)))
                case _:
                    parts.append(self.field(f"customer.{key}", value))
        return All(tuple(parts))

    def field(self, name: str, given: Any) -> Condition:
        if given is None:
            return Clause(name, "exists", False)
        if isinstance(given, dict):
            if not given or not all(key.startswith("$") for key in given):
                raise NotOurs("a mapping as a value")
            return All(tuple(self.operator(name, op, value) for op, value in given.items()))
        return Clause(name, "eq", tuple(given) if isinstance(given, list) else given)

    def operator(self, name: str, op: str, value: Any) -> Condition:
        listed = isinstance(self.read(name), list)
        match op:
            case "$exists":
                return Clause(name, "exists", value)
            case "$not":
                return Not(self.field(name, value))
            case "$in" | "$nin" if not isinstance(value, list):
                raise NotOurs(f"{op} of what is no list")
            case "$in":
                contained = AnyOf(tuple(Clause(name, "contains", item) for item in value))
                return contained if listed else Clause(name, "in", tuple(value))
            case "$nin":
                return Not(self.operator(name, "$in", value))
            case "$inGroup":
                return Clause(name, "in", tuple(self.groups.get(value, ())))
            case "$notInGroup":
                return Clause(name, "not_in", tuple(self.groups.get(value, ())))
            case "$all":
                return All(tuple(Clause(name, "contains", item) for item in value))
            case "$elemMatch" if set(value) == {"$eq"}:
                return Clause(name, "contains", value["$eq"])
            case "$elemMatch" if set(value) == {"$in"}:
                return AnyOf(tuple(Clause(name, "contains", item) for item in value["$in"]))
            case "$regex":
                return Clause(name, "matches", value)
            case "$regexi":
                return Clause(name, "matches", f"(?i){value}")
            case "$notRegex" | "$notRegexi":
                return Not(self.operator(name, op.replace("notR", "r"), value))
            case "$ini" if not listed:
                words = "|".join(re2.escape(word) for word in value)
                return Clause(name, "matches", rf"(?i)\A(?:{words})\z")
            case "$nini" if not listed:
                return Not(self.operator(name, "$ini", value))
            case _ if op in PLAIN:
                return Clause(name, PLAIN[op], value)
        raise NotOurs(f"{op} of a list" if op in ("$ini", "$nini") else op)


def answers(condition: Condition, facts: dict[str, Any]) -> set[bool]:
    """What the three readers say: the closures, the narrator, and the rule engine."""
    fields = FieldTable(clause.field for clause in clauses(condition))
    document = customer(attributes=facts)
    values = fields.read(Situation(document, "outbound", NOON, compile_policy(definition()).zone))
    rules = [Rule(name="r", when=condition)]
    engine = DurableMatcher(rules, strata_of(rules), fields.slot)
    return {
        compile_condition(condition, fields.slot)(values),
        not failures(condition, values, fields.slot),
        bool(engine.match(0, values)),
    }


def vectors() -> list[Any]:
    text = needed("growthbook/cases.json").read_text(encoding="utf-8")
    found: list[Any] = json.loads(text)["evalCondition"]
    assert len(found) == 235
    return found


def test_conditions_agree_with_growthbook_or_differ_on_purpose() -> None:
    agree, differ, not_ours = 0, {}, Counter[str]()
    for name, given, facts, expected, *rest in vectors():
        try:
            condition = Translator(facts, rest[0] if rest else {}).condition(given)
            if answers(condition, facts) == {expected}:
                agree += 1
            else:
                differ[name] = answers(condition, facts)
        except NotOurs as error:
            not_ours[str(error)] += 1
        except re2.error as error:
            differ[name] = error
    print(
        f"{agree + len(differ)} of 235 translated, {agree} agree, {len(differ)} differ on purpose"
    )
    print(f"not ours: {dict(not_ours)}")
    assert differ.keys() == ON_PURPOSE.keys()
    assert (agree, dict(not_ours)) == (AGREE, NOT_OURS)
    assert agree + len(differ) + not_ours.total() == 235


@pytest.mark.parametrize("op", ["$type", "$size", "$regx"])
def test_the_translator_makes_up_nothing(op: str) -> None:
    with pytest.raises(NotOurs):
        Translator({}, {}).condition({"a": {op: 1}})
