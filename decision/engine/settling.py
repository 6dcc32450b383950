"""What contacts and events mean for what decisions took: units of budgets, coupon codes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

from decision.core import coupons
from decision.core.coupons import REDEEMED
from decision.core.event_effects import Occurrence
from decision.engine.runtime import Runtime
from decision.engine.takings import Takings
from decision.store.uptime import uptime


async def takings_now(runtime: Runtime) -> Takings:
    """What decisions may have taken of by now: by the policy in force, or any other.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    snapshot, found = runtime.snapshot, await runtime.takings.since(uptime())
    pools = dict.fromkeys([*snapshot.pools, *found.pools])
    return Takings(found.budgets or bool(snapshot.policy.budgets), tuple(pools))


async def settle(
    runtime: Runtime, takings: Takings, decision_id: str, message: str, rank: int
) -> None:
    """Counts (odd rank) or gives back (even rank) what a decision took for a message.

    A message may have had another coupon pool, or been in another policy, when it took a code.
    """
    store, snapshot = runtime.store, runtime.snapshot
    await store.settle_budgets(decision_id, message, rank)
    if not takings.pools:
        return
    now, written = runtime.clock(), snapshot.policy.messages.get(message)
    own = written.coupon if written is not None else ""
    for pool in sorted(takings.pools, key=lambda name: name != own):
        if await store.settle_code(pool, decision_id, message, rank, now):
            break


def check_redeemed(
    runtime: Runtime, event: str, properties: Mapping[str, Any], path: str = "properties"
) -> None:
    """Checks that an event which redeems a code has one, where there are coupon pools.

    Raises:
        InputError: it does not.
    """
    if runtime.snapshot.pools:
        coupons.check_redeemed(event, properties, path)


async def redeem(
    runtime: Runtime, occurrences: Iterable[Occurrence], now: int, done: set[str]
) -> None:
    """Keeps the codes that were redeemed for good, in whichever pool they are.

    Done before the event is written, so that it is not lost; doing it again is the same. Codes that
    are `done` are left out, and the others are added to them: a write that is tried again must not
    take longer than those that overtake it. A code of no pool changes nothing: it is of another
    system. Pools are asked for anew, because codes are loaded before the rules that name their
    pool.
    """
    codes = dict.fromkeys(
        code
        for one in occurrences
        if one.type == REDEEMED
        and (code := coupons.code_in(one.properties)) is not None
        and code not in done
    )
    if not codes:
        return
    pools = dict.fromkeys([*runtime.snapshot.pools, *await runtime.store.coupon_pools()])
    for code, pool in product(codes, pools):
        await runtime.store.redeem_code(pool, code, now)
    done.update(codes)
