"""A state machine drives the real store and is judged, decision by decision, by the oracle."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from decision.core import consent
from decision.core import records as log
from decision.core.clock import DAY, HOUR, MINUTE, SECOND, from_micros
from decision.core.consent import ANY
from decision.core.document import (
    Consent,
    Contact,
    ContactKind,
    ContactState,
    Document,
    EventHistory,
    Signal,
)
from decision.core.event_effects import contacts_of
from decision.core.identifiers import partition_of
from decision.core.schema import CustomerUpdate, DecisionRequest, Event
from decision.engine import Engine, EngineSettings, InputError, NotFound, build_snapshot
from decision.rulebook.reader import load_files
from decision.store import MemoryStore, RedisStore
from tests.core import oracle
from tests.core.small import NOON

RULES = """
settings: {timezone: UTC, currency: EUR, exploration: "off"}
purposes:
  marketing: {consent: opt_in}
  tips: {consent: opt_out}
  service: {consent: not_required}
channels:
  push:
    cost: 0.02
    quiet_hours: {from: "22:00", to: "08:00", except: [service]}
    reservation: {expires_after: 1h, then: release}
  email: {cost: 0.03, reservation: {expires_after: 2h, then: count}}
  wechat:
    reply_window:
      - {opened_by: wechat.message, lasts: 48h, allows: 2}
      - {opened_by: wechat.scan, lasts: 1m, allows: 1}
placements:
  outbound: {channels: [push, email, wechat]}
messages:
  offer: {purpose: marketing, category: sale, tags: [coupon], channels: [push, email], value: 10, content: {title: a}}
  chat: {purpose: marketing, category: chat, channels: [wechat], value: 9, content: {title: b}}
  tip: {purpose: tips, category: content, channels: [push, email], value: 8, budget: {per_day: 2}, content: {title: c}}
  order: {purpose: service, category: order, channels: [push], value: 1, budget: {total: 3}, content: {title: d}}
caps:
  marketing-week: {of: {purpose: marketing}, at_most: 3, within: 7d}
  push-day: {of: {channel: push}, at_most: 2, within: calendar day}
  once: {of: {tags: coupon}, per: message, at_most: 1, within: 1d}
  by-category: {of: {purpose: [marketing, tips]}, per: category, at_most: 2, within: 48h}
budgets:
  money: {of: {purpose: [marketing, tips]}, spend: 0.1, per: calendar day}
suppressions:
  dismissed: {event: message.dismissed, times: 2, within: 3d, per: message, pause: 5d}
"""
COSTS = {"push": 20_000, "email": 30_000, "wechat": 0}
SPEND = 100_000
BUDGETS = {"tip": ("per_day", 2), "order": ("total", 3)}
PURPOSES = ("marketing", "tips")
CHANNELS = ("push", "email", "wechat")
CUSTOMERS = ("anna", "bo", "王")
CONFIRM = ("message.sent", "message.delivered")
SEEN = ("message.shown", "message.opened", "message.clicked", "message.replied")
RELEASE = ("message.failed", "message.not_shown")
_prefixes = itertools.count()


@dataclass
class Row:
    """One contact as the oracle keeps it."""

    kind: ContactKind
    at: int
    decision_id: str
    lasts: int
    then: str
    settled: str | None = None
    settled_at: int = 0
    final: bool = False


@dataclass
class Person:
    """One customer as the oracle keeps it."""

    zone: str | None = None
    contacts: list[Row] = field(default_factory=list)
    consents: dict[tuple[str, str], bool] = field(default_factory=dict)
    unreachable: set[str] = field(default_factory=set)
    reachable: list[str] | None = None
    signals: list[Signal] = field(default_factory=list)
    opened: dict[str, int] = field(default_factory=dict)

    def document(self) -> Document:
        kinds = [row.kind for row in self.contacts]
        contacts = [
            Contact(index, row.at, self._state(row), row.lasts // SECOND, 0)
            for index, row in enumerate(self.contacts)
        ]
        events = {kind: EventHistory(total=1, last_at=at) for kind, at in self.opened.items()}
        return Document(
            customer_id="", contacts=contacts, kinds=kinds, signals=self.signals, events=events
        )

    @staticmethod
    def _state(row: Row) -> ContactState:
        if row.settled is not None:
            return ContactState.CONFIRMED if row.settled == "confirmed" else ContactState.RELEASED
        return (
            ContactState.RESERVED_THEN_COUNT
            if row.then == "count"
            else ContactState.RESERVED_THEN_RELEASE
        )

    def agrees(self, purpose: str, channel: str) -> bool:
        if purpose == "service":
            return True
        for key in ((purpose, channel), (purpose, ANY)):
            if key in self.consents:
                return self.consents[key]
        return purpose == "tips"


def stated_of(person: Person) -> consent.Consents:
    """The oracle's consents in the form in which customers have them."""
    found: consent.Consents = {}
    for (purpose, channel), granted in person.consents.items():
        found.setdefault(purpose, {})[channel] = Consent(granted=granted)
    return found


