"""What every store must do: whoever must be looked at has a timer in time, and one who claims it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from decision.core.clock import DAY, HOUR, SECOND
from decision.core.identifiers import partition_of
from decision.core.journeys.state import JourneyState, Run
from decision.core.ports import Committed, Conflict, Store
from decision.core.timers import ClaimedWake, Wake, WakeCounts, set_wake, tally_of
from tests.store.build import commit_of, new_id, record

pytestmark = pytest.mark.anyio

ALL = range(256)
LONG = 60_000
PAST = 1_000_000


def present() -> int:
    return time.time_ns() // 1000


async def write(store: Store, customer_id: str, at: int | None, **more: Any) -> Wake:
    """Sets a customer's timer as a commit does."""
    found = await store.read(customer_id)
    wake = set_wake(found.document, at, present())
    commit = commit_of(found, "events", wake=wake, **more)
    assert await store.commit(commit) == Committed()
    return wake


async def claim(store: Store, lease_ms: int = LONG, most: int = 100) -> list[ClaimedWake]:
    return await store.claim_wakes(ALL, most, lease_ms)


async def names(store: Store, lease_ms: int = LONG) -> set[str]:
    return {one.customer_id for one in await claim(store, lease_ms)}


async def counts(store: Store) -> tuple[int, int]:
    found = await store.count_wakes()
    return found.near, found.far


async def test_what_is_due_is_claimed_once_within_a_lease(store: Store) -> None:
    await write(store, "c-1", PAST)
    await write(store, "顾客", PAST + 2)
    await write(store, "c-2", present() + HOUR)
    found = await claim(store)
    assert {(one.customer_id, one.due) for one in found} == {("c-1", PAST), ("顾客", PAST + 2)}
    assert all(0 < one.lease - present() <= LONG * 1000 + 1 for one in found)
    assert await claim(store) == []


async def test_what_nobody_has_looked_at_when_the_lease_ends_is_claimed_again(store: Store) -> None:
    await write(store, "c-1", PAST)
    assert await names(store, 0) == {"c-1"}
    assert await names(store) == {"c-1"}


async def test_the_earliest_are_claimed_first_and_no_more_of_a_partition_than_asked(
    store: Store,
) -> None:
    own = [name for n in range(2000) if partition_of(name := f"c-{n}") == 7][:3]
    for place, name in enumerate(own):
        await write(store, name, PAST - 2 * place)
    assert [one.customer_id for one in await claim(store, most=2)] == own[:0:-1]
    assert await store.claim_wakes([8], 100, LONG) == []
    assert [one.customer_id for one in await store.claim_wakes([7], 100, LONG)] == own[:1]


async def test_a_claimed_timer_is_set_anew_only_under_its_lease(store: Store) -> None:
    await write(store, "c-1", PAST)
    (first,) = await claim(store, 0)
    (second,) = await claim(store)
    assert not await store.rearm(first, Wake(at=None))
    assert await store.rearm(second, Wake(at=PAST + 2))
    assert not await store.rearm(second, Wake(at=PAST))
    assert await counts(store) == (1, 0)


async def test_a_commit_ends_the_lease(store: Store) -> None:
    await write(store, "c-1", PAST)
    (claimed,) = await claim(store)
    await write(store, "c-1", PAST)
    assert not await store.rearm(claimed, Wake(at=None))
    assert await names(store) == {"c-1"}


async def test_a_commit_can_leave_the_lease_to_whoever_has_claimed_it(store: Store) -> None:
    await write(store, "c-1", PAST)
    (claimed,) = await claim(store)
    found = await store.read("c-1")
    commit = commit_of(found, "events", wake=Wake(at=claimed.lease, held=True))
    assert await store.commit(commit) == Committed()
    assert await store.rearm(claimed, Wake(at=PAST))


async def test_who_is_asked_too_early_is_asked_again_later_than_at_once(store: Store) -> None:
    """A clock that is behind the store's sees the time come later."""
    await write(store, "c-1", at := present() - 1000 * SECOND)
    (claimed,) = await claim(store)
    assert await store.rearm(claimed, Wake(at=at))
    again = await store.next_wake(ALL)
    assert again and 249 * SECOND < again - present() < 251 * SECOND


async def test_a_timer_goes_when_there_is_nothing_to_wait_for(store: Store) -> None:
    await write(store, "c-1", PAST)
    await write(store, "c-1", None)
    await write(store, "c-2", present() + 30 * DAY)
    await write(store, "c-2", None)
    assert await claim(store) == []
    assert await store.next_wake([partition_of("c-1")]) is None
    await write(store, "c-1", PAST)
    (claimed,) = await claim(store)
    assert await store.rearm(claimed, Wake(at=None))
    assert (await counts(store))[0] == 0


