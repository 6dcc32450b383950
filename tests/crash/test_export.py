"""An export has everything that an erasure would remove: from the store, its log and the archive."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from decision.core.coupons import WantedCode
from decision.core.delivery import Delivery
from decision.core.document import Contact
from decision.core.errors import NotFound, StoreUnavailable
from decision.core.identifiers import decision_tag
from decision.core.provider_ids import DeliveredTo
from decision.core.schema import CustomerUpdate, Event
from decision.engine import Engine
from decision.engine.runtime import wall_clock
from decision.server.exporting import Exports
from decision.store import MemoryStore, RedisStore
from tests.crash.test_erasure import (
    archive,
    damaged,
    dump,
    engine_on,
    fill,
    in_archive,
    marked,
    marks_in,
)
from tests.store.build import commit_of

pytestmark = pytest.mark.anyio


async def exported(engine: Engine, customer: str, folder: Path | None = None) -> list[bytes]:
    lines: AsyncIterator[bytes] = Exports(engine, None if folder is None else str(folder)).lines(
        customer
    )
    return [line async for line in lines]


def kinds(lines: list[bytes]) -> set[str]:
    return {json.loads(line)["kind"] for line in lines}


async def beside(engine: Engine, customer: str) -> None:
    """A delivery, a provider's id and a coupon code of the customer."""
    store, runtime = engine.runtime.store, engine.runtime
    made = runtime.new_id(customer)
    found = await store.read(customer)
    kind = found.document.contacts[0].kind
    contact = Contact(kind, wall_clock(), 2, 0, decision_tag(made))
    found.document.contacts = [*found.document.contacts, contact]
    delivery = Delivery(
        decision_id=made,
        message="a",
        channel="email",
        customer_id=customer,
        placement="outbound",
        purpose="tips",
        category="",
        content={"title": "zebra900zebra"},
        at=wall_clock(),
        expires=wall_clock() + 10**9,
    )
    commit = commit_of(found, "contacts")
    commit.deliveries = [delivery]
    await store.commit(commit)
    await store.add_codes("spring", ["zebra901zebra"])
    wanted = WantedCode("a", None, None, 0)
    await store.take_codes("spring", [wanted], made, now=wall_clock(), lasts=10**12)
    to = DeliveredTo(customer_id=customer, decision_id=made, message="a", channel="email")
    assert await store.note_provider_id("mail", "zebra902zebra", to)


async def test_whatever_mentions_the_customer_in_redis_or_the_archive_is_in_the_export(
    redis_store: RedisStore, prefix: str, tmp_path: Path
) -> None:
    engine, out, mark = await engine_on(redis_store), tmp_path / "archive", marked()
    customer = f"c-{next(mark)}@example.com"
    await fill(engine, customer, mark)
    await beside(engine, customer)
    await damaged(redis_store, customer, mark)
    await archive(redis_store, out)
    await redis_store._caller(write=True)(("DEL", *await only_archived(redis_store)))
    await fill(engine, customer, mark)
    await damaged(redis_store, customer, mark)
    everywhere = marks_in(await dump(redis_store, f"{prefix}*")) | marks_in(in_archive(out))
    # Another customer's data is not theirs.
    other = iter(f"other{number}other" for number in range(10**6))
    await fill(engine, f"d-{next(other)}", other)
    lines = await exported(engine, customer, out)
    text = b"".join(lines)
    issued = {b"zebra%03dzebra" % number for number in (*range(200), 900, 901, 902)}
    assert len(everywhere & issued) > 60  # packed bytes may look like others
    assert everywhere & issued - marks_in(unpacked(lines)) == set()
    assert b"other0other" not in text and b"other5other" not in text
    first, *others = json.loads(lines[0])["customer_ids"]
    merged = next(name for name in others if name.startswith("anon-"))
    assert first == customer
    _, *same = await exported(engine, merged, out)
    assert sorted(same) == sorted(lines[1:])
    last = json.loads(lines[-1])
    assert last == {"kind": "end", "complete": True, "lines": len(lines) - 1}
    assert {
        *("document", "answer", "event_ids", "provider_id", "delivery", "coupon"),
        *("decision", "event", "consent", "merge"),
        *("decisions", "events", "outcomes", "replays", "changes", "quarantine"),
    } <= kinds(lines)


