"""Derived events and scores rebuilt from the archive are those that would always have been kept."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random
from typing import Any

import pytest

from decision.core.clock import DAY, HOUR, SECOND, from_micros
from decision.core.document import Document
from decision.core.schema import CustomerUpdate, Event
from decision.engine import Engine
from decision.engine.events import PastEvent
from decision.engine.loading import CustomerRow, Loading
from decision.store import MemoryStore
from tests.archive.test_archive import archive
from tests.crash.harness import RULES
from tests.maintenance.test_rebuilding import NOW, Store, engine_on, rebuild, use

pytestmark = pytest.mark.anyio

COUNTING = RULES + (
    """
events:
  line: {of: buy, each: items}
  tea-line: {of: line, when: {event.kind: tea}}
  invitation: {of: view, for: event.inviter}
  gift: {of: buy, each: items, for: event.to}
scores:
  tea: {adds: {tea-line: {property: price}, view: 1, invitation: 5}, half_life: 7d}
rules:
  one: {when: {events.tea-line.sum_price_30d: {gte: 1}}, exclude: {messages: [a]}}
  two: {when: {events.invitation.last_shop: x}, exclude: {messages: [a]}}
  three: {when: {events.gift.active_days_7d: {gte: 2}}, exclude: {messages: [a]}}
  four: {when: {events.line.count_2h: {gte: 1}, score.tea: {gte: 1}}, exclude: {messages: [a]}}