@pytest.mark.parametrize("customer_id", ["c-1024", "1024", "b2d4-1", "c-007", "顾客\u00a0{7}", "0"])
@pytest.mark.parametrize(("days", "unit"), [(3, "h"), (30, "d"), (300, "w")])
async def test_far_timers_are_brought_near_before_their_bucket_begins(
    store: Store, customer_id: str, days: int, unit: str
) -> None:
    wake = await write(store, customer_id, present() + days * DAY)
    assert wake.bucket and wake.bucket[0] == unit
    assert await counts(store) == (0, 1)
    assert await claim(store) == []
    begun = Wake(at=PAST, bucket=f"h{present() // HOUR + 2}")
    found = await store.read("c-2")
    assert await store.commit(commit_of(found, "events", wake=begun)) == Committed()
    assert await store.claim_wakes([partition_of("c-2")], 9, LONG) == []
    near, far = await counts(store)
    assert (near, far) == (1, 1)


async def test_a_bucket_that_has_begun_comes_at_once_and_is_never_filled_again(
    store: Store,
) -> None:
    """So no entry is missed, whatever the clock of whoever set it says."""
    begun = f"h{present() // HOUR - 1}"

    async def commit(stands: bool) -> None:
        found = await store.read("c-1")
        wake = Wake(at=PAST, bucket=begun, stands=stands)
        assert await store.commit(commit_of(found, "events", wake=wake)) == Committed()

    await commit(False)
    assert await counts(store) == (0, 1)
    (claimed,) = await claim(store)
    assert claimed.customer_id == "c-1" and claimed.due <= present() - HOUR
    assert await counts(store) == (1, 0)
    for stands in (False, True):
        await commit(stands)
        assert await counts(store) == (1, 0)
        (claimed,) = await claim(store)
        assert claimed.due == PAST
        assert await store.rearm(claimed, Wake(at=PAST, bucket=begun, stands=stands))
        assert await counts(store) == (1, 0)


async def test_many_far_timers_of_a_bucket_come_all_and_are_spread(store: Store) -> None:
    own = [name for n in range(300_000) if partition_of(name := f"c-{n}") == 7][:1100]
    soon = f"h{present() // HOUR + 2}"
    for name in own:
        found = await store.read(name)
        wake = Wake(at=PAST, bucket=soon)
        assert await store.commit(commit_of(found, "events", wake=wake)) == Committed()
    begins = int(soon[1:]) * HOUR
    for _ in range(3):
        await store.claim_wakes([7], 2000, 0)
    near, far = await counts(store)
    assert (near, far) == (1100, 0)
    first = await store.next_wake([7])
    assert first and begins - 2 * HOUR <= first <= begins - HOUR // 2


async def test_arming_makes_no_timer_later(store: Store) -> None:
    await write(store, "c-1", PAST)
    far = present() + 30 * DAY
    await store.arm({"c-1": present() + HOUR, "c-2": PAST + 1, "c-3": far, "c-4": far})
    assert await counts(store) == (2, 2)
    found = {one.customer_id: one.due for one in await claim(store)}
    assert found.keys() == {"c-1", "c-2"}
    assert found["c-1"] == PAST
    assert PAST < found["c-2"] <= present()  # what is past is due now


async def test_arming_far_leaves_a_near_timer_to_who_has_claimed_it(store: Store) -> None:
    await write(store, "c-1", PAST)
    (claimed,) = await claim(store)
    await store.arm({"c-1": present() + 30 * DAY})
    assert await store.rearm(claimed, Wake(at=None))
    assert await counts(store) == (0, 1)


@pytest.mark.parametrize("ahead", [-HOUR, HOUR])
async def test_who_may_not_know_of_another_timer_cannot_set_its_own(
    store: Store, ahead: int
) -> None:
    """The lease stays, so that nobody else claims it; then the customer is looked at again."""
    await write(store, "c-1", PAST)
    (claimed,) = await claim(store)
    await store.arm({"c-1": present() + ahead})
    assert await claim(store) == []
    assert not await store.rearm(claimed, Wake(at=None))
    assert await store.next_wake([partition_of("c-1")]) == claimed.lease - 2


async def test_of_a_near_timer_and_one_brought_near_the_earlier_stays(store: Store) -> None:
    found = await store.read("c-1")
    begun = Wake(at=HOUR + 5, bucket="h1")
    assert await store.commit(commit_of(found, "events", wake=begun)) == Committed()
    await store.arm({"c-1": present() + HOUR})
    assert await counts(store) == (1, 1)
    assert [one.due for one in await claim(store)] == [HOUR]
    assert await counts(store) == (1, 0)


