"""Budgets of several messages: never exceeded, exact, and given back once, to their own period."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from decision.core.budgets import WantedUnits
from decision.core.clock import DAY, HOUR, MINUTE, SECOND, from_micros, to_micros
from decision.core.errors import StoreUnavailable
from decision.core.ports import Commit, Conflict
from decision.store import MemoryStore
from tests.engine.conftest import Clock, reload
from tests.engine.dying import Dying
from tests.engine.schedule import Gated, run_order
from tests.engine.test_engine import ask, tell

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]
RULES = """
settings: {timezone: Asia/Shanghai, currency: CNY, exploration: "off"}
purposes: {marketing: {consent: opt_out}}
channels:
  push: {cost: 0.02, reservation: {expires_after: 1h, then: release}}
  sms: {cost: 0.05, reservation: {expires_after: 1h, then: count}}
placements: {outbound: {channels: [push]}, other: {channels: [sms]}, any: {channels: [push, sms]}}
messages:
  a: {purpose: marketing, channels: [push, sms], value: 9, content: {t: a}}
  b: {purpose: marketing, channels: [push, sms], value: 5, content: {t: a}}
budgets:
  money: {of: {purpose: marketing}, spend: 0.12, per: calendar month}
"""


async def spent(engine: Any, name: str = "money") -> int:
    """What is taken in the present period, in millionths."""
    limits = engine.runtime.snapshot.policy.budgets.at(engine.runtime.clock())
    counter = next(one.counter for one in limits.values() if one.budget.name == name)
    found: dict[str, int] = (await engine.runtime.store.read("", budgets=[counter])).budgets
    return found[counter]


async def given(engine: Any, customer: str, **more: Any) -> list[str]:
    decision = await ask(engine, customer, **more)
    if not decision.selections:
        assert decision.reason == "budget_spent"
        assert decision.not_before is None
    return [f"{one.message}/{one.channel}" for one in decision.selections]


async def test_costs_are_counted_over_all_messages_and_the_cheaper_channel_still_fits(
    make_engine: Make, store: Any
) -> None:
    engine = await make_engine(RULES, store)
    assert await given(engine, "k1", placement="other") == ["a/sms"]
    assert await given(engine, "k2", placement="other") == ["a/sms"]
    assert await given(engine, "k3", placement="other") == []
    assert await given(engine, "k3", placement="any") == ["a/push"]
    assert await spent(engine) == 120_000
    assert await given(engine, "k4", placement="any") == []


async def test_of_two_messages_of_one_decision_the_second_sees_what_the_first_took(
    make_engine: Make, store: Any
) -> None:
    engine = await make_engine(RULES.replace("0.12", "0.09"), store)
    assert await given(engine, "k1", placement="other", limit=2) == ["a/sms"]
    assert await given(engine, "k2", limit=2) == ["a/push", "b/push"]
    assert await spent(engine) == 90_000


@pytest.mark.parametrize("kind", ["message.failed", "message.not_shown", "message.bounced"])
async def test_what_was_taken_comes_back_once_whatever_the_cost_is_by_then(
    make_engine: Make, store: Any, kind: str
) -> None:
    engine = await make_engine(RULES, store)
    first = await ask(engine, "k1", placement="other", limit=2)
    assert await spent(engine) == 100_000
    await reload(engine, RULES.replace("0.05", "0.07"))
    for number in range(3):
        about = {"decision_id": first.decision_id, "message": "a", "id": f"e-{number % 2}"}
        await tell(engine, kind, "k1", **about)
        assert await spent(engine) == 50_000
    assert await given(engine, "k2", placement="other") == ["a/sms"]
    assert await spent(engine) == 120_000


async def test_a_message_that_the_policy_does_not_have_any_more_gives_its_cost_back(
    make_engine: Make, store: Any
) -> None:
    engine = await make_engine(RULES, store)
    first = await ask(engine, "k1", placement="other")
    await reload(engine, "\n".join(row for row in RULES.splitlines() if not row.startswith("  a:")))
    await tell(engine, "message.failed", "k1", decision_id=first.decision_id)
    assert await spent(engine) == 0


@pytest.mark.parametrize("kept", ["", "b"], ids=["no_budget_left", "another_budget_left"])
async def test_while_a_policy_without_the_budget_is_in_force_what_happens_counts_all_the_same(
    make_engine: Make, store: Any, clock: Clock, kept: str
) -> None:
    """A failure gives the unit back; what was sent keeps it after its reservation would end."""
    head, _, _ = RULES.partition("budgets:")
    without = head.replace("value: 5,", "value: 5, budget: {total: 9},") if kept else head
    full = f"{without.replace('value: 9,', 'value: 9, budget: {total: 7},')}{RULES[len(head) :]}"
    engine = await make_engine(full, store)
    failed, sent = [await ask(engine, name) for name in ("k1", "k2")]
    await reload(engine, without)
    await tell(engine, "message.failed", "k1", decision_id=failed.decision_id)
    await tell(engine, "message.sent", "k2", decision_id=sent.decision_id)
    clock.now += 2 * HOUR
    await reload(engine, full)
    await store.expire_budgets(clock.now)
    found = (await store.read("", budgets=["a:total"])).budgets
    assert (await spent(engine), found) == (20_000, {"a:total": 1})


async def test_where_no_policy_had_budgets_no_event_asks_for_them(
    make_engine: Make, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def settle(token: str, message: str, rank: int) -> None:
        asked.append(message)

    monkeypatch.setattr(store, "settle_budgets", settle)
    engine = await make_engine(RULES.partition("budgets:")[0], store)
    first = await ask(engine, "k1")
    await tell(engine, "message.sent", "k1", decision_id=first.decision_id)
    assert asked == []


async def test_an_expired_reservation_gives_its_cost_back_unless_it_then_counts(
    make_engine: Make, store: Any, clock: Clock
) -> None:
    engine = await make_engine(RULES, store)
    first = await ask(engine, "k1", limit=2)
    assert await given(engine, "k2", placement="other") == ["a/sms"]
    assert await given(engine, "k3", placement="other") == []
    clock.now += HOUR
    assert await given(engine, "k3", placement="other") == ["a/sms"]
    assert await spent(engine) == 100_000
    await tell(engine, "message.opened", "k1", decision_id=first.decision_id, message="b")
    assert await spent(engine) == 120_000  # seen after all
    clock.now += 2 * HOUR
    assert await given(engine, "k4", placement="any") == []


async def test_a_cost_comes_back_to_the_period_it_was_taken_from(
    make_engine: Make, store: Any, clock: Clock
) -> None:
    """By the calendar of the settings, in which the month ends eight hours before UTC's."""
    clock.now = to_micros(datetime.fromisoformat("2026-11-30T23:59:59.999999+08:00"))
    engine = await make_engine(RULES, store)
    first = await ask(engine, "k1", placement="other", limit=2)
    assert await given(engine, "k2", placement="other") == []
    clock.now += 1
    assert await given(engine, "k2", placement="other", limit=2) == ["a/sms", "b/sms"]
    await tell(engine, "message.failed", "k1", decision_id=first.decision_id, message="a")
    assert await spent(engine) == 100_000
    clock.now -= 1
    assert await spent(engine) == 50_000


