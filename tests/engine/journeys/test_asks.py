"""A step that asks: what is given, what it takes, and that nothing of it is left where it is lost."""

from __future__ import annotations

import itertools
from collections import Counter
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from decision.core.clock import DAY, HOUR, MINUTE, SECOND
from decision.core.errors import StoreUnavailable
from decision.core.journeys.definition import Ask, Journey, Trigger
from decision.core.schema import DecisionRequest
from decision.core.timers import ClaimedWake
from decision.engine import Engine
from decision.store import MemoryStore, RedisStore
from tests.engine.conftest import Clock
from tests.engine.journeys.world import (
    asked,
    check,
    decisions,
    definition,
    engine_on,
    logged,
    of,
    tell,
)
from tests.engine.outbox_world import Dying

pytestmark = pytest.mark.anyio
_prefixes = itertools.count()
RULES = """
settings: {timezone: UTC, currency: EUR, exploration: "off"}
purposes: {service: {consent: not_required}}
channels: {push: {reservation: {expires_after: 9d, then: release}}, app: {}}
coupons: {spring: {}}
placements: {outbound: {channels: [push, app], delivery: gateway, fallback: plain}}
messages:
  gift:
    purpose: service
    tags: [gift]
    channels: [push]
    value: 5
    budget: {total: 3}
    coupon: spring
    content: {title: "{{ coupon.code }}"}
  plain: {purpose: service, tags: [plain], channels: [app], value: 1, content: {title: Plain}}
caps: {daily: {of: {channel: push}, at_most: 1, within: 1d}}
"""


def asks(tag: str | None, **parts: Any) -> Journey:
    of_tag = None if tag is None else of(tag)
    step = Ask(name="give", placement="outbound", of=of_tag, **parts)
    return Journey(
        name="gifts", start=Trigger(name="", event="won"), key="event.n", again=0, steps=(step,)
    )


async def made(clock: Clock, store: Any, *journeys: Journey, codes: int = 9) -> Engine:
    engine = await engine_on(store, clock, definition(*journeys, rules=RULES, moments=()))
    found = [f"C-{number}" for number in range(codes)]
    await store.stage_codes("spring", found)
    await store.open_codes("spring", found)
    return engine


def memory(clock: Clock) -> MemoryStore:
    return MemoryStore(lambda: clock.now / SECOND)


async def outcomes(engine: Engine) -> list[str]:
    return [one.outcome for one in await decisions(engine.runtime.store)]


async def test_a_fallback_is_given_if_it_is_asked_for_and_once_nothing_is_held_any_more(
    clock: Clock,
) -> None:
    engine = await made(clock, memory(clock), asks(None, hold=2 * HOUR))
    for number in (1, 2):
        await tell(engine, "won", n=number)
        await engine.stepping.run_due()
    # Both "gift" and "plain" are candidates of a step without `of`.
    chosen = [[s.message for s in one.selections] for one in await decisions(engine.runtime.store)]
    assert chosen == [["gift"], ["plain"]]


async def test_while_a_step_holds_no_fallback_is_given_and_in_the_end_it_is(clock: Clock) -> None:
    engine = await made(clock, memory(clock), asks(None))
    rules = RULES.replace("value: 1", "value: 1, when: {customer.never: true}")
    own = (asks(None, hold=2 * DAY), msgspec.structs.replace(asks(None, hold=HOUR), name="short"))
    policy = definition(*own, rules=rules, moments=())
    engine = await engine_on(engine.runtime.store, clock, policy)
    await tell(engine, "won", n=1)
    await engine.stepping.run_due()
    given = [
        (one.question.context["journey"], one.outcome)
        for one in await decisions(engine.runtime.store)
    ]
    # The one that holds waits for the cap; the other one has no time to wait.
    assert sorted(given) in (
        [("gifts", "none"), ("short", "selected")],
        [("gifts", "selected"), ("short", "fallback")],
    )
    await tell(engine, "won", n=2)
    await engine.stepping.run_due()
    outcomes_of = Counter(
        (one.question.context["journey"], one.outcome)
        for one in await decisions(engine.runtime.store)
    )
    assert outcomes_of["short", "fallback"] >= 1 and outcomes_of["gifts", "fallback"] == 0
    assert outcomes_of["gifts", "none"] >= 1
    assert (
        len(await engine.runtime.store.deliveries_of("mei")) == 1 + outcomes_of["short", "fallback"]
    )
    clock.now += DAY + MINUTE
    await engine.stepping.run_due()
    assert [one.outcome for one in await decisions(engine.runtime.store)].count("selected") == 2


