"""What every store must do: deliveries are claimed by one, and leave with what came of them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from msgspec import structs

from decision.core.clock import HOUR
from decision.core.delivery import (
    Claimed,
    Delivery,
    DeliveryState,
    ListedDelivery,
    SettledDelivery,
)
from decision.core.identifiers import partition_of
from decision.core.ports import Committed, Conflict, Store
from tests.store.build import EMAIL, NOW, PUSH, commit_of, new_id, record

pytestmark = pytest.mark.anyio

ALL = range(256)
LONG = 60_000
ROOM = {"email": 100, "push": 100}


def delivery(customer_id: str = "c-1", message: str = "tips", **more: Any) -> Delivery:
    given = {"channel": "email", "content": {"title": "你好 & 再见", "n": 1.5}, **more}
    return Delivery(
        decision_id=new_id(customer_id),
        message=message,
        customer_id=customer_id,
        placement="outbound",
        purpose="tips",
        category="advice",
        at=NOW,
        expires=NOW + HOUR,
        **given,
    )


async def write(store: Store, *deliveries: Delivery) -> None:
    """Writes deliveries, each in the commit of its customer."""
    await store.register_kinds([EMAIL, PUSH])
    for one in deliveries:
        found = await store.read(one.customer_id)
        commit = commit_of(found, "contacts", deliveries=[one])
        assert await store.commit(commit) == Committed()


async def claim(store: Store, lease_ms: int = LONG, **room: int) -> list[Claimed]:
    return await store.claim_deliveries(ALL, room or ROOM, "worker", lease_ms)


async def listed(store: Store, state: DeliveryState | None = None) -> list[ListedDelivery]:
    return (await store.deliveries(state)).rows


async def test_a_delivery_is_written_with_its_commit_and_claimed_once(store: Store) -> None:
    one = delivery()
    await write(store, one)
    (claimed,) = await claim(store)
    assert claimed.delivery == one
    assert (claimed.attempts, claimed.was_sending, claimed.doubtful) == (0, False, False)
    assert await claim(store) == []
    (row,) = await store.deliveries_of("c-1")
    assert (row.delivery, row.status.state) == (one, "queued")
    assert row.status.lease.startswith("worker/")


async def test_a_partition_gets_another_mark_with_each_delivery_that_is_added_or_queued_again(
    store: Store,
) -> None:
    before: dict[int, bytes] = {}

    async def marked(*customers: str) -> None:
        nonlocal before
        async with asyncio.timeout(20):
            while True:
                now = await store.fresh_deliveries()
                changed = {one for one, mark in now.items() if mark != before.get(one)}
                if changed >= set(map(partition_of, customers)):
                    break
                await asyncio.sleep(0.005)
        assert changed == set(map(partition_of, customers))
        before = now

    await write(store, delivery("c-1"))
    await marked("c-1")
    await write(store, delivery("c-1"), delivery("c-2"))
    await marked("c-1", "c-2")
    for claimed in await claim(store):
        await store.hold_delivery(claimed, "unknown", "lost")
    await store.commit(commit_of(await store.read("c-3"), "contacts"))
    await marked()
    row = (await store.deliveries_of("c-2"))[0]
    assert await store.requeue_delivery(row)
    await marked("c-2")


async def test_a_commit_that_conflicts_writes_no_delivery(store: Store) -> None:
    stale = await store.read("c-1")
    await write(store, delivery())
    late = commit_of(stale, "contacts", deliveries=[delivery()])
    assert isinstance(await store.commit(late), Conflict)
    assert len(await store.deliveries_of("c-1")) == 1


async def test_the_same_commit_again_writes_its_deliveries_once(store: Store) -> None:
    found = await store.read("c-1")
    commit = commit_of(found, records=[record()], expect=(), deliveries=[delivery()])
    assert await store.commit(commit) == Committed()
    (claimed,) = await claim(store)
    commit.repeated = True
    await store.discard_delivery("c-1", claimed.delivery.id, "email")
    assert await store.commit(commit) == Committed()
    assert isinstance(store, object)
    if type(store).__name__ == "RedisStore":  # in memory no reply is lost
        assert await store.deliveries_of("c-1") == []


async def test_only_as_many_are_claimed_as_there_is_room_and_the_earliest_first(
    store: Store,
) -> None:
    own = [delivery(f"c-{n}") for n in range(6)]
    for one in own:
        await write(store, one)
        await asyncio.sleep(0.002)  # due by the millisecond
    await write(store, delivery("c-9", channel="push"))
    assert [one.delivery for one in await claim(store, email=4)] == own[:4]
    assert [one.delivery for one in await claim(store, email=4, push=0)] == own[4:]
    assert [one.delivery.channel for one in await claim(store)] == ["push"]


async def test_claims_keep_to_their_partitions(store: Store) -> None:
    await write(store, delivery("c-1"), delivery("c-2"))
    found = await store.claim_deliveries([partition_of("c-2")], ROOM, "w", LONG)
    assert [one.delivery.customer_id for one in found] == ["c-2"]
    assert await store.claim_deliveries([], ROOM, "w", LONG) == []


async def test_two_with_one_name_never_claim_the_same(store: Store) -> None:
    own = [delivery(f"c-{n}") for n in range(20)]
    await write(store, *own)
    claims = await asyncio.gather(*(claim(store) for _ in range(5)))
    claimed = [one.delivery.id for each in claims for one in each]
    assert sorted(claimed) == sorted(one.id for one in own)


async def test_who_has_lost_the_lease_changes_nothing(store: Store) -> None:
    await write(store, delivery())
    (first,) = await claim(store, 0)
    (second,) = await claim(store)
    assert not await store.begin_delivery(first, LONG)
    assert not await store.postpone_delivery(first, 0, "late")
    assert not await store.hold_delivery(first, "unknown", "late")
    found = await store.read("c-1")
    for settled, unsettled in ((first, True), (second, False)):
        one = SettledDelivery(
            id=first.delivery.id, channel="email", only="leased", lease=settled.status.lease
        )
        reply = await store.commit(commit_of(found, "contacts", settled=[one]))
        assert isinstance(reply, Conflict) == unsettled
        if isinstance(reply, Conflict):
            assert (list(reply.unsettled), reply.erased) == ([first.delivery.id], False)
    assert await listed(store) == []


async def test_an_attempt_whose_answer_was_lost_is_told_to_who_claims_next(store: Store) -> None:
    await write(store, delivery())
    (first,) = await claim(store)
    assert await store.begin_delivery(first, 0)
    (second,) = await claim(store, 0)
    assert (second.was_sending, second.doubtful, second.attempts) == (True, True, 1)
    assert await store.postpone_delivery(second, 0, "no room")  # and nothing was tried
    (third,) = await claim(store)
    assert third.was_sending
    assert await store.begin_delivery(third, LONG)
    assert await store.postpone_delivery(third, 0, "503")
    (fourth,) = await claim(store)
    assert (fourth.was_sending, fourth.doubtful, fourth.attempts) == (False, True, 2)
    assert fourth.status.reason == "503"


async def test_one_that_is_postponed_is_due_at_its_time(store: Store) -> None:
    await write(store, delivery())
    (claimed,) = await claim(store)
    assert await store.begin_delivery(claimed, LONG)
    assert await store.postpone_delivery(claimed, LONG, "503")
    assert await claim(store) == []
    (row,) = await listed(store, "queued")
    assert (row.status.attempts, row.status.lease, row.status.reason) == (1, "", "503")
    assert row.due == row.status.since + LONG
    name = row.delivery.id
    again = await store.claim_delivery("c-1", name, "operator", LONG)
    assert again is not None and again.attempts == 1
    assert await store.claim_delivery("c-1", name, "operator", LONG) is None
    assert await store.claim_delivery("c-1", "other", "operator", LONG) is None


async def test_what_is_held_stays_until_it_is_asked_for(store: Store) -> None:
    await write(store, delivery())
    (claimed,) = await claim(store)
    assert await store.begin_delivery(claimed, LONG)
    assert await store.hold_delivery(claimed, "unknown", "the connection was lost")
    assert await claim(store) == []
    assert await store.claim_delivery("c-1", claimed.delivery.id, "w", LONG) is None
    (row,) = await listed(store, "unknown")
    assert (row.status.reason, row.status.lease, row.due) == ("the connection was lost", "", None)
    assert (await store.count_deliveries()).held == 1
    assert await store.requeue_delivery(row)
    assert not await store.requeue_delivery(row)
    (again,) = await claim(store)
    assert (again.attempts, again.doubtful) == (0, True)


async def test_a_dead_letter_is_kept_by_the_commit_that_ends_it(store: Store) -> None:
    await write(store, delivery())
    (claimed,) = await claim(store)
    one = SettledDelivery(
        id=claimed.delivery.id,
        channel="email",
        only="leased",
        lease=claimed.status.lease,
        failed="no such address",
    )
    found = await store.read("c-1")
    assert await store.commit(commit_of(found, "contacts", settled=[one])) == Committed()
    assert await claim(store) == []
    (row,) = await listed(store, "failed")
    assert (row.delivery, row.status.reason) == (claimed.delivery, "no such address")
    assert await store.discard_delivery("c-1", row.delivery.id, "email")
    assert not await store.discard_delivery("c-1", row.delivery.id, "email")
    assert await listed(store) == []


@pytest.mark.parametrize("begun", [False, True])
async def test_what_was_begun_cannot_be_withdrawn(store: Store, begun: bool) -> None:
    await write(store, delivery())
    (claimed,) = await claim(store)
    if begun:
        assert await store.begin_delivery(claimed, LONG)
    one = SettledDelivery(id=claimed.delivery.id, channel="email", only="unsent")
    reply = await store.commit(commit_of(await store.read("c-1"), "contacts", settled=[one]))
    assert isinstance(reply, Conflict) == begun
    assert len(await listed(store)) == begun
    assert await store.begin_delivery(claimed, LONG) == begun


async def test_what_may_have_been_sent_cannot_be_withdrawn(store: Store) -> None:
    await write(store, delivery())
    (claimed,) = await claim(store)
    assert await store.begin_delivery(claimed, LONG)
    assert await store.postpone_delivery(claimed, 0, "no answer", doubtful=True)
    one = SettledDelivery(id=claimed.delivery.id, channel="email", only="unsent")
    reply = await store.commit(commit_of(await store.read("c-1"), "contacts", settled=[one]))
    assert isinstance(reply, Conflict) and [*reply.unsettled] == [claimed.delivery.id]


async def test_what_was_sent_is_taken_out_whoever_has_it_by_now(store: Store) -> None:
    await write(store, delivery())
    (first,) = await claim(store, 0)
    assert await store.begin_delivery(first, 0)
    (second,) = await claim(store)
    assert await store.hold_delivery(second, "unknown", "lost")
    one = SettledDelivery(id=first.delivery.id, channel="email", only="always")
    for _ in range(2):
        reply = await store.commit(commit_of(await store.read("c-1"), "contacts", settled=[one]))
        assert reply == Committed()
    assert await listed(store) == []
    counts = await store.count_deliveries()
    assert (counts.waiting, counts.held) == ({}, 0)


async def test_erasing_removes_the_deliveries_of_the_customer_alone(store: Store) -> None:
    mine = [delivery(), delivery(channel="push"), delivery(message="other")]
    await write(store, *mine, delivery("c-2"))
    first = next(one for one in await claim(store, email=1) if one.delivery.customer_id == "c-1")
    await store.hold_delivery(first, "unknown", "lost")
    assert (await store.erase("c-1", record("erasure"))).deliveries == 3
    assert await store.deliveries_of("c-1") == []
    assert [row.delivery.customer_id for row in await listed(store)] == ["c-2"]
    assert not await store.begin_delivery(first, LONG)
    counts = await store.count_deliveries()
    assert (counts.waiting, counts.held) == ({"email": 1}, 0)


async def test_how_long_the_first_of_each_channel_has_been_due(store: Store) -> None:
    await write(store, *(delivery(f"c-{n}") for n in range(5)), delivery(channel="push"))
    assert (await store.count_deliveries()).behind["email"] < 60_000
    late, later, *rest = await claim(store, email=5)
    assert await store.postpone_delivery(late, -90_000, "busy")
    assert await store.postpone_delivery(later, -70_000, "busy")
    counts = await store.count_deliveries()
    assert counts.waiting == {"email": 5, "push": 1}
    assert 90_000 <= counts.behind["email"] < 150_000
    assert 0 <= counts.behind["push"] < 60_000
    for one in [late, later]:
        await store.discard_delivery(one.delivery.customer_id, one.delivery.id, "email")
    assert (await store.count_deliveries()).behind["email"] == 0  # the others are claimed
    assert len(rest) == 3


async def test_what_is_tried_again_and_again_is_as_old_as_when_it_was_decided(
    store: Store,
) -> None:
    """Whenever its next attempt is due, and however many others wait."""
    decided = time.time_ns() // 1_000_000 - 7_200_000
    old = structs.replace(delivery("c-old"), decision_id=new_id("c-old", decided))
    await write(
        store,
        *(
            structs.replace(delivery(f"c-{n}"), decision_id=new_id(f"c-{n}", decided + 60_000))
            for n in range(20)
        ),
        old,
    )
    for delay in (5_000, 3_600_000):
        for claimed in await claim(store):
            assert await store.begin_delivery(claimed, LONG)
            assert await store.postpone_delivery(claimed, delay, "no connection")
        counts = await store.count_deliveries()
        assert 7_200_000 <= counts.oldest["email"] < 7_260_000
        assert counts.behind["email"] == 0
        for row in await listed(store):
            assert await store.requeue_delivery(row)
    await store.discard_delivery("c-old", old.id, "email")
    assert 7_140_000 <= (await store.count_deliveries()).oldest["email"] < 7_200_000


async def test_what_waits_for_its_next_attempt_is_made_due_and_begins_anew(store: Store) -> None:
    await write(store, delivery())
    (claimed,) = await claim(store)
    (row,) = await listed(store)
    assert not await store.requeue_delivery(row)  # somebody holds its lease
    assert await store.begin_delivery(claimed, LONG)
    (row,) = await listed(store)
    assert not await store.requeue_delivery(row)
    assert await store.postpone_delivery(claimed, LONG, "503", doubtful=True)
    assert not await store.requeue_delivery(row)  # not as it was listed
    (row,) = await listed(store)
    assert await store.requeue_delivery(row)
    (due,) = await listed(store)
    await asyncio.sleep(0.002)
    assert await store.requeue_delivery(due)
    assert await listed(store) == [due]  # due already: it keeps its turn
    (again,) = await claim(store)
    assert (again.attempts, again.doubtful) == (0, True)


async def test_the_list_is_read_in_parts_and_by_state_and_channel(store: Store) -> None:
    own = [delivery(f"c-{n}", channel=("email", "push")[n % 2]) for n in range(10)]
    await write(store, *own)
    for one in (await claim(store))[:4]:
        await store.hold_delivery(one, "failed", "no")
    found: list[str] = []
    cursor = ""
    while True:
        page = await store.deliveries(cursor=cursor, limit=3)
        found += [row.delivery.id for row in page.rows]
        cursor = page.cursor
        if not cursor:
            break
    assert sorted(found) == sorted(one.id for one in own)
    assert len(await listed(store, "failed")) == 4
    by_channel = await store.deliveries(channel="push")
    assert {row.delivery.id for row in by_channel.rows} == {one.id for one in own[1::2]}
    counts = await store.count_deliveries()
    assert sum(counts.waiting.values()) + counts.held == 10
    with pytest.raises(ValueError, match="is no cursor"):
        await store.deliveries(cursor="x")
