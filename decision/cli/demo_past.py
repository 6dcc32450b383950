"""The weeks before the demo began, lived through as fast as they can be, by the engine itself.

It is the story of the shop whose time is told (`story.py`), from six weeks ago up to now and for
some of its customers: with journeys, deliveries, answers, and the times at which they happened.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from decision.core import calendar
from decision.core.clock import DAY, from_micros
from decision.core.decide import Verdict
from decision.core.definition import PolicyDefinition
from decision.core.schema import Decision
from decision.engine import PATIENCE, Engine, EngineSettings, build_snapshot
from decision.engine.loading import Loading
from decision.engine.runtime import wall_clock
from decision.progress import Progress
from decision.scoring.loading import load_model
from decision.scoring.versions import current_version
from decision.server.activity import Activity
from decision.simulation.answers import TrueAnswers
from decision.simulation.hurried_store import HurriedStore
from decision.simulation.life import Life
from decision.simulation.people import SEED
from decision.simulation.provider import Provider
from decision.simulation.sample import PAST
from decision.simulation.story import ShopClock, Story
from decision.simulation.telling import Telling

_SPEED: Final = 180_000
"""How fast it is said to be: schedules are looked at each hour."""
_LIVED: Final = "demo:past"
"""The name of what the store keeps of it: the time it has come to, and the time it ends at."""


async def live_through(
    url: str, models: Path, definition: PolicyDefinition, numbers: range, progress: Progress
) -> bool:
    """Lets those customers, who are in the store as they were at its beginning, live until now;
    what was interrupted goes on where it was. False where they did so already.

    Raises:
        StoreUnavailable: the embedded Redis ended.
    """
    until = wall_clock()
    clock = ShopClock(until - PAST)
    store = HurriedStore(url, clock, timeout=PATIENCE)
    await store.start()
    try:
        lived = await store.get_blob(_LIVED)
        if lived is not None:
            clock.now, until = map(int, lived.split())
        if clock.now >= until:
            return False
        engine = Engine(store, EngineSettings(seed="past"), clock=clock)
        found = current_version(models)
        model = None if found is None else load_model(found)
        at = from_micros(clock.now)
        engine.use(await build_snapshot(definition, model, store, at, durable=False))
        activity = Activity(clock)
        engine.observe(_Counting(activity))
        answers = TrueAnswers(SEED, until - PAST, engine.snapshot.policy)
        life = Life(SEED, numbers, clock.now, answers)
        zone = calendar.zone(definition.settings.timezone)
        story = Story(engine, clock, life, Telling({}, zone, lambda line: None), Provider(), _SPEED)
        store.told = story
        loading = Loading(engine.runtime)
        for person in life.cast.values():
            await loading.put(person.row)
        with progress.bar("The shop's last weeks (once)", PAST / DAY) as move, _quiet():
            while clock.now < until:
                await story.until(min(until, clock.now + DAY))
                await activity.flush(store)
                await store.put_blob(_LIVED, f"{clock.now} {until}".encode())
                move((clock.now - until + PAST) / DAY)
        return True
    finally:
        await store.close()


class _Counting:
    """Counts what is done, for those who look at the last days."""

    def __init__(self, activity: Activity) -> None:
        self._activity = activity

    def decided(self, decision: Decision, verdict: Verdict | None, *how: Any) -> None:
        self._activity.decided(decision, verdict)

    def recorded(self, event_type: str, result: str) -> None:
        if result == "accepted":
            self._activity.recorded(event_type)

    def followed(self, result: str) -> None: ...


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing is logged of deliveries that fail, as they are to."""
    log = logging.getLogger("decision.outbound")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)
