"""What every store must do: erase a customer, and nothing else."""

from __future__ import annotations

import pytest

from decision.core.clock import HOUR
from decision.core.identifiers import partition_of
from decision.core.ports import Store
from tests.store.build import commit_of, record, with_contact

pytestmark = pytest.mark.anyio


async def test_erasing_leaves_nothing_but_the_record_of_it(store: Store) -> None:
    found = await with_contact(store)
    found.document.aliases = {"email": ["a@b.cn", "x@y.z"], "device": ["1"]}
    for kind, values in found.document.aliases.items():
        for value in values:
            await store.set_alias(kind, value, "c-1")
    await store.set_alias("cookie", "other", "c-2")
    await store.commit(
        commit_of(
            found,
            "profile",
            "contacts",
            request_id="r",
            answer=b"a",
            answer_lasts=HOUR,
            event_ids=["e"],
            event_ids_last=HOUR,
        )
    )
    erasure = record("erasure")
    assert await store.erase("c-1", erasure) is True
    after = await store.read("c-1", request_id="r", event_ids=["e"])
    assert (after.document.exists, after.answer, after.known_events) == (False, None, frozenset())
    for kind, value in (("email", "a@b.cn"), ("email", "x@y.z"), ("device", "1")):
        assert await store.resolve_alias(kind, value) is None
    assert await store.resolve_alias("cookie", "other") == "c-2"
    assert (await store.log_records(partition_of("c-1")))[-1] == erasure


async def test_erasing_nobody_says_so_and_is_logged_for_what_is_archived(store: Store) -> None:
    erasure = record("erasure")
    assert await store.erase("nobody", erasure) is False
    assert await store.log_records(partition_of("nobody")) == [erasure]


async def test_an_alias_that_leads_to_another_customer_survives_an_erasure(store: Store) -> None:
    found = await store.read("c-1")
    found.document.aliases = {"email": ["a@b.cn"]}
    await store.commit(commit_of(found, "profile"))
    await store.set_alias("email", "a@b.cn", "c-2")
    await store.erase("c-1", record("erasure"))
    assert await store.resolve_alias("email", "a@b.cn") == "c-2"
