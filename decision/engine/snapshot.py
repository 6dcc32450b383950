"""A snapshot: one policy and one model, bound to each other and to the store, ready to decide.

It is made aside, whole, and swapped in between two decisions; it never changes afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from decision.core.business_rules import PlainMatcher
from decision.core.definition import PolicyDefinition
from decision.core.document import ContactKind
from decision.core.events import Measure
from decision.core.policy import Policy
from decision.core.ports import RuleMatcher, Scorer, Store
from decision.core.schema import Moment
from decision.rulebook.content import compile_content, content_for
from decision.rulebook.durable_engine import DurableMatcher
from decision.rulebook.rule_trial import try_rules
from decision.scoring.model import Model
from decision.scoring.scorers import bind

Render = Callable[[Mapping[str, Any]], dict[str, Any]]


class PolicyRefused(ValueError):
    """The policy could not be put in force; what is in force stays."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a decision needs but the customer.

    `kinds` and `renders` are by candidate; `fallbacks` is placement → (message, channel, render).
    `degraded` is what every decision does without, such as `model`.
    """

    policy: Policy
    matcher: RuleMatcher
    scorer: Scorer
    measures: dict[str, Measure]
    kinds: list[int]
    renders: list[Render]
    fallbacks: dict[str, tuple[str, str, Render]]
    policy_version: str
    model_version: str | None
    loaded_at: Moment
    degraded: tuple[str, ...] = ()


def policy_blob(version: str) -> str:
    """The name under which the store keeps a policy's files."""
    return f"policy:{version}"


async def build_snapshot(
    definition: PolicyDefinition,
    model: Model | None,
    store: Store,
    loaded_at: Moment,
    *,
    try_first: bool = True,
    durable: bool = True,
) -> Snapshot:
    """Compiles a checked policy, binds the model to it and registers its contacts in the store.

    `try_first` runs the business rules in a child process before they run here; `durable` false
    evaluates them with the plain evaluator, for one-off uses such as looking back at a decision.

    Raises:
        PolicyRefused: the rule engine does not hold these rules.
        StoreUnavailable: the store could not be reached.
    """
    policy = Policy(definition)
    scorer = bind(model, policy.candidates, policy.fields, policy.settings)
    matcher: RuleMatcher
    if durable and policy.rules:
        if try_first:
            problem = try_rules(policy.rules)
            if problem is not None:
                raise PolicyRefused(problem)
        matcher = DurableMatcher(policy.rules, policy.rule_plan, policy.fields.slot)
    else:
        matcher = PlainMatcher(policy.rules, policy.rule_plan, policy.fields.slot)
    renders = [
        compile_content(content_for(message, channel.name)) for message, channel in policy.pairs
    ]
    kinds = await store.register_kinds(
        [
            ContactKind(
                candidate.message,
                candidate.channel,
                candidate.purpose,
                candidate.category,
                candidate.tags,
            )
            for candidate in policy.candidates
        ]
    )
    await store.put_blob(
        policy_blob(policy.version), msgspec.msgpack.encode(dict(definition.files))
    )
    fallbacks: dict[str, tuple[str, str, Render]] = {}
    for placement in definition.placements:
        if placement.fallback is not None:
            message = policy.messages[placement.fallback]
            channel = next(name for name in placement.channels if name in message.channels)
            fallbacks[placement.name] = (
                message.name,
                channel,
                compile_content(content_for(message, channel)),
            )
    measures = policy.measures()
    return Snapshot(
        policy=policy,
        matcher=matcher,
        scorer=scorer,
        measures=measures,
        kinds=kinds,
        renders=renders,
        fallbacks=fallbacks,
        policy_version=policy.version,
        model_version=scorer.version,
        loaded_at=loaded_at,
        degraded=() if scorer.version else ("model",),
    )
