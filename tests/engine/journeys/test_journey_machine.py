"""Customers go through journeys while processes die, clocks jump, customers merge and are erased: by
a plain model, each step asks exactly once, at the very look at which it is due, and none is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from decision.core.clock import DAY, HOUR, MINUTE, SECOND
from decision.core.conditions import Clause
from decision.core.definition import PolicyDefinition
from decision.core.errors import StoreUnavailable
from decision.core.journeys.definition import Ask, End, Journey, Trigger, Wait, WaitFor
from decision.engine import Engine
from decision.engine.names import names_of
from decision.store import MemoryStore
from tests.core.small import NOON
from tests.engine.conftest import Clock
from tests.engine.journeys.world import NAMES, change, check, decisions, definition, engine_on, tell
from tests.engine.outbox_world import Dying

FAILS: dict[str, Any] = {"fails_at": st.integers(0, 9), "after": st.booleans()}
"""Which operation of the store fails first, 0 for none, and whether it is done all the same."""
WAITS = 2 * HOUR
WITHIN = 3 * HOUR
CART = Journey(
    name="cart",
    start=Trigger(name="", event="follow"),
    key="event.cart",
    again=0,
    goal=Trigger(name="", event="purchase"),
    steps=(
        Ask(name="first", placement="outbound"),
        Wait(name="pause", lasts=WAITS),
        Ask(name="second", placement="outbound"),
    ),
)
VIP = Journey(
    name="vip",
    start=Trigger(name="", when=Clause("customer.vip", "eq", True)),
    steps=(
        WaitFor(
            name="bought",
            trigger=Trigger(name="", event="purchase"),
            within=WITHIN,
            then="thanks",
            otherwise="silent",
        ),
        Ask(name="thanks", placement="outbound", go="over"),
        End(name="silent", reason="silent"),
        End(name="over", reason="finished"),
    ),
)


class ModelRun(msgspec.Struct):
    """Stands `before` a step since `due`, or waits in it until then."""

    name: str
    started: int
    step: str
    due: int
    before: bool = True


class Person(msgspec.Struct):
    """What the model knows of one customer."""

    carts: dict[str, ModelRun] = {}
    vip: bool = False
    vip_started: bool = False
    vip_run: ModelRun | None = None


class Model:
    """What must be asked, (name of the run, step), by the plainest reading of the journeys."""

    def __init__(self) -> None:
        self.people = {name: Person() for name in NAMES}
        self.leads = {name: name for name in NAMES}
        self.known: set[str] = set()
        self.asks: Counter[tuple[str, str]] = Counter()

    def of(self, name: str) -> Person:
        self.known.add(self.leads[name])
        return self.people[self.leads[name]]

    def follow(self, who: str, cart: str, number: str, now: int) -> None:
        self.of(who).carts.setdefault(cart, ModelRun(number, now, "first", now))

    def purchase(self, who: str, now: int) -> None:
        person = self.of(who)
        person.carts = {}
        run = person.vip_run
        if run is not None and run.step == "bought" and (run.before or now <= run.due):
            person.vip_run = ModelRun(run.name, run.started, "thanks", now)

    def become_vip(self, who: str, now: int) -> None:
        person = self.of(who)
        if not person.vip and not person.vip_started:
            person.vip_started = True
            person.vip_run = ModelRun("vip", now, "bought", now)
        person.vip = True

    def look(self, now: int) -> None:
        for person in self.people.values():
            for cart, run in list(person.carts.items()):
                if not self._walk_cart(run, now):
                    del person.carts[cart]
            if person.vip_run is not None and not self._walk_vip(person.vip_run, now):
                person.vip_run = None

    def _ask(self, run: ModelRun, now: int) -> None:
        if now - run.due <= DAY:
            self.asks[run.name, run.step] += 1

    def _walk_cart(self, run: ModelRun, now: int) -> bool:
        """Whether it is still under way."""
        if run.due > now:
            return True
        if run.step == "first":
            self._ask(run, now)
            run.step, run.due = "pause", now + WAITS
            return True
        run.step = "second"
        self._ask(run, now)
        return False

    def _walk_vip(self, run: ModelRun, now: int) -> bool:
        if run.due > now:
            return True
        if run.step == "thanks":
            self._ask(run, now)
            return False
        if run.before:
            run.before, run.due = False, now + WITHIN
            return True
        return False

    def merge(self, into: str, other: str) -> None:
        target, source = self.of(into), self.of(other)
        for cart, run in source.carts.items():
            mine = target.carts.get(cart)
            if mine is None or run.started < mine.started:
                target.carts[cart] = run
        runs = [run for run in (target.vip_run, source.vip_run) if run is not None]
        target.vip_run = min(runs, key=lambda run: run.started, default=None)
        target.vip, target.vip_started = (
            target.vip or source.vip,
            target.vip_started or source.vip_started,
        )
        gone, here = self.leads[other], self.leads[into]
        self.people[gone] = Person()
        self.known.discard(gone)
        self.leads = {one: here if end == gone else end for one, end in self.leads.items()}

    def erase(self, who: str) -> None:
        end = self.leads[who]
        for name in NAMES:
            if self.leads[name] == end:
                self.leads[name], self.people[name] = name, Person()
                self.known.discard(name)


class Journeys(RuleBasedStateMachine):
    """One store, processes that come and go, and the model beside it."""

    first: Engine | None = None

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.store = MemoryStore(lambda: self.clock.now / SECOND)
        self.model = Model()
        self.count = 0
        self.erased: Counter[tuple[str, str]] = Counter()
        """What was asked of customers who were erased."""
        self.has_erased = False
        if Journeys.first is None:
            Journeys.first = self.wait(engine_on(self.store, self.clock, policy()))
        snapshot = Journeys.first.snapshot
        self.store.allow_names(names_of(snapshot.policy))
        kinds = [each.kind for each in snapshot.policy.candidates]
        assert self.wait(self.store.register_kinds(kinds)) == snapshot.kinds
        self.clock.now = NOON

    def teardown(self) -> None:
        self.loop.close()

    def wait(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def process(self, store: Any) -> Engine:
        assert Journeys.first is not None
        made = Engine(store, Journeys.first.runtime.settings, self.clock)
        made.use(Journeys.first.snapshot)
        return made

    def do(self, work: Any, fails_at: int = 0, after: bool = False) -> None:
        """Does something; a process that dies is followed by another one, which does it again."""
        self.wait(self._do(work, fails_at, after))
        found = self.found()
        assert found + self.erased == self.model.asks, (found, self.erased, self.model.asks)
        self.wait(check(self.process(self.store), erased=self.has_erased))

    async def _do(self, work: Any, fails_at: int, after: bool) -> None:
        dying = Dying(self.store, fails_at, after=after, dies=True)
        try:
            engine = self.process(dying)
            await work(engine)
        except StoreUnavailable:
            self.clock.now += 1_000  # leases end
            engine = self.process(self.store)
            await work(engine)
        await engine.drain(0.05)

    @rule(who=st.sampled_from(NAMES), cart=st.sampled_from("ab"), **FAILS)
    def follow(self, who: str, cart: str, fails_at: int, after: bool) -> None:
        self.count += 1
        number, event_id = str(self.count), f"f-{self.count}"
        self.clock.now += SECOND + 3
        self.model.follow(who, cart, number, self.clock.now)
        self.do(lambda e: tell(e, "follow", who, id=event_id, cart=cart, n=number), fails_at, after)

    @rule(who=st.sampled_from(NAMES), **FAILS)
    def purchase(self, who: str, fails_at: int, after: bool) -> None:
        self.count += 1
        event_id = f"p-{self.count}"
        self.clock.now += SECOND
        self.model.purchase(who, self.clock.now)
        self.do(lambda e: tell(e, "purchase", who, id=event_id), fails_at, after)

    @rule(who=st.sampled_from(NAMES), **FAILS)
    def become_vip(self, who: str, fails_at: int, after: bool) -> None:
        self.clock.now += SECOND
        self.model.become_vip(who, self.clock.now)
        self.do(lambda e: change(e, who, vip=True), fails_at, after)

    @rule(span=st.sampled_from([SECOND, 7 * MINUTE + 1, 53 * MINUTE + 17, 187 * MINUTE, 26 * HOUR]))
    def pass_(self, span: int) -> None:
        self.clock.now += span

    @rule()
    def clock_steps_back(self) -> None:
        self.clock.now -= HOUR

    @rule(**FAILS)
    def look(self, fails_at: int, after: bool) -> None:
        self.clock.now += 1_000_000  # what was claimed by a process that died is free
        self.model.look(self.clock.now)
        self.do(lambda e: e.stepping.run_due(lease_ms=0), fails_at, after)

    @rule(into=st.sampled_from(NAMES), other=st.sampled_from(NAMES), **FAILS)
    @precondition(lambda self: len(self.model.known) > 1)
    def merge(self, into: str, other: str, fails_at: int, after: bool) -> None:
        model = self.model
        if model.leads[into] == model.leads[other] or model.leads[other] != other:
            return
        if other not in model.known or model.leads[into] not in model.known:
            return
        model.merge(into, other)
        self.do(lambda e: e.customers.merge(into, other), fails_at, after)

    @rule(who=st.sampled_from(NAMES))
    def erase(self, who: str) -> None:
        before, self.has_erased = self.found(), True
        self.model.erase(who)
        self.wait(self._do(lambda e: e.customers.erase(who), 0, False))
        self.erased += before - self.found()

    def found(self) -> Counter[tuple[str, str]]:
        """What was asked, (name of the run, step), by the log."""
        asked = [one.question for one in self.wait(decisions(self.store))]
        return Counter(
            (str(one.event.properties["n"]) if one.event else "vip", str(one.context["step"]))
            for one in asked
        )


def policy() -> PolicyDefinition:
    found: PolicyDefinition = definition(CART, VIP, moments=())
    return found


TestJourneys = Journeys.TestCase
TestJourneys.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


@pytest.mark.soak
class TestJourneysForLong(Journeys.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(max_examples=3000, stateful_step_count=60, deadline=None)
