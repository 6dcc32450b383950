"""Aliases of a customer who could not be written do not stay: they are personal data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from decision.core.errors import InputError, StoreUnavailable
from decision.core.schema import CustomerUpdate
from decision.store import MemoryStore, RedisStore
from tests.engine.conftest import Clock

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]
MANY = {f"kind{number}": f"value{number}" for number in range(20)}


class Stopping(MemoryStore):
    """A store that does not answer any more after some aliases, or at the commit, for a while."""

    def __init__(self, *, after: int = 10**9, lost: bool = False) -> None:
        super().__init__()
        self.after, self.lost, self.claims = after, lost, 0
        self.down = self.armed = False

    async def set_alias(self, kind: str, value: str, customer_id: str) -> str:
        self.claims += 1
        reply = await super().set_alias(kind, value, customer_id)
        if self.armed and self.claims > self.after:
            self.down = True
            raise StoreUnavailable("stopped", uncertain=True)
        return reply

    async def commit(self, commit: Any, *, timeout: float | None = None) -> Any:
        if self.armed and self.after == 10**9:
            if self.lost:
                await super().commit(commit, timeout=timeout)
            self.down = True
        if self.down:
            raise StoreUnavailable("stopped", uncertain=self.lost)
        return await super().commit(commit, timeout=timeout)

    async def read(self, customer_id: str, **what: Any) -> Any:
        if self.down:
            raise StoreUnavailable("stopped")
        return await super().read(customer_id, **what)


@pytest.mark.parametrize("store", [Stopping(after=7), Stopping()], ids=["claims", "commit"])
async def test_claimed_aliases_are_released_when_the_store_is_back(
    make_engine: Make, store: Stopping, clock: Clock
) -> None:
    engine = await make_engine(store=store)
    store.armed = True
    with pytest.raises(StoreUnavailable):
        await engine.customers.update("c-1", CustomerUpdate(aliases=dict(MANY)))
    assert await store.stray_aliases()
    store.armed = store.down = False
    await engine.following.drain(5)
    assert await store.stray_aliases() == {}


async def test_aliases_of_a_customer_who_was_written_after_all_stay(
    make_engine: Make, clock: Clock
) -> None:
    store = Stopping(lost=True)
    engine = await make_engine(store=store)
    store.armed = True
    with pytest.raises(StoreUnavailable):
        await engine.customers.update("c-1", CustomerUpdate(aliases=dict(MANY)))
    store.armed = store.down = False
    await engine.following.drain(5)
    assert await store.resolve_alias("kind3", "value3") == "c-1"


@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_erasing_a_customer_who_does_not_exist_removes_aliases_to_them(
    make_engine: Make, kind: str, redis_url: str, prefix: str
) -> None:
    store = MemoryStore() if kind == "memory" else RedisStore(redis_url, prefix=prefix)
    engine = await make_engine(store=store)
    await store.set_alias("email", "ann@example.org", "gone")
    await store.set_alias("email", "bob@example.org", "other")
    assert await engine.customers.erase("gone") == ["gone"]
    assert await store.resolve_alias("email", "ann@example.org") is None
    assert await store.resolve_alias("email", "bob@example.org") == "other"
    await store.close()


async def test_too_many_aliases_are_refused_before_one_is_claimed(make_engine: Make) -> None:
    store = Stopping()
    engine = await make_engine(store=store)
    aliases: dict[str, str | None] = {f"kind{n}": f"a longer value {n}" for n in range(40_000)}
    with pytest.raises(InputError, match="would take") as refused:
        await engine.customers.update("c-1", CustomerUpdate(aliases=aliases))
    assert refused.value.path == "aliases" and store.claims == 0
