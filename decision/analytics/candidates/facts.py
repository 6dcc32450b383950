"""What a policy says of its candidates, as far as the log does not: category, value, cost, tier."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from decision.core.definition import PolicyDefinition
from decision.core.masks import indices
from decision.core.policy_builder import compile_policy

Pair = tuple[str, str]
"""A candidate: message and channel."""


class CandidateFacts(NamedTuple):
    """Value and cost are in `settings.currency`; tiers are numbered from 0, the first one."""

    category: str
    value: float
    cost: float
    tier: int = 0


Facts = dict[Pair, CandidateFacts]
FactsOf = Callable[[str], Facts | None]
"""Policy version → what it says; None where its files are not kept, or cannot be read."""


def facts_of(definition: PolicyDefinition) -> Facts:
    """What a policy says of each of its candidates."""
    policy = compile_policy(definition)
    tiers = {one: tier for tier, mask in enumerate(policy.tiers) for one in indices(mask)}
    return {
        (info.message, info.channel): CandidateFacts(
            info.category, info.value, float(policy.costs[place]), tiers.get(place, 0)
        )
        for place, info in enumerate(policy.candidates)
    }
