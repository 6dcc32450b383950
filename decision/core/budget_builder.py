"""Compiles the budgets of a definition: which candidates each counts, and what they take of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec

from decision.core.budgets import TIMES, CompiledBudget, millionths
from decision.core.coupons import counter_of
from decision.core.definition import PolicyDefinition, Selector
from decision.core.masks import union


def message_budgets(
    definition: PolicyDefinition, message_masks: Mapping[str, int]
) -> Iterator[CompiledBudget]:
    """`budget:` of messages: one for all time, one for each day."""
    for message in definition.messages:
        budget = message.budget
        if budget is None:
            continue
        whole = CompiledBudget(
            name=message.name,
            prefix=f"{message.name}:",
            unit=TIMES,
            amount=budget.total or 0,
            takes=((1, message_masks.get(message.name, 0)),),
            source=budget.source or message.source,
        )
        if budget.total is not None:
            yield whole
        if budget.per_day is not None:
            yield msgspec.structs.replace(whole, amount=budget.per_day, per="day")


def shared_budgets(
    definition: PolicyDefinition,
    selected: Callable[[Selector], int],
    channel_masks: Mapping[str, int],
) -> Iterator[CompiledBudget]:
    """`budgets:`, in their order. What costs nothing takes nothing of money."""
    by_cost: dict[int, int] = {}
    for channel in definition.channels:
        cost = millionths(channel.cost) or 0
        by_cost[cost] = by_cost.get(cost, 0) | channel_masks.get(channel.name, 0)
    for budget in definition.budgets:
        money, about = budget.spend is not None, selected(budget.of)
        takes = [
            (amount, mask & about)
            for amount, mask in (by_cost if money else {1: about}).items()
            if amount and mask & about
        ]
        unit = definition.settings.currency if money else TIMES
        yield CompiledBudget(
            name=budget.name,
            prefix=f"{budget.name}/{unit}/",
            unit=unit,
            amount=budget.spend or budget.at_most or 0,
            takes=tuple(takes),
            per=budget.per,
            paced=budget.pace is not None,
            shared=True,
            source=budget.source,
        )


def coupon_pools(
    definition: PolicyDefinition, message_masks: Mapping[str, int]
) -> Iterator[CompiledBudget]:
    """The `coupons:` from which messages take codes."""
    for pool in definition.coupons:
        mask = union(
            message_masks.get(message.name, 0)
            for message in definition.messages
            if message.coupon == pool.name
        )
        if mask:
            yield CompiledBudget(
                name=counter_of(pool.name),
                prefix=counter_of(pool.name),
                unit=TIMES,
                amount=0,
                takes=((1, mask),),
                pool=True,
                source=pool.source,
            )
