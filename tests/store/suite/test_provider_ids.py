"""What every store must do: a provider's id leads to its delivery, for a time, and goes with the
customer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from decision.core.delivery import SettledDelivery
from decision.core.ports import Committed, Removed, Store
from decision.core.provider_ids import DeliveredTo
from tests.store.build import commit_of, record
from tests.store.suite.test_outbox import delivery, write

pytestmark = pytest.mark.anyio


def told(one: Any) -> DeliveredTo:
    return DeliveredTo(
        customer_id=one.customer_id,
        decision_id=one.decision_id,
        message=one.message,
        channel=one.channel,
    )


async def test_an_id_is_found_by_gateway_and_name_and_outlives_its_delivery(store: Store) -> None:
    one, other = delivery("c-1"), delivery("王:\0{x}", "news")
    await write(store, one, other)
    assert await store.note_provider_id("texts", "SM:1", told(one))
    assert await store.note_provider_id("texts", "SM:1", told(one))
    assert await store.note_provider_id("others", "SM:1", told(other))
    assert await store.find_provider_id("texts", "SM:1") == told(one)
    assert await store.find_provider_id("others", "SM:1") == told(other)
    assert await store.find_provider_id("texts", "SM") is None
    found = await store.read("c-1")
    out = SettledDelivery(id=one.id, channel="email", only="always")
    assert await store.commit(commit_of(found, settled=[out])) == Committed()
    assert await store.find_provider_id("texts", "SM:1") == told(one)


async def test_an_id_is_forgotten_after_its_time(store: Store) -> None:
    one = delivery("c-1")
    await write(store, one)
    await store.note_provider_id("texts", "short", told(one), lasts_ms=1)
    await store.note_provider_id("texts", "long", told(one))
    for _ in range(200):
        if await store.find_provider_id("texts", "short") is None:
            break
        await asyncio.sleep(0.01)
    assert await store.find_provider_id("texts", "short") is None
    assert await store.find_provider_id("texts", "long") == told(one)


async def test_an_erasure_takes_the_ids_of_its_customer_alone(store: Store) -> None:
    ones, other = [delivery("c-1"), delivery("c-1", "news")], delivery("c-2")
    await write(store, *ones, other)
    for number, one in enumerate((*ones, other)):
        assert await store.note_provider_id("texts", str(number), told(one))
    removed = await store.erase("c-1", record("erasure", "c-1"))
    assert (removed.deliveries, removed.provider_ids) == (2, 2)
    for number in (0, 1):
        assert await store.find_provider_id("texts", str(number)) is None
    assert await store.find_provider_id("texts", "2") == told(other)


async def test_an_erasure_that_went_on_later_says_that_there_were_ids(store: Store) -> None:
    """And counts those alone that are remembered still."""
    one = delivery("c-1")
    await write(store, one)
    assert await store.note_provider_id("texts", "long", told(one))
    assert await store.note_provider_id("texts", "short", told(one), lasts_ms=1)
    for _ in range(200):
        if await store.find_provider_id("texts", "short") is None:
            break
        await asyncio.sleep(0.01)
    assert (await store.erase("c-1", record("erasure", "c-1"))).provider_ids == 1
    assert not await store.erase("c-1", record("erasure", "c-1"))
    assert Removed(provider_ids=1)


async def test_nothing_is_kept_of_a_customer_who_was_erased(store: Store) -> None:
    """Also where the answer of the provider comes while, or after, the customer is erased."""
    one = delivery("c-1")
    await write(store, one)
    erasing = asyncio.create_task(store.erase("c-1", record("erasure", "c-1")))
    noted = [store.note_provider_id("texts", str(number), told(one)) for number in range(20)]
    await asyncio.gather(erasing, *noted)
    assert not await store.note_provider_id("texts", "late", told(one))
    for name in (*map(str, range(20)), "late"):
        assert await store.find_provider_id("texts", name) is None


async def test_a_fallback_needs_no_document(store: Store) -> None:
    """The delivery of somebody of whom nothing else is known is enough."""
    one = delivery("c-9")
    assert not await store.note_provider_id("texts", "1", told(one))
    found = await store.read("c-9")
    commit = commit_of(found, deliveries=[one])
    assert await store.commit(commit) == Committed()
    assert await store.note_provider_id("texts", "1", told(one))
