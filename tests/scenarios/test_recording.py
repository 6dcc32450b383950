"""`nextbest test --record`: a logged decision becomes a scenario that comes out the same."""

from __future__ import annotations

import asyncio
import json
import random
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core import calendar, events
from decision.core.clock import DAY, HOUR, SECOND, from_micros, to_micros
from decision.core.conditions import clauses
from decision.core.decide import Question
from decision.core.definition import PolicyDefinition
from decision.core.document import Contact, ContactKind, ContactState, Document, EventHistory
from decision.core.errors import FileError
from decision.core.events import Measure
from decision.core.journeys.state import JourneyState, Run
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from decision.core.schema import CustomerUpdate, DecisionRequest, Event, TriggerEvent
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.rulebook.reader import load_files, load_folder
from decision.rulebook.yaml_source import read_yaml
from decision.scenarios import run_scenarios, scenarios_in
from decision.scenarios.histories import events_of
from decision.scenarios.recorded import Logged, best_verdict, record
from decision.scenarios.recording import append, find_logged, run_recorded
from decision.scenarios.schema import InJourney
from decision.scenarios.writing import as_yaml, plain
from decision.store.memory_store import MemoryStore

RULES = Path(__file__).parents[2] / "rules"
ZONES = [None, "Europe/Paris", "Asia/Kolkata", "America/St_Johns", "Asia/Shanghai"]


@cache
def sample() -> PolicyDefinition:
    definition = load_folder(RULES).definition
    assert definition is not None
    return definition


# ---------------------------------------------------------------- a life, and its last decision


