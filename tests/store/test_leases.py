"""Units of budgets leased to processes: never exceeded, and none is lost, whoever dies.

A process is a store of its own here; one that dies never gives anything back. Its lease is over
once the test says so: nobody waits for a clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from decision.core.budgets import BudgetCount, unit_named
from decision.core.errors import StoreUnavailable
from decision.store import RedisStore
from decision.store.in_redis import leases
from decision.store.leases import Lease, Views, Wanted, look_up
from decision.store.scripts import SCRIPTS
from tests.store.build import take
from tests.store.proxy import Proxy

pytestmark = pytest.mark.anyio
UNIT, MONEY = "a:total", "sms/CNY/ever"


@pytest.fixture(autouse=True)
def no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is done because a second has passed: tests say when it has."""
    monkeypatch.setattr(leases, "_TICK", 3600.0)


async def all_over(store: RedisStore) -> None:
    """The time of all leases is over; they are not settled yet."""
    call = store._caller(write=True)
    for name in await call(("ZRANGEBYSCORE", store.keys.budget_leases, 1, "+inf")):
        await call(("ZADD", store.keys.budget_leases, "XX", 1, name))


async def take_all(store: RedisStore, limit: int, tokens: str) -> int:
    """How many units a process gets until the budget is spent."""
    for number in range(limit + 2):
        if await take(store, {UNIT: limit}, f"{tokens}-{number}") is not None:
            break
        assert number < limit, "the limit is exceeded"
    return number


async def taken(store: RedisStore, counter: str = UNIT) -> int:
    return (await store.budget_counts([counter]))[counter].taken


async def settled(store: RedisStore) -> None:
    """What the process does beside its decisions is done."""
    while store._aside:
        await asyncio.gather(*store._aside)


@pytest.fixture(params=["redis", "cluster", "sentinel"])
async def processes(
    request: pytest.FixtureRequest, prefix: str
) -> AsyncIterator[Callable[[], RedisStore]]:
    """Makes stores on the same keys, in Redis, a cluster, and by sentinels."""
    url, made = request.getfixturevalue(f"{request.param}_url"), []

    def make() -> RedisStore:
        made.append(RedisStore(url, prefix=prefix))
        return made[-1]

    yield make
    for store in made:
        await store.close()


async def test_processes_that_race_take_exactly_the_limit(
    processes: Callable[[], RedisStore],
) -> None:
    stores = [processes() for _ in range(4)]
    for store in stores:
        await store.start()
    got = await asyncio.gather(
        *(take_all(store, 100, str(number)) for number, store in enumerate(stores))
    )
    assert sum(got) == 100 == await taken(stores[0])
    assert all(got), "every process had some"


async def test_what_a_dead_process_held_comes_back_after_its_lease(
    processes: Callable[[], RedisStore],
) -> None:
    dead, alive = processes(), processes()
    await dead.start()
    await alive.start()
    for number in range(3):
        assert await take(dead, {UNIT: 20}, f"d{number}") is None
    held = (await alive.budget_counts([UNIT]))[UNIT]
    assert held.taken == 3 and held.held > 0
    assert await take_all(alive, 20, "x") == 20 - 3 - held.held
    await all_over(alive)
    assert await take_all(alive, 20, "y") == 0  # it is settled aside
    await settled(alive)
    alive._views = Views()
    assert await take_all(alive, 20, "z") == held.held
    assert await alive.budget_counts([UNIT]) == {UNIT: BudgetCount(20)}


async def test_a_process_that_was_taken_for_dead_takes_no_more_of_its_lease(
    redis_store: RedisStore, other_stores: Callable[[], RedisStore]
) -> None:
    """It was only slow: what it held is somebody else's by now."""
    slow = other_stores()
    await slow.start()
    assert await take(slow, {UNIT: 20}, "s") is None
    assert slow._lease is not None and slow._lease.portions[UNIT].rest > 0
    await redis_store._settle(slow._lease.id)
    assert await take_all(redis_store, 20, "r") == 19
    assert await take_all(slow, 20, "s") == 0
    assert await taken(slow) == 20


