"""Caps `within: ever` through the engine: years, merges, rollbacks, and many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from decision.core.clock import DAY, from_micros
from decision.core.schema import CustomerUpdate
from decision.engine import Engine, build_snapshot
from decision.rulebook.reader import load_files
from tests.engine.conftest import RULES, Clock
from tests.engine.test_engine import GRANTED, ask, tell

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]
WEEKLY = "two-a-week: {of: {purpose: marketing}, at_most: 2, within: 7d}"
EVER = RULES.replace(
    WEEKLY, "for-good: {of: {purpose: marketing}, per: message, at_most: 1, within: ever}"
).replace("once: {of: {purpose: marketing}, per: message", "once: {of: {}, per: channel")


async def somebody(make_engine: Make, rules: str = EVER) -> Engine:
    engine: Engine = await make_engine(rules)
    for customer in ("c-1", "c-2"):
        await engine.customers.set_consents(customer, GRANTED)
    return engine


async def given(engine: Engine, customer: str = "c-1", **changes: Any) -> list[str]:
    decision = await ask(engine, customer, **changes)
    return [one.message for one in decision.selections]


async def confirm(engine: Engine, customer: str = "c-1", **changes: Any) -> str:
    decision = await ask(engine, customer, **changes)
    await tell(engine, "message.sent", customer, decision_id=decision.decision_id)
    return str(decision.selections[0].message)


async def test_what_was_given_once_is_not_given_again_after_years(
    make_engine: Make, clock: Clock
) -> None:
    """The contact itself is forgotten by then; a thousand days later its count is not."""
    engine = await somebody(make_engine)
    assert await confirm(engine) == "offer"
    clock.now += 100 * DAY
    assert await confirm(engine) == "news"
    clock.now += 900 * DAY
    assert await given(engine) == []
    assert (await ask(engine)).reason == "capped" and (await ask(engine)).not_before is None
    view = await engine.customers.get("c-1")
    assert [(one.message, one.count) for one in view.earlier_contacts] == [("offer", 1)]
    assert [one.message for one in view.contacts] == ["news"]


async def test_what_failed_or_expired_and_is_released_may_be_given_again(
    make_engine: Make, clock: Clock
) -> None:
    engine = await somebody(make_engine)
    first = await ask(engine, channels=["email"])
    await tell(engine, "message.failed", decision_id=first.decision_id)
    clock.now += 2 * DAY
    expiring = await ask(engine, channels=["push"])
    assert expiring.selections[0].message == "offer"
    clock.now += 100 * DAY
    assert await confirm(engine, channels=["email"]) == "offer"
    clock.now += 100 * DAY
    assert await given(engine, channels=["email"]) == ["news"]
    view = await engine.customers.get("c-1")
    assert [(one.message, one.channel, one.count) for one in view.earlier_contacts] == [
        ("offer", "email", 1)
    ]


async def test_a_reservation_that_counts_when_it_expires_counts_for_good(
    make_engine: Make, clock: Clock
) -> None:
    engine = await somebody(make_engine)
    assert await given(engine, channels=["email"]) == ["offer"]
    clock.now += 200 * DAY
    assert await given(engine, channels=["email"]) == ["news"]
    clock.now += 200 * DAY
    assert await given(engine) == []


async def test_an_event_that_is_late_by_weeks_still_counts(make_engine: Make, clock: Clock) -> None:
    engine = await somebody(make_engine)
    pushed = await ask(engine, channels=["push"])
    clock.now += 80 * DAY  # it expired an hour later, and is told to have been shown
    at = from_micros(clock.now - 79 * DAY)
    await tell(engine, "message.shown", decision_id=pushed.decision_id, at=at)
    clock.now += 200 * DAY
    assert await confirm(engine) == "news"
    clock.now += 200 * DAY
    assert await given(engine) == []


async def test_merged_customers_have_had_what_either_has_had_once(
    make_engine: Make, clock: Clock
) -> None:
    """Doing it again changes nothing; the other's id leads to the same counts."""
    rules = EVER.replace("per: message, at_most: 1, within: ever", "at_most: 3, within: ever")
    engine = await somebody(make_engine, rules)
    for customer in ("c-1", "c-2"):
        await confirm(engine, customer, channels=["email"])
        clock.now += 100 * DAY
        await confirm(engine, customer, channels=["email"])
        clock.now += 100 * DAY
    for _ in range(2):
        await engine.customers.merge("c-1", "c-2")
        view = await engine.customers.get("c-2")
        assert sum(one.count for one in view.earlier_contacts) == 2
        assert len(view.contacts) == 2
    assert (await ask(engine)).reason == "capped"