class Life:
    """A random customer of the sample policy: attributes, consents, events and decisions."""

    def __init__(self, definition: PolicyDefinition, seed: int) -> None:
        self.definition = definition
        self.policy = compile_policy(definition)
        self.random = random.Random(seed)
        self.now = to_micros(datetime(2026, 10, 20, 10, tzinfo=UTC)) + self.random.randrange(
            90 * DAY
        )
        self.start = self.now - self.random.choice([3 * HOUR, 3 * DAY, 40 * DAY, 120 * DAY])
        self.clock = self.start
        self.store = MemoryStore()
        self.engine = Engine(self.store, EngineSettings(), lambda: self.clock)
        self.given: list[tuple[str, str]] = []
        self.types = [*self.policy.measures(), "message.dismissed", "message.bounced"] * 4
        self.types += ["message.unsubscribed", "message.complained"]

    async def live(self) -> str:
        """The id of the last decision."""
        chance = self.random
        await self.store.start()
        gamma = chance.choice([None, 1.0, 100.0])
        policy = msgspec.structs.replace(self.definition.settings, exploration=gamma)
        changed = msgspec.structs.replace(self.definition, settings=policy)
        at = from_micros(self.start)
        self.engine.use(await build_snapshot(changed, None, self.store, at, durable=False))
        await self.be_somebody()
        moments = sorted(self.moment() for _ in range(chance.randrange(1, 50)))
        for self.clock in moments:
            if chance.random() < 0.75:
                await self.engine.events.record(
                    [self.event() for _ in range(chance.choice([1, 1, 5]))]
                )
            else:
                await self.ask()
        self.clock = self.now
        return await self.ask()

    def moment(self) -> int:
        if self.random.random() < 0.5:
            return self.random.randrange(self.start, self.now + 1)
        return self.now - self.random.randrange(min(self.now - self.start, 3 * DAY))

    async def be_somebody(self) -> None:
        chance = self.random
        everything: dict[str, Any] = {
            "country": chance.choice(["CN", "FR"]),
            "lifetime_spend": chance.choice([100, 3000, 9000, 20000.5]),
            "orders": chance.randrange(5),
            "favourite_category": chance.choice(["tea", "clothes", "茶具: 杯 #1"]),
            "language": chance.choice(["zh-CN", "en", "no"]),
            "open_complaint": chance.random() < 0.1,
            "is_employee": chance.random() < 0.1,
            "loyalty_points": chance.randrange(900),
            "segment": {"vip": chance.random() < 0.3, "secret": "x"},
            "avg_order_value": 90,
            "usual_order": chance.choice([89, 190, 500]),
            "birthday": f"{from_micros(self.now).date().replace(year=1984)}T16:00:00+00:00",
            "email": "mei@example.org",
            "phone": "13800000000",
        }
        attributes = {name: one for name, one in everything.items() if chance.random() < 0.6}
        update = CustomerUpdate(attributes=attributes, timezone=chance.choice(ZONES))
        if chance.random() < 0.3:
            update = msgspec.structs.replace(update, reachable=["push", "email", "in_app"])
        await self.engine.customers.update("c-1", update)
        if chance.random() < 0.8:
            consents: Any = {"marketing": {"*": "granted"}}
            if chance.random() < 0.3:
                consents["tips"] = {"email": "denied"}
            await self.engine.customers.set_consents("c-1", consents)

    def event(self) -> Event:
        chance = self.random
        kind = chance.choice(self.types)
        at = self.clock
        if chance.random() < 0.3:
            at -= chance.randrange(self.clock - self.start + 1)
        properties: dict[str, Any] = {}
        about: dict[str, Any] = {}
        if kind == "purchase":
            properties = {"amount": round(chance.random() * 900, 2), "category": "tea"}
        elif kind == "cart_add":
            properties = {"cart_value": chance.randrange(5000)}
        elif kind.startswith("message.") and self.given and chance.random() < 0.8:
            decision_id, message = chance.choice(self.given)
            about = {"decision_id": decision_id, "message": message}
        elif kind.startswith("message."):
            properties = {"channel": chance.choice(["email", "push"])}
        return Event(
            type=kind, customer_id="c-1", at=from_micros(at), properties=properties, **about
        )

    async def ask(self) -> str:
        chance = self.random
        event = None
        if chance.random() < 0.5:
            kinds = ["cart_add", "birthday", "order.delivered", "wechat.message", "wechat.scan"]
            event = TriggerEvent(
                type=chance.choice(kinds),
                id=chance.choice([None, f"e{self.clock}"]),
                properties={"cart_value": 500, "text": "订单", "phone": "13800000000"},
            )
        request = DecisionRequest(
            placement=chance.choice(list(self.policy.placements)),
            customer_id="c-1",
            event=event,
            context={
                "weather": "rain",
                "device": "ios",
                "cart_value": 190,
                "ip": "10.0.0.1",
                "app_version": chance.choice(["1.2", "2.9.3", "3.2.1", "3.10.0"]),
            },
            channels=chance.choice([None, None, ["push"], ["email", "push"]]),
            limit=chance.choice([1, 1, 3]),
        )
        decision = await self.engine.decide(request)
        if decision.outcome == "selected":
            self.given += [(decision.decision_id, one.message) for one in decision.selections]
        return decision.decision_id


class Seen:
    def see(self, policy: Policy, verdict: Any, decision: Any) -> None:
        self.policy, self.verdict = policy, verdict

    def happened(self, event_type: str, properties: dict[str, Any]) -> None:
        pass

    def went(self, done: Any) -> None:
        pass


