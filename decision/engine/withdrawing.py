"""Withdrawing a decision whose answer nobody was given.

What it reserved is released, its budgets and coupon codes are returned, its deliveries are taken
out of the outbox, the answer kept for its request id is removed, and the log says that nobody was
given it (a record of the kind `not_given`). All of it may be repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

import msgspec

from decision.core.budgets import unit_named
from decision.core.clock import MINUTE, SECOND
from decision.core.delivery import SettledDelivery
from decision.core.document import ContactState
from decision.core.event_effects import FINAL_MARK, contacts_of, is_withheld, withhold
from decision.core.identifiers import decision_tag
from decision.core.ports import Commit, Conflict, ReadResult
from decision.core.records import NOT_GIVEN
from decision.engine.identity import resolve
from decision.engine.log_records import change_record
from decision.engine.runtime import Runtime
from decision.engine.settling import settle, takings_now
from decision.engine.transaction import NotAsSaid, commit_of, update


def told_until(lasts: int, age: int) -> float:
    """Until when, of the loop's time, the store surely keeps an answer; both in microseconds.

    `age` is how long ago it was decided, by clocks that may differ.
    """
    left = lasts - age - min(5 * MINUTE, lasts // 2)
    return asyncio.get_running_loop().time() + left / SECOND


class UngivenDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that may have been written, and whose answer one caller was not given.

    `customer_id` is the one it was written for, `claim` that caller's claim on the kept answer,
    `budgets` and `pools` what it may have taken of, `deliveries` what it may have left to be sent.
    After `until` of the loop's time nobody can say
    any more whether the kept answer was given. `reserved` is false where no commit was sent.
    `stands`: what was written stays, because nobody waits for the answer; only what was taken for a
    decision that was not written is returned.
    """

    decision_id: str
    customer_id: str
    request_id: str | None
    claim: str
    until: float
    budgets: Sequence[str] = ()
    pools: Sequence[str] = ()
    deliveries: Sequence[SettledDelivery] = ()
    reserved: bool = True
    stands: bool = False


class _Outbox:
    """What is known of a decision's deliveries while it is withdrawn, by id.

    Those `gone` are not there any more, or are being sent; those `taken` we took out ourselves.
    """

    def __init__(self, decision: UngivenDecision) -> None:
        self._all = decision.deliveries
        self.gone: set[str] = set()
        self.taken: set[str] = set()

    def left(self) -> dict[str, SettledDelivery]:
        """Those that are still to be taken out."""
        known = self.gone | self.taken
        return {one.id: one for one in self._all if one.id not in known}


async def withdraw(runtime: Runtime, decision: UngivenDecision) -> str:
    """Sees to it that nothing stays reserved, or is sent, of a decision that nobody was given.

    What came of it, as `Observer.followed` says it.

    Raises:
        StoreUnavailable: perhaps not all is done; doing it again is the same.
    """
    store = runtime.store
    released: list[str] = []
    given: list[str] = []
    takings = await takings_now(runtime)
    if decision.stands:
        if decision.reserved and await _was_written(runtime, decision):
            return "given"
    elif decision.reserved:
        if decision.request_id is not None:
            if asyncio.get_running_loop().time() >= decision.until:
                return "too_late"
            named = (decision.customer_id, decision.request_id, decision.decision_id)
            if not await store.disclaim_answer(*named, decision.claim):
                return "given"
        released, given = await _release(runtime, decision)
    for message in released:
        await settle(runtime, takings, decision.decision_id, message, 2 * FINAL_MARK)
    for message in given:
        # So that its code does not go back with the others.
        await settle(runtime, takings, decision.decision_id, message, 1)
    budgets = [unit for unit in decision.budgets if unit_named(unit).message not in given]
    if budgets:
        await store.return_budgets(budgets, decision.decision_id)
    for pool in decision.pools:
        await store.return_codes(pool, decision.decision_id, runtime.clock())
    if released:
        return "released"
    return "given" if given else "not_written"


async def _was_written(runtime: Runtime, decision: UngivenDecision) -> bool:
    """Whether a decision that chose something was written: then its contacts are there."""
    document = (await resolve(runtime, decision.customer_id)).document
    return bool(contacts_of(document, decision.decision_id))


async def _release(runtime: Runtime, decision: UngivenDecision) -> tuple[list[str], list[str]]:
    """Releases the decision's contacts, and takes its deliveries out.

    The messages that were released, and those that were given: see `_change`.
    """
    read, outbox = partial(resolve, runtime), _Outbox(decision)
    while True:
        change = partial(_change, runtime, decision, outbox)
        try:
            return await update(runtime, read, decision.customer_id, change)
        except NotAsSaid as error:
            outbox.gone.update(error.ids)


async def _change(
    runtime: Runtime, decision: UngivenDecision, outbox: _Outbox, found: ReadResult
) -> tuple[tuple[list[str], list[str]], Commit | None]:
    """Releases the decision's contacts, if it has any.

    Gives the messages that are released, those that were given, and what is to be written. What
    an event has confirmed was given, whoever told; so was what is being sent.
    """
    document, decision_id = found.document, decision.decision_id
    tag, released, given, changed = decision_tag(decision_id), [], [], False
    left = outbox.left()
    contacts = list(document.contacts)
    for place, contact in enumerate(contacts):
        if contact.tag != tag:
            continue
        message = document.kinds[contact.kind].message
        delivery_id = f"{decision_id}.{message}"
        if contact.state in (ContactState.CONFIRMED, ContactState.RELEASED):
            left.pop(delivery_id, None)
        elif delivery_id not in outbox.gone:
            contacts[place] = contact = withhold(contact)
            changed = True
        if is_withheld(contact):
            released.append(message)
        elif contact.state != ContactState.RELEASED:
            given.append(message)
    if not changed and not left:
        return (released, given), None
    document.contacts = contacts
    write_id = runtime.new_id(document.customer_id)
    commit = commit_of(found, write_id, ("contacts",) if changed else ())
    if not given:
        at, about = runtime.clock(), {"decision_id": decision_id}
        record = change_record(NOT_GIVEN, decision_id, document.customer_id, at, about)
        commit.records = [record]
    if document.customer_id == decision.customer_id:
        commit.settled = list(left.values())
    elif left:
        await _take_out(runtime, decision, left)
        outbox.taken.update(left)
    return (released, given), commit


async def _take_out(
    runtime: Runtime, decision: UngivenDecision, left: Mapping[str, SettledDelivery]
) -> None:
    """Takes deliveries out under the id of a customer who was merged into another one.

    Raises:
        NotAsSaid: one of them is gone, or is being sent.
    """
    found = await runtime.store.read(decision.customer_id)
    write_id = runtime.new_id(decision.customer_id)
    commit = commit_of(found, write_id, ())
    commit.settled = list(left.values())
    reply = await runtime.store.commit(commit)
    if isinstance(reply, Conflict):
        raise NotAsSaid(reply.unsettled)