async def test_what_lies_idle_goes_to_others_and_a_debt_is_told(
    redis_store: RedisStore, other_stores: Callable[[], RedisStore]
) -> None:
    idle = other_stores()
    await idle.start()
    assert await take(idle, {UNIT: 20}, "i") is None
    lease = idle._lease
    assert lease is not None
    for _ in range(2):
        await idle._look_after(lease)
    assert lease.portions[UNIT].rest == 0
    assert await take_all(redis_store, 20, "r") == 19
    await idle.settle_budgets("i", "a", 2)
    await idle._look_after(lease)
    assert await take(redis_store, {UNIT: 20}, "again") is None
    await idle.settle_budgets("i", "a", 3)  # the customer saw it after all
    await idle._look_after(lease)
    assert await taken(redis_store) == 21


async def test_a_portion_is_found_again_where_the_reply_of_its_home_was_lost(
    redis_url: str, prefix: str
) -> None:
    async with Proxy(redis_url) as proxy:
        store = RedisStore(proxy.url, prefix=prefix)
        await store.start()
        for script in ("lease_budgets", "commit"):
            proxy.drop_reply(SCRIPTS[script].digest)
            with contextlib.suppress(StoreUnavailable):
                await take(store, {UNIT: 30}, f"lost-{script}")
            await settled(store)
        await store.return_budgets([UNIT], "lost-lease_budgets")
        await store.return_budgets([UNIT], "lost-commit")
        assert await take_all(store, 30, "t") == 30
        await store.close()


async def test_a_commit_whose_reply_was_lost_took_its_units_once_or_not_at_all(
    redis_url: str, prefix: str
) -> None:
    """Though it writes nothing by which it would be known again but these units."""
    async with Proxy(redis_url) as proxy:
        store = RedisStore(proxy.url, prefix=prefix)
        await store.start()
        await take(store, {UNIT: 9}, "first")
        lease = store._lease
        assert lease is not None
        for number, fault in enumerate((proxy.cut_before, proxy.drop_reply, proxy.cut_mid_reply)):
            fault(SCRIPTS["commit"].digest)
            for _ in range(2):  # the second one is a conflict
                assert await take(store, {UNIT: 9}, f"t{number}") is None
                counts = (await store.budget_counts([UNIT]))[UNIT]
                assert counts == (number + 2, lease.portions[UNIT].rest)
                assert not lease.doubtful
        await store.close()


async def test_leases_leave_nothing_behind(redis_store: RedisStore) -> None:
    await take(redis_store, {UNIT: 20}, "t")
    await redis_store.give_leases_back()
    keys = redis_store.keys
    call = redis_store._caller()
    assert await call(("EXISTS", keys.budget_leases)) == 0
    assert await redis_store._fields() == []
    assert await call(("GET", keys.budget(UNIT))) == b"1"


async def test_what_is_left_of_leases_whose_processes_were_killed_goes_with_the_next_one(
    redis_store: RedisStore, other_stores: Callable[[], RedisStore]
) -> None:
    """While they opened one that the home was not told of, or before they removed the notes."""
    opening, running = other_stores(), other_stores()
    await opening.start()
    await opening._opened(1.0)
    await running.start()
    assert await take(running, {UNIT: 20}, "running") is None
    call = redis_store._caller(write=True)
    await call(("HSET", redis_store.keys.leases(3), f"settled/{UNIT}", 2))
    assert await take(redis_store, {UNIT: 20}, "t") is None
    await redis_store.give_leases_back()
    lease = running._lease
    assert lease is not None
    left = {field.decode().partition("/")[0] for _, field, _ in await redis_store._fields()}
    assert left == {lease.id}
    assert await take_all(running, 20, "r") == 18


