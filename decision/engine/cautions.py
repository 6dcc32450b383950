"""Warnings about a new policy, given when it is put in force.

A cap with a window longer than contacts were kept counts only what is still there; a budget
lowered below what is spent stays spent; of a coupon pool without codes, nothing is given.
While it is in force, deliveries wait for ever where nobody sends, or no attempt succeeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from decision.core.clock import DAY, from_micros
from decision.core.contact_policy import EVER
from decision.core.definition import Cap
from decision.core.errors import StoreUnavailable
from decision.core.policy import Policy
from decision.core.ports import BlobStore, Store
from decision.core.said import Counted, Joined, Said, lasting, lasting_about, marked
from decision.engine.journey_cautions import journey_cautions
from decision.engine.left_alone import in_words, noted
from decision.store.damage import readable

if TYPE_CHECKING:
    from decision.engine.runtime import Runtime

Subject = Literal["policy", "budgets", "deliveries", "journeys"]

_BEHIND: Final = 60_000
"""Milliseconds for which deliveries may be due before it is a warning."""

_OLD: Final = 600_000
"""Milliseconds for which one may wait, also for its next attempt, before it is a warning."""

HORIZON_BLOB = "contacts-kept"


class Horizon(msgspec.Struct, frozen=True):
    """How long contacts are kept, and since when (both microseconds)."""

    kept: int
    since: int


_WINDOWS: Final = {
    "day": marked("the calendar day"),
    "week": marked("the calendar week"),
    "month": marked("the calendar month"),
}


def _window(cap: Cap) -> str:
    return lasting(cap.within) if isinstance(cap.within, int) else Said(_WINDOWS[cap.within])


_horizon = msgspec.msgpack.Decoder(Horizon).decode


async def passing_cautions(policy: Policy, store: Store, now: int) -> tuple[str, ...]:
    """Warnings of what is so now, one sentence each: it may change while the policy is in force.

    Raises:
        StoreUnavailable: the store could not be reached.
    """
    return (
        *await _overspent_budgets(policy, store, now),
        *await _empty_pools(policy, store, now),
    )


async def present_cautions(runtime: Runtime) -> tuple[str, ...]:
    """Every warning about the policy in force, as it is now, and those of deliveries and journeys
    that wait.

    The latter are not about the policy: whoever puts it in force may be the one that acts. Where
    the store does not answer, those of when it was put in force.
    """
    return tuple([text for _, text in await cautions_by_subject(runtime)])


async def cautions_by_subject(runtime: Runtime) -> list[tuple[Subject, str]]:
    """The same, each with what it is about."""
    snapshot, now = runtime.snapshot, runtime.clock()
    about: list[tuple[Subject, tuple[str, ...]]] = [("policy", snapshot.lasting_cautions)]
    try:
        about += [
            ("budgets", await passing_cautions(snapshot.policy, runtime.store, now)),
            ("deliveries", await _late_deliveries(snapshot.policy, runtime.store, now)),
            ("journeys", await journey_cautions(snapshot.policy, runtime.store, now)),
        ]
    except StoreUnavailable:
        about = [("policy", snapshot.cautions)]
    return [(subject, text) for subject, texts in about for text in texts]


async def lasting_cautions(
    policy: Policy, store: BlobStore, now: int, least_kept: int
) -> tuple[str, ...]:
    """Warnings of contacts that were not kept, one sentence each.

    The store remembers how long contacts are kept. `least_kept` is how long they are kept even if
    the policy needs less.

    Raises:
        StoreUnavailable: the store could not be reached.
    """
    needed = policy.history_needed()
    stored = await store.get_blob(HORIZON_BLOB)
    horizons = [] if stored is None else readable(HORIZON_BLOB, [stored], _horizon)
    if not horizons:
        horizon = Horizon(kept=max(needed, least_kept), since=0)
        await store.put_blob(HORIZON_BLOB, msgspec.msgpack.encode(horizon))
        return ()
    horizon = horizons[0]
    if needed <= horizon.kept:
        return ()
    found = []
    for cap in policy.definition.caps:
        if cap.within == EVER:
            found.append(
                Said(
                    "%(place)s: cap %(name)s counts ever, but only contacts of the last %(kept)s "
                    "are still known; earlier ones are not counted",
                    place=cap.source,
                    name=cap.name,
                    kept=lasting(horizon.kept),
                )
            )
            continue
        window = cap.within if isinstance(cap.within, int) else 32 * DAY
        if window > horizon.kept:
            whole = from_micros(now + window - horizon.kept)
            found.append(
                Said(
                    "%(place)s: cap %(name)s counts %(window)s, but contacts were kept for "
                    "%(kept)s only; until %(time)s UTC it misses what was forgotten before",
                    place=cap.source,
                    name=cap.name,
                    window=_window(cap),
                    kept=lasting(horizon.kept),
                    time=f"{whole:%Y-%m-%d %H:%M}",
                )
            )
    longer = Horizon(kept=needed, since=now)
    await store.put_blob(HORIZON_BLOB, msgspec.msgpack.encode(longer))
    return tuple(found)


async def _overspent_budgets(policy: Policy, store: Store, now: int) -> tuple[str, ...]:
    every = policy.budgets.at(now)
    limits = {counter: one for counter, one in every.items() if not one.budget.pool}
    if not limits:
        return ()
    await store.expire_budgets(now)
    counts = await store.budget_counts(tuple(limits))
    found = []
    for counter, limit in limits.items():
        budget, taken = limit.budget, counts[counter].taken
        if taken > budget.amount:
            name = budget.name if budget.shared else counter
            found.append(
                Said(
                    "%(place)s: the budget %(name)s is %(whole)s, but %(spent)s are spent already; "
                    "nothing more is given",
                    place=budget.source,
                    name=name,
                    whole=budget.in_words(budget.amount),
                    spent=budget.in_words(taken),
                )
            )
    return tuple(found)


async def _empty_pools(policy: Policy, store: Store, now: int) -> tuple[str, ...]:
    used = {message.coupon for message in policy.messages.values()}
    return tuple(
        [
            Said(
                "%(place)s: coupon pool %(name)s has no codes, so messages with it are not given; "
                "load some: nextbest coupons load %(name)s codes.csv",
                place=pool.source,
                name=pool.name,
            )
            for pool in policy.coupons.values()
            if pool.name in used and not (await store.count_codes(pool.name, now)).loaded
        ]
    )


async def _late_deliveries(policy: Policy, store: Store, now: int) -> tuple[str, ...]:
    if not policy.delivered_channels():
        return ()
    counts, paused = await store.count_deliveries(), await store.paused_gateways()
    alone = await noted(store, counts.waiting, now)
    names = Said("none is paused")
    if paused:
        names = Said("paused: %(names)s", names=Joined(", ", sorted(paused)))
    found = []
    for channel, number in sorted(counts.waiting.items()):
        waits = max(counts.oldest[channel], counts.behind[channel])
        if counts.behind[channel] < _BEHIND and waits < _OLD:
            continue
        stopped = Said("gateways: %(names)s", names=names)
        if (one := alone.get(channel)) is not None:
            state = Said("is paused") if one.gateway in paused else in_words(one, now)
            stopped = Said("its gateway %(name)s %(state)s", name=one.gateway, state=state)
        found.append(
            Said(
                "channel %(channel)s: %(waiting)s, the oldest for %(waits)s; see that nextbest "
                "outbound runs, or serve --outbound, and what its attempts came to: nextbest "
                "outbox list --channel %(channel)s (%(stopped)s)",
                channel=channel,
                waiting=Counted(
                    "%(n)s delivery waits", "%(n)s deliveries wait", number, n=f"{number:,}"
                ),
                waits=lasting_about(waits * 1000),
                stopped=stopped,
            )
        )
    return tuple(found)
