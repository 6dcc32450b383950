"""What was said lately is counted by hour and minute, and brought to the store."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from decision.core.clock import HOUR, MINUTE, from_micros
from decision.core.errors import StoreUnavailable
from decision.core.schema import Decision, Selection
from decision.server.activity import Activity, Glance, glances
from decision.store import MemoryStore
from tests.api.conftest import running
from tests.core.small import NOON

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> int:
        return self.now


def answer(message: str | None = None, **changes: Any) -> Decision:
    chosen = message and Selection(
        message=message,
        channel="push",
        content={},
        response_probability=0.1,
        priority=1.0,
        selection_probability=1.0,
    )
    base: dict[str, Any] = {
        "decision_id": "d",
        "customer_id": "c",
        "placement": "web",
        "decided_at": from_micros(NOON),
        "outcome": "message" if chosen else "none",
        "selections": [chosen] if chosen else [],
        "policy_version": "1",
    }
    return Decision(**{**base, **changes})


async def test_hours_and_minutes_add_up_over_processes_and_none_is_left_out() -> None:
    clock, store = Clock(), MemoryStore()
    one, other = Activity(clock), Activity(clock)
    one.decided(answer("tea"), None)
    one.decided(answer(reason="capped", degraded=["model"]), None)
    one.recorded("purchase")
    clock.now += MINUTE
    other.decided(answer("tea"), None)
    await one.flush(store)
    await other.flush(store)
    clock.now += HOUR
    other.recorded("purchase")
    await other.flush(store)
    await other.flush(store)  # nothing is added twice

    first, second, third = await glances(store, NOON, NOON + 3 * HOUR, by="hour")
    assert first == Glance(
        at=from_micros(NOON),
        decisions={("web", "message", ""): 2, ("web", "none", "capped"): 1},
        selections={("tea", "push"): 2},
        degraded={"model": 1},
        events={"purchase": 1},
    )
    assert second.events == {"purchase": 1}
    assert third == Glance(at=from_micros(NOON + 2 * HOUR))
    minutes = await glances(store, NOON, NOON + 2 * MINUTE, by="minute")
    assert [sum(one.decisions.values()) for one in minutes] == [2, 1]
    assert minutes[0].decisions == {("", "message", ""): 1, ("", "none", ""): 1}


async def test_counts_wait_while_the_store_does_not_answer_and_what_comes_meanwhile_as_well() -> (
    None
):
    class Failing(MemoryStore):
        fails = True

        async def add_counts(self, *given: Any) -> None:
            if self.fails:
                activity.recorded("visit")  # while it waits for the store
                raise StoreUnavailable("lost")
            await super().add_counts(*given)

    store, activity = Failing(), Activity(Clock())
    activity.recorded("visit")
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await activity.flush(store)
    store.fails = False
    await activity.flush(store)
    (hour,) = await glances(store, NOON, NOON + 1, by="hour")
    assert hour.events == {"visit": 4}


async def test_decisions_are_counted_when_the_server_ends_and_previews_are_not(
    rules: Path,
) -> None:
    store = MemoryStore()
    async with running(rules, store) as server:
        await server.decide(customer_id="c-1", placement="app_home")
        await server.decide(customer_id="c-1", placement="app_home", dry_run=True)
        now = server.engine.runtime.clock()
    (hour, *rest) = await glances(store, now - HOUR, now, by="hour")
    counted = [hour, *rest]
    assert sum(sum(one.decisions.values()) for one in counted) == 1
    assert sum(one.selections.get(("hello", "in_app"), 0) for one in counted) == 1


async def test_a_type_in_which_somebody_may_be_named_is_counted_without_its_name() -> None:
    store, activity = MemoryStore(), Activity(Clock())
    for name in ("cart_add", "message.sent", "seen-by-c1024", "li@mail.cn", "x" * 60):
        activity.recorded(name)
    await activity.flush(store)
    (hour,) = await glances(store, NOON, NOON + 1, by="hour")
    assert hour.events == {"cart_add": 1, "message.sent": 1, "": 3}


async def test_metrics_get_every_count_once_whenever_they_are_told() -> None:
    clock, told = Clock(), Counter[tuple[str, ...]]()
    activity, store = Activity(clock, told.update), MemoryStore()
    activity.decided(answer("tea"), None)
    activity.pass_on()
    activity.pass_on()
    activity.decided(answer(reason="capped", degraded=["model"]), None)
    clock.now += MINUTE
    activity.decided(answer("tea"), None)
    await activity.flush(store)
    assert told == {
        ("d", "web", "message", ""): 2,
        ("s", "tea", "push"): 2,
        ("d", "web", "none", "capped"): 1,
        ("g", "model"): 1,
    }
    minutes = await glances(store, NOON, NOON + 2 * MINUTE, by="minute")
    assert [sum(one.decisions.values()) for one in minutes] == [2, 1]
