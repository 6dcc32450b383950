"""Measures rebuilt from the archive are those that would always have been kept."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core.clock import DAY, HOUR, SECOND, from_micros
from decision.core.document import EventHistory
from decision.core.schema import CustomerUpdate, Event
from decision.engine import Engine, build_snapshot
from decision.engine.runtime import wall_clock
from decision.maintenance.rebuilding import Rebuilding, Rebuilt
from decision.rulebook.reader import load_files
from decision.store import MemoryStore, RedisStore
from tests.archive.test_archive import archive
from tests.crash.harness import RULES

pytestmark = pytest.mark.anyio
Store = MemoryStore | RedisStore

ASKING = """
rules:
  one: {when: {events.view.sum_price_30d: {gte: 1}}, exclude: {messages: [a]}}
  two: {when: {events.view.last_shop: x}, exclude: {messages: [a]}}
  three: {when: {events.view.active_days_7d: {gte: 2}}, exclude: {messages: [a]}}
  four: {when: {events.buy.count_2h: {gte: 1}}, exclude: {messages: [a]}}
"""
NOW = wall_clock()


async def use(engine: Engine, text: str) -> None:
    loaded = load_files({"rules.yaml": text})
    assert loaded.definition is not None, loaded
    now = from_micros(NOW)
    engine.use(
        await build_snapshot(loaded.definition, None, engine.runtime.store, now, durable=False)
    )


async def engine_on(store: Store, text: str) -> Engine:
    engine = Engine(store)
    await use(engine, text)
    return engine


async def rebuild(engine: Engine, out: Path, types: set[str] | None = None) -> Rebuilt:
    store = engine.runtime.store
    assert isinstance(store, Store)
    return await Rebuilding(engine.runtime, store, out, types).run()


async def histories(store: Store, customer: str) -> dict[str, EventHistory]:
    return msgspec.structs.replace((await store.read(customer)).document).events


happenings = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob", "王"]),
        st.sampled_from(["view", "buy", "other"]),
        st.integers(0, 40 * DAY // HOUR),  # hours ago
        st.integers(0, 3 * HOUR // SECOND),  # and seconds
        st.dictionaries(
            st.sampled_from(["price", "shop"]),
            st.one_of(st.integers(0, 9), st.floats(0, 9), st.just("x"), st.none()),
        ),
        st.one_of(st.none(), st.floats(0, 5)),
    ),
    max_size=25,
)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(happened=happenings, archived=st.integers(0, 25))
def test_a_rebuilt_document_is_the_fold_of_all_events_in_order(
    happened: list[Any], archived: int
) -> None:
    """Part archived and part still in the log, late events and ties included."""

    async def case(out: Path) -> None:
        store, other = MemoryStore(), MemoryStore()
        always = await engine_on(other, RULES + ASKING)
        engine = await engine_on(store, RULES)
        for number, (customer, kind, hours, seconds, properties, value) in enumerate(happened):
            if number == archived:
                await archive(store, out)
            event = Event(
                id=f"e-{number}",
                customer_id=customer,
                type=kind,
                at=from_micros(max(HOUR, NOW - hours * HOUR - seconds * SECOND)),
                properties=properties,
                value=value,
            )
            for each in (always, engine):
                answer = await each.events.record([event], now=NOW + number)
                assert answer.accepted == 1
        if archived >= len(happened):
            await archive(store, out)
        await use(engine, RULES + ASKING)
        assert (await rebuild(engine, out)).incomplete == 0
        for customer in ("ann", "bob", "王"):
            assert await histories(store, customer) == await histories(other, customer)
        assert (await rebuild(engine, out)).changed == 0

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(case(Path(folder)))


async def test_events_that_come_meanwhile_are_counted_once(store: Store, tmp_path: Path) -> None:
    """Also where they are archived, and trimmed from the log, while it goes on."""
    out = tmp_path / "out"
    engine = await engine_on(store, RULES)
    sent = 0

    async def send(number: int) -> None:
        nonlocal sent
        sent += 1
        event = Event(
            id=f"e-{number}", customer_id=f"c-{number % 5}", type="view", properties={"price": 1}
        )
        assert (await engine.events.record([event])).accepted == 1

    for number in range(30):
        await send(number)
    await archive(store, out)
    for number in range(30, 40):
        await send(number)
    await use(engine, RULES + ASKING)

    async def meanwhile() -> None:
        for number in range(40, 80):
            await send(number)
            if number % 10 == 0:
                await archive(store, out)
            await asyncio.sleep(0)

    writing = asyncio.ensure_future(meanwhile())
    for _ in range(3):
        await rebuild(engine, out)
    await writing
    await rebuild(engine, out)
    for number in range(5):
        history = (await histories(store, f"c-{number}"))["view"]
        assert history.total == sent / 5
        assert sum(bucket[1] for bucket in history.buckets) == sent / 5
        place = 2 + history.sums.index("price")
        assert sum(bucket[place] for bucket in history.buckets) == sent / 5


async def test_merged_customers_are_followed_and_erased_ones_stay_gone(
    store: Store, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    engine = await engine_on(store, RULES)
    for customer in ("anon", "ann", "gone"):
        await engine.customers.update(customer, CustomerUpdate(attributes={"a": 1}))
        event = Event(id="e", customer_id=customer, type="view", properties={"price": 2})
        await engine.events.record([event])
    await archive(store, out)
    await engine.customers.merge("ann", "anon")
    await engine.customers.erase("gone")
    await use(engine, RULES + ASKING)
    await rebuild(engine, out)
    assert (await histories(store, "ann"))["view"].total == 2
    assert not (await store.read("gone")).document.exists
    assert (await rebuild(engine, out)).changed == 0


async def test_what_was_archived_before_an_erasure_does_not_come_back_by_rebuilding(
    store: Store, tmp_path: Path
) -> None:
    """Where the customer was met again, and the archive has not followed the erasure yet."""
    out = tmp_path / "out"
    engine = await engine_on(store, RULES)
    for customer in ("anon", "ann", "other"):
        await engine.events.record([Event(customer_id=customer, type="view")])
    await engine.customers.merge("ann", "anon")
    await archive(store, out)
    await engine.customers.erase("ann")
    for customer in ("anon", "ann"):
        await engine.events.record([Event(customer_id=customer, type="view")])
    await engine.customers.merge("ann", "anon")
    await use(engine, RULES + ASKING)
    await rebuild(engine, out)
    assert (await histories(store, "ann"))["view"].total == 2
    assert (await histories(store, "other"))["view"].total == 1


async def test_what_was_counted_stays_where_the_archive_has_less(
    store: Store, tmp_path: Path
) -> None:
    """Old dates may have been removed; and types that are not asked for are left alone."""
    out = tmp_path / "out"
    engine = await engine_on(store, RULES + ASKING)
    for number, days in enumerate((35, 1)):
        for kind in ("view", "buy"):
            event = Event(
                id=f"{kind}-{number}",
                customer_id="c",
                type=kind,
                at=from_micros(wall_clock() - days * DAY),
                properties={"price": 3},
            )
            await engine.events.record([event])
    before = await histories(store, "c")
    await archive(store, out)
    old = sorted((out / "events").glob("date=*"))[0]
    for path in old.iterdir():
        path.unlink()
    old.rmdir()
    found = await rebuild(engine, out, {"view"})
    assert (found.customers, found.incomplete) == (1, 1)
    after = await histories(store, "c")
    assert after["view"].total == before["view"].total == 2
    assert after["buy"] == before["buy"]