async def test_those_that_come_first_are_told_without_being_claimed(store: Store) -> None:
    """In the order in which they come, so many of each partition; far ones are not among them."""
    due = present() // 2 * 2
    assert await store.first_wakes(5) == []
    for number in range(9):
        await write(store, f"c-{number}", due + 2 * number)
    await write(store, "far", due + 3 * DAY)
    everybody = [(f"c-{number}", due + 2 * number) for number in range(9)]
    assert await store.first_wakes(9) == everybody
    [first] = [one for one in await store.first_wakes(1) if one[0] == "c-0"]
    assert first == everybody[0]
    assert len(await names(store)) == 9


async def test_counts_say_how_far_behind_the_earliest_is(store: Store) -> None:
    assert await store.count_wakes() == WakeCounts(0, 0, 0)
    await write(store, "c-1", present() - 5 * SECOND)
    found = await store.count_wakes()
    assert 5_000 <= found.behind < 60_000


async def test_counts_of_runs_are_added_where_the_commit_is_written(store: Store) -> None:
    hello, pause, bought = tally_of("w", "hello"), tally_of("w", "pause"), tally_of("w", "!goal")
    assert await store.tallies() == {}
    await write(store, "c-1", PAST, tally={hello: 1})
    await write(store, "c-2", PAST, tally={hello: 1})
    await write(store, "c-1", None, tally={hello: -1, pause: 1})
    assert await store.tallies() == {hello: 1, pause: 1}
    found = await store.read("c-2")
    await write(store, "c-2", None, tally={hello: -1, bought: 1})
    late = commit_of(found, "events", wake=Wake(at=PAST), tally={hello: -1, bought: 1})
    assert isinstance(await store.commit(late), Conflict)
    assert await store.tallies() == {pause: 1, bought: 1}
    found = await store.read("c-3")
    assert await store.commit(commit_of(found, "events", tally={hello: 2})) == Committed()
    assert await store.tallies() == {hello: 2, pause: 1, bought: 1}
    await write(store, "c-9", present() + 30 * DAY)
    assert tally_of("w", "far") not in await store.tallies() and len(await store.tallies()) == 3


async def test_a_commit_that_is_repeated_sets_its_timer_once(store: Store) -> None:
    found = await store.read("c-1")
    name = tally_of("w", "hello")
    set_wake(found.document, at := present() + 30 * DAY, present())
    wake = Wake(at=at, bucket=found.document.journeys.armed[0])  # type: ignore[union-attr]
    commit = commit_of(found, "events", wake=wake, tally={name: 1}, commit_id=new_id())
    for _ in range(2):
        assert await store.commit(commit) == Committed()
    assert await counts(store) == (0, 1)
    assert await store.tallies() == {name: 1}


async def test_journeys_of_a_document_come_back_and_are_gone_when_empty(store: Store) -> None:
    found = await store.read("c-1")
    run = Run("r1", "", PAST, "hello", PAST + 1, PAST + HOUR)
    found.document.journeys = JourneyState(runs={"w": [run]}, looked=PAST)
    assert await store.commit(commit_of(found, "events")) == Committed()
    found = await store.read("c-1")
    assert found.document.journeys == JourneyState(runs={"w": [run]}, looked=PAST)
    found.document.journeys = None
    assert await store.commit(commit_of(found, "events")) == Committed()
    assert (await store.read("c-1")).document.journeys is None


async def test_an_erasure_removes_timers_near_and_far_and_ends_runs(store: Store) -> None:
    hello, pause, erased = tally_of("w", "hello"), tally_of("w", "pause"), tally_of("w", "!erased")
    twin = next(f"c-{n}" for n in range(9, 9999) if partition_of(f"c-{n}") == partition_of("c-1"))
    for customer_id in ("c-1", twin):
        for at in (present() + 40 * DAY, present() + 30 * DAY, present() + 3 * DAY, PAST):
            await write(store, customer_id, at, tally={hello: 1})
    await write(store, twin, present() + 3 * DAY)
    await store.arm({"c-1": present() + 50 * DAY})
    found = await store.read("c-1")
    state = found.document.journeys
    assert state and len(state.armed) == 3
    runs = [
        Run(f"r{n}", "", PAST, step, PAST, PAST) for n, step in enumerate(["hello"] * 3 + ["pause"])
    ]
    state.runs = {"w": runs}
    commit = commit_of(found, "events", tally={hello: -1, pause: 1})
    assert await store.commit(commit) == Committed()
    assert await counts(store) == (1, 7)
    await store.erase("c-1", record("erasure"))
    assert await counts(store) == (0, 3)
    assert await store.tallies() == {hello: 4, erased: 4}
    await store.erase(twin, record("erasure"))
    assert await counts(store) == (0, 0)
    assert await store.next_wake(ALL) is None


async def test_erasing_again_removes_a_timer_that_was_left(store: Store) -> None:
    await store.arm({"c-1": PAST, "c-2": present() + 30 * DAY})
    for customer_id in ("c-1", "c-2"):
        await store.erase(customer_id, record("erasure"))
    assert await counts(store) == (0, 0)
