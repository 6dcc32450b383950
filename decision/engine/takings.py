"""What decisions may have taken of, by whatever policy, in whichever process they were made.

A process may be slower than others to follow a new policy, and is told of contacts that those made
by it. So it asks the store, in which a policy's budgets and pools are noted before any of it is
taken: what is read after an event has come covers the decision that the event is about.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from decision.core.ports import Store

BUDGETS_USED: Final = "budgets-used"
"""The name under which the store notes that a policy had budgets."""


class Takings(NamedTuple):
    """Whether any policy had budgets, and all coupon pools that ever had codes."""

    budgets: bool = False
    pools: tuple[str, ...] = ()


async def note_budgets(store: Store) -> None:
    """Notes that a policy has budgets, before a decision can take from one.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    await store.put_blob(BUDGETS_USED, b"1")
    await store.prepare_budgets()


async def read_takings(store: Store) -> Takings:
    """What the store knows now.

    Raises:
        StoreUnavailable: it does not answer.
    """
    return Takings(
        await store.get_blob(BUDGETS_USED) is not None, tuple(await store.coupon_pools())
    )
