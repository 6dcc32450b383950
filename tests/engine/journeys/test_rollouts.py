"""Rules come in force in one process after the other: who has older ones ends no run of newer ones."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from decision.core.clock import MINUTE, SECOND
from decision.core.journeys.definition import Ask, Journey, Trigger, Wait
from decision.store import MemoryStore
from tests.engine.conftest import Clock
from tests.engine.journeys.world import definition, engine_on, of, steps, tell

pytestmark = pytest.mark.anyio

WELCOME = Journey(
    name="welcome",
    start=Trigger(name="", event="follow"),
    steps=(
        Wait(name="pause", lasts=SECOND),
        Wait(name="more", lasts=SECOND),
        Ask(name="hello", placement="outbound", of=of("hello")),
    ),
)
PLAIN = Journey(name="plain", start=Trigger(name="", event="purchase"), steps=WELCOME.steps)
WITHOUT_MORE = msgspec.structs.replace(WELCOME, steps=(WELCOME.steps[0], WELCOME.steps[2]))
OLDER = {"no such journey": (PLAIN,), "no such step": (WITHOUT_MORE,), "no journeys": ()}


@pytest.fixture
def store(clock: Clock) -> Any:
    return MemoryStore(lambda: clock.now / SECOND)


async def engines(store: Any, clock: Clock, older: tuple[Journey, ...]) -> tuple[Any, Any]:
    """One with the rules of before, and one with the new ones."""
    before = msgspec.structs.replace(definition(WELCOME, moments=()), journeys=older)
    return await engine_on(store, clock, before), await engine_on(
        store, clock, definition(WELCOME, moments=())
    )


async def ends(store: Any) -> list[str]:
    return [one.ended for one in await steps(store) if one.ended is not None]


@pytest.mark.parametrize("older", OLDER.values(), ids=OLDER)
async def test_who_has_older_rules_leaves_a_run_to_whoever_has_newer_ones(
    store: Any, clock: Clock, older: tuple[Journey, ...]
) -> None:
    before, newer = await engines(store, clock, older)
    await tell(newer, "follow")
    if older != (WITHOUT_MORE,):
        await before.stepping.run_due()
        clock.now += 3 * SECOND
    await newer.stepping.run_due()
    clock.now += SECOND
    await newer.stepping.run_due()
    clock.now += SECOND
    await before.stepping.run_due()
    assert await ends(store) == []
    clock.now += 3 * SECOND
    await newer.stepping.run_due()
    assert await ends(store) == ["finished"]


@pytest.mark.parametrize("older", OLDER.values(), ids=OLDER)
async def test_what_nobody_knows_ends_after_a_minute(
    store: Any, clock: Clock, older: tuple[Journey, ...]
) -> None:
    before, newer = await engines(store, clock, older)
    await tell(newer, "follow")
    await newer.stepping.run_due()
    clock.now += SECOND
    await newer.stepping.run_due()
    clock.now += 2 * MINUTE
    await before.stepping.run_due()
    assert await ends(store) == ["step_removed" if older == (WITHOUT_MORE,) else "journey_removed"]
