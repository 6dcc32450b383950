"""Redis stands still under load: nothing stays reserved for an answer that nobody was given."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from decision.core import records as log
from decision.core.clock import from_micros
from decision.core.document import ContactState
from decision.core.identifiers import PARTITIONS
from decision.core.schema import Decision, DecisionRequest, TriggerEvent
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.engine.runtime import wall_clock
from decision.rulebook.reader import load_files
from decision.store import EmbeddedRedis, RedisStore

pytestmark = pytest.mark.anyio

RULES = """
settings: {timezone: UTC, currency: EUR}
purposes: {ads: {consent: opt_out}, care: {consent: not_required}}
channels:
  push: {cost: 0.02, reservation: {expires_after: 1h, then: THEN}}
placements: {home: {channels: [push], fallback: hi}}
messages:
  a: {purpose: ads, category: x, channels: [push], value: 5, budget: {total: 100000}, content: {t: a}}
  b: {purpose: ads, category: y, channels: [push], value: 4, content: {t: b}}
  hi: {purpose: care, channels: [push], value: 0, content: {t: hi}}
caps: {two: {of: {purpose: ads}, at_most: 2, within: 24h}}
budgets: {money: {of: {message: a}, spend: 100000}}
"""
LIVE = (ContactState.RESERVED_THEN_COUNT, ContactState.RESERVED_THEN_RELEASE)


async def engine_on(url: str, then: str, refuses_late: bool) -> Engine:
    definition = load_files({"rules.yaml": RULES.replace("THEN", then)}).definition
    assert definition is not None
    store = RedisStore(url)
    if not refuses_late:
        store.connection.clock_ahead = 1e13  # as if Redis' clock had been set back
    await store.start()
    engine = Engine(store, EngineSettings(), wall_clock)
    now = from_micros(wall_clock())
    engine.use(await build_snapshot(definition, None, store, now, durable=False))
    return engine


class Load:
    """Clients of two engines, each of which asks for one customer after another."""

    def __init__(self, engines: list[Engine], deadline: int, clients: int) -> None:
        self.engines = engines
        self.deadline = deadline
        self.pause = clients / 500
        self.customers = 40 * clients
        self.random = random.Random(clients + deadline)
        self.given: list[Decision] = []
        self.over = False
        self._numbers = itertools.count()

    async def client(self) -> None:
        while not self.over:
            await asyncio.sleep(self.random.uniform(0, self.pause))
            number = next(self._numbers)
            asked: dict[str, Any] = {
                "placement": "home",
                "customer_id": f"c-{self.random.randrange(self.customers)}",
                "deadline_ms": self.deadline,
                "limit": self.random.choice([1, 1, 2]),
            }
            if number % 3:
                asked["request_id"] = f"r-{number}"
            if number % 5 == 0:
                asked["event"] = TriggerEvent(type="visit", id=f"e-{number}")
            engine = self.random.choice(self.engines)
            first = await engine.decide(DecisionRequest(**asked))
            self.given.append(first)
            if "store" in first.degraded and number % 2:  # asked again, perhaps of the other one
                engine = self.random.choice(self.engines)
                self.given.append(await engine.decide(DecisionRequest(**asked)))


async def stand_still(pid: int, load: Load, pauses: int, seconds: float) -> None:
    """Stops the Redis of a process id, and lets it go on."""
    for _ in range(pauses):
        await asyncio.sleep(0.3)
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        os.kill(pid, signal.SIGCONT)
    await asyncio.sleep(0.3)
    load.over = True


async def judge(load: Load) -> Counter[str]:
    """Compares what the store holds with what callers were given."""
    engine = load.engines[0]
    store: Any = engine.runtime.store
    found: Counter[str] = Counter(answers=len(load.given))
    given = {one.decision_id for one in load.given}
    degraded = [one for one in load.given if "store" in one.degraded]
    found["degraded"] = len(degraded)
    selected = {one.decision_id for one in load.given if one.outcome == "selected"}
    made, marked = {}, set()
    for partition in range(PARTITIONS):
        for row in await store.log_records(partition):
            if row.kind == "decision":
                assert row.id not in made
                made[row.id] = log.decode_decision(row.body)
            elif row.kind == "not_given":
                assert row.id not in marked
                marked.add(row.id)
    found["taken back"] = len(marked)
    found["not in the log"] = len(given - made.keys())
    found["marked though given"] = len(marked & given)
    chosen = {name for name, row in made.items() if row.selections}
    found["neither given nor marked"] = len(chosen - given - marked)
    held = live = 0
    for number in range(load.customers):
        document = (await store.read(f"c-{number}")).document
        own = [one for one in document.contacts if one.state in LIVE]
        found["caps exceeded"] += len(own) > 2
        live += len(own)
        held += sum(document.kinds[one.kind].message == "a" for one in own)
    found["contacts"] = live
    rows = {one.decision_id: len(one.selections) for one in load.given if one.outcome == "selected"}
    assert rows.keys() == selected
    found["contacts without a given answer"] = live - sum(rows.values())
    spent = await store.budget_counts(["a:total", "money/EUR/ever"])
    found["units lost"] = spent["a:total"].taken - held
    found["money lost"] = spent["money/EUR/ever"].taken - held * 20_000
    return found


@pytest.mark.parametrize(
    ("deadline", "clients", "pauses", "seconds"),
    [
        (50, 32, 2, 0.4),
        pytest.param(10, 32, 4, 1.0, marks=pytest.mark.soak),
        pytest.param(50, 400, 4, 1.0, marks=pytest.mark.soak),
        pytest.param(100, 400, 4, 1.0, marks=pytest.mark.soak),
        pytest.param(100, 400, 1, 7.0, marks=pytest.mark.soak, id="longer than a stall"),
    ],
)
@pytest.mark.parametrize("refuses_late", [True, False])
@pytest.mark.parametrize("then", ["count", "release"])
async def test_nothing_stays_reserved_for_an_answer_that_nobody_was_given(
    tmp_path: Path,
    then: str,
    refuses_late: bool,
    deadline: int,
    clients: int,
    pauses: int,
    seconds: float,
) -> None:
    embedded = EmbeddedRedis(tmp_path, fsync="everysec")
    url = embedded.start()
    engines = [await engine_on(url, then, refuses_late) for _ in range(2)]
    try:
        pid = int((tmp_path / "redis.pid").read_text())
        load = Load(engines, deadline, clients)
        works = [load.client() for _ in range(clients)]
        await asyncio.gather(*works, stand_still(pid, load, pauses, seconds))
        for engine in engines:
            await engine.drain(60)
        found = await judge(load)
        print(f"\n{dict(found)}")
        for wrong in (
            "not in the log",
            "marked though given",
            "neither given nor marked",
            "caps exceeded",
            "contacts without a given answer",
            "units lost",
            "money lost",
        ):
            assert found[wrong] == 0, found
        assert found["degraded"] > 0
    finally:
        for engine in engines:
            await engine.runtime.store.close()
        embedded.stop()