async def logged_life(definition: PolicyDefinition, seed: int) -> Logged:
    life = Life(definition, seed)
    found = await find_logged(life.store, await life.live())
    assert found is not None
    assert found[1] is not None
    return found[0]


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "anonymous"), [(n, n % 2 == 0) for n in range(10)])
def test_whatever_was_decided_its_scenario_decides_the_same(seed: int, anonymous: bool) -> None:
    definition = sample()
    logged = asyncio.run(logged_life(definition, seed))
    policy = compile_policy(definition)
    recorded = record(logged, policy, policy, anonymous=anonymous)
    text = as_yaml(plain(recorded.scenario))
    placed, _ = scenarios_in("recorded", text, policy)
    assert placed[0].scenario == recorded.scenario, "it reads back as it was"
    seen = Seen()
    [result] = asyncio.run(run_scenarios(definition, placed, durable=False, watcher=seen))
    assert result.problems == []
    best = best_verdict(policy, logged)
    assert seen.verdict.fallen == best.fallen
    for when in (one.when for one in (*definition.messages, *definition.rules, *definition.states)):
        for clause in clauses(when):
            then = best.values[policy.fields.slot(clause.field)]
            now = seen.verdict.values[seen.policy.fields.slot(clause.field)]
            assert now == (pytest.approx(then) if isinstance(then, float) else then), clause.field
    for secret in ("mei@example.org", "13800000000", "10.0.0.1", "secret"):
        assert secret not in text
    assert ("c-1" in text) is not anonymous
    assert (logged.decision_id in text) is not anonymous


# ---------------------------------------------------------------- histories

