"""Journeys that stand still, limits of starts and of runs, and journeys that pause themselves."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from decision.core.clock import DAY, HOUR, MINUTE, SECOND
from decision.core.journeys.definition import Ask, Journey, Limits, Trigger, Wait, WaitUntilDate
from decision.engine.cautions import present_cautions
from decision.engine.deciding import Deciding
from decision.outbound import failing
from decision.outbound.holding import pause, resume, stop
from decision.outbound.runner import Runner
from decision.store import MemoryStore, RedisStore
from tests.engine.conftest import Clock
from tests.engine.journeys.world import definition, of, tell
from tests.outbound.world import asked, engine_on, runs, steps

pytestmark = pytest.mark.anyio


def journey(name: str = "welcome", *, wait: int = HOUR, **more: Any) -> Journey:
    """Asks, waits, asks."""
    more.setdefault("key", "event.cart")
    return Journey(
        name=name,
        start=Trigger(name="", event="follow"),
        again=0,
        steps=(
            Ask(name="hello", placement="outbound", of=of("hello")),
            Wait(name="pause", lasts=wait),
            Ask(name="again", placement="outbound", of=of("hello")),
        ),
        **more,
    )


class World:
    """An engine and a runner of it; the clock of both is the test's."""

    def __init__(self, clock: Clock, *journeys: Journey) -> None:
        self.clock = clock
        self.store = MemoryStore(lambda: clock.now / SECOND)
        self.journeys = journeys

    async def open(self) -> World:
        self.engine = await engine_on(
            self.store, lambda: self.clock.now, definition(*self.journeys, moments=())
        )
        self.runner = Runner(self.engine)
        return self

    async def pass_(self, span: int, every: int = SECOND) -> None:
        """Time goes by, and the runner with it."""
        end = self.clock.now + span
        while self.clock.now < end:
            await self.runner.step_due()
            self.clock.now = min(end, self.clock.now + every)
        await self.runner.step_due()

    async def standing(self) -> Counter[str]:
        """How many runs stand in each step; in "" those that have not begun."""
        return Counter(run.step if run.visit else "" for _, run in await runs(self.store))

    async def ended(self) -> Counter[str]:
        return Counter(one.ended for one in await steps(self.store) if one.ended)


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_a_paused_journey_does_nothing_and_goes_on_at_once(clock: Clock) -> None:
    """No run of it takes a step, new ones wait as well; resumed, all go on within a second."""
    world = await World(clock, journey(), journey("other", wait=DAY)).open()
    for number in range(12):
        await tell(world.engine, "follow", f"c-{number}", cart="1")
    await world.pass_(MINUTE)
    await pause(world.store, "welcome", clock.now)
    await tell(world.engine, "follow", "late", cart="1")
    await world.pass_(3 * HOUR, every=MINUTE)
    assert await world.standing() == {"pause": 12 + 13, "": 1}  # those of `other`, too
    assert (await world.store.parked()) == {"welcome": 13}
    before = len(await asked(world.store))
    assert await resume(world.store, "welcome") and not await resume(world.store, "welcome")
    await world.pass_(SECOND)
    assert len(await asked(world.store)) == before + 13
    assert await world.store.parked() == {}
    assert max((await asked(world.store)).values()) == 1


