"""Whatever is loaded, merged and asked: nothing is chosen that an opt-out covers, until a grant."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from decision.core.clock import DAY, SECOND, from_micros
from decision.core.definition import (
    Channel,
    Message,
    Placement,
    PolicyDefinition,
    Purpose,
    Settings,
)
from decision.core.schema import (
    Alias,
    ConsentStatement,
    CustomerUpdate,
    DecisionRequest,
    Event,
    TriggerEvent,
)
from decision.engine import Engine, EngineSettings, InputError, NotFound, build_snapshot
from decision.engine.identity import resolve
from decision.engine.loading import CustomerRow, Loading
from decision.store import MemoryStore
from tests.core.small import NOON

PURPOSES = ("marketing", "рассылка", "促销", "عروض", "Angebote für dich", "e")
CHANNELS = ("email", "почта", "短信", "push-2", "Email")
PEOPLE = ("anna", "бо", "王", "email:x@y")
DENYING = ("message.unsubscribed", "message.complained")
Cell = tuple[str, str]


class OptOutMachine(RuleBasedStateMachine):
    """`closed` has the cells (purpose, channel) of each customer that opt-outs cover, `opened` when
    something that is no denial was said of them last: an opt-out that is older closes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now = NOON
        self.closed: dict[str, set[Cell]] = {name: set() for name in PEOPLE}
        self.opened_at: dict[str, dict[Cell, int]] = {name: {} for name in PEOPLE}
        self.bounced: dict[str, set[str]] = {name: set() for name in PEOPLE}
        self.leads = {name: name for name in PEOPLE}
        self.rows: list[CustomerRow] = []
        self.given: list[tuple[str, str, str, Cell]] = []
        self.ids = itertools.count()

    @initialize(
        consents=st.dictionaries(
            st.sampled_from(PURPOSES),
            st.sampled_from(["opt_in", "opt_in", "opt_out", "not_required"]),
            min_size=1,
        ),
        channels=st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=4, unique=True),
    )
    def start(self, consents: dict[str, Any], channels: list[str]) -> None:
        self.purposes, self.channels = list(consents), channels
        self.refusable = [name for name, how in consents.items() if how != "not_required"]
        definition = PolicyDefinition(
            version="1",
            settings=Settings(exploration=None),
            purposes=tuple(Purpose(name=name, consent=how) for name, how in consents.items()),
            channels=tuple(Channel(name=name) for name in channels),
            placements=(Placement(name="outbound", channels=tuple(channels)),),
            messages=tuple(
                Message(name=f"about {name}", purpose=name, channels=tuple(channels), value=9.0 - n)
                for n, name in enumerate(consents)
            ),
        )
        store = MemoryStore()
        self.run(store.start())
        self.engine = Engine(store, EngineSettings(), lambda: self.now)
        self.engine.use(
            self.run(build_snapshot(definition, None, store, from_micros(NOON), durable=False))
        )

    def teardown(self) -> None:
        self.loop.close()

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    people = st.sampled_from(PEOPLE)
    data = st.data()

    def cells(self, purpose: str | None, channel: str | None) -> set[Cell]:
        """Those that a name or `*` covers; None is left out."""
        purposes = self.purposes if purpose in (None, "*") else [purpose]
        channels = self.channels if channel in (None, "*") else [channel]
        return {(one, other) for one in purposes for other in channels}

    def draw_cell(self, data: st.DataObject, *more: Any) -> tuple[Any, Any]:
        purpose = data.draw(st.sampled_from([*self.purposes, *self.purposes, "*", *more]))
        return purpose, data.draw(st.sampled_from([*self.channels, *self.channels, "*", *more]))

    def draw_update(self, data: st.DataObject, *states: Any) -> dict[str, dict[str, Any]]:
        update: dict[str, dict[str, Any]] = {}
        for _ in range(data.draw(st.integers(1, 4))):
            purpose, channel = self.draw_cell(data)
            update.setdefault(purpose, {})[channel] = data.draw(st.sampled_from(states))
        return update

    @rule(step=st.sampled_from([1, SECOND, DAY]))
    def wait(self, step: int) -> None:
        self.now += step

    @rule(name=people, data=data, embedded=st.booleans(), kept=st.booleans())
    def decide(self, name: str, data: st.DataObject, embedded: bool, kept: bool) -> None:
        owner = self.leads[name]
        closed = set(self.closed[owner])
        event = None
        if embedded:
            purpose, channel = self.draw_cell(data, None)
            properties = {"purpose": purpose, "channel": channel}
            event_id = f"e-{next(self.ids)}" if kept else None
            event = TriggerEvent(type=DENYING[0], id=event_id, properties=properties)
            closed |= self.cells(purpose, channel)
            if kept:
                self.closed[owner] = closed
        found = self.run(
            self.engine.decide(
                DecisionRequest(placement="outbound", customer_id=name, limit=9, event=event)
            )
        )
        for row in found.selections:
            cell = (row.message.removeprefix("about "), row.channel)
            assert cell not in closed or cell[0] not in self.refusable, cell
            assert row.channel not in self.bounced[owner]
            self.given.append((name, found.decision_id, row.message, cell))

    @rule(name=people, kind=st.sampled_from(DENYING), data=data, late=st.booleans())
    def opt_out(self, name: str, kind: str, data: st.DataObject, late: bool) -> None:
        purpose, channel = self.draw_cell(data, None, None)
        self.tell(
            name,
            type=kind,
            at=from_micros(self.now - DAY) if late else None,
            properties={"purpose": purpose, "channel": channel},
        )
        owner = self.leads[name]
        said = self.now - DAY if late else self.now
        opened = self.opened_at[owner]
        cells = self.cells(purpose, channel)
        self.closed[owner] |= {cell for cell in cells if opened.get(cell, said) <= said}

    @precondition(lambda self: self.given)
    @rule(kind=st.sampled_from([*DENYING, "message.bounced"]), data=data)
    def opt_out_of_contact(self, kind: str, data: st.DataObject) -> None:
        name, decision_id, message, (purpose, channel) = data.draw(st.sampled_from(self.given))
        wrong = data.draw(st.sampled_from([None, *self.channels]))
        about = {"decision_id": decision_id, "message": message}
        properties = {"channel": wrong, "permanent": True}
        self.tell(name, type=kind, properties=properties, **about)
        if kind == "message.bounced":
            self.bounced[self.leads[name]].add(channel)
        else:
            self.closed[self.leads[name]].add((purpose, channel))

    def tell(self, name: str, **event: Any) -> None:
        found = self.run(self.engine.events.record([Event(customer_id=name, **event)]))
        assert found.accepted == 1, found

    @rule(name=people, data=data)
    def bounce(self, name: str, data: st.DataObject) -> None:
        channel = data.draw(st.sampled_from(self.channels))
        properties = {"channel": channel, "permanent": True}
        self.tell(name, type="message.bounced", properties=properties)
        self.bounced[self.leads[name]].add(channel)

    @rule(name=people, data=data)
    def state(self, name: str, data: st.DataObject) -> None:
        """A newer statement by name opens what it covers."""
        update = self.draw_update(data, "granted", "granted", "denied", None)
        self.run(self.engine.customers.set_consents(name, update))
        self.opened(name, update)

    def opened(self, name: str, update: dict[str, dict[str, Any]]) -> None:
        for purpose, channels in update.items():
            for channel, said in channels.items():
                if said != "denied":
                    self.closed[self.leads[name]] -= self.cells(purpose, channel)
                    self.note_grant(name, purpose, channel)

    def note_grant(self, name: str, purpose: str, channel: str) -> None:
        cells = dict.fromkeys(self.cells(purpose, channel), self.now)
        self.opened_at[self.leads[name]] |= cells

    @rule(name=people, data=data)
    def state_as_of_long_ago(self, name: str, data: st.DataObject) -> None:
        """A statement from before all this opens nothing."""
        old = ConsentStatement(state="granted", at=from_micros(NOON - 9 * DAY))
        update = self.draw_update(data, old)
        if data.draw(st.booleans()):
            self.run(self.engine.customers.set_consents(name, update))
        else:
            self.load(CustomerRow(customer_id=name, consents=update))

    @rule(name=people, data=data)
    def reach(self, name: str, data: st.DataObject) -> None:
        channels = st.lists(st.sampled_from(self.channels), unique=True)
        update = CustomerUpdate(reachable=data.draw(st.none() | channels))
        self.run(self.engine.customers.update(name, update))

    @rule(name=people, data=data, forced=st.sampled_from([False, False, False, True]))
    def load_row(self, name: str, data: st.DataObject, forced: bool) -> None:
        channels = st.lists(st.sampled_from(self.channels), unique=True)
        row = CustomerRow(
            customer_id=name,
            consents=self.draw_update(data, "granted", "granted", "denied", None),
            reachable=data.draw(st.none() | channels),
        )
        self.rows.append(row)
        self.load(row, force=forced)
        for purpose, channels in row.consents.items():
            for channel in channels:
                self.note_grant(name, purpose, channel)
        if forced:
            self.opened(name, row.consents)
            self.bounced[self.leads[name]] -= set(row.reachable or ())

    @precondition(lambda self: self.rows)
    @rule(data=data)
    def load_a_row_again(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(self.rows))
        self.load(row)
        for purpose, channels in row.consents.items():
            for channel in channels:
                self.note_grant(row.customer_id, purpose, channel)

    def load(self, row: CustomerRow, *, force: bool = False) -> None:
        self.run(Loading(self.engine.runtime, force=force).put(row))

    @rule(into=people, other=people)
    def merge(self, into: str, other: str) -> None:
        target, source = self.leads[into], self.leads[other]
        try:
            self.run(self.engine.customers.merge(into, other))
        except (NotFound, InputError):
            return
        self.merged(target, source)

    @rule(name=people)
    def claim(self, name: str) -> None:
        """The customer of an alias alone is merged into whoever claims it."""
        update = CustomerUpdate(aliases={"email": "x@y"})
        view = self.run(self.engine.customers.update(name, update))
        if not view.refused_aliases:
            read = resolve(self.engine.runtime, "email:x@y")
            merged = self.run(read).document.customer_id
            if merged != self.leads["email:x@y"]:
                self.merged(merged, self.leads["email:x@y"])

    def merged(self, target: str, source: str) -> None:
        if target == source:
            return
        self.closed[target] |= self.closed.pop(source)
        self.bounced[target] |= self.bounced.pop(source)
        for name, owner in self.leads.items():
            if owner == source:
                self.leads[name] = target

    @rule()
    def alias_leads_to_whoever_it_is(self) -> None:
        request = DecisionRequest(placement="outbound", alias=Alias("email", "x@y"), dry_run=True)
        found = self.run(self.engine.decide(request))
        assert found.customer_id in self.leads.values()


class TestOptOuts(OptOutMachine.TestCase):
    settings = settings(
        max_examples=60,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