MEASURES = [
    Measure(),
    Measure(window=7 * DAY),
    Measure(window=2 * HOUR, sums=("amount",), last=("amount", "kind")),
    Measure(window=30 * DAY, days=28, sums=("amount",), last=("kind",)),
    Measure(days=28, last=("kind",)),
    Measure(window=90 * DAY, days=90, sums=("amount", "weight"), last=("weight",)),
]


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(MEASURES),
    st.sampled_from([zone for zone in ZONES if zone]),
    st.lists(
        st.tuples(
            st.one_of(st.integers(0, 3 * DAY // SECOND), st.integers(0, 120 * DAY // SECOND)),
            st.integers(1, 5),
            st.fixed_dictionaries(
                {},
                optional={
                    "amount": st.integers(1, 90),
                    "weight": st.integers(0, 9),
                    "kind": st.sampled_from(["tea", "cups"]),
                },
            ),
        ),
        min_size=1,
        max_size=25,
    ),
    st.integers(1_700_000_000, 1_800_000_000),
)
def test_events_made_of_a_history_are_kept_as_that_history(
    measure: Measure, zone_name: str, past: list[tuple[int, int, dict[str, Any]]], second: int
) -> None:
    zone, now = calendar.zone(zone_name), second * SECOND
    times = sorted(
        ((now - age * SECOND, many, what) for age, many, what in past), key=lambda one: one[0]
    )
    history = kept([(at, what) for at, many, what in times for _ in range(many)], measure, zone)
    document = Document(customer_id="c", events={"buy": history})
    found = events_of(document, {"buy": measure}, now, zone, zone)
    made = [(to_micros(at), one.properties) for one in found for at in one.moments()]
    again = kept(sorted(made, key=lambda pair: pair[0]), measure, zone)
    assert readings(again, measure, now, zone) == readings(history, measure, now, zone)


def kept(past: list[tuple[int, dict[str, Any]]], measure: Measure, zone: Any) -> EventHistory:
    history = EventHistory(last={}, buckets=[], days=[])
    for at, properties in past:
        events.record(history, measure, at, properties, at, zone)
    return history


def readings(history: EventHistory, measure: Measure, now: int, zone: Any) -> dict[str, Any]:
    """Everything that fields could read of a history."""
    windows = [
        w for w in (HOUR, 2 * HOUR, 2 * DAY, 7 * DAY, 30 * DAY, 90 * DAY) if w <= measure.window
    ]
    today = from_micros(now).astimezone(zone).date().toordinal()
    return {
        "total": history.total,
        "last_at": history.last_at,
        "last": history.last,
        "counts": [events.count_within(history, window, now) for window in windows],
        "sums": [events.sum_within(history, n, w, now) for n in measure.sums for w in windows],
        "days": [events.active_days(history, n, today) for n in range(1, measure.days + 1)],
    }


# ---------------------------------------------------------------- single things

SMALL = """\
purposes: {marketing: {consent: opt_out}}
channels: {push: {reservation: {expires_after: 1d, then: release}}, email: {}}
placements: {outbound: {channels: [push, email]}}
messages:
  a: {purpose: marketing, channels: [push, email], value: 5, category: x}
  b: {purpose: marketing, channels: [email], value: 4, category: old, budget: {per_day: 2}}
caps: {weekly: {of: {category: old}, at_most: 1, within: 7d}, mine: {of: {message: a}, at_most: 1, within: 7d}}
"""
NOW = to_micros(datetime(2026, 11, 21, 10, tzinfo=UTC))


def small() -> Policy:
    definition = load_files({"all.yaml": SMALL}).definition
    assert definition is not None
    return compile_policy(definition)


def logged(policy: Policy, **changes: Any) -> Logged:
    document = Document(
        customer_id="c-1", kinds=[ContactKind("gone", "push", "marketing", "old", ())]
    )
    given = {
        "decision_id": "01M808A9AXEBQNE5SR2JSR419P",
        "decided_at": NOW,
        "customer_id": "c-1",
        "question": Question(placement="outbound"),
        "document": document,
        "policy_version": policy.version,
        "outcome": "selected",
    }
    return Logged(**{**given, **changes})


def passes(policy: Policy, one: Logged) -> tuple[Any, list[str]]:
    recorded = record(one, policy, policy)
    _, result = run_recorded(policy.definition, recorded.scenario, "rules")
    assert result.problems == []
    return recorded.scenario, recorded.notes


def test_what_the_model_said_is_repeated() -> None:
    said = {"a/push": 0.1, "a/email": 0.2, "b/email": 0.9}
    scenario, notes = passes(small(), logged(small(), probabilities=said, given=("b/email",)))
    assert scenario.probabilities == said
    assert scenario.expect.message == "b"
    assert notes == []


def test_an_exploring_decision_says_so_and_expects_the_best() -> None:
    scenario, notes = passes(small(), logged(small(), given=("b/email",)))
    assert scenario.expect.message == "a"
    assert notes == ["the decision explored: it gave b/email; the best is a/push"]


def test_a_contact_of_a_message_that_is_gone_still_counts_as_what_it_was() -> None:
    one = logged(small(), given=("a/push",))
    one.document.contacts = [Contact(0, NOW - DAY, ContactState.CONFIRMED, 0, 0)]
    scenario, _ = passes(small(), one)
    assert scenario.customer.contacts[0].category == "old"


def test_contacts_that_are_kept_as_a_number_are_written_out() -> None:
    """A cap for ever counts them; without one nobody needs them."""
    policy = small()
    one = logged(policy, given=("a/push",))
    one.document.earlier = {0: 3}
    scenario, _ = passes(policy, one)
    assert scenario.customer.contacts == []
    once = SMALL.replace(
        "caps: {", "caps: {once: {of: {category: old}, at_most: 3, within: ever}, "
    )
    definition = load_files({"all.yaml": once}).definition
    assert definition is not None
    policy = compile_policy(definition)
    scenario, _ = passes(policy, one)
    assert [contact.category for contact in scenario.customer.contacts] == ["old"] * 3
    assert scenario.expect.reasons["b/email"] == "capped"
    old = Contact(0, NOW - 400 * DAY, ContactState.CONFIRMED, 0, 0)
    one.document.earlier, one.document.contacts = {}, [old]
    assert len(passes(policy, one)[0].customer.contacts) == 1


def test_a_reservation_counts_until_it_lapses() -> None:
    one = logged(small(), outcome="selected", given=("b/email",))
    one.document.kinds = [ContactKind("a", "push", "marketing", "x", ())]
    lapses = Contact(0, NOW - HOUR, ContactState.RESERVED_THEN_RELEASE, 24 * 3600, 0)
    lapsed = Contact(0, NOW - 2 * DAY, ContactState.RESERVED_THEN_RELEASE, 24 * 3600, 0)
    failed = Contact(0, NOW - HOUR, ContactState.RELEASED, 9, 0)
    one.document.contacts = [lapsed, lapses, failed]
    scenario, _ = passes(small(), one)
    [contact] = scenario.customer.contacts
    assert contact.counts_until == from_micros(NOW + 23 * HOUR)
    assert scenario.expect.reasons["a/push"] == "capped"


def test_the_date_and_the_operand_that_decided_are_kept() -> None:
    when = "{customer.renewal.days_until: {gte: 0, lt: {field: customer.notice}}}"
    text = SMALL.replace("category: x}", f"category: x, when: {when}}}")
    assert text != SMALL
    definition = load_files({"all.yaml": text}).definition
    assert definition is not None
    policy = compile_policy(definition)
    one = logged(policy, given=("a/push",))
    day = from_micros(NOW + 3 * DAY).date().isoformat()
    one.document.attributes = {"renewal": day, "notice": 7, "email": "mei@example.org"}
    scenario, _ = passes(policy, one)
    assert scenario.customer.attributes == {"renewal": day, "notice": 7}
    assert scenario.expect.message == "a"


def test_where_the_customer_was_in_a_journey_that_is_read_is_kept() -> None:
    text = SMALL.replace("category: x}", "category: x, when: {journey.w.step: pause}}")
    text += (
        "journeys: {w: {start: {event: go}, steps: {hello: {ask: outbound}, pause: {wait: 9d}}}}"
    )
    definition = load_files({"all.yaml": text}).definition
    assert definition is not None
    policy = compile_policy(definition)
    one = logged(policy, given=("a/push",))
    run = Run("r-1", "", NOW - DAY, "pause", NOW - HOUR, NOW + DAY, 2)
    one.document.journeys = JourneyState(runs={"w": [run], "gone": [run]})
    scenario, _ = passes(policy, one)
    assert scenario.customer.journeys == {
        "w": InJourney(step="pause", since=from_micros(NOW - HOUR))
    }
    assert scenario.expect.message == "a"


def test_an_id_that_is_an_alias_is_not_written_down() -> None:
    one = logged(small(), customer_id="email:mei@example.org", given=("a/push",))
    scenario, _ = passes(small(), one)
    assert "mei" not in as_yaml(plain(scenario))


def test_spent_budgets_stay_spent() -> None:
    said = {"a/push": 0.0, "a/email": 0.0, "b/email": 0.9}
    one = logged(small(), probabilities=said, spent=frozenset({"b/email"}), outcome="none")
    scenario, _ = passes(small(), one)
    assert scenario.spent["b"].per_day == 2
    assert scenario.expect.reasons["b/email"] == "budget_spent"


def test_what_was_spent_of_budgets_of_many_messages_stays_spent() -> None:
    """Of a message that its channel's money held back, the own budget is not spent."""
    text = SMALL + "budgets: {mail: {of: {channel: email}, spend: 5, per: calendar day}}\n"
    definition = load_files(
        {"all.yaml": text.replace("email: {}", "email: {cost: 0.1}")}
    ).definition
    assert definition is not None
    policy = compile_policy(definition)
    said = {"a/push": 0.0, "a/email": 0.9, "b/email": 0.9}
    spent = frozenset({"a/email", "b/email"})
    one = logged(
        policy, probabilities=said, spent=spent, budgets={"mail": 4_910_000}, outcome="none"
    )
    scenario, _ = passes(policy, one)
    assert scenario.spent == {"mail": 4.91}
    assert scenario.expect.reasons["b/email"] == "budget_spent"


TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["no", "null", "12", "1e3", "a: b", "- x", "#", "", " x", "2026-01-01", "*", "é", "\u2028", "a,b", "😀"]
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), TEXTS,
              st.floats(-1e300, 1e300, allow_subnormal=False)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(TEXTS.filter(bool), inner, max_size=3)
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(TEXTS.filter(bool), VALUES, min_size=1, max_size=4))
def test_whatever_is_written_reads_back_the_same(value: dict[str, Any]) -> None:
    source = read_yaml("x.yaml", as_yaml(value))
    assert [one.render() for one in source.diagnostics] == []
    assert source.root is not None
    assert source.root.plain() == [value]


