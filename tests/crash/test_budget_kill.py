"""What a decision takes of budgets is taken by its record: none more, none less, whoever is killed.

Units are counted once the leases of the dead are over. The tests say so: nobody waits for a clock.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest

import decision
from decision.core import records as log
from decision.core.clock import from_micros
from decision.core.identifiers import PARTITIONS
from decision.core.schema import DecisionRequest
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.rulebook.reader import load_files
from decision.store import RedisStore
from decision.store.in_redis import leases
from decision.store.leases import Views
from tests.core.small import NOON

UNIT, MONEY = "a:total", "money/EUR/ever"
PRICE: Final = 10_000
"""Millionths that a contact costs."""

RULES = """
settings: {timezone: UTC, currency: EUR, exploration: "off"}
purposes: {tips: {consent: opt_out}}
channels: {push: {cost: 0.01, reservation: {expires_after: 3d, then: count}}}
placements: {outbound: {channels: [push]}}
messages:
  a: {purpose: tips, category: x, channels: [push], value: 3, budget: {total: TOTAL}, content: {t: A}}
budgets: {money: {of: {category: x}, spend: 10000}}
"""

_ROOT = str(Path(decision.__file__).parent)
_TRACED = tuple(f"{_ROOT}/{package}/" for package in ("engine", "store"))


def rules(total: int) -> Any:
    definition = load_files({"rules.yaml": RULES.replace("TOTAL", str(total))}).definition
    assert definition is not None
    return definition


async def engine_on(store: RedisStore, definition: Any) -> Engine:
    await store.start()
    engine = Engine(store, EngineSettings(timeout=60.0), lambda: NOON)
    engine.use(await build_snapshot(definition, None, store, from_micros(NOON), durable=False))
    return engine


def forked(work: Callable[[], Awaitable[None]]) -> int:
    """A process that does this, and dies without closing anything; its id."""
    if pid := os.fork():
        return pid
    try:
        asyncio.run(work())
    finally:
        os._exit(1)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


async def recorded(store: RedisStore) -> int:
    """How many contacts decisions say that they gave."""
    rows = await store.newest_records(range(PARTITIONS), 1_000_000)
    return sum(len(log.decode_decision(row.body).selections) for row in rows)


async def taken(store: RedisStore) -> int:
    """Contacts that the budgets count; both count the same."""
    found = await store.budget_counts((UNIT, MONEY))
    assert found[MONEY].taken == found[UNIT].taken * PRICE
    return found[UNIT].taken


async def settle_the_dead(store: RedisStore) -> None:
    """The leases of all others are over, and settled."""
    own = None if store._lease is None else store._lease.id
    for lease in await store._leases():
        if lease != own:
            await store._settle(lease)
    store._views = Views()


class Killer:
    """Traces a decision from its `reserve` on, and kills the process at one of its lines."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.lines = 0
        self.begun = False
        self.where = ""

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_TRACED):
            return None
        self.begun = self.begun or frame.f_code.co_name == "reserve"
        if self.begun and event == "line":
            self.lines += 1
            if self.lines == self.at:
                os.kill(os.getpid(), signal.SIGKILL)
        return self