def unpacked(lines: list[bytes]) -> bytes:
    """The lines, with what is in base64 in them as it is."""
    import base64
    import re

    found = b"\n".join(lines)
    for packed in re.findall(rb'"(?:unreadable|answer)":"([A-Za-z0-9+/=]+)"', found):
        found += b"\n" + base64.b64decode(packed)
    return found


async def only_archived(store: RedisStore) -> list[Any]:
    """The keys of the logs: so what was archived is in the archive alone."""
    return list(await store._caller()(("KEYS", f"{store.keys.prefix}*:log")))


async def test_an_erased_or_unknown_customer_has_no_export(
    redis_store: RedisStore, tmp_path: Path
) -> None:
    engine, out, mark = await engine_on(redis_store), tmp_path / "archive", marked()
    await fill(engine, "c-1", mark)
    await archive(redis_store, out)
    await engine.customers.erase("c-1")
    with pytest.raises(NotFound):  # its rows are in the archive until its next run
        await exported(engine, "c-1", out)
    await archive(redis_store, out)
    for name in ("c-1", "ghost"):
        for folder in (None, out):
            with pytest.raises(NotFound):
                await exported(engine, name, folder)


async def test_both_stores_export_the_same(redis_store: RedisStore) -> None:
    found = []
    for store in (MemoryStore(), redis_store):
        engine = await engine_on(store)
        await fill(engine, "c-1", marked())
        await beside(engine, "c-1")
        lines = [json.loads(line) for line in await exported(engine, "c-1")]
        found.append([(line["kind"], line.get("customer_id")) for line in lines])
    assert found[0] == found[1]


async def test_an_export_that_cannot_go_on_ends_without_the_word_complete(
    redis_store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await engine_on(redis_store)
    await fill(engine, "c-1", marked())

    async def gone(*_: object, **__: object) -> None:
        raise StoreUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(redis_store, "read_logs", gone)
        lines = [json.loads(line) for line in await exported(engine, "c-1")]
    assert lines[0]["kind"] == "export"
    assert lines[-1] == {"kind": "error", "detail": "gone", "lines": len(lines) - 1}
    monkeypatch.setattr(redis_store, "read", gone)
    with pytest.raises(StoreUnavailable):
        await exported(engine, "c-1")


async def test_an_archive_that_is_not_there_or_damaged_makes_no_complete_export(
    redis_store: RedisStore, tmp_path: Path
) -> None:
    engine, out = await engine_on(redis_store), tmp_path / "archive"
    await fill(engine, "c-1", marked())
    last = json.loads((await exported(engine, "c-1", out))[-1])
    assert (last["kind"], "is not there" in last["detail"]) == ("error", True)
    await archive(redis_store, out)
    for path in out.rglob("events/*/*.parquet"):
        path.write_bytes(b"PAR1 no more")
    last = json.loads((await exported(engine, "c-1", out))[-1])
    assert (last["kind"], "cannot be read" in last["detail"]) == ("error", True)


async def test_a_long_log_is_read_page_by_page(redis_store: RedisStore) -> None:
    engine = await engine_on(redis_store)
    for start in range(0, 2500, 500):
        events = [Event(type="visit", customer_id="c-1", id=f"e-{start + n}") for n in range(500)]
        await engine.events.record(events)
    lines = await exported(engine, "c-1")
    assert len({json.loads(line).get("id") for line in lines}) == 2501  # with the other lines' none


async def test_a_document_that_cannot_be_read_is_said_and_the_rest_is_exported(
    redis_store: RedisStore,
) -> None:
    engine = await engine_on(redis_store)
    await engine.customers.update("c-1", CustomerUpdate(attributes={"a": 1}))
    await engine.events.record([Event(type="visit", customer_id="c-1", id="e-1")])
    key = redis_store.keys.customer("c-1").document
    await redis_store._caller(write=True)(("SET", key, b"\x01cut"))
    lines = [json.loads(line) for line in await exported(engine, "c-1")]
    assert [line["kind"] for line in lines] == ["export", "document", "event_ids", "event", "end"]
    assert lines[1]["unreadable"]
    assert msgspec.json.encode(lines)
