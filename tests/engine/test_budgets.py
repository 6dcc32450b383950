"""A budget counts what is given: what was not, comes back, once, whoever asks next."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from decision.core.clock import DAY, HOUR, MINUTE, SECOND, from_micros
from decision.core.errors import StoreUnavailable
from decision.core.schema import Event
from decision.engine import build_snapshot
from decision.rulebook.reader import load_files
from decision.store import MemoryStore
from tests.engine.conftest import Clock
from tests.engine.dying import Dying
from tests.engine.schedule import Gated, run_order
from tests.engine.test_engine import ask, tell

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]
RULES = """
settings: {timezone: Asia/Shanghai, currency: CNY, exploration: "off"}
purposes: {marketing: {consent: opt_out}}
channels:
  push: {reservation: {expires_after: 1h, then: release}}
  sms: {reservation: {expires_after: 1h, then: count}}
placements: {outbound: {channels: [push]}, other: {channels: [sms]}}
messages:
  a: {purpose: marketing, channels: [push, sms], value: 5, budget: {total: 2}, content: {t: a}}
"""
BY_DAY = RULES.replace("{total: 2}", "{per_day: 2}")


async def got_it(engine: Any, customer: str, **more: Any) -> bool:
    decision = await ask(engine, customer, **more)
    if decision.outcome == "none":
        assert decision.reason == "budget_spent"
    return bool(decision.selections)


async def spent(engine: Any, name: str = "a:total") -> int:
    found: dict[str, int] = (await engine.runtime.store.read("", budgets=[name])).budgets
    return found[name]


@pytest.mark.parametrize("kind", ["message.failed", "message.not_shown", "message.bounced"])
@pytest.mark.parametrize("placement", ["outbound", "other"])
@pytest.mark.parametrize("rules", [RULES, BY_DAY], ids=["total", "per_day"])
async def test_a_released_contact_gives_its_unit_to_another_customer_once(
    make_engine: Make, store: Any, kind: str, placement: str, rules: str
) -> None:
    engine = await make_engine(rules, store)
    first = await ask(engine, "k1", placement=placement)
    assert await got_it(engine, "k2", placement=placement)
    assert not await got_it(engine, "k3", placement=placement)
    for number in range(3):
        await tell(engine, kind, "k1", decision_id=first.decision_id, id=f"e-{number % 2}")
    assert await got_it(engine, "k3", placement=placement)
    assert not await got_it(engine, "k4", placement=placement)


async def test_an_expired_reservation_gives_its_unit_back_unless_it_then_counts(
    make_engine: Make, store: Any, clock: Clock
) -> None:
    engine = await make_engine(RULES, store)
    assert await got_it(engine, "k1")
    assert await got_it(engine, "k2", placement="other")
    clock.now += HOUR - 1
    assert not await got_it(engine, "k3")
    clock.now += 1
    assert await got_it(engine, "k3")
    assert not await got_it(engine, "k4")


async def test_a_unit_is_given_back_to_the_day_it_was_taken_on(
    make_engine: Make, store: Any, clock: Clock
) -> None:
    engine = await make_engine(BY_DAY, store)
    first = await ask(engine, "k1")
    assert await got_it(engine, "k2")
    clock.now += DAY
    await tell(engine, "message.failed", "k1", decision_id=first.decision_id)
    assert await got_it(engine, "k3") and await got_it(engine, "k4")
    assert not await got_it(engine, "k5")


async def test_what_was_seen_after_all_counts_again(
    make_engine: Make, store: Any, clock: Clock
) -> None:
    """Never below 0; above the limit only by confirmations that come late."""
    engine = await make_engine(RULES, store)
    first = await ask(engine, "k1")
    assert await got_it(engine, "k2")
    clock.now += HOUR
    assert await got_it(engine, "k3") and await got_it(engine, "k4")
    for kind in ("message.sent", "message.opened", "message.failed"):
        await tell(engine, kind, "k1", decision_id=first.decision_id)
    assert await spent(engine) == 3
    assert not await got_it(engine, "k5")
    clock.now += HOUR
    assert await got_it(engine, "k5")
    assert await spent(engine) == 2


async def test_a_dry_run_takes_nothing_and_sees_what_came_back(
    make_engine: Make, store: Any, clock: Clock
) -> None:
    engine = await make_engine(RULES, store)
    assert await got_it(engine, "k1") and await got_it(engine, "k2")
    assert not await got_it(engine, "k3", dry_run=True)
    clock.now += HOUR
    assert await got_it(engine, "k3", dry_run=True)
    assert await spent(engine) == 0


async def test_a_merge_and_an_erasure_neither_lose_nor_double_a_unit(
    make_engine: Make, store: Any, clock: Clock
) -> None:
    engine = await make_engine(RULES, store)
    first = await ask(engine, "k1")
    assert await got_it(engine, "k2")
    await engine.customers.merge("k2", "k1")
    for customer in ("k1", "k2"):
        await tell(engine, "message.failed", customer, decision_id=first.decision_id)
    assert await spent(engine) == 1
    await engine.customers.erase("k2")
    assert await spent(engine) == 1
    clock.now += HOUR
    assert await got_it(engine, "k3") and await got_it(engine, "k4")
    assert await spent(engine) == 2


@pytest.mark.parametrize("lost", ["commit", "settle", "after the commit"])
async def test_an_event_that_is_sent_again_after_a_crash_gives_the_unit_back_once(
    make_engine: Make, clock: Clock, lost: str
) -> None:
    store = Dying(clock, lost)
    engine = await make_engine(RULES, store)
    first = await ask(engine, "k1", placement="other")
    assert await got_it(engine, "k2", placement="other")
    failed = Event(type="message.failed", customer_id="k1", id="e-1", decision_id=first.decision_id)
    store.dies = True
    with pytest.raises(StoreUnavailable):
        await engine.events.record([failed])
    assert await spent(engine) == 2
    store.dies = False
    for _ in range(3):
        await engine.events.record([failed])
        assert await spent(engine) == 1


async def test_decisions_that_end_are_followed_in_any_order_of_events(
    make_engine: Make, clock: Clock
) -> None:
    """What is taken is what contacts hold, whatever settles them in whatever order of steps."""
    kinds = ["message.sent", "message.failed", "message.shown", "message.bounced"]
    chooser = random.Random(11)
    for number in range(300):
        start = clock.now
        gated = Gated(MemoryStore(lambda: clock.now / 1_000_000))
        engine = await make_engine(RULES, gated)
        placement = chooser.choice(["outbound", "other"])
        first = await ask(engine, "k1", placement=placement)
        clock.now += chooser.choice([MINUTE, 2 * HOUR])
        about = partial(tell, engine, customer="k1", decision_id=first.decision_id)
        works: list[Any] = [
            partial(about, chooser.choice(kinds), at=from_micros(clock.now - age * SECOND))
            for age in chooser.choices(range(3), k=3)
        ]
        works.append(partial(ask, engine, "k2"))
        await run_order(gated, works, [chooser.randrange(4) for _ in range(40)])
        await gated.expire_budgets(clock.now)
        contacts = [
            contact
            for customer in ("k1", "k2")
            for contact in (await engine.customers.get(customer)).contacts
            if contact.state != "released"
        ]
        assert await spent(engine) == len(contacts), number
        clock.now = start


async def test_a_lowered_budget_is_not_cautioned_about_for_reservations_that_ended(
    make_engine: Make, store: Any, clock: Clock
) -> None:
    engine = await make_engine(RULES, store)
    assert await got_it(engine, "k1") and await got_it(engine, "k2")
    lower = load_files({"rules.yaml": RULES.replace("total: 2", "total: 1")}).definition
    for cautions in (1, 0):
        at = from_micros(clock.now)
        snapshot = await build_snapshot(lower, None, store, at, contacts_kept=30 * DAY)
        assert len(snapshot.cautions) == cautions
        clock.now += HOUR


async def test_of_two_messages_of_one_decision_only_the_one_that_failed_comes_back(
    make_engine: Make, store: Any
) -> None:
    two = RULES + RULES.splitlines()[-1].replace("  a:", "  b:").replace("total: 2", "total: 1")
    engine = await make_engine(two, store)
    first = await ask(engine, "k1", limit=2)
    assert len(first.selections) == 2
    await tell(engine, "message.failed", "k1", decision_id=first.decision_id, message="b")
    assert (await spent(engine), await spent(engine, "b:total")) == (1, 0)
