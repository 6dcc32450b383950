"""What every store must do: aliases."""

from __future__ import annotations

import pytest

from decision.core.ports import AliasStore

pytestmark = pytest.mark.anyio


async def test_an_alias_leads_to_the_customer_that_had_it_first(store: AliasStore) -> None:
    assert await store.resolve_alias("email", "a@b.cn") is None
    assert await store.set_alias("email", "a@b.cn", "c-1") == "c-1"
    assert await store.set_alias("email", "a@b.cn", "c-2") == "c-1"
    assert await store.resolve_alias("email", "a@b.cn") == "c-1"
    assert await store.resolve_alias("device", "a@b.cn") is None


async def test_an_alias_is_deleted_only_for_the_customer_it_leads_to(store: AliasStore) -> None:
    await store.set_alias("微信", "开:1", "c-1")
    await store.delete_alias("微信", "开:1", "c-2")
    assert await store.resolve_alias("微信", "开:1") == "c-1"
    await store.delete_alias("微信", "开:1", "c-1")
    assert await store.resolve_alias("微信", "开:1") is None
