"""Whatever dies, and whoever looks at the same time: each step asks once, and none is lost, by id."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections import Counter
from functools import partial
from typing import Any

import pytest

from decision.core.clock import DAY, HOUR, MINUTE
from decision.core.errors import StoreUnavailable
from decision.core.identifiers import PARTITIONS
from decision.core.schema import CustomerUpdate, DecisionRequest, TriggerEvent
from decision.core.timers import ClaimedWake
from decision.engine import Engine
from decision.engine.names import names_of
from decision.store import MemoryStore, RedisStore
from tests.core.small import NOON
from tests.engine.conftest import Clock
from tests.engine.journeys.world import (
    asked,
    change,
    check,
    decisions,
    definition,
    engine_on,
    logged,
    steps,
    tell,
)
from tests.engine.outbox_world import Dying
from tests.engine.schedule import Alone, Gated, run_order

pytestmark = pytest.mark.anyio


@pytest.fixture
async def first(clock: Clock) -> Engine:
    """What has the policy, read and compiled once."""
    return await engine_on(MemoryStore(lambda: clock.now / 1_000_000), clock, definition())


async def fresh(first: Engine, clock: Clock) -> MemoryStore:
    """An empty store that knows the policy's contacts."""
    clock.now = NOON
    store = MemoryStore(lambda: clock.now / 1_000_000)
    store.allow_names(names_of(first.snapshot.policy))
    await store.register_kinds([each.kind for each in first.snapshot.policy.candidates])
    return store


def process(first: Engine, store: Any) -> Engine:
    """A process of its own on a store."""
    made = Engine(store, first.runtime.settings, first.runtime.clock)
    made.use(first.snapshot)
    return made


async def all_due(engine: Engine) -> None:
    """Looks at everybody whose timer is due."""
    await engine.stepping.run_due(lease_ms=0)


def story(engine: Engine, look: Any = all_due) -> list[Any]:
    """What happens, in order: each can be done again, as clients and timers do."""
    event = TriggerEvent("follow", id="f-2", properties={"cart": "b"})
    request = DecisionRequest(placement="home", customer_id="mei", event=event, request_id="r")
    due = partial(look, engine)
    return [
        (0, lambda: tell(engine, "follow", id="f-1", cart="a")),
        (MINUTE, lambda: engine.decide(request)),
        (0, due),
        (MINUTE, lambda: tell(engine, "cart_add", id="c-1", sku="tea")),
        (MINUTE, lambda: change(engine, "bo", **{"segment.welcomed": True})),
        (HOUR, due),
        (2 * HOUR, due),
        (HOUR, lambda: engine.customers.merge("mei", "bo")),
        (DAY + HOUR, due),
        (3 * DAY, due),
        (DAY, due),
    ]


async def live(first: Engine, clock: Clock, dying: Dying, *, dies: bool) -> None:
    """Lives through the story; what fails is done again, by another process if the first died."""
    store, engine = dying.store, process(first, dying)
    for number, (span, _) in enumerate(story(engine)):
        clock.now += span
        for _ in range(3):
            try:
                found: Any = await story(engine)[number][1]()
                await engine.drain(0.02)
                degraded = getattr(found, "degraded", ())
                if "store" not in degraded:
                    break
            except StoreUnavailable:
                clock.now += 1_000  # leases end
            if dies:
                engine = process(first, store)
    engine = process(first, store)
    clock.now += MINUTE
    await engine.stepping.run_due()
    await check(engine)