async def test_an_even_pace_frees_money_as_time_passes(
    make_engine: Make, store: Any, clock: Clock
) -> None:
    rules = RULES.replace("0.12, per: calendar month", "2.4, per: calendar day, pace: even")
    day = to_micros(datetime.fromisoformat("2026-11-21T00:00:00+08:00"))
    clock.now = day
    engine = await make_engine(rules, store)
    assert await given(engine, "k0", placement="any") == []
    row = (await ask(engine, "k0", placement="other", explain=True)).explanation[1]
    assert row.detail == (
        "money: 0 CNY spent in this calendar day, 0 CNY of 2.4 CNY freed by now; "
        "this costs 0.05 CNY; there is room from 2026-11-21T00:30:00+08:00, if no more is spent"
    )
    clock.now = day + 30 * MINUTE - 2
    assert await given(engine, "k1", placement="other") == []
    clock.now += 1
    assert await given(engine, "k1", placement="other") == ["a/sms"]
    assert await given(engine, "k2", placement="any") == []
    clock.now = day + 5 * HOUR - 1
    names = [f"c{number}" for number in range(30)]
    rows = await asyncio.gather(*(given(engine, name, placement="other") for name in names))
    assert sum(map(len, rows)) == 9
    assert await spent(engine) == 500_000


async def test_a_message_budget_and_two_shared_ones_take_all_or_none(
    make_engine: Make, store: Any
) -> None:
    rules = RULES.replace("value: 9", "value: 9, budget: {total: 1}")
    rules += "  calls: {of: {channel: sms}, at_most: 3}\n"
    engine = await make_engine(rules, store)
    for name in ("k1", "k2", "k3", "k4"):
        await given(engine, name, placement="other", limit=2)
    assert (await spent(engine), await spent(engine, "calls")) == (100_000, 2)
    assert await given(engine, "k5") == ["b/push"]
    assert (await spent(engine), await spent(engine, "calls")) == (120_000, 2)


async def test_a_dry_run_and_a_repeated_request_spend_nothing(
    make_engine: Make, store: Any
) -> None:
    engine = await make_engine(RULES, store)
    assert await given(engine, "k1", dry_run=True, limit=2) == ["a/push", "b/push"]
    assert await spent(engine) == 0
    for _ in range(3):
        await given(engine, "k1", request_id="r-1")
    assert await spent(engine) == 20_000


