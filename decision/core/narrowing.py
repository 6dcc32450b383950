"""Values that are read outside of decisions, of journeys and audiences, at little cost.

They are those that a decision would see: fields, the state, and what rules set. Nobody asks, so
there is no placement and no context.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from decision.core import business_rules
from decision.core.business_rules import PlainMatcher
from decision.core.conditions import fields_read
from decision.core.definition import PolicyDefinition, Rule, State
from decision.core.document import Document
from decision.core.fields import STATE_FIELD, Situation
from decision.core.policy import Policy
from decision.core.schema import TriggerEvent
from decision.core.values import Value


def what_decides(definition: PolicyDefinition, fields: Iterable[str]) -> Iterator[Rule | State]:
    """The rules and states that the values of some fields depend on, also by way of others.

    >>> from decision.core.conditions import Clause
    >>> big = Clause("customer.spend", "gte", 9)
    >>> gold = Rule(name="big", when=big, set={"customer.tier": "gold"})
    >>> definition = PolicyDefinition(version="1", rules=(gold, Rule(name="other")))
    >>> [one.name for one in what_decides(definition, ["customer.tier"])]
    ['big']
    """
    wanted = set(fields)
    found: dict[str, Rule] = {}
    states = False
    while True:
        if STATE_FIELD in wanted and not states:
            states = True
            wanted.update(name for one in definition.states for name in fields_read(one.when))
        new = [
            rule
            for rule in definition.rules
            if rule.name not in found and not wanted.isdisjoint(rule.set)
        ]
        if not new:
            break
        for rule in new:
            found[rule.name] = rule
            wanted.update(fields_read(rule.when))
    if states:
        yield from definition.states
    yield from (rule for rule in definition.rules if rule.name in found)


def narrowed(definition: PolicyDefinition, fields: Iterable[str]) -> PolicyDefinition:
    """The policy without what these fields do not depend on: so few fields are read."""
    needed = list(what_decides(definition, fields))
    return msgspec.structs.replace(
        definition,
        channels=tuple(msgspec.structs.replace(one, quiet_hours=()) for one in definition.channels),
        placements=(),
        messages=(),
        caps=(),
        budgets=(),
        coupons=(),
        moments=(),
        journeys=(),
        states=tuple(one for one in needed if isinstance(one, State)),
        rules=tuple(one for one in needed if isinstance(one, Rule)),
    )


class Reader:
    """Reads the fields of a policy that was compiled from `narrowed` definitions."""

    def __init__(self, policy: Policy) -> None:
        self.policy: Final = policy
        self.slot: Final = policy.fields.slot
        self._matcher: Final = PlainMatcher(policy.rules, policy.rule_strata, self.slot)

    def read(self, document: Document, now: int, event: TriggerEvent | None = None) -> list[Value]:
        """The slot values of a customer at a time in microseconds."""
        policy = self.policy
        zone = policy.zone_of(document)
        values = policy.read(Situation(document, "", now, zone, event, variants=policy.variant))
        if policy.rules:
            strata = policy.rule_strata
            business_rules.run(strata, policy.rules, self._matcher, values, self.slot)
        return values
