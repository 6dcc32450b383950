"""What every store must do: aliases."""

from __future__ import annotations

import pytest

from decision.core.ports import AliasStore, Store
from tests.store.build import commit_of

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


async def test_aliases_that_lead_to_nobody_are_found_and_removed_if_they_still_do(
    store: Store,
) -> None:
    for value, owner in (("a", "c-1"), ("b", "dead"), ("c", "late"), ("d", "dead")):
        await store.set_alias("email", value, owner)
    await store.commit(commit_of(await store.read("c-1"), "profile"))
    stray = await store.stray_aliases()
    assert sorted(stray.values()) == ["dead", "dead", "late"]
    await store.commit(commit_of(await store.read("late"), "profile"))
    assert await store.delete_stray_aliases(stray) == 2
    left = [await store.resolve_alias("email", value) for value in "abcd"]
    assert left == ["c-1", None, "late", None]
    assert await store.stray_aliases() == {}
    assert await store.delete_stray_aliases({}) == 0