async def test_damaged_reservations_are_removed_and_damaged_notes_give_nothing_back(
    redis_store: RedisStore,
) -> None:
    """Where it is not known what was taken, all that was leased counts as taken."""
    keys, call = redis_store.keys, redis_store._caller(write=True)
    await take(redis_store, {UNIT: 20}, "t", ends={UNIT: 5})
    lease = redis_store._lease
    assert lease is not None
    given = 1 + lease.portions[UNIT].rest
    await call(("ZADD", keys.budget_ends(3), 1, b"\xff", 2, "nocolon"))
    redis_store._swept = float("-inf")
    await redis_store.expire_budgets(9)
    assert await call(("EXISTS", keys.budget_ends(3))) == 0
    assert await taken(redis_store) == 0
    await call(("HSET", keys.leases(7), f"{lease.id}/{UNIT}", "no number"))
    await redis_store.give_leases_back()
    assert await taken(redis_store) == given


async def test_what_is_on_its_way_home_is_not_given_meanwhile(
    redis_store: RedisStore, other_stores: Callable[[], RedisStore]
) -> None:
    """Somebody else may have it by the time the home's reply comes."""
    other = other_stores()
    await other.start()
    assert await take(redis_store, {UNIT: 20}, "first") is None
    lease, run = redis_store._lease, redis_store._run
    assert lease is not None

    async def slow(script: str, *args: Any, **more: Any) -> Any:
        reply = await run(script, *args, **more)
        if script == "lease_budgets" and not looking.done():
            assert await take_all(other, 20, "other") == 19
        return reply

    redis_store._run = slow  # type: ignore[method-assign]
    looking = asyncio.ensure_future(redis_store._look_after(lease))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert lease.own(UNIT) > 0 == lease.portions[UNIT].rest
    assert await take(redis_store, {UNIT: 20}, "second") == UNIT
    await looking
    assert await taken(redis_store) == 20


def test_a_process_gives_nothing_once_others_may_have_reached_a_lowered_limit() -> None:
    lease, views = Lease(), Views()
    lease.portion("a").rest = 20
    views.note("a", 100, 5.0)
    assert look_up(lease, views, {"a": 100}, 5.05) == {}
    assert look_up(lease, views, {"a": 80}, 5.05) == {"a": Wanted(1, 80, 80)}
    assert look_up(lease, views, {"a": 80}, 4.0) == "a"  # as the home has just said
    views.note("a", 20, 5.0)  # others may have been given more since, under the limit of before
    lease.portion("a").limit = 100
    assert look_up(lease, views, {"a": 80}, 5.05) == {"a": Wanted(1, 80, 80)}
    assert look_up(lease, views, {"a": 100}, 5.05) == {}


@pytest.mark.parametrize(
    ("processes", "limit", "kills"),
    [(8, 2000, 4), pytest.param(8, 60_000, 40, marks=pytest.mark.soak)],
)
def test_processes_that_are_killed_lose_no_unit_and_exceed_none(
    redis_url: str, prefix: str, processes: int, limit: int, kills: int
) -> None:
    """Signal 9 at random moments; the others take what is left, exact to the last unit."""
    children = {_child(redis_url, prefix, limit) for _ in range(processes)}
    choose = random.Random(prefix)

    async def watch() -> tuple[int, int]:
        store = RedisStore(redis_url, prefix=prefix)
        await store.start()
        left, until = kills, time.monotonic() + 120
        while True:
            counts = (await store.budget_counts([UNIT]))[UNIT]
            assert counts.taken + counts.held <= limit
            if left and counts.taken >= limit * (kills - left) // (kills + 1):
                victim = choose.choice(sorted(children))
                _kill(victim)
                children.remove(victim)
                children.add(_child(redis_url, prefix, limit))
                left -= 1
            elif counts.taken == limit or time.monotonic() > until:
                break
            await asyncio.sleep(0.02)
        tokens = 0
        async for names in _names(store, f"{prefix}{{p*}}:t:*"):
            tokens += names
        await store.close()
        return counts.taken, tokens

    try:
        found = asyncio.run(watch())
    finally:
        for child in children:
            _kill(child)
    assert found == (limit, limit)


