"""Both outboxes, through any sequence of claims, attempts, ends of leases, outcomes and erasures, are
what a plain table says they are."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from decision.core.clock import HOUR
from decision.core.delivery import Claimed, Delivery, SettledDelivery
from decision.core.identifiers import partition_of
from decision.core.ports import Committed, Store
from decision.store import MemoryStore, RedisStore
from tests.store.build import EMAIL, NOW, PUSH, commit_of, new_id, record

_numbers = itertools.count()
CUSTOMERS = ("c-1", "c-2", "顾客\u00a0{7}")
PARTITIONS = [*map(partition_of, CUSTOMERS)]
NOW_OR_LATER = st.sampled_from([0, 600_000])
Key = tuple[str, str]


@dataclass
class Row:
    """What is known of a delivery: `due` is now, later, or None where it is held."""

    delivery: Delivery
    state: str = "queued"
    attempts: int = 0
    lease: int = 0
    reason: str = ""
    doubtful: bool = False
    due: Literal["now", "later"] | None = "now"


@dataclass
class Handle:
    """A lease that somebody had: what each store gave, and what was known then."""

    key: Key
    lease: int
    attempts: int
    claimed: list[Claimed]


def when(delay: int) -> Literal["now", "later"]:
    return "later" if delay else "now"


class Machine(RuleBasedStateMachine):
    """`table` is what both stores must have."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        redis = RedisStore(self.url, prefix=f"om{next(_numbers)}:", timeout=10.0)
        self.stores: tuple[Store, Store] = (MemoryStore(), redis)
        self.table: dict[Key, Row] = {}
        self.handles: list[Handle] = []
        self.leases = itertools.count(1)

    def teardown(self) -> None:
        for store in self.stores:
            self.runner.run(store.close())
        self.runner.close()

    def each(self, call: Callable[[int, Store], Any]) -> list[Any]:
        """What each store answers."""
        return [self.runner.run(call(place, store)) for place, store in enumerate(self.stores)]

    def both(self, call: Callable[[int, Store], Any], expected: object) -> None:
        assert self.each(call) == [expected, expected]

    @initialize()
    def start(self) -> None:
        async def begin(place: int, store: Store) -> None:
            await store.start()
            await store.register_kinds([EMAIL, PUSH])

        self.each(begin)

    @rule(
        customer=st.sampled_from(CUSTOMERS),
        channel=st.sampled_from(["email", "push"]),
        message=st.sampled_from(["tips", "a.b", "消息"]),
    )
    def write(self, customer: str, channel: str, message: str) -> None:
        delivery = Delivery(
            decision_id=new_id(customer),
            message=message,
            channel=channel,
            customer_id=customer,
            placement="p",
            purpose="ads",
            category="",
            content={"t": "x"},
            at=NOW,
            expires=NOW + HOUR,
        )

        async def commit(place: int, store: Store) -> Any:
            found = await store.read(customer)
            return await store.commit(commit_of(found, "contacts", deliveries=[delivery]))

        self.both(commit, Committed())
        self.table[customer, delivery.id] = Row(delivery)

    @rule(lease_ms=NOW_OR_LATER, room=st.sampled_from([{"email": 99}, {"email": 99, "push": 99}]))
    def claim(self, lease_ms: int, room: dict[str, int]) -> None:
        async def ask(place: int, store: Store) -> list[Claimed]:
            return await store.claim_deliveries(PARTITIONS, room, "one name", lease_ms)

        answers = [{one.delivery.id: one for one in found} for found in self.each(ask)]
        due = {
            key
            for key, row in self.table.items()
            if row.due == "now" and row.delivery.channel in room
        }
        assert answers[0].keys() == answers[1].keys() == {name for _, name in due}
        for key in sorted(due):  # the same order each time that a case is tried
            self.claimed(key, [found[key[1]] for found in answers], lease_ms)

    def claimed(self, key: Key, found: list[Claimed], lease_ms: int) -> None:
        row = self.table[key]
        row.lease, row.due = next(self.leases), when(lease_ms)
        row.doubtful = row.doubtful or row.state == "sending"
        for one in found:
            assert one.delivery == row.delivery
            assert (one.attempts, one.doubtful) == (row.attempts, row.doubtful)
            assert one.was_sending == (row.state == "sending")
        self.handles.append(Handle(key, row.lease, row.attempts, found))

    @precondition(lambda self: self.table)
    @rule(data=st.data(), lease_ms=NOW_OR_LATER)
    def claim_one(self, data: st.DataObject, lease_ms: int) -> None:
        key = data.draw(st.sampled_from(sorted(self.table)))
        row = self.table[key]

        async def ask(place: int, store: Store) -> Claimed | None:
            return await store.claim_delivery(*key, "operator", lease_ms)

        found = self.each(ask)
        if row.due is None or (row.lease and row.due == "later"):
            assert found == [None, None]
        else:
            self.claimed(key, found, lease_ms)

    def leased(self, data: st.DataObject) -> tuple[Handle, Row | None]:
        """A lease that somebody has or had; the row where it is still theirs."""
        handle = data.draw(st.sampled_from(self.handles))
        row = self.table.get(handle.key)
        return handle, row if row and row.lease == handle.lease else None

    @precondition(lambda self: self.handles)
    @rule(data=st.data(), lease_ms=NOW_OR_LATER)
    def begin(self, data: st.DataObject, lease_ms: int) -> None:
        handle, row = self.leased(data)
        may = row is not None and row.state in ("queued", "sending")
        self.both(lambda place, store: store.begin_delivery(handle.claimed[place], lease_ms), may)
        if row is not None and may:
            row.state, row.attempts, row.due = "sending", row.attempts + 1, when(lease_ms)

    @precondition(lambda self: self.handles)
    @rule(data=st.data(), delay=NOW_OR_LATER, doubtful=st.booleans(), mark=st.booleans())
    def postpone(self, data: st.DataObject, delay: int, doubtful: bool, mark: bool) -> None:
        handle, row = self.leased(data)
        state: Any = "dropping" if mark else "queued"
        self.both(
            lambda place, store: store.postpone_delivery(
                handle.claimed[place], delay, "retry", state=state, doubtful=doubtful
            ),
            row is not None,
        )
        if row is not None:
            if row.state != "sending" or row.attempts != handle.attempts:
                row.state = state
            row.lease, row.reason, row.due = 0, "retry", when(delay)
            row.doubtful = row.doubtful or doubtful

    @precondition(lambda self: self.handles)
    @rule(data=st.data(), state=st.sampled_from(["failed", "unknown"]))
    def hold(self, data: st.DataObject, state: Any) -> None:
        handle, row = self.leased(data)
        self.both(
            lambda place, store: store.hold_delivery(handle.claimed[place], state, "held"),
            row is not None,
        )
        if row is not None:
            row.state, row.lease, row.reason, row.due = state, 0, "held", None
            row.doubtful = row.doubtful or state == "unknown"

    @precondition(lambda self: self.table)
    @rule(data=st.data())
    def requeue(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.table)))
        row = self.table[key]

        async def ask(place: int, store: Store) -> bool:
            rows = await store.deliveries_of(key[0])
            return await store.requeue_delivery(next(r for r in rows if r.delivery.id == key[1]))

        free = row.due is None or (row.state == "queued" and not row.lease)
        self.both(ask, free)
        if free and row.due != "now":
            row.state, row.attempts, row.due = "queued", 0, "now"

    @precondition(lambda self: self.table)
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.table)))
        row = self.table.pop(key)
        self.both(
            lambda place, store: store.discard_delivery(*key, row.delivery.channel),
            True,
        )

    @precondition(lambda self: self.handles)
    @rule(
        data=st.data(),
        only=st.sampled_from(["leased", "unsent", "always"]),
        failed=st.sampled_from([None, "rejected"]),
    )
    def settle(self, data: st.DataObject, only: Any, failed: str | None) -> None:
        handle, own = self.leased(data)
        row = self.table.get(handle.key)
        delivery = handle.claimed[0].delivery
        done = {
            "always": True,
            "leased": own is not None,
            "unsent": row is not None and row.state == "queued" and not row.doubtful,
        }[only]

        async def commit(place: int, store: Store) -> bool:
            found = await store.read(delivery.customer_id)
            one = SettledDelivery(
                id=delivery.id,
                channel=delivery.channel,
                only=only,
                lease=handle.claimed[place].status.lease,
                failed=failed,
            )
            reply = await store.commit(commit_of(found, "contacts", settled=[one]))
            if not isinstance(reply, Committed):
                assert [*reply.unsettled] == [delivery.id]
            return isinstance(reply, Committed)

        self.both(commit, done)
        if done and row is not None:
            if failed is None:
                del self.table[handle.key]
            else:
                row.state, row.lease, row.reason, row.due = "failed", 0, failed, None

    @rule(customer=st.sampled_from(CUSTOMERS))
    def erase(self, customer: str) -> None:
        own = [key for key in self.table if key[0] == customer]

        async def forget(place: int, store: Store) -> int:
            return (await store.erase(customer, record("erasure"))).deliveries

        self.both(forget, len(own))
        for key in own:
            del self.table[key]

    @invariant()
    def the_stores_have_what_the_table_says(self) -> None:
        expected = {
            key: (row.state, row.attempts, row.reason, row.doubtful, row.due is None)
            for key, row in self.table.items()
        }
        for store in self.stores:
            found = {
                (customer, row.delivery.id): (
                    row.status.state,
                    row.status.attempts,
                    row.status.reason,
                    row.status.doubtful,
                    row.due is None,
                )
                for customer in CUSTOMERS
                for row in self.runner.run(store.deliveries_of(customer))
            }
            assert found == expected

    @rule()
    def list_all(self) -> None:
        for store in self.stores:
            page = self.runner.run(store.deliveries(limit=1000))
            assert {(one.delivery.customer_id, one.delivery.id) for one in page.rows} == {
                *self.table
            }
            counts = self.runner.run(store.count_deliveries())
            assert sum(counts.waiting.values()) + counts.held == len(self.table)
            assert counts.held == sum(row.due is None for row in self.table.values())


@pytest.fixture
def machine(redis_url: str) -> Iterator[type[Machine]]:
    Machine.url = redis_url
    yield Machine


def test_both_outboxes_are_what_a_plain_table_says(machine: type[Machine]) -> None:
    own = settings(max_examples=25, stateful_step_count=30, deadline=None)
    run_state_machine_as_test(machine, settings=own)  # type: ignore[no-untyped-call]


@pytest.mark.soak
def test_both_outboxes_are_what_a_plain_table_says_for_long(machine: type[Machine]) -> None:
    own = settings(max_examples=1500, stateful_step_count=60, deadline=None)
    run_state_machine_as_test(machine, settings=own)  # type: ignore[no-untyped-call]