async def test_what_is_too_late_after_a_pause_is_left_out(clock: Clock) -> None:
    """`skip_after` counts from when the run was to go on."""
    world = await World(clock, journey(skip_after=2 * HOUR)).open()
    for number in range(3):
        await tell(world.engine, "follow", f"c-{number}", cart="1")
        await world.pass_(HOUR // 2, every=MINUTE)
    await pause(world.store, "welcome", clock.now)
    # Due an hour after they began: at 1:00, 1:30 and 2:00; it is 1:30 now.
    await world.pass_(2 * HOUR, every=10 * MINUTE)
    await resume(world.store, "welcome")
    await world.pass_(SECOND)
    skipped = [one for one in await steps(world.store) if one.skipped]
    assert await world.ended() == {"finished": 3}
    assert [one.customer_id for one in skipped] == []
    await world.pass_(HOUR)
    for number in range(2):
        await tell(world.engine, "follow", f"d-{number}", cart="1")
    await world.pass_(MINUTE)
    await pause(world.store, "welcome", clock.now)
    await world.pass_(HOUR + 3 * HOUR, every=10 * MINUTE)
    await resume(world.store, "welcome")
    await world.pass_(SECOND)
    skipped = [one for one in await steps(world.store) if one.skipped]
    assert sorted(one.customer_id for one in skipped) == ["d-0", "d-1"]


async def test_goals_end_runs_of_a_paused_journey(clock: Clock) -> None:
    world = await World(clock, journey(goal=Trigger(name="", event="purchase"))).open()
    await tell(world.engine, "follow", "mei", cart="1")
    await pause(world.store, "welcome", clock.now)
    await world.pass_(MINUTE)
    await tell(world.engine, "purchase", "mei")
    assert await world.ended() == {"goal": 1}


async def test_a_stop_ends_every_run_and_what_starts_later_waits(clock: Clock) -> None:
    """Wherever runs stand; also those that would have gone on in a month."""
    world = await World(clock, journey(wait=30 * DAY), journey("other", wait=DAY)).open()
    for number in range(700):
        await tell(world.engine, "follow", f"c-{number}", cart="1")
    await world.pass_(SECOND)
    await stop(world.store, "welcome", clock.now)
    await world.pass_(30 * SECOND)
    assert await world.ended() == {"cancelled": 700}
    await tell(world.engine, "follow", "late", cart="1")
    await world.pass_(MINUTE)
    assert await world.ended() == {"cancelled": 700}
    assert (await world.standing())[""] == 1
    await resume(world.store, "welcome")
    await world.pass_(SECOND)
    assert (await world.standing())[""] == 0
    counts = await world.store.tallies()
    assert counts["welcome\0!cancelled"] == 700 and counts["welcome\0pause"] == 1


async def test_no_more_runs_start_than_may_in_any_period(clock: Clock) -> None:
    """Those beyond wait in the order in which they came; none is lost."""
    limits = Limits(starts=10, per=MINUTE)
    world = await World(clock, journey(limits=limits, wait=DAY)).open()
    for number in range(35):
        await tell(world.engine, "follow", f"c-{number:02}", cart="1")
        clock.now += 1000
    await world.pass_(6 * MINUTE)
    began = sorted(
        (one.at, one.customer_id) for one in await steps(world.store) if "hello:ask" in one.steps
    )
    waited = [customer for _, customer in began[10:]]
    assert len(began) == 35 and waited == sorted(waited)
    times = [at for at, _ in began]
    assert all(later - sooner >= MINUTE for sooner, later in zip(times, times[10:], strict=False))
    assert times[-1] - times[0] < 5 * MINUTE
    assert max((await asked(world.store)).values()) == 1


async def test_never_more_runs_are_under_way_than_may_be(clock: Clock) -> None:
    """Places are free again however runs end: by themselves, by goal, with the customer."""
    own = journey(limits=Limits(running=5), goal=Trigger(name="", event="purchase"))
    world = await World(clock, own).open()
    for number in range(20):
        await tell(world.engine, "follow", f"c-{number:02}", cart="1")
    most = 0
    for minute in range(5 * 60):
        await world.pass_(MINUTE, every=20 * SECOND)
        standing = await world.standing()
        most = max(most, sum(standing.values()) - standing[""])
        if minute == 10:
            await tell(world.engine, "purchase", "c-00")
            await world.engine.customers.erase("c-01")
    assert most == 5
    assert await world.ended() == {"finished": 18, "goal": 1}


async def test_limits_hold_for_all_processes_together(
    redis_store: RedisStore, other_stores: Any
) -> None:
    """However many claim at once."""
    policy = definition(journey(limits=Limits(running=7), wait=DAY), moments=())
    engines = [await engine_on(redis_store, policy=policy)]
    for _ in range(2):
        other = other_stores()
        await other.start()
        engines.append(await engine_on(other, policy=policy))
    for number in range(60):
        await tell(engines[0], "follow", f"c-{number}", cart="1")
    runners = [Runner(one) for one in engines]
    for _ in range(3):
        await asyncio.gather(*(one.step_due() for one in runners))
    assert len(await asked(redis_store)) == 7
    assert sum(run.visit > 0 for _, run in await runs(redis_store)) == 7
    assert await redis_store.parked() == {"welcome": 53}
    await redis_store.erase("c-1", (await _record()))
    assert (await redis_store.parked())["welcome"] in (52, 53)


async def _record() -> Any:
    from decision.core.ports import LogRecord

    return LogRecord(kind="erasure", id="e", body=b"")


async def test_a_journey_whose_runs_go_wrong_is_paused(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """After a hundred, not after all; resumed, it is judged by what ends from then on."""
    wrong = Journey(
        name="renew",
        start=Trigger(name="", event="follow"),
        key="event.cart",
        steps=(WaitUntilDate(name="due", field="customer.renewal"),),
    )
    world = await World(clock, wrong).open()
    await world.pass_(SECOND)
    for number in range(failing.LEAST):
        await tell(world.engine, "follow", f"c-{number}", cart="1", renewal="soon")
    await world.pass_(10 * SECOND)
    assert await world.ended() == {"unreadable_date": failing.LEAST}
    assert "journey renew is paused: 100 of 100 runs ended as unreadable_date" in caplog.text
    await tell(world.engine, "follow", "late", cart="1")
    await world.pass_(MINUTE)
    assert len(await runs(world.store)) == 1
    assert await resume(world.store, "renew")
    await world.pass_(MINUTE)
    assert await world.ended() == {"unreadable_date": failing.LEAST + 1}
    assert await world.store.held_journeys() == {}


async def cautions(world: World) -> list[str]:
    """What is said of journeys; nobody sends deliveries here."""
    every = await present_cautions(world.engine.runtime)
    return [one for one in every if not one.startswith("channel")]


async def test_journeys_that_nobody_runs_or_that_stand_still_are_a_warning(clock: Clock) -> None:
    """As are those that are late; a policy without journeys has no such warning."""
    world = await World(clock, journey()).open()
    [nobody] = await cautions(world)
    assert nobody.startswith("nobody runs journeys")
    await tell(world.engine, "follow", cart="1")
    await world.pass_(MINUTE)
    assert await cautions(world) == []
    await pause(world.store, "welcome", clock.now, "looking into it")
    clock.now += 2 * MINUTE
    [paused] = await cautions(world)
    assert paused.startswith("journey welcome has been paused for 2m: looking into it;")
    await resume(world.store, "welcome")
    await tell(world.engine, "follow", "late", cart="1")
    clock.now += 2 * MINUTE
    [late] = await cautions(world)
    assert late.startswith("journeys are 2m late;")
    clock.now += DAY
    assert len(await cautions(world)) == 1


async def test_a_journey_that_cannot_ask_is_paused(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a hundred asks in a row that failed; whoever was tried is tried again later."""
    world = await World(clock, journey()).open()

    async def failing_ask(self: Any) -> Any:
        raise ValueError("a defect")

    with monkeypatch.context() as patched:
        patched.setattr(Deciding, "answer_step", failing_ask)
        for number in range(failing.LEAST + 20):
            await tell(world.engine, "follow", f"c-{number}", cart="1")
        await world.pass_(20 * SECOND)
    hold = (await world.store.held_journeys())["welcome"]
    assert "120 decisions in a row" in hold.why and await asked(world.store) == {}
    await resume(world.store, "welcome")
    await world.pass_(11 * MINUTE, every=10 * SECOND)
    assert len(await asked(world.store)) == 120