async def _names(store: RedisStore, pattern: str) -> AsyncIterator[int]:
    cursor: Any = 0
    while True:
        cursor, names = await store._caller()(("SCAN", cursor, "MATCH", pattern, "COUNT", 1000))
        yield len(names)
        if int(cursor) == 0:
            return


def _child(url: str, prefix: str, limit: int) -> int:
    """A process that takes units until it is killed; its id."""
    if pid := os.fork():
        return pid
    try:
        asyncio.run(_take_for_ever(url, prefix, limit))
    finally:
        os._exit(1)


async def _take_for_ever(url: str, prefix: str, limit: int) -> None:
    vars(leases)["_TICK"] = 0.5  # it is a process of its own
    store = RedisStore(url, prefix=prefix, budget_lease=0.5)
    await store.start()
    number = 0
    while True:
        names = [f"{os.getpid()}-{number + one}" for one in range(10)]
        number += 10
        takes = (take(store, {UNIT: limit}, name) for name in names)
        if any(await asyncio.gather(*takes)):
            await asyncio.sleep(0.05)


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


class Dead(Exception):
    """A process that is not there any more."""


def at_commit(store: RedisStore, instead: Callable[..., Any] | None) -> None:
    """What a process does in place of sending a commit; None: it sends it."""
    vars(store.connection).pop("call", None)
    if instead is None:
        return
    call = store.connection.call

    async def called(command: Any, *args: Any, **more: Any) -> Any:
        if command[1] == SCRIPTS["commit"].digest:
            return await instead(call, command, *args, **more)
        return await call(command, *args, **more)

    store.connection.call = called  # type: ignore[method-assign]


