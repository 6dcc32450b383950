"""What every store must do: documents and their versions."""

from __future__ import annotations

import asyncio

import pytest

from decision.core.document import Contact, EventHistory
from decision.core.ports import Committed, Conflict, Store, Version
from tests.store.build import NOW, PUSH, commit_of, new_id, put, record, with_contact

pytestmark = pytest.mark.anyio


async def test_a_customer_never_seen_is_empty_and_of_version_zero(store: Store) -> None:
    found = await store.read("nobody", request_id="r", budgets=["b"], event_ids=["e"])
    assert (found.document.exists, found.version, found.raw) == (False, Version(), b"")
    assert (found.answer, found.budgets, found.known_events) == (None, {"b": 0}, frozenset())


async def test_what_is_written_is_read(store: Store) -> None:
    found = await with_contact(store)
    found.document.attributes = {"城市": "北京", "age": 33, "nested": {"a": [1, None]}, "": ""}
    found.document.timezone = "Asia/Shanghai"
    found.document.events = {"purchase": EventHistory(3, NOW, {"amount": 9.5}, [[NOW // 10**6, 3]])}
    written = commit_of(found, "profile", "contacts", "events")
    assert await store.commit(written) == Committed()
    again = (await store.read("c-1")).document
    found.document.exists = True
    assert again == found.document
    assert again.kinds[again.contacts[0].kind] == PUSH


async def test_each_read_gives_a_document_of_its_own(store: Store) -> None:
    await store.commit(commit_of(await with_contact(store), "contacts"))
    (await store.read("c-1")).document.contacts.clear()
    assert len((await store.read("c-1")).document.contacts) == 1


async def test_a_write_changes_the_version_of_its_sections_alone(store: Store) -> None:
    await store.commit(commit_of(await with_contact(store), "contacts"))
    before = await store.read("c-1")
    await store.commit(commit_of(before, "profile"))
    after = await store.read("c-1")
    assert after.version.profile != before.version.profile
    assert after.version.contacts == before.version.contacts
    assert after.version.events == before.version.events


async def test_a_section_that_is_not_written_stays_as_it_is_in_the_store_now(store: Store) -> None:
    stale = await store.read("c-1")
    await store.commit(commit_of(await with_contact(store), "contacts"))
    stale.document.attributes = {"a": 1}
    assert await store.commit(commit_of(stale, "profile", expect=())) == Committed()
    latest = (await store.read("c-1")).document
    assert (len(latest.contacts), latest.attributes) == (1, {"a": 1})


async def test_a_changed_section_that_was_expected_is_a_conflict_with_the_latest(
    store: Store,
) -> None:
    mine, theirs = await with_contact(store), await with_contact(store)
    await store.commit(commit_of(theirs, "contacts"))
    result = await store.commit(commit_of(mine, "contacts", records=[record()]))
    assert isinstance(result, Conflict)
    fresh = await store.read("c-1")
    assert result.latest == fresh
    assert await store.commit(commit_of(result.latest, "contacts")) == Committed()


async def test_a_changed_section_that_was_not_expected_is_no_conflict(store: Store) -> None:
    mine = await store.read("c-1")
    await store.commit(commit_of(await with_contact(store), "contacts"))
    fresh = await store.read("c-1")
    mine.version = Version(0, fresh.version.contacts, 0)
    mine.document.attributes = {"a": 1}
    assert await store.commit(commit_of(mine, "profile", expect=["contacts"])) == Committed()


async def test_a_document_made_meanwhile_is_a_conflict_for_all_sections(store: Store) -> None:
    mine = await store.read("c-1")
    await store.commit(commit_of(await store.read("c-1"), "profile"))
    for section in ("profile", "contacts", "events"):
        assert isinstance(await store.commit(commit_of(mine, section)), Conflict)


async def test_a_commit_that_writes_no_section_makes_no_document(store: Store) -> None:
    found = await store.read("c-1")
    assert (
        await store.commit(commit_of(found, expect=["contacts"], records=[record()])) == Committed()
    )
    assert not (await store.read("c-1")).document.exists


async def test_erasing_and_making_a_customer_again_never_repeats_a_version(store: Store) -> None:
    seen = set()
    for _ in range(5):
        await store.commit(commit_of(await with_contact(store), "contacts"))
        seen.add((await store.read("c-1")).version.contacts)
        await store.erase("c-1", record("erasure"))
    assert len(seen) == 5 and 0 not in seen


async def test_a_commit_repeated_by_hand_changes_nothing(store: Store) -> None:
    commit = commit_of(await with_contact(store), "contacts", records=[record()])
    assert await store.commit(commit) == Committed()
    before = await store.read("c-1")
    assert await store.commit(commit) == Committed()
    assert await store.read("c-1") == before


async def test_concurrent_optimistic_commits_lose_no_update(store: Store) -> None:
    (number,) = await store.register_kinds([PUSH])

    async def add(tag: int) -> None:
        found = await store.read("c-1")
        while True:
            found.document.contacts.append(Contact(number, NOW, 0, 0, tag))
            total = found.document.attributes.get("total", 0)
            found.document.attributes["total"] = total + tag
            commit = commit_of(
                found, "profile", "contacts", records=[record(record_id=new_id("c-1"))]
            )
            result = await store.commit(commit, timeout=30)
            if isinstance(result, Committed):
                return
            found = result.latest

    await asyncio.gather(*map(add, range(64)))
    document = (await store.read("c-1")).document
    assert sorted(contact.tag for contact in document.contacts) == list(range(64))
    assert document.attributes["total"] == sum(range(64))


async def test_a_packed_document_unpacks_to_itself(store: Store) -> None:
    found = await with_contact(store)
    found.document.attributes = {"never registered": "是"}
    unpacked = store.unpack("c-1", store.pack(found.document))
    found.document.exists = True
    assert unpacked == found.document
    assert store.unpack("c-2", b"") == (await store.read("c-2")).document
    await put(store, found.document)
    read = await store.read("c-1")
    assert store.unpack("c-1", read.raw) == read.document
    assert store.unpack("c-1", store.pack(read.document)) == read.document


async def test_ids_of_256_characters_and_of_any_letters_are_kept_apart(store: Store) -> None:
    ids = ["顾" * 256, "a:b", "a", "{a}", "a b\n*", "c?[x]"]
    for index, customer_id in enumerate(ids):
        found = await store.read(customer_id)
        found.document.attributes = {"index": index}
        await store.commit(commit_of(found, "profile"))
    for index, customer_id in enumerate(ids):
        assert (await store.read(customer_id)).document.attributes == {"index": index}


async def test_a_name_that_customers_bring_stays_in_their_document(store: Store) -> None:
    """The register never forgets a name, so it has only those that may stay for ever."""
    store.allow_names({"city"})
    for number, name in enumerate(("anna@example.com", "city")):
        found = await store.read(f"c-{number}")
        found.document.attributes = {name: 1}
        found.document.aliases = {"名字": ["x"]}
        await store.commit(commit_of(found, "profile"))
        assert (await store.read(f"c-{number}")).document.attributes == {name: 1}
    assert store.register_entries()[0] == [b"city"]  # type: ignore[attr-defined]


async def test_a_name_gets_its_number_when_a_policy_begins_to_know_it(store: Store) -> None:
    for _ in range(2):
        found = await store.read("c-1")
        found.document.attributes = {"a name of some length": 1}
        await store.commit(commit_of(found, "profile"))
        long = (await store.read("c-1")).raw
        store.allow_names({"a name of some length"})
    assert b"a name of some length" not in long
    assert (await store.read("c-1")).document.attributes == {"a name of some length": 1}