def test_a_scenario_is_appended_once_and_to_scenarios_alone(tmp_path: Path) -> None:

    policy = small()
    scenario = record(logged(policy), policy, policy).scenario
    text = as_yaml(plain(scenario))
    out = tmp_path / "some.yaml"
    append(out, text, scenario.name, policy)
    assert out.read_text("utf-8") == text
    with pytest.raises(FileError, match=r"some\.yaml:1 has this scenario already"):
        append(out, text, scenario.name, policy)
    other = msgspec.structs.replace(scenario, name="another")
    append(out, as_yaml(plain(other)), "another", policy)
    found, diagnostics = scenarios_in("some.yaml", out.read_text("utf-8"), policy)
    assert ([one.scenario for one in found], diagnostics) == ([scenario, other], [])
    (tmp_path / "rules.yaml").write_text(SMALL, "utf-8")
    with pytest.raises(FileError, match="not a file of scenarios"):
        append(tmp_path / "rules.yaml", text, scenario.name, policy)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rules.yaml", "some.yaml"]
    with pytest.raises(FileError, match="cannot be written"):
        append(tmp_path / "no" / "such.yaml", text, scenario.name, policy)


# ---------------------------------------------------------------- the command


@pytest.mark.slow
def test_the_command_finds_the_decision_in_the_store_and_in_the_archive(run, rules: Path) -> None:
    from decision.server.opening import open_store
    from decision.server.settings_reading import read_settings

    async def decide() -> str:
        definition = load_folder(rules).definition
        assert definition is not None
        async with open_store(read_settings(None)) as store:
            engine = Engine(store)
            now = datetime.now(UTC)
            engine.use(await build_snapshot(definition, None, store, now, durable=False))
            await engine.customers.set_consents("c-1", {"marketing": {"*": "granted"}})
            request = DecisionRequest(placement="outbound", customer_id="c-1")
            return (await engine.decide(request)).decision_id

    decision_id = asyncio.run(decide())
    out = rules / "tests" / "recorded.yaml"
    result = run("test", rules, "--record", decision_id, "--out", out)
    assert result.exit_code == 0, result.output
    assert "the scenario passes; it was appended to" in result.stderr
    assert run("test", rules).stdout == "3 scenarios passed, 0 failed\n"
    assert run("archive", "--out", "archive").exit_code == 0
    answer = json.loads(
        run("test", rules, "--record", decision_id, "--archive", "archive", "--json").stdout
    )
    assert answer["passed"] is True
    assert answer["scenario"] == out.read_text("utf-8")
    (rules / "all.yaml").write_text(
        (rules / "all.yaml").read_text("utf-8").replace("value: 5", "value: 1"), "utf-8"
    )
    result = run("test", rules, "--record", decision_id)
    assert result.exit_code == 1
    assert "message must be news, is coupon" in result.stderr
    assert "does not pass with these rules" in result.stderr


def test_a_decision_that_is_nowhere_is_said_so(run, rules: Path, tmp_path: Path) -> None:
    known = "01M808A9AXEBQNE5SR2JSR419P"
    result = run("test", rules, "--record", known)
    assert result.exit_code == 1
    assert "there is no store" in result.stderr
    result = run("test", rules, "--record", known, "--archive", tmp_path)
    assert result.exit_code == 1
    assert "is not in the archive" in result.stderr
    assert run("test", rules, "--record", "xx").exit_code == 2
    assert run("test", rules, "--record", known, "--coverage").exit_code == 2
    assert run("test", rules, "--out", "x.yaml").exit_code == 2
