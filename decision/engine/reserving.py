"""A plan put into the store: contacts, answer, event and record in one commit, all or none."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

import msgspec

from decision.core import event_effects
from decision.core.clock import SECOND
from decision.core.document import Contact, ContactState
from decision.core.errors import StoreUnavailable
from decision.core.identifiers import decision_tag
from decision.core.ports import Commit, Committed, Conflict, LogRecord, Section, Store
from decision.core.schema import Decision
from decision.engine.log_records import decision_record, event_record
from decision.engine.planning import DecisionPlan, DecisionQuery
from decision.engine.transaction import Done, TryAgain

_encode_answer = msgspec.json.Encoder().encode
T = TypeVar("T")


class BudgetSpent(msgspec.Struct, frozen=True):
    """Nothing was written: a budget ran out; `candidates` is the mask of those it limits."""

    candidates: int


async def reserve(
    store: Store, plan: DecisionPlan, answer: Decision
) -> Done[Decision] | TryAgain | BudgetSpent:
    """Takes from budgets, then reserves and logs.

    What was taken is given back if certainly nothing was written, also when the deadline passes
    meanwhile. If that is unclear, because a reply was lost, the budget may stay one unit short,
    on a channel whose reservations release until the reservation would have ended.
    """
    limits, ends = plan.budgets_to_take()
    if not limits:
        return _outcome(await _commit(store, plan, answer), answer)
    give_back = partial(store.return_budgets, list(limits), plan.decision_id)
    try:
        full = await store.take_budgets(
            limits,
            plan.decision_id,
            ends=ends,
            lasts=_kept(plan.query),
            timeout=plan.query.left(),
        )
    except (asyncio.CancelledError, StoreUnavailable):
        # Whether it was taken is not known. After this, a late taking takes nothing.
        _in_background(_quietly(give_back()))
        raise
    if full is not None:
        return BudgetSpent(plan.query.budget_limits[full][1])

    async def commit_or_give_back() -> Committed | Conflict:
        try:
            reply = await _commit(store, plan, answer)
        except StoreUnavailable as error:
            if not error.uncertain:
                await _quietly(give_back())
            raise
        if isinstance(reply, Conflict):
            await _quietly(give_back())
        return reply

    # The deadline ends the wait, not the work.
    return _outcome(await asyncio.shield(_in_background(commit_or_give_back())), answer)


async def _commit(store: Store, plan: DecisionPlan, answer: Decision) -> Committed | Conflict:
    return await store.commit(decision_commit(plan, answer), timeout=plan.query.left())


def _outcome(reply: Committed | Conflict, answer: Decision) -> Done[Decision] | TryAgain:
    return TryAgain(reply.latest) if isinstance(reply, Conflict) else Done(answer)


def decision_commit(plan: DecisionPlan, answer: Decision) -> Commit:
    """The commit of a plan. Adds the plan's contacts, if any, to `plan.state.document`."""
    query, document, event = plan.query, plan.state.document, plan.event
    request, policy = query.request, query.snapshot.policy
    log: list[LogRecord] = []
    write: tuple[Section, ...] = ()
    if event is not None:
        log.append(event_record(event, document.customer_id, query.now))
        write = ("events", "contacts")
    log.append(decision_record(plan))
    # After the record, which holds what the decision saw.
    if plan.verdict.chosen:
        _add_contacts(plan)
        write = write or ("contacts",)
    return Commit(
        id=plan.decision_id,
        customer_id=document.customer_id,
        document=document,
        version=plan.state.version,
        # What is written must not have changed. Where nothing is, the profile stands for the whole
        # customer: one who is erased meanwhile must leave no record.
        expect=write or (("profile",) if plan.state.raw else ()),
        write=write,
        records=log,
        request_id=request.request_id,
        answer=_encode_answer(answer) if request.request_id else None,
        answer_lasts=policy.settings.request_id_lasts,
        event_ids=[event.id] if event is not None else [],
        event_ids_last=query.settings.event_ids_last,
    )


def _add_contacts(plan: DecisionPlan) -> None:
    query, document = plan.query, plan.state.document
    snapshot = query.snapshot
    tag = decision_tag(plan.decision_id)
    for row in plan.verdict.chosen:
        reservation = snapshot.policy.pairs[row.candidate][1].reservation
        contact = Contact(
            kind=snapshot.kinds[row.candidate],
            at=query.now,
            state=ContactState.RESERVED_THEN_COUNT
            if reservation.then == "count"
            else ContactState.RESERVED_THEN_RELEASE,
            mark=reservation.expires_after // SECOND,
            tag=tag,
        )
        event_effects.add_contact(document, contact)
    event_effects.prune_contacts(document, query.now - _kept(query))


def _kept(query: DecisionQuery) -> int:
    """How long contacts are kept, in microseconds."""
    return max(query.snapshot.history_needed, query.settings.contacts_kept)


_background: set[asyncio.Task[Any]] = set()


def _in_background(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Does work that may go on after the decision has been answered."""
    task = asyncio.ensure_future(work)
    _background.add(task)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[Any]) -> None:
    _background.discard(task)
    if not task.cancelled():
        task.exception()  # whoever still waits gets it; nobody else misses it


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    """Does work; if the store is unavailable, nothing depends on it."""
    with contextlib.suppress(StoreUnavailable):
        await work