async def test_an_ask_that_cannot_be_held_is_answered_by_the_fallback_that_it_asks_for(
    clock: Clock,
) -> None:
    engine = await made(clock, memory(clock), asks("plain"), codes=0)
    rules = RULES.replace("value: 1", "value: 1, when: {customer.never: true}")
    policy = definition(asks("plain"), rules=rules, moments=())
    engine = await engine_on(engine.runtime.store, clock, policy)
    await tell(engine, "won", n=1)
    await engine.stepping.run_due()
    assert await outcomes(engine) == ["fallback"]
    [row] = await engine.runtime.store.deliveries_of("mei")
    assert row.delivery.message == "plain" and not row.delivery.counts


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_whichever_operation_is_lost_what_an_ask_takes_is_taken_once(
    clock: Clock, redis_url: str, kind: str, after: bool
) -> None:
    """The process lives on: it follows what it does not know, while another one looks again."""
    for fails_at in itertools.count(1):
        store: Any = memory(clock)
        if kind == "redis":
            store = RedisStore(redis_url, prefix=f"asks{next(_prefixes)}:")
        engine = await made(clock, store, asks("gift"))
        await tell(engine, "won", n=1, id="w-1")
        dying = Dying(store, fails_at, after=after, dies=False)
        shaky = Engine(dying, engine.runtime.settings, clock)
        shaky.use(engine.snapshot)
        lease = int(clock.now + MINUTE)
        with suppress(StoreUnavailable):
            await shaky.stepping.look(ClaimedWake("mei", clock.now, lease))
        done = dying.operations < fails_at
        await engine.stepping.look(ClaimedWake("mei", clock.now, lease))
        await shaky.drain(2)
        assert Counter(await asked(store)).total() == 1, fails_at
        [decision] = await decisions(store)
        code = decision.selections[0].coupon
        [row] = await store.deliveries_of("mei")
        assert row.delivery.content == {"title": code}, fails_at
        document = (await store.read("mei")).document
        assert len(document.contacts) == 1 and await logged(store, "event")
        names = list(engine.snapshot.policy.budgets.at(clock.now))
        spent = (await store.read("", budgets=names)).budgets
        assert sorted(spent.values()) == [-8, 1], (fails_at, spent)
        if kind == "redis":
            await store.close()
        else:
            await check(engine)
        if done:
            return


async def test_a_clock_that_is_ahead_asks_early_and_never_twice(clock: Clock) -> None:
    store = memory(clock)
    engine = await made(clock, store, asks("gift", hold=3 * DAY))
    ahead = Engine(store, engine.runtime.settings, lambda: clock.now + 5 * MINUTE)
    ahead.use(engine.snapshot)
    for number in range(3):
        await tell(engine, "won", n=number)
        [claimed] = await store.claim_wakes(range(256), 9, 1)
        await ahead.stepping.look(claimed)
        await engine.stepping.look(claimed)
    for _ in range(400):
        clock.now += 13 * MINUTE
        await engine.stepping.run_due(lease_ms=1)
        await ahead.stepping.run_due(lease_ms=1)
    await check(engine)
    assert (await outcomes(engine)).count("selected") == 3


async def test_an_ask_names_its_journey_in_its_explanation(clock: Clock) -> None:
    engine = await made(clock, memory(clock), asks("gift"))
    await tell(engine, "won", n=1)
    await engine.stepping.run_due()
    [decision] = await decisions(engine.runtime.store)
    found = await engine.replay.find(decision.decision_id)
    assert found is not None and found.selections[0].content == {"title": "C-0"}
    other = await engine.decide(DecisionRequest(placement="outbound", customer_id="bo"))
    assert other.outcome == "selected"
    assert found.request_id == decision.request_id
