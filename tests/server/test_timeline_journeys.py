"""A timeline says by what a run was started, what it asked, and why it ended."""

from __future__ import annotations

from typing import Any

import pytest

from decision.core.clock import DAY, HOUR, SECOND
from decision.core.conditions import Clause
from decision.core.journeys.definition import (
    Ask,
    DateStart,
    Journey,
    ScheduleStart,
    SegmentStart,
    Trigger,
    Wait,
)
from decision.engine.timeline import TimelineRow
from decision.server.timelines import Timelines
from decision.store import MemoryStore
from tests.engine.conftest import Clock
from tests.engine.journeys.world import ABANDONED, change, definition, engine_on, of, tell

pytestmark = pytest.mark.anyio

STEPS = (Ask(name="hello", placement="outbound", of=of("hello")), Wait(name="pause", lasts=9 * DAY))
VIP = Clause("customer.tier", "eq", "gold")
STARTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "event follow": (Trigger(name="", event="follow"), {"event_id": "e-1"}),
    "moment abandoned": (Trigger(name="", event="moment.abandoned"), {}),
    "segment vip": (SegmentStart(name="", segment="vip"), {}),
    "condition": (Trigger(name="", when=VIP), {}),
    "date customer.birthday": (DateStart(name="", field="customer.birthday", minute=780), {}),
    "schedule 0 13 * * *": (ScheduleStart(name="", schedule="0 13 * * *"), {}),
}


async def rows(start: Any) -> list[TimelineRow]:
    """What the timeline has of a customer's journey, the first row first; it ends by its goal."""
    clock = Clock()
    store = MemoryStore(lambda: clock.now / SECOND)
    goal = Trigger(name="", event="purchase")
    journey = Journey(name="j", start=start, steps=STEPS, goal=goal)
    engine = await engine_on(store, clock, definition(journey, moments=(ABANDONED,)))
    await change(engine, tier="silver", birthday="1990-11-21")
    await change(engine, tier="gold", **{"segment.vip": True})
    await tell(engine, "follow", id="e-1")
    await tell(engine, "cart_add", id="e-2")
    for _ in range(6):
        clock.now += HOUR // 2
        await engine.stepping.run_due()
    clock.now += HOUR
    await tell(engine, "purchase", id="e-3")
    page = await Timelines(engine, None).page("mei", ("journey",))
    return page.rows[::-1]


@pytest.mark.parametrize("said", STARTS)
async def test_a_run_that_started_says_by_what_and_where_it_begins(said: str) -> None:
    """What it asked names the decision, and its end the reason, with the step it was in."""
    start, more = STARTS[said]
    found = await rows(start)
    [row] = [one for one in found if isinstance(one.started_by, str)]
    first = {name: getattr(row, name) for name in ("started_by", "step", *more)}
    assert first == {"started_by": said, "step": "hello", **more}
    [asks] = [one for one in found if isinstance(one.asked, str)]
    assert (asks.asked, asks.outcome) == ("hello", "selected") and asks.decision_id
    assert (found[-1].ended, found[-1].step) == ("goal", "pause")
    if said.startswith("moment"):
        assert str(row.event_id).startswith("moment-")
