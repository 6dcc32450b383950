"""Deliveries that somebody wants sent again or now, or given up.

A dead letter has released its contact, so others may have taken its place meanwhile. It is sent
again only if it may be sent now, and caps and budgets have room: its contact is reserved anew in
the commit that queues it. One with a coupon code is not sent again: the code went back to the pool.
"""

from __future__ import annotations

from functools import partial

import msgspec

from decision.core import event_effects
from decision.core.budgets import BudgetFull, WantedUnits
from decision.core.clock import SECOND
from decision.core.delivery import (
    Delivery,
    ListedDelivery,
    OutboxStore,
    SettledDelivery,
    values_at,
    why_not,
)
from decision.core.document import Contact, ContactState, Document
from decision.core.identifiers import decision_tag, partition_in, partition_of
from decision.core.ports import Commit, ReadResult
from decision.core.reasons import Reason
from decision.engine.identity import resolve
from decision.engine.runtime import Runtime
from decision.engine.transaction import commit_of, update

CHANGED = "changed"
"""Why it is not sent again: it is not as it was listed."""

CODE_RETURNED = "coupon_returned"
"""Why it is not sent again: its coupon code may be somebody else's by now."""


async def send_again(runtime: Runtime, listed: ListedDelivery) -> str | None:
    """Makes a delivery due that is held, or waits; why not, where it cannot be.

    Raises:
        StoreUnavailable: perhaps it is queued.
    """
    if listed.status.state == "queued":
        # Where it is not as it was listed, somebody is sending it.
        await runtime.store.requeue_delivery(listed)
        return None
    if listed.status.state == "unknown":
        return None if await runtime.store.requeue_delivery(listed) else CHANGED
    if listed.status.state != "failed":
        return CHANGED
    delivery = listed.delivery
    if delivery.coupon:
        return CODE_RETURNED
    change = partial(_reserve, runtime, delivery)
    try:
        reason = await update(runtime, partial(resolve, runtime), delivery.customer_id, change)
    except BudgetFull:
        return Reason.BUDGET_SPENT.value
    if reason is None:
        # Under the id of a customer who was merged into another one, it is still there.
        for row in await runtime.store.deliveries_of(delivery.customer_id):
            if row.delivery.id == delivery.id and row.status.state == "failed":
                await _discard(runtime, delivery)
    return reason


async def make_due(store: OutboxStore, channel: str, now: int) -> int:
    """Makes what waits on a channel for its next attempt due; how many deliveries that were.

    `now`, in milliseconds, spares what is due by then.
    """
    made, cursor = 0, ""
    while True:
        page = await store.deliveries("queued", channel, cursor)
        for row in page.rows:
            if row.due is not None and row.due > now:
                made += await store.requeue_delivery(row)
        cursor = page.cursor
        if not cursor:
            return made


async def give_up(runtime: Runtime, listed: ListedDelivery) -> bool:
    """Removes a delivery that is held; its contact stays as it is. False where it is not held."""
    if listed.due is not None:
        return False
    return await _discard(runtime, listed.delivery)


async def _discard(runtime: Runtime, delivery: Delivery) -> bool:
    one = (delivery.customer_id, delivery.id, delivery.channel)
    return await runtime.store.discard_delivery(*one)


def _candidate(runtime: Runtime, delivery: Delivery) -> int | None:
    """The candidate that it is, if the policy still has it."""
    policy = runtime.snapshot.policy
    pair = (delivery.message, delivery.channel)
    found = (n for n, one in enumerate(policy.candidates) if (one.message, one.channel) == pair)
    return next(found, None)


def _units(runtime: Runtime, delivery: Delivery) -> dict[str, int]:
    """What its contact takes of budgets: unit → limit of its counter."""
    candidate = _candidate(runtime, delivery)
    if candidate is None or not delivery.counts:
        return {}
    limits = runtime.snapshot.policy.budgets.at(runtime.clock()).values()
    found = {
        limit.unit(candidate, delivery.message): limit.amount
        for limit in limits
        if limit.mask >> candidate & 1
    }
    return {unit: amount for unit, amount in found.items() if unit is not None}


async def _reserve(
    runtime: Runtime, delivery: Delivery, found: ReadResult
) -> tuple[str | None, Commit | None]:
    """Reserves the contact anew, and queues the delivery with it; or says why not."""
    policy, now, document = runtime.snapshot.policy, runtime.clock(), found.document
    candidate, contact = _candidate(runtime, delivery), contact_of(document, delivery)
    if contact is not None and contact.state != ContactState.RELEASED:
        return CHANGED, None
    if candidate is None:
        return Reason.INACTIVE.value, None
    reservation = policy.pairs[candidate][1].reservation
    again = msgspec.structs.replace(
        delivery,
        customer_id=document.customer_id,
        expires=now + reservation.expires_after,
        releases=reservation.then == "release",
        again=delivery.again + 1,
    )
    if (reason := why_not(policy, document, again, now)) is not None:
        return reason, None
    if delivery.counts:
        zone = policy.zone_of(document)
        values = values_at(policy, document, delivery.placement, now)
        if policy.contact_policy.standing(document, now, zone, values).capped >> candidate & 1:
            return Reason.CAPPED.value, None
        document.contacts = [one for one in document.contacts if one is not contact]
        anew = Contact(
            kind=runtime.snapshot.kinds[candidate],
            at=now,
            state=ContactState.RESERVED_THEN_COUNT
            if reservation.then == "count"
            else ContactState.RESERVED_THEN_RELEASE,
            mark=reservation.expires_after // SECOND,
            tag=decision_tag(delivery.decision_id),
        )
        event_effects.add_contact(document, anew)
    write_id = runtime.new_id(document.customer_id)
    commit = commit_of(found, write_id, ("contacts",) if delivery.counts else ())
    commit.deliveries = [again]
    commit.units = await _wanted(runtime, again, document, contact)
    if document.customer_id == delivery.customer_id:
        one = SettledDelivery(id=delivery.id, channel=delivery.channel, only="always")
        commit.settled = [one]
    return None, commit


async def _wanted(
    runtime: Runtime, again: Delivery, document: Document, released: Contact | None
) -> WantedUnits | None:
    """The units for a contact that is reserved anew: under the decision's id, which settles them.

    What the decision took is given back first, in case the event that released the contact has not
    come so far. Of a merged customer the decision's units are elsewhere: there nothing settles the
    new ones.
    """
    if not (limits := _units(runtime, again)):
        return None
    ends = dict.fromkeys(limits, again.expires) if again.releases else {}
    lasts = max(runtime.snapshot.history_needed, runtime.settings.contacts_kept)
    if partition_in(again.decision_id) != partition_of(document.customer_id):
        return WantedUnits(limits, ends, lasts)
    if released is not None:
        named = (again.decision_id, again.message)
        await runtime.store.settle_budgets(*named, 2 * released.mark)
    return WantedUnits(limits, ends, lasts, token=again.decision_id)


def contact_of(document: Document, delivery: Delivery) -> Contact | None:
    """The contact that a delivery is of; None for fallbacks, and where it is not known any more."""
    for contact in event_effects.contacts_of(document, delivery.decision_id):
        if document.kinds[contact.kind].message == delivery.message:
            return contact
    return None
