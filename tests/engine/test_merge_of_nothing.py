"""A customer of whom nothing is counted is merged like any other, whatever fails in between."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from decision.core.errors import StoreUnavailable
from decision.core.schema import CustomerUpdate, Event
from decision.engine import Engine
from decision.store import MemoryStore
from tests.engine.outbox_world import Dying

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("after", [False, True])
async def test_a_merge_that_is_asked_for_again_is_complete(
    make_engine: Callable[..., Any], after: bool
) -> None:
    first = await make_engine()
    for fails_at in itertools.count(1):
        store = MemoryStore()
        engine = Engine(store, first.runtime.settings, first.runtime.clock)
        engine.use(first.snapshot)
        await engine.customers.update("mei", CustomerUpdate(attributes={"a": 1}))
        await engine.events.record([Event(type="nobody_reads_it", customer_id="bo")])
        dying = Dying(store, fails_at, after=after, dies=True)
        dead = Engine(dying, first.runtime.settings, first.runtime.clock)
        dead.use(first.snapshot)
        try:
            await dead.customers.merge("mei", "bo")
        except StoreUnavailable:
            await engine.customers.merge("mei", "bo")
        assert (await store.read("mei")).document.merged == ["bo"], fails_at
        await engine.customers.erase("mei")
        assert not (await store.read("bo")).document.exists, fails_at
        if dying.operations < fails_at:
            return
