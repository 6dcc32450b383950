"""What is spent of every budget, as operators read it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from decision.core.clock import from_micros
from decision.core.definition import CalendarPeriod
from decision.core.errors import StoreUnavailable
from decision.engine.runtime import Runtime


class BudgetView(msgspec.Struct, frozen=True, kw_only=True):
    """One budget in its present period; `name` is that of its message, or one of `budgets:`.

    `unit` is the currency or `times`, in which `spent`, `limit` and `freed` are: `freed` is what
    may be spent by now. Of what is not spent, servers hold `held` for their next decisions, in the
    same unit. Without a period (`per` null) it is of all time.
    """

    name: str
    of: Literal["message", "budgets"]
    unit: str
    spent: float
    limit: float
    freed: float
    held: float = 0
    per: CalendarPeriod | None = None
    since: datetime | None = None
    until: datetime | None = None


async def budget_views(runtime: Runtime, among: int | None = None) -> list[BudgetView] | None:
    """Every budget of the policy in force, pools left out; None where the store does not answer.

    With `among`, those that one of these candidates takes from.
    """
    now, store = runtime.clock(), runtime.store
    every = runtime.snapshot.policy.budgets.at(now)
    limits = {
        counter: one
        for counter, one in every.items()
        if not one.budget.pool and (among is None or one.mask & among)
    }
    if not limits:
        return []
    try:
        await store.expire_budgets(now)
        counts = await store.budget_counts(tuple(limits))
    except StoreUnavailable:
        return None
    found = []
    for counter, limit in limits.items():
        budget = limit.budget
        found.append(
            BudgetView(
                name=budget.name,
                of="budgets" if budget.shared else "message",
                unit=budget.unit,
                spent=budget.amount_of(counts[counter].taken),
                limit=budget.amount_of(budget.amount),
                freed=budget.amount_of(limit.amount),
                held=budget.amount_of(counts[counter].held),
                per=budget.per,
                since=from_micros(limit.start) if budget.per else None,
                until=from_micros(limit.end) if budget.per else None,
            )
        )
    return found
