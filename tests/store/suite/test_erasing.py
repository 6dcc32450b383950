"""What every store must do: erase a customer, and nothing else."""

from __future__ import annotations

import pytest

from decision.core.clock import HOUR
from decision.core.identifiers import partition_of
from decision.core.ports import Committed, Conflict, LogRecord, Removed, Store, UnlessErased
from decision.store.uptime import uptime
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
    assert await store.erase("c-1", erasure) == Removed(1, 3, 1, 1)
    after = await store.read("c-1", request_id="r", event_ids=["e"])
    assert (after.document.exists, after.answer, after.known_events) == (False, None, frozenset())
    for kind, value in (("email", "a@b.cn"), ("email", "x@y.z"), ("device", "1")):
        assert await store.resolve_alias(kind, value) is None
    assert await store.resolve_alias("cookie", "other") == "c-2"
    assert (await store.log_records(partition_of("c-1")))[-1] == erasure


async def test_erasing_nobody_says_so_and_is_logged_for_what_is_archived(store: Store) -> None:
    erasure = record("erasure")
    assert await store.erase("nobody", erasure) == Removed()
    assert await store.log_records(partition_of("nobody")) == [erasure]


async def test_nothing_of_before_an_erasure_is_written_after_it(store: Store) -> None:
    """Also where there is a customer of that id again; what is of later is written."""
    before, found = UnlessErased("p-1", uptime()), await store.read("c-1")
    commit = commit_of(found, "profile", records=[record()])
    commit.unless_erased = before
    assert await store.commit(commit) == Committed()
    await store.erase("c-1", erasure := record("erasure"), "p-1")
    await store.erase("c-2", record("erasure"), "p-2")
    for there in (False, True):
        late = commit_of(found, records=[record()])
        late.unless_erased = before
        reply = await store.commit(late)
        assert isinstance(reply, Conflict)
        assert (reply.erased, reply.latest.document.exists) == (True, there)
        await store.commit(commit_of(await store.read("c-1"), "profile"))
    later = commit_of(found, records=[last := record()])
    later.unless_erased = UnlessErased("p-1", uptime())
    assert await store.commit(later) == Committed()
    assert (await store.log_records(partition_of("c-1")))[1:] == [erasure, last]


async def test_an_alias_that_leads_to_another_customer_survives_an_erasure(store: Store) -> None:
    found = await store.read("c-1")
    found.document.aliases = {"email": ["a@b.cn"]}
    await store.commit(commit_of(found, "profile"))
    await store.set_alias("email", "a@b.cn", "c-2")
    await store.erase("c-1", record("erasure"))
    assert await store.resolve_alias("email", "a@b.cn") == "c-2"


async def test_forgetting_leaves_what_was_logged_after_the_erasure(store: Store) -> None:
    partition = partition_of("c-1")

    async def log(*records: LogRecord) -> None:
        await store.commit(commit_of(await store.read("c-1"), records=records))

    first, between, last = (record("event", body=b"mine") for _ in range(3))
    await log(first, other := record("event", body=b"other"), between)
    await store.erase("c-1", erasure := record("erasure"))
    await log(last)
    forgotten = await store.forget(partition, lambda one: one.body == b"mine", erasure.id)
    assert forgotten == 2
    assert await store.log_records(partition) == [other, erasure, last]
    assert await store.forget(partition, lambda one: one.body == b"mine") == 1


async def test_of_all_that_ask_one_has_the_turn(store: Store) -> None:
    assert [await store.take_turn("sweep", HOUR) for _ in range(3)] == [True, False, False]
    assert await store.take_turn("other", HOUR)