@pytest.mark.parametrize("tries", [24, pytest.param(10_000, marks=pytest.mark.soak, id="every")])
def test_a_unit_is_taken_with_its_record_or_not_at_all_at_whatever_line_the_process_is_killed(
    redis_url: str, prefix: str, tries: int
) -> None:
    """Every line of engine and store, from the reservation to the answer."""
    definition = rules(1_000_000)
    reads, writes = os.pipe()

    def decide_and_die(customer: str, at: int) -> None:
        async def work() -> None:
            engine = await engine_on(RedisStore(redis_url, prefix=prefix), definition)
            asked = DecisionRequest(placement="outbound", customer_id="warm-" + customer)
            assert (await engine.decide(asked)).outcome == "selected"
            killer = Killer(at)
            sys.settrace(killer)
            await engine.decide(DecisionRequest(placement="outbound", customer_id=customer))
            sys.settrace(None)
            os.write(writes, b"%d " % killer.lines)

        os.waitpid(forked(work), 0)

    decide_and_die("c-0", 0)
    lines = int(os.read(reads, 100))
    points = range(1, lines + 1, max(1, lines // tries))
    lost: dict[int, int] = {}

    async def look(store: RedisStore) -> tuple[int, int]:
        counts = (await recorded(store), await taken(store))
        if counts[0] != counts[1]:  # perhaps Redis has still to read what the dead have sent
            await asyncio.sleep(0.05)
            counts = (await recorded(store), await taken(store))
        return counts

    async def all_points() -> None:
        store = RedisStore(redis_url, prefix=prefix)
        await store.start()
        off = 0
        for at in points:
            decide_and_die(f"c-{at}", at)
            given, used = await look(store)
            if used - given != off:
                off = used - given
                lost[at] = off
        await settle_the_dead(store)
        counts = (await store.budget_counts([UNIT]))[UNIT]
        given = await recorded(store)
        await store.close()
        print(f"\nkilled at {len(points)} of {lines} lines: {given} given, {counts.taken} taken")
        assert (counts.taken, counts.held) == (given, 0), f"units lost so far, by line: {lost}"

    asyncio.run(all_points())


@pytest.mark.parametrize(
    ("where", "replicas", "processes", "total", "kills"),
    [
        ("redis", 0, 4, 300, 4),
        pytest.param("redis", 0, 8, 20_000, 50, marks=pytest.mark.soak),
        pytest.param("cluster", 1, 8, 4_000, 20, marks=pytest.mark.soak, id="cluster, wait:1"),
        pytest.param("sentinel", 1, 8, 4_000, 20, marks=pytest.mark.soak, id="sentinel, wait:1"),
    ],
)
def test_units_given_are_units_recorded_where_processes_are_killed_under_load(
    request: pytest.FixtureRequest,
    prefix: str,
    where: str,
    replicas: int,
    processes: int,
    total: int,
    kills: int,
) -> None:
    """Signal 9 at random moments; the budget is given to the last unit, and nothing beyond."""
    url = request.getfixturevalue(f"{where}_url")
    definition, choose = rules(total), random.Random(prefix)
    started = 0

    def process() -> int:
        nonlocal started
        started += 1
        name = f"p{started}"

        async def work() -> None:
            vars(leases)["_TICK"] = 0.5  # it is a process of its own
            store = RedisStore(url, prefix=prefix, budget_lease=0.5, replicas=replicas)
            engine, number = await engine_on(store, definition), 0
            while True:
                names = [f"{name}-{number + one}" for one in range(16)]
                number += len(names)
                asked = [DecisionRequest(placement="outbound", customer_id=one) for one in names]
                await asyncio.gather(*map(engine.decide, asked))

        return forked(work)

    children = {process() for _ in range(processes)}

    async def watch() -> tuple[int, int]:
        store = RedisStore(url, prefix=prefix)
        await store.start()
        left = kills
        async with asyncio.timeout(300):
            while True:
                counts = (await store.budget_counts([UNIT]))[UNIT]
                leased = await store._caller()(("GET", store.keys.budget(UNIT)))
                assert int(leased or 0) <= total
                if left and counts.taken >= total * (kills - left) // (kills + 1):
                    victim = choose.choice(sorted(children))
                    kill(victim)
                    children.remove(victim)
                    children.add(process())
                    left -= 1
                elif counts.taken == total:
                    break
                await asyncio.sleep(0.01)
        for child in [*children]:
            children.remove(child)
            kill(child)
        await settle_the_dead(store)
        found = await taken(store), await recorded(store)
        await store.close()
        return found

    try:
        used, given = asyncio.run(watch())
    finally:
        for child in children:
            kill(child)
    print(f"\n{processes} processes, {kills} killed: {used} of {total} taken, {given} recorded")
    assert used == given == total
