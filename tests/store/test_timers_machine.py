"""Through any sequence of commits, claims, ends of leases, erasures and jumps of clocks, no timer is
lost in either store, and none claimed by two within a lease: a plain table says so."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

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

from decision.core.clock import DAY, HOUR, MINUTE, SECOND
from decision.core.identifiers import partition_of
from decision.core.journeys.state import JourneyState, Run
from decision.core.ports import Committed, Store
from decision.core.timers import ClaimedWake, set_wake, tally_of
from decision.store import MemoryStore, RedisStore
from decision.store.pipelined_connection import Argument
from decision.store.scripts import SCRIPTS
from tests.store.build import NOW, commit_of, record

_numbers = itertools.count()
START = NOW // SECOND * SECOND
CUSTOMERS = ("c-1", "c-2", "c-9", "顾客\u00a0{7}")
TWIN = next(f"c-{n}" for n in range(99, 9999) if partition_of(f"c-{n}") == partition_of("c-1"))
customers = st.sampled_from([*CUSTOMERS, TWIN])
spans = st.sampled_from(
    [0, 2, 30 * SECOND, HOUR, 2 * HOUR, 3 * HOUR, 5 * HOUR, 2 * DAY, 9 * DAY, 40 * DAY, 400 * DAY]
)
skews = st.sampled_from([0, 0, -5 * MINUTE, 5 * MINUTE, -4 * HOUR, 4 * HOUR, -2 * DAY])
jumps = st.sampled_from([1, 60, 3600, 2 * 3600, 86_400, 9 * 86_400, -60, -3600, -86_400])
WELCOME = tally_of("w", "a")


class Clock:
    """The time of a store, in microseconds, even."""

    now = START


class ClockedRedis(RedisStore):
    """Goes by a clock of the test; commits go by that of the server, which timers do not need."""

    def __init__(self, url: str, clock: Clock, **more: Any) -> None:
        super().__init__(url, **more)
        self.time, piped = clock, self.connection.pipeline

        async def pipeline(commands: Sequence[Any], *rest: Any, **more: Any) -> Any:
            replies = await piped(commands, *rest, **more)
            return [
                divmod(clock.now, SECOND) if command == ("TIME",) else reply
                for command, reply in zip(commands, replies, strict=True)
            ]

        self.connection.pipeline = pipeline  # type: ignore[method-assign]

    def _caller(self, *settings: Any, **more: Any) -> Any:
        call = super()._caller(*settings, **more)

        async def called(command: Any) -> Any:
            return divmod(self.time.now, SECOND) if command == ("TIME",) else await call(command)

        return called

    async def _run(
        self, script: str, keys: Sequence[str], arguments: Sequence[Argument] = (), **more: Any
    ) -> Any:
        if not script.endswith("_wakes") and not script.endswith("_wake"):
            return await super()._run(script, keys, arguments, **more)
        time = b"{%d, %d}" % divmod(self.time.now, SECOND)
        text = SCRIPTS[script].text.replace(b"redis.call('TIME')", time)
        return await self._caller(write=True)(("EVAL", text, len(keys), *keys, *arguments))


@dataclass
class Row:
    """What is known of a customer: when it must be looked at, until when somebody has claimed it,
    and before when it need not be asked again. `early`: entries may stand in buckets."""

    due: int | None = None
    lease: int | None = None
    asked: int = 0
    early: bool = False
    runs: int = 0


@dataclass
class Handle:
    """A claim that somebody had, and when the customer was to be looked at then."""

    claimed: ClaimedWake
    due: int | None


class Machine(RuleBasedStateMachine):
    make: Callable[[Clock], Store]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = Clock()
        self.store = type(self).make(self.clock)
        self.table = {name: Row() for name in (*CUSTOMERS, TWIN)}
        self.handles: list[Handle] = []
        self.erased = 0

    @initialize()
    def start(self) -> None:
        self.runner.run(self.store.start())

    def teardown(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()

    @rule(customer=customers, span=st.none() | spans, skew=skews)
    def commit(self, customer: str, span: int | None, skew: int) -> None:
        """An event arrives, or a step is made: the document says when it goes on."""
        row = self.table[customer]
        at = None if span is None else self.clock.now + span + 6
        found = self.runner.run(self.store.read(customer))
        state = found.document.journeys = found.document.journeys or JourneyState()
        row.runs += 1
        state.runs.setdefault("w", []).append(Run(f"r{row.runs}", "", 1, "a", 1, 1))
        wake = set_wake(found.document, at, self.clock.now + skew)
        commit = commit_of(found, "events", wake=wake, tally={WELCOME: 1})
        assert self.runner.run(self.store.commit(commit)) == Committed()
        row.due, row.lease, row.asked = at, None, 0
        row.early = row.early or wake.bucket is not None

    @rule(lease_ms=st.sampled_from([0, 60_000, 60_000]), times=st.integers(1, 3))
    def claim(self, lease_ms: int, times: int) -> None:
        for _ in range(times):
            self.clock.now += 2000  # no two claims at one time, to whichever the clock is set back
            now = self.clock.now
            must = {
                name
                for name, row in self.table.items()
                if row.due is not None and row.due <= now and row.asked <= now
                if row.lease is None or row.lease <= now
            }
            found = self.runner.run(self.store.claim_wakes(range(256), 99, lease_ms))
            claimed = {one.customer_id for one in found}
            assert len(claimed) == len(found)
            for one in found:
                row = self.table[one.customer_id]
                assert row.lease is None or row.lease <= now + 1000, "claimed by two within a lease"
                assert row.early or one.customer_id in must, "claimed too early"
                assert one.due <= now
                row.lease = one.lease
                assert row.lease == now + lease_ms * 1000 + 1
                self.handles.append(Handle(one, row.due))
            assert must <= claimed, "lost"

    @precondition(lambda self: self.handles)
    @rule(data=st.data(), skew=skews)
    def rearm(self, data: st.DataObject, skew: int) -> None:
        """Whoever has claimed one finds nothing to do by the document that was read."""
        handle = data.draw(st.sampled_from(self.handles))
        claimed, due, now = handle.claimed, handle.due, self.clock.now
        row = self.table[claimed.customer_id]
        found = self.runner.run(self.store.read(claimed.customer_id))
        wake = set_wake(found.document, due, now + skew)
        done = self.runner.run(self.store.rearm(claimed, wake))
        # Where another timer has come meanwhile, the lease stays, and nothing is set anew.
        assert done == (row.lease == claimed.lease) or (row.early and not done)
        if done:
            row.lease, row.asked = None, 0
            row.early = row.early or wake.bucket is not None
            if due is not None and due <= now:
                row.asked = now + max(20_000, (now - due) // 4)

    @rule(names=st.lists(customers, unique=True, min_size=1), span=spans)
    def arm(self, names: list[str], span: int) -> None:
        at = self.clock.now + span + 6
        self.runner.run(self.store.arm(dict.fromkeys(names, at)))
        for name in names:
            row = self.table[name]
            row.due = at if row.due is None else min(row.due, at)
            row.early = True

    @rule(customer=customers)
    def erase(self, customer: str) -> None:
        self.runner.run(self.store.erase(customer, record("erasure")))
        self.erased += self.table[customer].runs
        self.table[customer] = Row()

    @rule(seconds=jumps)
    def jump(self, seconds: int) -> None:
        self.clock.now += seconds * SECOND

    @invariant()
    def counts_are_exact_and_nothing_is_left_of_the_erased(self) -> None:
        expected = {WELCOME: sum(row.runs for row in self.table.values())}
        expected[tally_of("w", "!erased")] = self.erased
        tallies = self.runner.run(self.store.tallies())
        assert tallies == {name: count for name, count in expected.items() if count}
        found = self.runner.run(self.store.count_wakes())
        assert found.near + found.far >= sum(row.due is not None for row in self.table.values())
        assert found.near <= len(self.table)
        if all(row == Row() for row in self.table.values()):
            assert (found.near, found.far) == (0, 0)


@pytest.fixture(params=["memory", "redis"])
def machine(request: pytest.FixtureRequest) -> Iterator[type[Machine]]:
    url = request.getfixturevalue("redis_url") if request.param == "redis" else ""

    class Own(Machine):
        @staticmethod
        def make(clock: Clock) -> Store:
            if not url:
                return MemoryStore(clock=lambda: Fraction(clock.now, SECOND))  # type: ignore[arg-type,return-value]
            return ClockedRedis(url, clock, prefix=f"tm{next(_numbers)}:", timeout=10.0)

    yield Own


def test_no_timer_is_lost_and_none_claimed_by_two(machine: type[Machine]) -> None:
    own = settings(max_examples=20, stateful_step_count=30, deadline=None)
    run_state_machine_as_test(machine, settings=own)  # type: ignore[no-untyped-call]


@pytest.mark.soak
def test_no_timer_is_lost_and_none_claimed_by_two_for_long(machine: type[Machine]) -> None:
    own = settings(max_examples=600, stateful_step_count=60, deadline=None)
    run_state_machine_as_test(machine, settings=own)  # type: ignore[no-untyped-call]