"""
)
NAMES = ("ann", "bob", "王", "nobody")


def happened(random: Random, number: int) -> Event:
    def who() -> Any:
        return random.choice([*NAMES, None, "null", 7])

    items = [
        {"kind": random.choice(["tea", "cup"]), "price": random.randint(1, 9), "to": who()}
        for _ in range(random.randint(0, 3))
    ]
    return Event(
        id=f"e-{number}",
        customer_id=random.choice(NAMES[:3]),
        type=random.choice(["view", "buy"]),
        at=from_micros(NOW - random.randint(0, 40 * DAY // HOUR) * HOUR - number * SECOND),
        properties={"items": items, "inviter": who(), "shop": random.choice("xy")},
    )


async def introduce(engine: Engine, *names: str) -> None:
    for name in names:
        await engine.customers.update(name, CustomerUpdate(attributes={"a": 1}))


async def kept(store: Store, customer: str) -> Document:
    return (await store.read(customer)).document


def same(one: Document, other: Document) -> bool:
    """Equal histories, and scores equal but for the rounding of another order."""
    assert one.events == other.events
    assert one.scores.keys() == other.scores.keys()
    return all(
        math.isclose(mine.value, other.scores[name].value, rel_tol=1e-9)
        and (mine.at, mine.events) == (other.scores[name].at, other.scores[name].events)
        for name, mine in one.scores.items()
    )


@pytest.mark.parametrize("seed", range(6))
async def test_what_was_derived_anew_is_as_if_it_had_always_been_kept(
    seed: int, tmp_path: Path
) -> None:
    random = Random(seed)
    store, other = MemoryStore(), MemoryStore()
    always, engine = await engine_on(other, COUNTING), await engine_on(store, RULES)
    for each in (always, engine):
        await introduce(each, *NAMES[:3])
    archived = random.randint(0, 30)
    events = [happened(random, number) for number in range(30)]
    for number, event in enumerate(events):
        if number == archived:
            await archive(store, tmp_path / "out")
        for each in (always, engine):
            assert (await each.events.record([event], now=NOW + number)).accepted == 1
    await archive(store, tmp_path / "out")
    await use(engine, COUNTING)
    assert (await rebuild(engine, tmp_path / "out")).incomplete == 0
    for name in NAMES:
        assert same(await kept(store, name), await kept(other, name))
    assert not (await kept(store, "nobody")).exists
    assert (await rebuild(engine, tmp_path / "out")).changed == 0
    # Sent again, nothing counts again.
    for each in (always, engine):
        await each.events.record(events, now=NOW + 30)
    for name in NAMES:
        assert same(await kept(store, name), await kept(other, name))


async def test_who_was_named_is_followed_when_merged_and_stays_gone_when_erased(
    tmp_path: Path,
) -> None:
    """Also who came back, and where the archive has followed the erasure or has not."""
    store = MemoryStore()
    engine = await engine_on(store, RULES)
    await introduce(engine, "ann", "anon", "gone", "back", "late")
    names = ("ann", "anon", "gone", "back", "late")
    for number, name in enumerate(names):
        event = Event(
            id=f"e-{number}", customer_id="bob", type="view", properties={"inviter": name}
        )
        await engine.events.record([event])
    await engine.customers.merge("ann", "anon")
    for name in ("gone", "back"):
        await engine.customers.erase(name)
    await archive(store, tmp_path)
    await engine.customers.erase("late")
    await introduce(engine, "back", "late")
    await use(engine, COUNTING)
    await rebuild(engine, tmp_path)
    found = {name: await kept(store, name) for name in names}
    assert found["ann"].events["invitation"].total == 2
    assert not found["gone"].exists
    assert (found["back"].events, found["late"].events) == ({}, {})


async def test_loaded_events_that_are_alike_count_each(tmp_path: Path) -> None:
    store = MemoryStore()
    engine = await engine_on(store, RULES)
    await introduce(engine, "ann")
    past = PastEvent(type="view", at=from_micros(NOW - DAY), properties={"inviter": "ann"})
    for who in ("bob", "carl"):
        await Loading(engine.runtime).put(CustomerRow(customer_id=who, events=[past]))
    await archive(store, tmp_path)
    await use(engine, COUNTING)
    await rebuild(engine, tmp_path)
    assert (await kept(store, "ann")).events["invitation"].total == 2


async def test_a_changed_score_begins_anew_and_is_filled(tmp_path: Path) -> None:
    store = MemoryStore()
    engine = await engine_on(store, COUNTING)
    await engine.events.record([Event(id="e", customer_id="ann", type="view")])
    await archive(store, tmp_path)
    await use(engine, COUNTING.replace("view: 1", "view: 3"))
    assert (await engine.customers.get("ann")).scores == {"tea": 0.0}
    await rebuild(engine, tmp_path)
    assert (await engine.customers.get("ann")).scores["tea"] == pytest.approx(3.0, rel=1e-3)


async def test_of_chosen_types_alone_what_is_made_of_them_is_filled(tmp_path: Path) -> None:
    store = MemoryStore()
    engine = await engine_on(store, RULES)
    items = [{"kind": "tea", "price": 2}]
    for number, kind in enumerate(("view", "buy")):
        properties = {"items": items, "inviter": "ann"}
        event = Event(id=f"e-{number}", customer_id="ann", type=kind, properties=properties)
        await engine.events.record([event])
    await archive(store, tmp_path)
    await use(engine, COUNTING)
    await rebuild(engine, tmp_path, {"buy"})
    assert set((await kept(store, "ann")).events) == {"line", "tea-line"}
    await rebuild(engine, tmp_path, {"invitation"})
    assert set((await kept(store, "ann")).events) == {"line", "tea-line", "invitation"}
    assert (await kept(store, "ann")).scores["tea"].events == 3


async def test_a_score_stays_where_the_archive_has_less(tmp_path: Path) -> None:
    store = MemoryStore()
    engine = await engine_on(store, COUNTING)
    for number, days in enumerate((35, 1)):
        at = from_micros(NOW - days * DAY)
        event = Event(id=f"e-{number}", customer_id="ann", type="view", at=at)
        await engine.events.record([event])
    before = (await kept(store, "ann")).scores
    await archive(store, tmp_path)
    old = min((tmp_path / "events").glob("date=*"))
    for path in old.iterdir():
        path.unlink()
    old.rmdir()
    assert (await rebuild(engine, tmp_path)).incomplete == 1
    assert (await kept(store, "ann")).scores == before