class Processes(RuleBasedStateMachine):
    """Processes that take, settle, die and come back, on limits that are edited.

    The oracle knows what every token holds. No take may bring the sum above the limit; what the
    store says is taken is that sum; at the end, every unit can be had.
    """

    url = prefix = ""
    runs = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).runs += 1
        self.runner = asyncio.Runner()
        self.own = f"{self.prefix}{self.runs}:"
        self.limits = {UNIT: 9, MONEY: 900}
        self.held: dict[str, dict[str, int]] = {}
        """Token → unit → amount that it holds."""
        self.ranks: dict[str, int] = {}
        self.tokens = 0
        self.stores = [self.process() for _ in range(3)]
        self.dead: list[RedisStore] = []

    def process(self) -> RedisStore:
        store = RedisStore(self.url, prefix=self.own)
        self.runner.run(store.start())
        return store

    def used(self, counter: str) -> int:
        units = [one for units in self.held.values() for one in units.items()]
        return sum(amount for name, amount in units if unit_named(name).counter == counter)

    @rule(number=st.integers(0, 2), cost=st.sampled_from([0, 50, 120]), times=st.integers(1, 4))
    def take(self, number: int, cost: int, times: int) -> None:
        """Some decisions at once, of one process."""
        units = {UNIT: self.limits[UNIT]}
        if cost:
            units[f"{MONEY}/a/{cost}"] = self.limits[MONEY]
        names = [f"t{self.tokens + one}" for one in range(times)]
        self.tokens += times

        async def together() -> list[str | None]:
            takes = (take(self.stores[number], units, name) for name in names)
            return await asyncio.gather(*takes)

        for name, full in zip(names, self.runner.run(together()), strict=True):
            if full is None:
                self.held[name] = {one: unit_named(one).amount for one in units}
                for counter in {unit_named(one).counter for one in units}:
                    assert self.used(counter) <= self.limits[counter]

    @rule(number=st.integers(0, 2), which=st.integers(0, 40), rank=st.integers(0, 9))
    def settle(self, number: int, which: int, rank: int) -> None:
        """An event releases, or, while the contact holds its unit, confirms."""
        if not self.held:
            return
        token = sorted(self.held)[which % len(self.held)]
        if not self.held[token] and rank % 2:
            return  # it may be counted again above the limit; that is no matter of leases
        self.runner.run(self.stores[number].settle_budgets(token, "a", rank))
        if rank > self.ranks.get(token, -1):
            self.ranks[token] = rank
            if rank % 2 == 0:
                self.held[token] = {}

    @rule(number=st.integers(0, 2), which=st.integers(0, 40))
    def give_back(self, number: int, which: int) -> None:
        if self.held:
            token = sorted(self.held)[which % len(self.held)]
            units = list(self.held.pop(token))
            self.runner.run(self.stores[number].return_budgets(units, token))

    @rule(number=st.integers(0, 2))
    def die(self, number: int) -> None:
        """Without a word; another process comes in its place."""
        self.dead.append(self.stores[number])
        self.stores[number] = self.process()

    @rule(number=st.integers(0, 2), arrives=st.booleans())
    def die_while_taking(self, number: int, arrives: bool) -> None:
        """The units are set aside, and the commit is sent; Redis may have got it."""

        async def dying(call: Callable[..., Any], *args: Any, **more: Any) -> Any:
            if arrives and await call(*args, **more) == 1:
                self.held[token] = dict.fromkeys(units, 1)
            raise Dead

        token, units = f"t{self.tokens}", {UNIT: self.limits[UNIT]}
        self.tokens += 1
        at_commit(self.stores[number], dying)
        with contextlib.suppress(Dead):
            self.runner.run(take(self.stores[number], units, token))
        self.die(number)

    @rule(number=st.integers(0, 1))
    def take_of_a_lease_that_is_settled_meanwhile(self, number: int) -> None:
        """By another process, which believed this one dead; it takes of its next lease."""
        taker, other = self.stores[number], self.stores[2]

        async def settled(call: Callable[..., Any], *args: Any, **more: Any) -> Any:
            at_commit(taker, None)
            if taker._lease is not None:
                await other._settle(taker._lease.id)
            return await call(*args, **more)

        at_commit(taker, settled)
        self.take(number, 0, 3)
        at_commit(taker, None)

    @rule(number=st.integers(0, 2))
    def leases_end(self, number: int) -> None:
        self.runner.run(all_over(self.stores[number]))

    @rule(number=st.integers(0, 2))
    def a_second_passes(self, number: int) -> None:
        store = self.stores[number]
        if store._lease is not None:
            self.runner.run(store._look_after(store._lease))
        store._views = Views()

    @rule(counter=st.sampled_from([UNIT, MONEY]), limit=st.integers(1, 12))
    def edit(self, counter: str, limit: int) -> None:
        self.limits[counter] = limit if counter == UNIT else 100 * limit
        for store in self.stores:  # it is in force once nobody believes what was said before
            store._views = Views()

    @invariant()
    def what_is_taken_is_what_tokens_hold(self) -> None:
        counts = self.runner.run(self.stores[0].budget_counts([UNIT, MONEY]))
        assert {one: counts[one].taken for one in counts} == {
            one: self.used(one) for one in (UNIT, MONEY)
        }

    def teardown(self) -> None:
        async def end() -> None:
            last = self.stores[0]
            await all_over(last)
            left = max(self.limits[UNIT] - self.used(UNIT), 0)
            got = 0
            for turn in range(len(self.dead) + 3 if left else 0):  # four leases are settled in each
                got += await take_all(last, self.limits[UNIT], f"end-{turn}")
                await settled(last)
                last._views = Views()
            assert got == left, "every unit can be had"
            for store in self.dead:
                store._lease = None
            for store in (*self.stores, *self.dead):
                await store.close()

        self.runner.run(end())
        self.runner.close()


def test_any_history_of_processes_is_exact(redis_url: str, prefix: str) -> None:
    class Here(Processes):
        url = redis_url

    Here.prefix = prefix
    checks = [HealthCheck.too_slow]
    Here.TestCase.settings = settings(
        max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=checks
    )
    Here.TestCase().runTest()