async def test_an_erased_customer_begins_anew(make_engine: Make, clock: Clock) -> None:
    engine = await somebody(make_engine)
    await confirm(engine)
    clock.now += 100 * DAY
    await confirm(engine)
    await engine.customers.erase("c-1")
    await engine.customers.set_consents("c-1", GRANTED)
    clock.now += 2 * DAY
    assert await given(engine) == ["offer"]


async def test_a_policy_with_such_a_cap_counts_from_what_is_still_kept(
    make_engine: Make, clock: Clock
) -> None:
    before = await somebody(make_engine, RULES)
    assert await confirm(before) == "offer"
    clock.now += 20 * DAY
    after = await make_engine(EVER, before.runtime.store)
    assert await given(after) == ["news"]


async def test_who_adds_such_a_cap_is_told_what_it_misses(make_engine: Make, clock: Clock) -> None:
    store = (await make_engine(RULES)).runtime.store
    told = []
    for text in (RULES, EVER, EVER):
        definition = load_files({"rules.yaml": text}).definition
        assert definition is not None
        at = from_micros(clock.now)
        told.append(
            (
                await build_snapshot(
                    definition, None, store, at, durable=False, contacts_kept=30 * DAY
                )
            ).cautions
        )
    (caution,) = told[1]
    assert "cap for-good counts ever, but only contacts of the last 30d are still known" in caution
    assert told[0] == told[2] == ()


async def test_a_decision_with_counts_of_earlier_contacts_is_explained_weeks_later(
    make_engine: Make, clock: Clock
) -> None:
    engine = await somebody(make_engine)
    await confirm(engine)
    clock.now += 100 * DAY
    await confirm(engine)
    clock.now += 100 * DAY
    told = await ask(engine, explain=True)
    clock.now += 30 * DAY
    found = await engine.replay.find(told.decision_id)
    assert found is not None and found.explanation == told.explanation
    details = {row.message: row.detail for row in found.explanation or ()}
    assert details["offer"] == "for-good: 1 contact for message offer ever, at most 1"


async def test_many_at_once_never_exceed_it(make_engine: Make, clock: Clock) -> None:
    rules = EVER.replace("per: message, at_most: 1, within: ever", "at_most: 3, within: ever")
    rules = rules.replace("total: 5", "total: 500").replace(
        "per: channel, at_most: 1, within: 1d", "at_most: 99, within: 1d"
    )
    engine = await somebody(make_engine, rules)
    await confirm(engine)
    clock.now += 100 * DAY
    answers = await asyncio.gather(*(ask(engine) for _ in range(40)))
    assert sum(len(one.selections) for one in answers) == 2


async def test_a_cap_by_an_attribute_follows_the_attribute(make_engine: Make, clock: Clock) -> None:
    """Also when it changes between two decisions of one request's retries: the latest counts."""
    rules = RULES.replace(
        "at_most: 2, within: 7d", "at_most: {field: customer.max, default: 1}, within: 7d"
    )
    engine = await somebody(make_engine, rules)
    assert await given(engine) == ["offer"]
    assert (await ask(engine)).reason == "capped"
    await engine.customers.update("c-1", CustomerUpdate(attributes={"max": 2}))
    assert await given(engine) == ["news"]
    await engine.customers.update("c-1", CustomerUpdate(attributes={"max": 0}))
    clock.now += 40 * DAY
    refused = await ask(engine, explain=True)
    assert refused.reason == "capped"
    details = {row.message: row.detail for row in refused.explanation}
    assert details["news"] == "two-a-week: 0 contacts within 7d, at most 0 by customer.max"
