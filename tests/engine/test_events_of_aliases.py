"""An event that is sent again counts once, also while who it names becomes a known customer."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from decision.core.schema import Alias, CustomerUpdate, DecisionRequest, Event
from decision.store import MemoryStore
from tests.engine.conftest import RULES, Clock
from tests.engine.schedule import GATED, Gated, run_order

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]
WHO = Alias("anonymous_id", "a-1")


@pytest.mark.parametrize("step", ["claimed", "identified"])
async def test_an_event_recorded_under_an_alias_is_known_wherever_the_alias_leads(
    make_engine: Make, clock: Clock, step: str
) -> None:
    """As when the server is killed after the alias was set, before the two were merged."""
    engine = await make_engine()
    event = Event(type="app_open", id="e-1", alias=WHO)
    assert (await engine.events.record([event])).accepted == 1
    if step == "claimed":
        await engine.runtime.store.set_alias(WHO.type, WHO.value, "c-1")
    else:
        await engine.customers.update("c-1", CustomerUpdate(aliases={WHO.type: WHO.value}))
    again = await engine.events.record([event, Event(type="app_open", id="e-2", alias=WHO)])
    assert (again.accepted, again.duplicates) == (1, 1)
    await engine.customers.update("c-1", CustomerUpdate(aliases={WHO.type: WHO.value}))
    assert (await engine.events.record([event])).duplicates == 1
    view = await engine.customers.get("c-1")
    assert view.events["app_open"].count == 2


class Killed(BaseException):
    """The process is gone."""


class Killing:
    """A store whose process is killed at an operation: before it is done, or after."""

    def __init__(self, store: MemoryStore, at: float, done: bool) -> None:
        self.store, self.left, self.done = store, at, done

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.store, name)
        if name not in GATED | {"resolve_alias", "delete_alias"}:
            return found

        async def operate(*args: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left == 0 and not self.done:
                raise Killed
            answer = await found(*args, **options)
            if self.left == 0:
                raise Killed
            return answer

        return operate


@pytest.mark.parametrize("done", [False, True])
async def test_a_server_killed_at_any_step_leaves_one_customer_once_all_is_sent_again(
    make_engine: Make, done: bool
) -> None:
    store = MemoryStore()
    event = Event(type="app_open", id="e-1", alias=WHO)
    update = CustomerUpdate(aliases={WHO.type: WHO.value})

    async def send(engine: Any) -> None:
        await engine.events.record([event])
        await engine.customers.update("c-1", update)
        await engine.events.record([event, Event(type="app_open", id="e-2", alias=WHO)])

    for at in range(1, 100):
        store = MemoryStore()
        try:
            await send(await make_engine(store=Killing(store, at, done)))
        except Killed:
            engine = await make_engine(store=store)
            await send(engine)
            view = await engine.customers.get("c-1")
            assert view.events["app_open"].count == 2, at
        else:
            break
    assert 15 < at < 99


@pytest.mark.parametrize("released", [False, True])
async def test_who_is_identified_while_events_arrive_is_one_customer_in_any_order(
    make_engine: Make, clock: Clock, released: bool
) -> None:
    """Also where an alias that was claimed in vain before is released at the same time."""
    chance = random.Random(3)
    for _ in range(150):
        store = Gated(MemoryStore(), GATED | {"resolve_alias", "delete_alias"})
        engine = await make_engine(store=store)
        event = Event(type="app_open", id="e-1", alias=WHO)
        update = CustomerUpdate(aliases={WHO.type: WHO.value})
        works = [
            partial(engine.events.record, [event]),
            partial(engine.customers.update, "c-1", update),
        ]
        if released:
            await engine.runtime.store.set_alias(WHO.type, WHO.value, "c-1")
            works.append(partial(engine.following._unclaim, "c-1", [(WHO.type, WHO.value)]))
        chosen = [chance.randrange(3) for _ in range(60)]
        await run_order(store, works, chosen)
        assert (await engine.events.record([event])).duplicates == 1, chosen
        await engine.events.record([Event(type="app_open", id="e-2", alias=WHO)])
        view = await engine.customers.get("c-1")
        assert view.events["app_open"].count == 2, chosen


async def test_who_is_identified_while_a_decision_is_made_keeps_its_contact_in_any_order(
    make_engine: Make, clock: Clock
) -> None:
    chance = random.Random(3)
    for _ in range(150):
        store = Gated(MemoryStore(), GATED | {"resolve_alias", "delete_alias"})
        engine = await make_engine(RULES.replace("opt_in", "opt_out"), store)
        update = CustomerUpdate(aliases={WHO.type: WHO.value})
        works = [
            partial(engine.decide, DecisionRequest(placement="outbound", alias=WHO)),
            partial(engine.customers.update, "c-1", update),
        ]
        chosen = [chance.randrange(2) for _ in range(40)]
        (decision, _), _ = await run_order(store, works, chosen)
        assert decision.outcome == "selected"
        await engine.following.drain(1)
        view = await engine.customers.get("c-1")
        assert len(view.contacts) == 1, chosen
