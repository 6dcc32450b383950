"""What is shown of journeys is what the documents say, whatever was paused, stopped, limited, edited,
erased, merged or killed: every count is made again from documents and log."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from prometheus_client import CollectorRegistry

from decision.core.clock import DAY, HOUR, MINUTE, SECOND
from decision.core.errors import InputError, NotFound, StoreUnavailable
from decision.core.journeys.definition import Journey, Limits, Trigger
from decision.engine import Engine
from decision.outbound.holding import pause, resume, stop
from decision.outbound.journey_views import journey_views
from decision.outbound.runner import Runner
from decision.server.journey_metrics import JourneyMetrics
from decision.store import MemoryStore
from tests.engine.conftest import Clock
from tests.engine.journeys.world import change, definition, tell
from tests.engine.outbox_world import Dying
from tests.outbound.test_holding import journey
from tests.outbound.world import engine_on, steps

PEOPLE = [f"c-{number}" for number in range(6)]
NAMES = ("welcome", "other")
GOAL = Trigger(name="", event="purchase")
ONE_A_MINUTE = Limits(starts=1, per=MINUTE)
FAILS: dict[str, Any] = {"fails_at": st.integers(0, 12), "after": st.booleans()}


def policy(*journeys: Journey) -> Any:
    return definition(*journeys, moments=())


POLICIES = {
    "free": policy(journey(goal=GOAL), journey("other")),
    "few": policy(journey(goal=GOAL, limits=Limits(running=2)), journey("other")),
    "slow": policy(journey(goal=GOAL), journey("other", limits=ONE_A_MINUTE, key=None)),
    "gone": policy(journey("other", limits=ONE_A_MINUTE)),
    "long": policy(journey(goal=GOAL, wait=3 * HOUR, limits=Limits(running=1)), journey("other")),
}


class Counts(RuleBasedStateMachine):
    """Processes that come and go on one store."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock, self.policy = Clock(), POLICIES["few"]
        self.store = MemoryStore(lambda: self.clock.now / SECOND)
        self.erases = False
        """Whether the log has forgotten somebody."""
        self.first: dict[int, Engine] = {}
        """Policy → an engine that has it in force."""

    def teardown(self) -> None:
        """In the end everything goes on: then nobody is held back, and nobody waits to go on."""
        self.policy = POLICIES["free"]
        for name in NAMES:
            self.loop.run_until_complete(resume(self.store, name))
        self.look(12 * HOUR, every=10 * MINUTE)
        held = {one: view.held_back for one, view in self.views().items()}
        assert not any(held.values()) and not self.loop.run_until_complete(self.store.parked())
        self.loop.close()

    def do(self, work: Any, fails_at: int = 0, after: bool = False, *, again: bool = False) -> None:
        """Does something in a process that may die of it; what is shown is exact all the same. With
        `again`, once another one has done it, too."""

        async def all_of_it() -> None:
            self.clock.now += SECOND
            if id(self.policy) not in self.first:
                built = await engine_on(self.store, lambda: self.clock.now, self.policy)
                self.first[id(self.policy)] = built
            try:
                await work(self.process(Dying(self.store, fails_at, after=after, dies=True)))
            except StoreUnavailable:
                assert fails_at
                if again:
                    await work(self.process(self.store))
            await self.check()

        self.loop.run_until_complete(all_of_it())

    def process(self, store: Any) -> Engine:
        first = self.first[id(self.policy)]
        engine = Engine(store, first.runtime.settings, first.runtime.clock)
        engine.use(first.snapshot)
        return engine

    async def check(self) -> None:
        """Every count is that of the documents and the log."""
        expected: Counter[str] = Counter()
        async for part in self.store.customer_ids():
            for name in part:
                state = (await self.store.read(name)).document.journeys
                for own, runs in state.runs.items() if state else ():
                    expected.update(f"{own} {run.step}" for run in runs)
                for own in state.held if state else ():
                    due = [run for run in state.runs[own] if run.wake <= self.clock.now]
                    assert due, (name, own)
                    expected[f"{own} held back"] += 1
        views = await journey_views(self.store, self.policy)
        shown = Counter(
            {f"{n} {step}": k for n, v in views.items() for step, k in v.waiting.items()}
        )
        shown.update({f"{name} held back": view.held_back for name, view in views.items()})
        assert +shown == expected and min(shown.values(), default=0) >= 0, (shown, expected)
        registry = CollectorRegistry()
        await JourneyMetrics(registry).look(self.store)
        for name, view in views.items():
            held = registry.get_sample_value("nextbest_journey_held_back", {"journey": name})
            assert (held or 0) == view.held_back
        ends = Counter({f"{n} {why}": k for n, v in views.items() for why, k in v.ended.items()})
        told = Counter(f"{one.journey} {one.ended}" for one in await steps(self.store) if one.ended)
        assert not told - ends and (self.erases or ends == told), (told, ends)
        assert not any(view.refused for view in views.values())

    def views(self) -> dict[str, Any]:
        found: dict[str, Any] = self.loop.run_until_complete(journey_views(self.store, self.policy))
        return found

    @rule(who=st.sampled_from(PEOPLE), cart=st.sampled_from("ab"), **FAILS)
    def follow(self, who: str, cart: str, fails_at: int, after: bool) -> None:
        self.do(lambda e: tell(e, "follow", who, cart=cart), fails_at, after)

    @rule(who=st.sampled_from(PEOPLE), **FAILS)
    def purchase(self, who: str, fails_at: int, after: bool) -> None:
        self.do(lambda e: tell(e, "purchase", who), fails_at, after)

    @rule(who=st.sampled_from(PEOPLE))
    def update(self, who: str) -> None:
        self.do(lambda e: change(e, who, a=1))

    @rule(**FAILS, span=st.sampled_from([0, MINUTE, HOUR, DAY]))
    def step(self, fails_at: int, after: bool, span: int) -> None:
        self.clock.now += span
        self.do(lambda e: Runner(e).step_due(), fails_at, after)

    @rule(span=st.sampled_from([MINUTE, HOUR]))
    def look(self, span: int, every: int = 10 * SECOND) -> None:
        """Everybody who is due is looked at: who still is due is held back."""
        every = max(every, span // 60)
        for _ in range(span // every):
            self.clock.now += every
            self.do(lambda e: Runner(e).step_due())

        async def due() -> Counter[str]:
            found: Counter[str] = Counter()
            async for part in self.store.customer_ids():
                for name in part:
                    state = (await self.store.read(name)).document.journeys
                    for own, runs in state.runs.items() if state else ():
                        found[own] += any(run.wake <= self.clock.now for run in runs)
            return +found

        held = Counter({name: view.held_back for name, view in self.views().items()})
        assert +held == self.loop.run_until_complete(due())

    @rule(name=st.sampled_from(NAMES), what=st.sampled_from([pause, resume, stop]))
    def hold(self, name: str, what: Any) -> None:
        args = () if what is resume else (self.clock.now,)
        self.loop.run_until_complete(what(self.store, name, *args))

    @rule(which=st.sampled_from(sorted(POLICIES)))
    def edit(self, which: str) -> None:
        self.policy = POLICIES[which]

    @rule(who=st.sampled_from(PEOPLE), **FAILS)
    def erase(self, who: str, fails_at: int, after: bool) -> None:
        self.erases = True
        self.do(lambda e: e.customers.erase(who), fails_at, after)

    @rule(into=st.sampled_from(PEOPLE), other=st.sampled_from(PEOPLE), **FAILS)
    def merge(self, into: str, other: str, fails_at: int, after: bool) -> None:
        async def merge(engine: Any) -> None:
            with suppress(NotFound, InputError):
                await engine.customers.merge(into, other)

        self.do(merge, fails_at, after, again=True)


TestCounts = Counts.TestCase
TestCounts.settings = settings(
    max_examples=8, stateful_step_count=20, deadline=None, phases=[Phase.generate]
)


@pytest.mark.soak
class TestCountsForLong(Counts.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(max_examples=400, stateful_step_count=60, deadline=None)