async def test_a_decision_is_explained_later_with_what_was_spent_then(
    make_engine: Make, store: Any, clock: Clock
) -> None:
    engine = await make_engine(RULES, store)
    assert await given(engine, "k1", placement="other") == ["a/sms"]
    one = await ask(engine, "k2", placement="other", limit=2, explain=True)
    two = await ask(engine, "k3", placement="any", explain=True)
    details = [row.detail for row in one.explanation if row.reason == "budget_spent"]
    assert details == [
        "money: 0.1 CNY of 0.12 CNY spent in this calendar month (0.05 CNY by this decision); this "
        "costs 0.05 CNY; there is room from 2026-12-01T00:00:00+08:00, if no more is spent"
    ]
    clock.now += 40 * DAY
    await reload(engine, RULES.replace("0.05", "0.07").replace("0.12", "5"))
    for decision in (one, two):
        again = await engine.replay.find(decision.decision_id)
        assert again.explanation == decision.explanation
        assert again.selections == decision.selections


async def test_sixty_four_customers_at_once_spend_to_the_last_cent_and_no_more(
    make_engine: Make, store: Any
) -> None:
    engine = await make_engine(RULES.replace("0.12", "1.23"), store)
    names = [f"c{number}" for number in range(64)]
    places = itertools.cycle(["any", "other", "outbound"])
    found = await asyncio.gather(
        *(ask(engine, name, placement=next(places), limit=2) for name in names)
    )
    costs = {"push": 20_000, "sms": 50_000}
    total = sum(costs[one.channel] for decision in found for one in decision.selections)
    assert total == await spent(engine) <= 1_230_000
    assert await given(engine, "last", placement="other") == []
    while await given(engine, "last", placement="any"):
        pass
    assert 1_230_000 - await spent(engine) < 20_000


@pytest.mark.parametrize("lost", ["commit", "after the commit", "settle"])
async def test_what_a_crash_leaves_is_given_back_once_when_it_is_sent_again(
    make_engine: Make, clock: Clock, lost: str
) -> None:
    store = Dying(clock, lost)
    engine = await make_engine(RULES, store)
    first = await ask(engine, "k1", placement="other")
    store.dies = True
    if lost == "settle":
        with pytest.raises(StoreUnavailable):
            await tell(engine, "message.failed", "k1", decision_id=first.decision_id, id="e")
    else:
        assert "store" in (await ask(engine, "k2", placement="other", limit=2)).degraded
    store.dies = False
    await engine.following.drain(5)
    assert await spent(engine) == 50_000
    for _ in range(2):
        await tell(engine, "message.failed", "k1", decision_id=first.decision_id, id="e")
        assert await spent(engine) == 0


async def test_what_is_spent_is_what_contacts_hold_in_any_order_of_steps(
    make_engine: Make, clock: Clock
) -> None:
    """Whatever events settle them, and whatever they cost by then."""
    kinds = ["message.sent", "message.failed", "message.shown", "message.bounced"]
    costs = {"push": 20_000, "sms": 50_000}
    chooser = random.Random(11)
    for number in range(200):
        start = clock.now
        gated = Gated(MemoryStore(lambda: clock.now / 1_000_000))
        engine = await make_engine(RULES, gated)
        placement = chooser.choice(["outbound", "other"])
        first = await ask(engine, "k1", placement=placement, limit=2)
        await reload(engine, RULES.replace("0.05", "0.06").replace("0.02", "0.01"))
        clock.now += chooser.choice([MINUTE, 2 * HOUR])
        about = partial(tell, engine, customer="k1", decision_id=first.decision_id)
        works: list[Any] = [
            partial(
                about,
                chooser.choice(kinds),
                message=chooser.choice("ab"),
                at=from_micros(clock.now - age * SECOND),
            )
            for age in chooser.choices(range(3), k=3)
        ]
        works.append(partial(ask, engine, "k2"))
        await run_order(gated, works, [chooser.randrange(4) for _ in range(40)])
        await gated.expire_budgets(clock.now)
        held = 0
        for customer, prices in (("k1", costs), ("k2", {"push": 10_000})):
            for contact in (await engine.customers.get(customer)).contacts:
                expired = contact.state == "expired" and contact.channel == "push"
                if contact.state != "released" and not expired:
                    held += prices[contact.channel]
        assert await spent(engine) == held, number
        clock.now = start


async def test_what_is_lost_to_a_race_is_looked_up_again_and_the_rest_still_given(
    make_engine: Make,
) -> None:
    """Another takes most of what is left after the decision has read it."""

    class Racing(MemoryStore):
        async def commit(self, commit: Commit, *, timeout: float | None = None) -> Any:
            if commit.units is not None and "other" not in self._tokens:
                counter = next(iter(commit.units.limits)).rsplit("/", 2)[0]
                self._take(WantedUnits({f"{counter}/a/90000": 120_000}), "other")
            found = await super().commit(commit, timeout=timeout)
            assert not isinstance(found, Conflict)
            return found

    engine = await make_engine(RULES.replace("value: 9", "value: 9.9"), Racing())
    decision = await ask(engine, "k1", placement="other", explain=True)
    assert decision.reason == "budget_spent"
    assert "0.09 CNY of 0.12 CNY spent" in decision.explanation[1].detail
    assert await given(engine, "k2", placement="any") == ["a/push"]
    assert await spent(engine) == 110_000