@pytest.mark.parametrize(("after", "dies"), [(False, True), (True, True), (True, False)])
async def test_whichever_operation_fails_every_step_asks_once(
    first: Engine, clock: Clock, after: bool, dies: bool
) -> None:
    wanted: Counter[str] | None = None
    chosen: Counter[str] = Counter()
    for fails_at in itertools.count():
        dying = Dying(await fresh(first, clock), fails_at, after=after, dies=dies)
        await live(first, clock, dying, dies=dies)
        found = await asked(dying.store)
        own = dict(found)
        ends = Counter(one.ended for one in await steps(dying.store) if one.ended)
        given = Counter(
            one.message for row in await decisions(dying.store) for one in row.selections
        )
        if wanted is None:
            wanted, chosen = Counter(own), ends
            assert len(wanted) >= 6 and sum(ends.values()) >= 3, (wanted, ends, given)
        assert own == wanted, (fails_at, own, wanted)
        assert ends == chosen, (fails_at, ends, chosen)
        if fails_at > dying.operations:
            assert fails_at > 30
            return


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("erased", ["mei", "bo"])
async def test_counts_are_exact_after_a_merge_was_cut_off_and_who_is_merged_erased(
    first: Engine, clock: Clock, erased: str, after: bool
) -> None:
    for fails_at in itertools.count(1):
        store = await fresh(first, clock)
        engine = process(first, store)
        await tell(engine, "follow", "bo", id="f-1", cart="a")
        await tell(engine, "follow", "mei", id="f-2", cart="b")
        dying = Dying(store, fails_at, after=after, dies=True)
        with contextlib.suppress(StoreUnavailable):
            await process(first, dying).customers.merge("mei", "bo")
        await engine.customers.erase(erased)
        await check(engine, erased=True)
        assert all(count >= 0 for count in (await store.tallies()).values())
        if not dying.dead:
            break


@pytest.mark.parametrize("reachable", [True, False])
@pytest.mark.parametrize("other", ["stepper", "event", "goal", "merge", "erase", "change"])
async def test_two_at_once_in_any_order_ask_once(
    first: Engine, clock: Clock, other: str, reachable: bool
) -> None:
    """Also where nothing can be given, so that no contact stands between the two."""
    for seed in range(120):
        draw = random.Random(seed)
        choices = [draw.randrange(2) for _ in range(80)]
        store = await fresh(first, clock)
        gated = Gated(store, {"read", "commit", "erase", "rearm"})
        engines = [process(first, gated) for _ in range(2)]
        for one in engines:
            one.runtime.turns = one.runtime.credits = one.runtime.merges = Alone()
        update = CustomerUpdate(reachable=["push"] if reachable else [])
        await process(first, store).customers.update("mei", update)
        for number, cart in enumerate("ab"):
            await tell(process(first, store), "follow", id=f"f-{number}", cart=cart)
        await change(process(first, store), "bo", city="Wuhan")
        claimed = await store.claim_wakes(range(PARTITIONS), 10, 30_000)
        works = [beside(engines[0], "stepper", claimed), beside(engines[1], other, claimed)]
        await run_order(gated, works, choices)
        clock.now += MINUTE
        engine = process(first, store)
        await engine.stepping.run_due()
        own = await asked(store)
        erased = other == "erase"
        if not erased:
            await check(engine)
        assert set(own.values()) <= {1}, (seed, own)
        ended = [one.ended for one in await steps(store)]
        assert len(own) == 2 or "goal" in ended or erased, (seed, own, ended)


def beside(engine: Engine, other: str, claimed: Any) -> Any:
    """What somebody else does at the same time."""
    match other:
        case "stepper":
            return lambda: engine.stepping.look(claimed[0])
        case "event":
            return lambda: tell(engine, "follow", id="f-9", cart="a")
        case "goal":
            return lambda: tell(engine, "purchase", id="p-1")
        case "merge":
            return lambda: engine.customers.merge("bo", "mei")
        case "erase":
            return lambda: engine.customers.erase("mei")
    return lambda: change(engine, "mei", city="Wuhan")


async def test_both_stores_do_the_same(first: Engine, clock: Clock, redis_url: str) -> None:
    found = []
    for store in (MemoryStore(), RedisStore(redis_url, prefix="journeys-both:")):
        clock.now = NOON
        engine = await engine_on(store, clock, definition())
        for span, work in story(engine, both):
            clock.now += span
            await work()
        await engine.customers.erase("mei")
        left = [one.ended or one.outcome for one in await steps(store)]
        found.append((await store.tallies(), left))
        told = Counter(one.type for one in await logged(store, "event"))
        assert not await asked(store) and not told  # all was mei's
        await store.close()
    assert found[0] == found[1] and any("!merged" in name for name in found[0][0])


async def both(engine: Engine) -> None:
    """Looks at everybody, whatever the store's clock says."""
    for name in ("mei", "bo"):
        await engine.stepping.look(ClaimedWake(name, 0, engine.runtime.clock() + MINUTE))
