"""What processes that run journeys share is the same in both stores."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from decision.core.document import Document
from decision.core.journeys.holds import JourneyHold, place_of
from decision.core.journeys.runs import put
from decision.core.journeys.state import Run
from decision.core.ports import Commit, Committed, LogRecord, Version

pytestmark = pytest.mark.anyio


async def write(store: Any, customer: str, *runs: Run) -> None:
    document = Document(customer_id=customer)
    for run in runs:
        put(document, "welcome", run)
    done = await store.commit(
        Commit(
            id=f"w-{customer}",
            customer_id=customer,
            document=document,
            version=Version(),
            expect=(),
            write=("events",),
        )
    )
    assert done == Committed()


async def test_a_hold_is_there_until_it_is_released(store: Any) -> None:
    hold = JourneyHold(why="by hand", at=5)
    await store.hold_journey("welcome", hold)
    await store.hold_journey("other", JourneyHold(why="x", at=6, ends=True))
    assert await store.held_journeys() == {
        "welcome": hold,
        "other": JourneyHold(why="x", at=6, ends=True),
    }
    assert await store.release_journey("welcome")
    assert not await store.release_journey("welcome")
    assert list(await store.held_journeys()) == ["other"]


async def test_who_is_parked_longest_comes_first(store: Any) -> None:
    """Who is parked again keeps the place."""
    order = list(range(20))
    random.Random(3).shuffle(order)
    for at in order:
        await store.park("welcome", f"c-{at:02}", 1_795_000_000_000_000 + at)
    await store.park("welcome", "c-03", 1_895_000_000_000_000)
    assert await store.parked() == {"welcome": 20}
    first = await store.first_parked("welcome", 5)
    assert first == [f"c-{at:02}" for at in range(5)]
    before = 1_795_000_000_000_001
    assert await store.first_parked("welcome", 5, before) == ["c-00", "c-01"]
    await store.unpark("welcome", first)
    await store.unpark("welcome", [])
    assert (await store.first_parked("welcome", 1)) == ["c-05"]
    assert await store.parked() == {"welcome": 15}
    assert await store.first_parked("unknown", 1) == []


async def test_there_are_never_more_places_than_there_are(store: Any) -> None:
    """Whoever has one has it when asked again; one that is freed is somebody else's."""
    asked = [store.take_place("welcome", place_of(f"c-{n}", "r"), 7) for n in range(30)]
    got = await asyncio.gather(*asked)
    assert sum(got) == 7 and await store.free_places("welcome", 7) == 0
    own = [place_of(f"c-{n}", "r") for n in range(30) if got[n]]
    assert all([await store.take_place("welcome", one, 7) for one in own])
    assert set(await store.places("welcome", 100, 1 << 60)) == set(own)
    assert await store.places("welcome", 100, 1000) == []
    await store.look_at_places("welcome", own[2:4], own[:2])
    assert await store.free_places("welcome", 7) == 2
    assert not set(own[:2]) & set(await store.places("welcome", 100, 1 << 60))
    assert await store.take_place("welcome", "new\0r", 7)
    await store.look_at_places("welcome", ["nobody\0r"], [])
    assert "nobody\0r" not in await store.places("welcome", 100, 1 << 60)


async def test_an_erasure_leaves_nobody_parked_or_with_a_place(store: Any) -> None:
    await write(store, "mei", Run(id="r1", key="", started=1, step="a", entered=0, wake=1))
    for customer in ("mei", "bo"):
        await store.park("welcome", customer, 1)
        assert await store.take_place("welcome", place_of(customer, "r1"), 9)
    await store.erase("mei", LogRecord(kind="erasure", id="e", body=b""))
    assert await store.first_parked("welcome", 9) == ["bo"]
    assert await store.places("welcome", 9, 1 << 60) == [place_of("bo", "r1")]


async def test_a_walk_reaches_everybody_from_place_to_place(store: Any) -> None:
    """It begins anew where the place is of a server that is gone."""
    for number in range(600):
        await write(store, f"c-{number}")
    found, place, parts = set[str](), "", 0
    while True:
        ids, following = await store.walk(place)
        found |= set(ids)
        parts += 1
        if following is None:
            break
        place = following
    assert found == {f"c-{number}" for number in range(600)} and parts > 2
