"""Pseudonyms: the same for all processes of an installation, of no use without its key."""

from __future__ import annotations

import asyncio
import doctest
from collections.abc import Callable

import pytest

from decision.core.ports import Store
from decision.store import RedisStore, pseudonyms
from decision.store.pseudonyms import KEYS, Pseudonyms, WrongKey

pytestmark = pytest.mark.anyio


def test_a_pseudonym_is_these_exact_characters() -> None:
    assert doctest.testmod(pseudonyms).failed == 0


async def test_a_store_gives_the_same_pseudonym_each_time(store: Store) -> None:
    first = (await pseudonyms.pseudonyms(store)).of("c-1")
    assert (await pseudonyms.pseudonyms(store)).of("c-1") == first
    assert (await pseudonyms.pseudonyms(store)).of("c-2") != first
    assert len(await store.history(KEYS)) == 1


async def test_processes_that_make_the_key_at_once_come_to_the_same(
    other_stores: Callable[[], RedisStore],
) -> None:
    stores = [other_stores() for _ in range(8)]
    for store in stores:
        await store.start()
    made = await asyncio.gather(*map(pseudonyms.pseudonyms, stores))
    later = await pseudonyms.pseudonyms(stores[0])
    assert {each.of("c-1") for each in made} == {later.of("c-1")}


def test_a_pseudonym_of_another_key_is_refused() -> None:
    one, other = Pseudonyms(bytes(32)), Pseudonyms(b"\x01" * 32)
    assert one.check(one.of("c-1")) == one.of("c-1")
    with pytest.raises(WrongKey, match=r"not in this Redis; restore it .* erase .* again by id"):
        one.check(other.of("c-1"))
