"""What every store must do: answers and event ids are taken once."""

from __future__ import annotations

import asyncio

import pytest

from decision.core.clock import HOUR
from decision.core.identifiers import partition_of
from decision.core.ports import Committed, Conflict, Store
from tests.store.build import commit_of, record, with_contact

pytestmark = pytest.mark.anyio


async def test_an_answer_is_kept_for_its_customer_and_request(store: Store) -> None:
    found = await store.read("a:b")
    commit = commit_of(
        found, records=[record()], request_id="c", answer="好".encode(), answer_lasts=HOUR
    )
    assert await store.commit(commit) == Committed()
    assert (await store.read("a:b", request_id="c")).answer == "好".encode()
    assert (await store.read("a", request_id="b:c")).answer is None
    assert (await store.read("a:b", request_id="d")).answer is None


async def test_a_request_answered_before_conflicts_with_that_answer(store: Store) -> None:
    first = await with_contact(store)
    await store.commit(
        commit_of(first, "contacts", request_id="r", answer=b"one", answer_lasts=HOUR)
    )
    second = await with_contact(store)
    log = [record()]
    result = await store.commit(
        commit_of(second, "contacts", records=log, request_id="r", answer=b"two", answer_lasts=HOUR)
    )
    assert isinstance(result, Conflict) and result.latest.answer == b"one"
    latest = await store.read("c-1", request_id="r")
    assert len(latest.document.contacts) == 1 and latest.answer == b"one"
    assert log[0] not in await store.log_records(partition_of("c-1"))


async def test_an_answer_is_forgotten_when_its_time_is_over(store: Store) -> None:
    found = await store.read("c-1")
    for answer in (b"one", b"two"):
        commit = commit_of(found, records=[record()], request_id="r", answer=answer, answer_lasts=1)
        async with asyncio.timeout(5):
            while await store.commit(commit) != Committed():
                await asyncio.sleep(0.001)
    async with asyncio.timeout(5):
        while (await store.read("c-1", request_id="r")).answer is not None:
            await asyncio.sleep(0.001)


async def test_an_empty_answer_is_an_answer(store: Store) -> None:
    found = await store.read("c-1")
    commit = commit_of(found, records=[record()], request_id="r", answer=b"", answer_lasts=HOUR)
    await store.commit(commit)
    assert (await store.read("c-1", request_id="r")).answer == b""


async def test_an_event_id_is_known_once_for_each_customer(store: Store) -> None:
    found = await store.read("c-1")
    ids = ["e1", "事件"]
    await store.commit(commit_of(found, "events", event_ids=ids, event_ids_last=HOUR))
    assert (await store.read("c-1", event_ids=["e1", "e2", "事件"])).known_events == {*ids}
    assert (await store.read("c-2", event_ids=["e1"])).known_events == frozenset()


async def test_a_known_event_id_conflicts_and_says_which(store: Store) -> None:
    found = await store.read("c-1")
    await store.commit(commit_of(found, "events", event_ids=["e2"], event_ids_last=HOUR))
    found = await store.read("c-1")
    more = ["e1", "e2", "e3"]
    result = await store.commit(
        commit_of(found, "events", records=[record("event")], event_ids=more, event_ids_last=HOUR)
    )
    assert isinstance(result, Conflict) and result.latest.known_events == {"e2"}
    assert (await store.read("c-1", event_ids=more)).known_events == {"e2"}
    assert (await store.read("c-1")).version == found.version


async def test_an_event_id_is_forgotten_when_its_time_is_over(store: Store) -> None:
    found = await store.read("c-1")
    await store.commit(commit_of(found, event_ids=["short"], event_ids_last=1, records=[record()]))
    await store.commit(
        commit_of(found, event_ids=["long"], event_ids_last=HOUR, records=[record()])
    )
    async with asyncio.timeout(5):
        while (await store.read("c-1", event_ids=["short", "long"])).known_events != {"long"}:
            await asyncio.sleep(0.001)
    again = commit_of(found, event_ids=["short"], event_ids_last=HOUR, records=[record()])
    assert await store.commit(again) == Committed()


async def test_thousands_of_event_ids_fit_into_one_commit(store: Store) -> None:
    found = await store.read("c-1")
    ids = [f"e{number}" for number in range(9_500)]
    commit = commit_of(found, records=[record()], event_ids=ids, event_ids_last=HOUR)
    assert await store.commit(commit, timeout=30) == Committed()
    asked = ["new", *ids[-3:], "newer", ids[5_000]]
    again = commit_of(found, records=[record()], event_ids=asked, event_ids_last=HOUR)
    result = await store.commit(again, timeout=30)
    assert isinstance(result, Conflict)
    assert result.latest.known_events == {*ids[-3:], ids[5_000]}
    all_at_once = commit_of(found, event_ids=["new", *ids], event_ids_last=HOUR)
    result = await store.commit(all_at_once, timeout=30)
    assert isinstance(result, Conflict) and result.latest.known_events == {*ids}


async def test_many_answers_and_event_ids_of_one_customer_stay_right(store: Store) -> None:
    found = await store.read("c-1")
    for index in range(200):
        commit = commit_of(
            found,
            records=[record()],
            request_id=f"r{index}",
            answer=b"%d" % index,
            answer_lasts=1 if index % 2 else HOUR,
            event_ids=[f"e{index}"],
            event_ids_last=1 if index % 2 else HOUR,
        )
        assert await store.commit(commit) == Committed()
    ids = [f"e{index}" for index in range(0, 200, 2)]
    assert (await store.read("c-1", event_ids=ids)).known_events == {*ids}
    for index in range(0, 200, 2):
        assert (await store.read("c-1", request_id=f"r{index}")).answer == b"%d" % index
