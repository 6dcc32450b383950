"""A plan put into the store: contacts, answer, event and record in one commit, all or none."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

import msgspec

from decision.core import event_effects
from decision.core.budgets import BudgetFull, unit_named
from decision.core.clock import SECOND
from decision.core.coupons import WantedCode, counter_of
from decision.core.document import Contact, ContactState
from decision.core.errors import StoreUnavailable
from decision.core.identifiers import decision_tag
from decision.core.ports import Commit, Committed, Conflict, LogRecord, Section, Store
from decision.core.schema import Decision
from decision.engine.answering import answer_of
from decision.engine.following import Following
from decision.engine.log_records import decision_record, event_record, opt_out_records
from decision.engine.outbox import deliveries_of, is_delivered, withdrawals
from decision.engine.planning import DecisionPlan, DecisionQuery
from decision.engine.transaction import Done, TryAgain
from decision.engine.withdrawing import UngivenDecision, told_until

_THEN_COUNT: Final = ContactState.RESERVED_THEN_COUNT
_THEN_RELEASE: Final = ContactState.RESERVED_THEN_RELEASE
"""Looked up once: an enum looks each of its members up in Python."""

_encode_answer = msgspec.json.Encoder().encode


class BudgetSpent(msgspec.Struct, frozen=True):
    """Nothing was written: of a budget's counter at least so much is taken by others.

    Of a coupon pool, it is how many codes are left, below zero, as `core.coupons.counter_of` says.
    """

    counter: str
    taken: int


class TextTooLong(msgspec.Struct, frozen=True):
    """Nothing was written: texts of these candidates turned out to be too long.

    `printed_codes`: with coupon codes, which were taken for it.
    """

    candidates: int
    printed_codes: bool = False


async def reserve(
    store: Store, following: Following, plan: DecisionPlan, answer: Decision
) -> Done[Decision] | TryAgain | BudgetSpent | TextTooLong:
    """Reserves, takes from budgets and logs, all in one commit; takes coupon codes before it.

    With coupon codes, the answer is rendered again.

    Where the deadline passes meanwhile, or a reply is lost, the decision is followed aside: the
    caller gets another answer, so nothing of this one stays.
    """
    pools = plan.codes_to_take() if plan.query.snapshot.policy.coupons else {}
    if pools:
        try:
            refused = await _take_codes(store, plan, pools)
            if refused is not None:
                await _return_codes(store, plan, pools)
                return refused
        except (asyncio.CancelledError, StoreUnavailable):
            following.withdraw(_ungiven(plan, pools=pools, reserved=False))
            raise
        answer = answer_of(plan)
    commit = decision_commit(plan, answer)
    try:
        try:
            reply = await store.commit(commit, timeout=plan.query.left())
        except BudgetFull as full:
            await _return_codes(store, plan, pools)
            return _spent(commit, full)
        if pools and not isinstance(reply, Committed):
            await _return_codes(store, plan, pools)
    except (asyncio.CancelledError, StoreUnavailable) as error:
        sent = not isinstance(error, StoreUnavailable) or error.uncertain
        delivered = _is_delivered(plan) and plan.query.step is None
        reserved = sent and (bool(plan.verdict.chosen) or delivered)
        budgets = commit.units.limits if sent and commit.units is not None else ()
        if (reserved and plan.query.step is None) or budgets or pools:
            ungiven = _ungiven(plan, budgets, pools, reserved=reserved)
            if reserved and delivered:
                ungiven = msgspec.structs.replace(ungiven, deliveries=withdrawals(answer))
            following.withdraw(ungiven)
        raise
    if isinstance(reply, Conflict):
        return TryAgain(reply.latest)
    if not reply.durable:
        answer = msgspec.structs.replace(answer, degraded=[*answer.degraded, "durability"])
    return Done(answer)


def _spent(commit: Commit, full: BudgetFull) -> BudgetSpent:
    assert commit.units is not None
    limits, counter = commit.units.limits, unit_named(full.unit).counter
    wanted = sum(one.amount for one in map(unit_named, limits) if one.counter == counter)
    return BudgetSpent(counter, limits[full.unit] - wanted + 1)


async def _take_codes(
    store: Store, plan: DecisionPlan, pools: dict[str, dict[int, WantedCode]]
) -> BudgetSpent | TextTooLong | None:
    """Takes the codes that the texts then print; says why not, where that cannot be."""
    query, texts = plan.query, plan.verdict.texts
    overlong = 0
    for pool, wanted in pools.items():
        codes = await store.take_codes(
            pool,
            list(wanted.values()),
            plan.decision_id,
            now=query.now,
            lasts=_kept(query),
            timeout=query.left(),
        )
        if codes is None:
            return BudgetSpent(counter_of(pool), 1 - len(wanted))
        for candidate, code in zip(wanted, codes, strict=True):
            texts.give(candidate, code)
            if not texts.fits(candidate):
                overlong |= 1 << candidate
    return TextTooLong(overlong, printed_codes=True) if overlong else None


async def _return_codes(store: Store, plan: DecisionPlan, pools: Collection[str]) -> None:
    """Gives back what was taken, where nothing was written."""
    for pool in pools:
        await store.return_codes(pool, plan.decision_id, plan.query.now)


def _ungiven(
    plan: DecisionPlan,
    budgets: Collection[str] = (),
    pools: Collection[str] = (),
    *,
    reserved: bool,
) -> UngivenDecision:
    lasts = plan.query.snapshot.policy.settings.request_id_lasts
    return UngivenDecision(
        decision_id=plan.decision_id,
        customer_id=plan.state.document.customer_id,
        request_id=plan.query.request.request_id,
        claim=plan.decision_id,
        until=told_until(lasts, int(plan.query.elapsed() * SECOND)),
        budgets=list(budgets),
        pools=list(pools),
        reserved=reserved,
        stands=plan.query.step is not None,
    )


def _is_delivered(plan: DecisionPlan) -> bool:
    query = plan.query
    return is_delivered(query.snapshot.policy, query.settings, query.request.placement)


def decision_commit(plan: DecisionPlan, answer: Decision) -> Commit:
    """The commit of a plan. Adds the plan's contacts, if any, to `plan.state.document`."""
    query, document, event = plan.query, plan.state.document, plan.event
    request, policy = query.request, query.snapshot.policy
    log: list[LogRecord] = []
    write: tuple[Section, ...] = ()
    if event is not None:
        log.append(event_record(event, document.customer_id, query.now))
        log += opt_out_records(event, document.customer_id, query.now, plan.heard)
        write = ("events", "contacts")
    log.append(decision_record(plan))
    # After the record, which holds what the decision saw.
    if plan.verdict.chosen:
        _add_contacts(plan)
        write = write or ("contacts",)
    keeps = request.request_id is not None and query.step is None
    commit = Commit(
        id=plan.decision_id,
        customer_id=document.customer_id,
        document=document,
        version=plan.state.version,
        # What is written must not have changed. Where nothing is, the profile stands for the whole
        # customer: one who is erased meanwhile must leave no record.
        expect=write or (("profile",) if plan.state.raw else ()),
        write=write,
        raw=plan.state.raw,
        records=log,
        request_id=request.request_id if keeps else None,
        answer=_encode_answer(answer) if keeps else None,
        answer_lasts=policy.settings.request_id_lasts,
        event_ids=[event.id] if event is not None else [],
        event_ids_last=query.settings.event_ids_last,
        deliveries=deliveries_of(plan, answer) if _is_delivered(plan) else (),
        units=plan.units_to_take(_kept(query)),
    )
    if plan.journeys is not None:
        held_until = None
        if query.step is not None:
            held_until = query.step.go_on(plan)
        elif request.ask_again and plan.verdict.outcome == "none":
            about = (query.question, plan.decision_id, plan.verdict.not_before)
            plan.journeys.ask_later(*about)
        plan.journeys.write(commit, query.settings.event_ids_last, held_until)
    return commit


def _add_contacts(plan: DecisionPlan) -> None:
    query, document = plan.query, plan.state.document
    snapshot = query.snapshot
    tag = decision_tag(plan.decision_id)
    for row in plan.verdict.chosen:
        reservation = snapshot.policy.pairs[row.candidate][1].reservation
        state = _THEN_COUNT if reservation.then == "count" else _THEN_RELEASE
        mark = reservation.expires_after // SECOND
        contact = Contact(snapshot.kinds[row.candidate], query.now, state, mark, tag)
        event_effects.add_contact(document, contact)
    for_ever = snapshot.policy.contact_policy.counts_for_ever
    event_effects.prune_contacts(document, query.now - _kept(query), query.now, count=for_ever)


def _kept(query: DecisionQuery) -> int:
    """How long contacts are kept, in microseconds."""
    return max(query.snapshot.history_needed, query.settings.contacts_kept)
