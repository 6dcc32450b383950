"""The shop whose time is told: all of it goes by the shop's clock, and nothing by the machine's."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from decision.core import calendar
from decision.core.clock import DAY, HOUR, MINUTE, SECOND, from_micros, to_micros
from decision.core.identifiers import PARTITIONS
from decision.core.ports import Commit
from decision.core.schema import DecisionRequest, Event
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.engine.loading import Loading
from decision.engine.runtime import wall_clock
from decision.gateways.file import FileGateway
from decision.rulebook.reader import load_files, load_folder
from decision.simulation.hurried_store import _BY_THE_MACHINE, HurriedStore
from decision.simulation.life import Life
from decision.simulation.story import ShopClock, Story
from decision.simulation.telling import Telling
from decision.store.scripts import SCRIPTS

pytestmark = pytest.mark.anyio

ALL = range(PARTITIONS)
ROOT = Path(__file__).parents[2]
BEGINS = to_micros(datetime(2030, 4, 8, 1, tzinfo=UTC))
"""A Monday, 09:00 in Shanghai."""
POLICY = """
settings: {timezone: Asia/Shanghai, currency: CNY, exploration: "off", request_id_lasts: 1h}
purposes: {service: {consent: not_required}, marketing: {consent: opt_in}}
channels:
  push: {quiet_hours: {from: "22:00", to: "08:00"}}
  wechat: {reply_window: [{opened_by: wechat.follow, lasts: 1m, allows: 3}]}
placements: {outbound: {channels: [push, wechat], delivery: gateway}}
messages:
  hello: {purpose: service, channels: [wechat], value: 3, content: {text: Welcome!}}
  left: {purpose: marketing, channels: [push], value: 3, content: {title: "Your {{ event.item }}"}}
  offer: {purpose: marketing, channels: [push], value: 1, content: {title: Ten off}}
  wish: {purpose: marketing, channels: [push], value: 1, content: {title: Happy birthday}}
moments:
  left: {pattern: [{event: cart_add}, {not: purchase}], within: 2h}
journeys:
  welcome: {start: {event: wechat.follow}, steps: {hello: {ask: outbound, of: {message: hello}}}}
  basket:
    start: {moment: left}
    goal: {event: purchase}
    steps:
      remind: {ask: outbound, of: {message: left}}
      night: {wait: 12h}
      morning: {wait: {until: "10:00"}}
      again: {ask: outbound, of: {message: offer}}
      days: {wait: 2d}
      last: {ask: outbound, of: {message: hello}}
  birthday:
    start: {date: customer.birthday, at: "09:00"}
    steps: {greet: {ask: outbound, of: {message: wish}}}
