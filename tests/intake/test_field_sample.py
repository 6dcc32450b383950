"""What is known of fields is gathered from customers files and from a running store."""

from __future__ import annotations

import asyncio
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from decision.core.definition import Channel, Message, Placement, PolicyDefinition, Purpose
from decision.core.errors import FileError
from decision.core.schema import DecisionRequest, Event, TriggerEvent
from decision.core.timers import tally_of
from decision.engine import Engine, build_snapshot
from decision.engine.loading import CustomerRow, Loading
from decision.intake.field_sample import known_fields
from decision.store.redis_store import RedisStore
from decision.store.sampling import sample_customers
from tests.store.build import commit_of

POLICY = PolicyDefinition(
    version="v",
    purposes=(Purpose(name="service", consent="not_required"),),
    channels=(Channel(name="push"),),
    placements=(Placement(name="home", channels=("push",)),),
    messages=(Message(name="m", purpose="service", channels=("push",), value=1.0),),
)


def test_attributes_come_from_tables_and_events_from_ndjson(tmp_path: Path) -> None:
    table = tmp_path / "customers.csv"
    table.write_text("customer_id,city,segment.vip,empty\nc-1,Shanghai,true,\nc-2,,,\n")
    known = known_fields(str(table))
    assert known.attributes == {"city", "segment.vip"}
    assert (known.customers, known.event_types, known.properties, known.context) == (
        2, None, {}, None,
    )  # fmt: skip
    lines = [
        {"customer_id": "c-1", "attributes": {"address": {"city": "x", "zip": None}}},
        {"customer_id": "c-2", "events": [
            {"type": "purchase", "at": "2026-11-01T00:00:00Z", "properties": {"amount": 1}}
        ]},
    ]  # fmt: skip
    packed = tmp_path / "customers.ndjson.gz"
    packed.write_bytes(gzip.compress("\n".join(["not json", *map(json.dumps, lines)]).encode()))
    known = known_fields(str(packed))
    assert known.attributes == {"address", "address.city"}
    assert known.event_types == {"purchase"}
    assert known.properties == {"purchase": {"amount"}}


def test_rows_of_events_are_no_customers_without_attributes(tmp_path: Path) -> None:
    table = tmp_path / "events.csv"
    table.write_text("customer_id,type,at,property.amount\nc-1,buy,2026-11-01T00:00:00Z,80\n")
    known = known_fields(str(table))
    assert (known.customers, known.sample) == (0, f"the 1 events of {table}")
    assert known.types == {"events.buy.amount": {"a number"}}


def test_a_file_that_tells_nothing_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "customers.csv"
    empty.write_text("customer_id,city\n")
    with pytest.raises(FileError, match="no customer"):
        known_fields(str(empty))
    with pytest.raises(FileError, match="cannot be read"):
        known_fields(str(tmp_path / "gone.csv"))
    with pytest.raises(FileError, match="does not say"):
        known_fields(str(tmp_path / "customers.txt"))
    with pytest.raises(FileError, match="redis://…@"):
        known_fields("redis://:secret@127.0.0.1:1/0")


async def fill(store: RedisStore) -> None:
    engine = Engine(store)
    engine.use(await build_snapshot(POLICY, None, store, datetime.now(UTC), durable=False))
    for number in range(150):
        row = CustomerRow(customer_id=f"c:{number}*", attributes={f"a{number % 3}": 1})
        await Loading(engine.runtime).put(row)
    event = Event(type="purchase", customer_id="c:1*", properties={"amount": 5, "sku": None})
    await engine.events.record([event])
    await engine.decide(
        DecisionRequest(
            placement="home",
            customer_id="c:2*",
            context={"device": "ios"},
            event=TriggerEvent(type="cart_add", properties={"cart_value": 9}),
        )
    )


@pytest.mark.anyio
async def test_a_sample_of_customers_is_bounded_and_finds_all_there_are(
    redis_store: RedisStore,
) -> None:
    await fill(redis_store)
    everybody = await sample_customers(redis_store, 1_000)
    assert {one.customer_id for one in everybody} >= {f"c:{number}*" for number in range(150)}
    assert len(await sample_customers(redis_store, 20)) == 20


def test_a_store_tells_of_attributes_events_and_context(redis_url: str, prefix: str) -> None:
    async def prepare() -> None:
        store = RedisStore(redis_url, prefix=prefix)
        await store.start()
        await fill(store)
        found = await store.read("c:1*")
        await store.commit(commit_of(found, "events", tally={tally_of("welcome", "pause"): 2}))
        await store.close()

    with pytest.raises(FileError, match="no customer"):
        known_fields(redis_url, key_prefix=prefix)
    asyncio.run(prepare())
    known = known_fields(redis_url, key_prefix=prefix)
    assert known.attributes == {"a0", "a1", "a2"}
    assert known.event_types == {"purchase", "cart_add"}
    assert known.properties == {"purchase": {"amount"}, "cart_add": {"cart_value"}}
    assert known.context == {"device"}
    assert known.runs == {"welcome\0pause": 2}
    assert known.versions == ("v",)