class ContactMachine(RuleBasedStateMachine):
    """The engine on one store beside the oracle's people."""

    backend = "memory"
    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now = NOON
        self.people = {name: Person() for name in CUSTOMERS}
        self.leads = {name: name for name in CUSTOMERS}
        self.decided: list[tuple[str, str]] = []
        self.given: list[Row] = []
        self.logged = dict.fromkeys(CUSTOMERS, 0)

    @initialize()
    def start(self) -> None:
        definition = load_files({"rules.yaml": RULES}).definition
        assert definition is not None
        self.definition = definition
        self.store: Any = (
            MemoryStore(lambda: self.now / SECOND)
            if self.backend == "memory"
            else RedisStore(self.url, prefix=f"machine{next(_prefixes)}:")
        )
        self.run(self.store.start())
        self.engine = Engine(self.store, EngineSettings(), lambda: self.now)
        self.engine.use(
            self.run(build_snapshot(definition, None, self.store, from_micros(NOON), durable=False))
        )

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.run(self.store.close())
        self.loop.close()

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def person(self, name: str) -> Person:
        return self.people[self.leads[name]]

    def counter(self, message: str, at: int) -> str:
        per_day = BUDGETS[message][0] == "per_day"
        return f"{message}:{from_micros(at).date() if per_day else 'total'}"

    def holds(self, row: Row) -> bool:
        """Whether a contact holds what it took, whatever became of the customer."""
        return row.settled == "confirmed" or (
            row.settled is None and (row.then == "count" or self.now < row.at + row.lasts)
        )

    def held(self, counter: str) -> int:
        """How much of a message's budget the contacts ever made hold."""
        return sum(
            self.holds(row)
            for row in self.given
            if row.kind.message in BUDGETS and self.counter(row.kind.message, row.at) == counter
        )

    def spent(self, at: int, more: Sequence[Row] = ()) -> int:
        """What the contacts of a day hold of its money, in millionths."""
        return sum(
            COSTS[row.kind.channel] * self.holds(row)
            for row in (*self.given, *more)
            if row.kind.purpose in PURPOSES and from_micros(row.at).date() == from_micros(at).date()
        )

    def affords(self, candidate: Any, more: Sequence[Row]) -> bool:
        budget = BUDGETS.get(candidate.message)
        if budget and self.held(self.counter(candidate.message, self.now)) >= budget[1]:
            return False
        cost = COSTS[candidate.channel]
        if candidate.purpose not in PURPOSES or not cost:
            return True
        return self.spent(self.now, more) + cost <= SPEND

    names = st.sampled_from(CUSTOMERS)

    @rule(step=st.sampled_from([1, SECOND, MINUTE, 59 * MINUTE, HOUR, 5 * HOUR, DAY, 3 * DAY]))
    def wait(self, step: int) -> None:
        self.now += step

    @rule(name=names, limit=st.sampled_from([1, 1, 1, 3]))
    def decide(self, name: str, limit: int) -> None:
        person = self.person(name)
        decision = self.run(
            self.engine.decide(
                DecisionRequest(placement="outbound", customer_id=name, limit=limit, explain=True)
            )
        )
        assert decision.customer_id == self.leads[name]
        policy = self.engine.snapshot.policy
        expected: list[tuple[str, str]] = []
        trial = replace(person, contacts=list(person.contacts))
        while len(expected) < limit:
            best = None
            for candidate in policy.candidates:
                free = (
                    trial.agrees(candidate.purpose, candidate.channel)
                    and candidate.channel not in trial.unreachable
                    and self.affords(candidate, trial.contacts[len(person.contacts) :])
                    and candidate.channel in (trial.reachable or CHANNELS)
                    and candidate.message not in {message for message, _ in expected}
                    and oracle.passes(
                        self.definition,
                        trial.document(),
                        candidate,
                        self.now,
                        ZoneInfo(person.zone or "UTC"),
                    )
                )
                if free and (best is None or candidate.value > best.value):
                    best = candidate
            if best is None:
                break
            expected.append((best.message, best.channel))
            trial.contacts.append(self._row(best, decision.decision_id))
        chosen = [(row.message, row.channel) for row in decision.selections]
        assert chosen == expected, decision.explanation
        self.given += trial.contacts[len(person.contacts) :]
        person.contacts = trial.contacts
        if chosen:
            self.decided.append((name, decision.decision_id))
        self.logged[self.leads[name]] += 1

    def _row(self, candidate: Any, decision_id: str) -> Row:
        reservation = self.engine.snapshot.policy.channels[candidate.channel].reservation
        kind = ContactKind(
            candidate.message,
            candidate.channel,
            candidate.purpose,
            candidate.category,
            candidate.tags,
        )
        return Row(kind, self.now, decision_id, reservation.expires_after, reservation.then)

    @precondition(lambda self: self.decided)
    @rule(
        data=st.data(),
        kind=st.sampled_from([*CONFIRM, *SEEN, *RELEASE, "message.dismissed", "message.bounced"]),
        age=st.sampled_from([0, 1, SECOND, MINUTE, HOUR]),
    )
    def outcome(self, data: st.DataObject, kind: str, age: int) -> None:
        name, decision_id = data.draw(st.sampled_from(self.decided))
        person = self.person(name)
        rows = [row for row in person.contacts if row.decision_id == decision_id]
        row = data.draw(st.sampled_from(rows)) if rows else None
        found = self.run(self.store.read(self.leads[name])).document
        if row is not None and not contacts_of(found, decision_id) and row in self.given:
            self.given[self.given.index(row)] = replace(row)  # its contact is forgotten
        at = self.now - age
        answer = self.run(
            self.engine.events.record(
                [
                    Event(
                        type=kind,
                        customer_id=name,
                        decision_id=decision_id,
                        message=row.kind.message if row else None,
                        at=from_micros(at),
                        properties={"permanent": age == HOUR},
                    )
                ]
            )
        )
        if rows:
            assert answer.accepted == 1, answer
        if row is None or answer.accepted == 0:
            return
        self._settle(row, kind, at)
        if kind == "message.bounced" and age == HOUR:
            person.unreachable.add(row.kind.channel)
        if kind == "message.dismissed":
            person.signals.append(
                Signal(kind, at, row.kind.message, row.kind.channel, row.kind.category)
            )

    @staticmethod
    def _settle(row: Row, kind: str, at: int) -> None:
        if kind in (*SEEN, "message.dismissed"):
            row.settled, row.final = "confirmed", True
            return
        if row.final:
            return
        becomes = "confirmed" if kind in CONFIRM else "released"
        second = max(0, (at - row.at) // SECOND)
        if row.settled is not None and (
            row.settled_at > second or (row.settled_at == second and becomes == "released")
        ):
            return
        row.settled, row.settled_at = becomes, second

    @rule(name=names, kind=st.sampled_from(["wechat.message", "wechat.scan"]))
    def reply(self, name: str, kind: str) -> None:
        self.run(self.engine.events.record([Event(type=kind, customer_id=name)]))
        self.person(name).opened[kind] = self.now

    @rule(
        name=names,
        purpose=st.sampled_from(PURPOSES),
        channel=st.sampled_from([*CHANNELS, ANY]),
        state=st.sampled_from(["granted", "granted", "denied", None]),
    )
    def state_consent(self, name: str, purpose: str, channel: str, state: Any) -> None:
        self.run(self.engine.customers.set_consents(name, {purpose: {channel: state}}))
        person = self.person(name)
        if state is None:
            person.consents.pop((purpose, channel), None)
        else:
            person.consents[purpose, channel] = state == "granted"

    @rule(name=names, zone=st.sampled_from(["UTC", "Asia/Shanghai", "America/New_York"]))
    def move(self, name: str, zone: str) -> None:
        self.run(self.engine.customers.update(name, CustomerUpdate(timezone=zone)))
        self.person(name).zone = zone

    @rule(name=names, channels=st.lists(st.sampled_from(CHANNELS), min_size=1) | st.none())
    def reach(self, name: str, channels: list[str] | None) -> None:
        self.run(self.engine.customers.update(name, CustomerUpdate(reachable=channels)))
        self.person(name).reachable = channels

    @precondition(lambda self: self.decided)
    @rule(data=st.data(), kind=st.sampled_from(["message.unsubscribed", "message.complained"]))
    def opt_out(self, data: st.DataObject, kind: str) -> None:
        """Of the contact's purpose on its channel, where that is known; else of everything."""
        name, decision_id = data.draw(st.sampled_from(self.decided))
        person = self.person(name)
        rows = [
            row
            for row in person.contacts
            if row.decision_id == decision_id and row.at > self.now - 30 * DAY
        ]
        row = data.draw(st.sampled_from(rows)) if rows else None
        message = row.kind.message if row else "no such message"
        event = Event(type=kind, customer_id=name, decision_id=decision_id, message=message)
        assert self.run(self.engine.events.record([event])).accepted == 1
        purposes = [row.kind.purpose] if row and row.kind.purpose in PURPOSES else PURPOSES
        for purpose in purposes:
            if row is None:
                for channel in CHANNELS:
                    person.consents.pop((purpose, channel), None)
            person.consents[purpose, row.kind.channel if row else ANY] = False

    @rule(into=names, other=names)
    def merge(self, into: str, other: str) -> None:
        if into == other:
            return
        target, source = self.leads[into], self.leads[other]
        seen = self.run(self.store.read(target)).document.exists
        try:
            view = self.run(self.engine.customers.merge(into, other))
        except NotFound:
            assert not self.people[source].contacts
            return
        except InputError:
            assert self.leads[other] != other
            assert target != source
            return
        assert view.customer_id == target
        if target == source:
            return
        mine, theirs = self.people[target], self.people[source]
        mine.zone = mine.zone or theirs.zone
        mine.contacts = sorted([*mine.contacts, *theirs.contacts], key=lambda row: row.at)
        mine.unreachable |= theirs.unreachable
        if not seen:
            mine.reachable = theirs.reachable
        elif mine.reachable is not None:
            mine.reachable = theirs.reachable and [*mine.reachable, *theirs.reachable]
        mine.signals += theirs.signals
        for kind, at in theirs.opened.items():
            mine.opened[kind] = max(at, mine.opened.get(kind, 0))
        mine.consents = {
            (purpose, channel): stated.granted
            for purpose, channels in consent.merge(stated_of(mine), stated_of(theirs)).items()
            for channel, stated in channels.items()
        }
        for name, owner in self.leads.items():
            if owner == source:
                self.leads[name] = target
        self.people[source] = Person()

    @rule(name=names)
    def erase(self, name: str) -> None:
        owner = self.leads[name]
        self.run(self.engine.customers.erase(name))
        for other, target in list(self.leads.items()):
            if target == owner:
                self.leads[other] = other
                self.people[other] = Person()
                self.logged[other] = 0
        gone = {other for other in CUSTOMERS if self.leads[other] == other}
        self.decided = [
            (other, made)
            for other, made in self.decided
            if other not in gone
            or any(row.decision_id == made for row in self.people[other].contacts)
        ]
        with pytest.raises(NotFound):
            self.run(self.engine.customers.get(name))

    @rule()
    def check_budgets(self) -> None:
        limited = (row for row in self.given if row.kind.message in BUDGETS)
        counters = sorted({self.counter(row.kind.message, row.at) for row in limited})
        self.run(self.store.expire_budgets(self.now))
        if counters:
            spent = self.run(self.store.read("", budgets=counters)).budgets
            assert spent == {counter: self.held(counter) for counter in counters}
        for at in {from_micros(row.at).date(): row.at for row in self.given}.values():
            counter = f"money/EUR/day:{from_micros(at).date()}"
            found = self.run(self.store.read("", budgets=[counter])).budgets[counter]
            assert found == self.spent(at)

    @rule()
    def check_contacts_and_records(self) -> None:
        for name in CUSTOMERS:
            if self.leads[name] != name:
                continue
            person = self.people[name]
            try:
                view = self.run(self.engine.customers.get(name))
            except NotFound:
                assert not person.contacts
                continue
            oldest = self.now - 30 * DAY
            kept = [row for row in person.contacts if row.at > oldest]
            stored = [row for row in view.contacts if row.at > from_micros(oldest)]
            assert len(stored) == len(kept)
            rows = self.run(self.store.log_records(partition_of(name)))
            made = [log.decode_decision(row.body) for row in rows if row.kind == "decision"]
            assert sum(row.customer_id == name for row in made) == self.logged[name]


STEPS = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class TestMemory(ContactMachine.TestCase):
    settings = settings(STEPS, max_examples=60)


@pytest.fixture(scope="module", autouse=True)
def _redis(redis_url: str) -> Iterator[None]:
    RedisMachine.url = redis_url
    yield


class RedisMachine(ContactMachine):
    """The same on a real Redis."""

    backend = "redis"


class TestRedis(RedisMachine.TestCase):
    settings = STEPS


@pytest.mark.soak
class TestRedisAtLength(RedisMachine.TestCase):
    settings = settings(STEPS, max_examples=1_500, stateful_step_count=60)
