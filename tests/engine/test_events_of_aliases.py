"""An event that is sent again counts once, also while who it names becomes a known customer."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from decision.core.schema import Alias, CustomerUpdate, Event
from decision.store import MemoryStore
from tests.engine.conftest import Clock
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
