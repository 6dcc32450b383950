"""What is due by time is done once, whoever claims it, and one customer holds up no other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from decision.core.clock import HOUR, MINUTE
from decision.core.errors import StoreUnavailable
from decision.core.identifiers import partition_of
from decision.engine.journeys.stepping import Looked
from decision.outbound import rounds
from decision.outbound.runner import Runner
from decision.store import RedisStore
from tests.engine.journeys.world import tell
from tests.outbound.world import asked, engine_on, logged, present, runs, steps

pytestmark = pytest.mark.anyio


class Seen:
    """Notes what is told of looks."""

    def __init__(self) -> None:
        self.lags: list[float] = []
        self.asks = self.steps = self.claims = self.failures = 0

    def claimed(self, number: int) -> None:
        self.claims += number

    def failed(self) -> None:
        self.failures += 1

    def looked(self, lag: float, looked: Looked) -> None:
        self.lags.append(lag)
        self.asks += looked.asks
        self.steps += looked.steps


@pytest.fixture
async def engine(store: Any) -> Any:
    return await engine_on(store)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [row.named["event"] for row in caplog.records if hasattr(row, "named")]


async def until(holds: Callable[[], Any], seconds: float = 20) -> None:
    """Waits for a condition."""
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.01)


async def test_runs_are_stepped_until_it_is_told_to_stop(engine: Any) -> None:
    """What comes while it runs is asked for; once it is told to stop, it ends at once."""
    store, seen, stop = engine.runtime.store, Seen(), asyncio.Event()
    running = asyncio.create_task(Runner(engine, seen).run(stop))
    for number in range(20):
        await tell(engine, "follow", f"c-{number}", cart="1")

    async def all_asked() -> bool:
        return len(await asked(store)) == 20

    await until(all_asked)
    stop.set()
    await running
    assert seen.steps == 40  # a greeting and a wait for each
    assert seen.claims >= 20 and seen.failures == 0
    assert seen.asks == 20 and min(seen.lags) >= 0
    assert {one.step for _, one in await runs(store)} == {"pause"}
    assert max((await asked(store)).values()) == 1


async def test_two_runners_ask_for_a_step_once(redis_store: RedisStore, other_stores: Any) -> None:
    """One has a clock that is five minutes ahead: what is due goes by the store's clock."""
    one = await engine_on(redis_store)
    ahead = other_stores()
    await ahead.start()
    other = await engine_on(ahead, lambda: present() + 5 * MINUTE)
    for number in range(60):
        await tell(one, "follow", f"c-{number}", cart="1")
    await asyncio.gather(*(Runner(each).step_due() for each in (one, other, one, other)))
    once = await asked(redis_store)
    assert len(once) == 60 and set(once.values()) == {1}
    assert len([row for row in await steps(redis_store) if row.asked]) == 60


async def test_more_than_may_be_looked_at_at_once_is_done_as_well(engine: Any) -> None:
    """However many are due, and in however few partitions."""
    for number in range(150):
        await tell(engine, "follow", f"c-{number}", cart="1")
    runner = Runner(engine)
    runner.at_once = 5
    assert await runner.step_due() >= 150
    assert len(await asked(engine.runtime.store)) == 150


async def test_a_damaged_customer_holds_up_no_other(
    redis_store: RedisStore, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said, and tried again later; not all the time."""
    engine = await engine_on(redis_store)
    for name in ("li", "mei", "wu"):
        await tell(engine, "follow", name, cart="1")
    key = redis_store.keys.customer("mei").document
    await redis_store.connection.pipeline([("SET", key, b"\x01no document")], 1.0)
    assert await Runner(engine).step_due() == 3
    assert len(await asked(redis_store)) == 2
    assert said(caplog) == ["value_damaged", "look_defect"]
    near, *_ = redis_store.keys.timers(partition_of("mei"))
    [[at]] = await redis_store.connection.pipeline([("ZMSCORE", near, "mei")], 1.0)
    assert present() + MINUTE < float(at) < present() + HOUR


async def test_it_goes_on_once_the_store_is_back(
    engine: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the store does not answer is said once, and that it does again."""
    store, stop, failures = engine.runtime.store, asyncio.Event(), [1, 1]
    claim = store.claim_wakes

    async def failing(*arguments: Any) -> Any:
        if failures:
            failures.pop()
            raise StoreUnavailable("no answer")
        return await claim(*arguments)

    monkeypatch.setattr(store, "claim_wakes", failing)
    monkeypatch.setattr(rounds, "_UNAVAILABLE", 0.01)
    caplog.set_level("INFO")
    await tell(engine, "follow", cart="1")
    running = asyncio.create_task(Runner(engine).run(stop))

    async def done() -> bool:
        return bool(await asked(store))

    await until(done)
    stop.set()
    await running
    about = [name for name in said(caplog) if name.startswith("timers")]
    assert about == ["timers_unavailable", "timers_back"]


async def test_who_is_stopped_lets_what_is_under_way_end(engine: Any) -> None:
    """A look that has begun is finished, and nothing new is begun."""
    for number in range(30):
        await tell(engine, "follow", f"c-{number}", cart="1")
    stop = asyncio.Event()
    runner = Runner(engine)
    running = asyncio.create_task(runner.run(stop))
    await asyncio.sleep(0)
    stop.set()
    await running
    done = await asked(engine.runtime.store)
    told = {row.decision_id for row in await logged(engine.runtime.store, "journey") if row.asked}
    assert len(done) == len(told)