"""
TOLD = """\
Mon 09:05  Ming   follows the shop on WeChat, journey welcome begins
Mon 09:05  Ming   journey welcome, step hello → wechat "Welcome!", journey welcome ends: finished
Mon 09:12  Anna   opens the app
Mon 09:15  Anna   puts teapot into the basket
Mon 09:40  Ben    puts green tea into the basket
Mon 09:50  Ming   writes on WeChat: 有绿茶吗？
Mon 10:15  Emma   asks for the catalogue of gifts
Mon 11:15  Anna   moment left, journey basket begins
Mon 11:15  Anna   journey basket, step remind → push "Your teapot"
Mon 11:40  Ben    moment left, journey basket begins
Mon 11:40  Ben    journey basket, step remind → push "Your green tea"
Mon 12:10  Ben    touches the message
Mon 12:18  Ben    buys for 186, journey basket ends: goal
Tue 09:00  Yue    journey birthday begins
Tue 09:00  Yue    journey birthday, step greet → push "Happy birthday", journey birthday ends: finished
Tue 10:00  Anna   journey basket, step again → push "Ten off"
Thu 10:00  Anna   journey basket, step last → nothing (reply_window_closed), journey basket ends: finished
"""


class Results(Counter[str]):
    """What became of events."""

    def recorded(self, event_type: str, result: str) -> None:
        self[result] += 1

    def decided(self, *seen: Any) -> None:
        pass

    def followed(self, result: str) -> None:
        pass


class Seen:
    """Notes whose writes a store tells of."""

    def __init__(self, customers: list[str]) -> None:
        self._customers = customers

    def wrote(self, commit: Commit) -> None:
        self._customers.append(commit.customer_id)

    def waked(self, customer_id: str, at: int | None) -> None:
        pass


async def engine_on(store: Any, clock: ShopClock, rules: Path | None = None) -> Engine:
    read = load_folder(rules) if rules else load_files({"rules.yaml": POLICY})
    definition = read.definition
    assert definition is not None
    engine = Engine(store, EngineSettings(), clock)
    now = from_micros(clock.now)
    engine.use(await build_snapshot(definition, None, store, now, durable=False))
    return engine


async def story_of(engine: Engine, life: Life, lines: list[str], outbox: Path) -> Story:
    """A story on a store that tells it what is written; its cast is known there."""
    store, clock = engine.runtime.store, engine.runtime.clock
    assert isinstance(store, HurriedStore) and isinstance(clock, ShopClock)
    for person in life.cast.values():
        await Loading(engine.runtime).put(person.row)
    names = {own: one.name for own, one in life.cast.items()}
    telling = Telling(names, calendar.zone("Asia/Shanghai"), lines.append)
    gateway = FileGateway(outbox, clock=lambda: clock.now / SECOND)
    story = Story(engine, clock, life, telling, gateway, 1000)
    store.told = story
    return story


@pytest.fixture
def clock() -> ShopClock:
    return ShopClock(BEGINS)


@pytest.fixture
async def store(redis_url: str, prefix: str, clock: ShopClock) -> Any:
    made = HurriedStore(redis_url, clock, prefix=prefix)
    await made.start()
    yield made
    await made.close()


async def test_a_story_is_told_at_its_own_times_whatever_the_machines_clock_says(
    store: HurriedStore, clock: ShopClock, tmp_path: Path
) -> None:
    """Four days go by as fast as they can; each step, ask and delivery has its exact time."""
    engine = await engine_on(store, clock)
    results = Results()
    engine.observe(results)
    lines = list[str]()
    story = await story_of(engine, Life(7, range(0), BEGINS), lines, tmp_path)
    async with asyncio.timeout(60):
        await story.until(BEGINS + 3 * DAY + 3 * HOUR)
    told = [line for line in lines if not line.startswith("---")]
    assert told == TOLD.splitlines()
    assert len(lines) - len(told) == 3  # the days that are over
    assert story.telling.went_by == {"welcome": 1, "basket": 2, "birthday": 1}
    assert set(results) == {"accepted"}
    sent = [
        json.loads(line)["message"]
        for file in sorted(tmp_path.glob("*.ndjson"))
        for line in file.read_text().splitlines()
    ]
    assert sent == ["hello", "left", "left", "wish", "offer"]
    days = [file.name[-17:-7] for file in sorted(tmp_path.glob("*.ndjson"))]
    assert days == [str(from_micros(BEGINS + days * DAY).date()) for days in (0, 1)]


async def test_the_page_on_journeys_shows_what_the_sample_tells(
    store: HurriedStore, clock: ShopClock, tmp_path: Path
) -> None:
    """With a crowd around them, those with names do and get what the page says; nothing is refused."""
    engine = await engine_on(store, clock, ROOT / "rules")
    results = Results()
    engine.observe(results)
    lines = list[str]()
    story = await story_of(engine, Life(7, range(40), BEGINS), lines, tmp_path)
    async with asyncio.timeout(120):
        await story.until(BEGINS + DAY + 2 * HOUR)
    page = (ROOT / "docs" / "journeys.md").read_text("utf-8")
    block = page.partition("## Watch them go by")[2].partition("```text\n")[2].partition("```")[0]
    shown = [line for line in block.splitlines() if not line.startswith("---")]
    assert len(shown) > 5
    assert [line for line in lines if line in shown] == shown
    assert set(results) == {"accepted"}
    assert results["accepted"] > 30


async def test_leases_kept_answers_and_event_ids_end_by_the_shops_time(
    store: HurriedStore, clock: ShopClock
) -> None:
    """Each lasts while the clock stands still, and is over once the shop's time for it is over."""
    engine = await engine_on(store, clock)
    await store.arm({"c-1": clock.now + 30 * MINUTE})
    assert await store.next_wake(ALL) == clock.now + 30 * MINUTE
    assert await store.claim_wakes(ALL, 5, 15_000) == []
    clock.now += 30 * MINUTE
    assert len(await store.claim_wakes(ALL, 5, 15_000)) == 1
    assert await store.claim_wakes(ALL, 5, 15_000) == []
    clock.now += 16 * SECOND
    assert len(await store.claim_wakes(ALL, 5, 15_000)) == 1

    request = DecisionRequest(placement="outbound", customer_id="c-2", request_id="r-1")
    first = await engine.decide(request)
    clock.now += 59 * MINUTE
    assert (await engine.decide(request)).decision_id == first.decision_id
    clock.now += 2 * MINUTE
    assert (await engine.decide(request)).decision_id != first.decision_id

    event = Event(type="visit", customer_id="c-3", id="e-1")
    assert (await engine.events.record([event])).accepted == 1
    clock.now += 6 * DAY
    assert (await engine.events.record([event])).duplicates == 1
    clock.now += 2 * DAY
    assert (await engine.events.record([event])).accepted == 1


async def test_writes_under_way_are_made_when_the_clock_goes_on_meanwhile(
    store: HurriedStore, clock: ShopClock
) -> None:
    """A visitor's call is written once, also where days go by between its sending and its reply."""
    engine = await engine_on(store, clock)
    seen: list[str] = []
    store.told = Seen(seen)

    async def visit(number: int) -> int:
        event = Event(type="visit", customer_id=f"v-{number}")
        return (await engine.events.record([event])).accepted

    async def hurry() -> int:
        for _ in range(50):
            clock.now += HOUR
            await asyncio.sleep(0)
        return 0

    async with asyncio.timeout(30):
        accepted = await asyncio.gather(*map(visit, range(20)), hurry())
    assert sum(accepted) == 20
    assert sorted(seen) == sorted(f"v-{number}" for number in range(20))


def test_every_script_that_asks_for_the_time_is_told_the_shops() -> None:
    """All but the one that looks at the log, whose entries have the machine's time in their ids."""
    from decision.simulation.hurried_store import _SCRIPTS

    asking = {name for name, script in SCRIPTS.items() if b"'TIME'" in script.text}
    assert asking - set(_SCRIPTS) == _BY_THE_MACHINE == {"look_at_log"}


def test_lives_are_the_same_for_the_same_seed_and_never_go_back() -> None:
    """Whoever comes to the shop when is drawn from its seed; deeds come in the order of time."""

    def deeds(seed: int) -> list[tuple[int, str]]:
        life, found, begins = Life(seed, range(20), wall_clock() // DAY * DAY), [], 0
        for _ in range(500):
            assert life.next_at is not None and life.next_at >= begins
            begins = life.next_at
            found.append((begins, str(life.take())))
        return found

    assert deeds(1) == deeds(1) != deeds(2)
