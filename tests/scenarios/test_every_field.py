"""Whatever a condition may read, a table can ask for in a column, and a scenario can spell out."""

from __future__ import annotations

import json
import re
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core.clock import DAY, from_micros, parse_duration, to_micros
from decision.core.document import Contact, ContactKind, ContactState, Document
from decision.core.fields import FAMILIES, Situation
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from decision.rulebook.reader import load_files
from decision.rulebook.schema_values import value_definitions
from decision.scenarios import scenarios_in
from decision.scenarios.arrange_contacts import contacts_for
from tests.scenarios.conftest import folder_of
from tests.scenarios.test_scenarios import errors_of, run
from tests.scenarios.test_tables import ODD

AGO: Final = "at: 2026-11-20T10:00:00+08:00"
EARLIER: Final = "at: 2026-11-19T10:00:00+08:00"
FIELDS: Final = {
    # field: (its value in a column, the same spelt out)
    "customer.state": ("warm", "customer: {scores: {interest: 20}}"),
    "customer.city": ("Paris", "customer: {attributes: {city: Paris}}"),
    "customer.address.city": ("Paris", "customer: {attributes: {address: {city: Paris}}}"),
    "customer.segment.vip": ("true", "customer: {attributes: {segment: {vip: true}}}"),
    "customer.app": ("2.10.0", "customer: {attributes: {app: 2.10.0}}"),
    "customer.birthday.anniversary_in": ("3", 'customer: {attributes: {birthday: "1990-11-24"}}'),
    "customer.birthday.years_since": ("35", 'customer: {attributes: {birthday: "1990-11-24"}}'),
    "customer.renewal.days_until": ("-2", 'customer: {attributes: {renewal: "2026-11-19"}}'),
    "customer.renewal.days_since": ("2", 'customer: {attributes: {renewal: "2026-11-19"}}'),
    "event.type": ("visit", "ask: {event: {type: visit}}"),
    "event.item": ("tea", "ask: {event: {type: visit, properties: {item: tea}}}"),
    "context.device": ("ios", "ask: {context: {device: ios}}"),
    "placement": ("home", "ask: {placement: home}"),
    "experiment.test": ("blue", "customer: {experiments: {test: blue}}"),
    "time.hour": ("15", "now: 2026-11-21T15:30:00+08:00"),
    "time.weekday": ("tue", "now: 2026-11-24T10:00:00+08:00"),
    "time.date": ("2026-11-01", "now: 2026-11-01T10:00:00+08:00"),
    "time.in.festival": ("true", "now: 2027-02-05T10:00:00+08:00"),
    "contacts.push.count_7d": (
        "2",
        f"customer: {{contacts: [{{message: news, channel: push, {AGO}}}, "
        f"{{message: news, channel: push, {EARLIER}}}]}}",
    ),
    "contacts.marketing.count_30d": (
        "1",
        f"customer: {{contacts: [{{message: news, channel: email, {AGO}}}]}}",
    ),
    "contacts.topics.count_90d": (
        "1",
        f"customer: {{contacts: [{{message: news, channel: email, {AGO}}}]}}",
    ),
    "events.buy.count": ("3", f"customer: {{events: [{{type: buy, {AGO}, times: 3}}]}}"),
    "events.buy.count_7d": ("2", f"customer: {{events: [{{type: buy, {AGO}, times: 2}}]}}"),
    "events.buy.days_since": ("1", f"customer: {{events: [{{type: buy, {AGO}}}]}}"),
    "events.buy.active_days_28d": ("2", f"customer: {{events: [{{type: buy, {AGO}, times: 2}}]}}"),
    "events.buy.sum_amount_30d": (
        "12.5",
        f"customer: {{events: [{{type: buy, {AGO}, properties: {{amount: 12.5}}}}]}}",
    ),
    "events.buy.last_item": (
        "tea",
        f"customer: {{events: [{{type: buy, {AGO}, properties: {{item: tea}}}}]}}",
    ),
    "events.buy.last_at": (
        "2026-11-20T10:00:00+08:00",
        f"customer: {{events: [{{type: buy, {AGO}}}]}}",
    ),
    "events.buy.since.cart": (
        "true",
        f"customer: {{events: [{{type: buy, {AGO}}}, {{type: cart, {EARLIER}}}]}}",
    ),
    "events.visit.since.buy": (
        "false",
        f"customer: {{events: [{{type: buy, {AGO}}}, {{type: visit, {EARLIER}}}]}}",
    ),
    "events.line.count_30d": (
        "2",
        f"customer: {{events: [{{type: buy, {AGO}, properties: {{items: [1, 2]}}}}]}}",
    ),
    "events.message.opened.last_channel": (
        "email",
        f"customer: {{events: [{{type: message.opened, channel: email, {AGO}}}]}}",
    ),
    "events.message.opened.count_7d.push": (
        "2",
        f"customer: {{events: [{{type: message.opened, channel: push, {AGO}, times: 2}}]}}",
    ),
    "score.interest": ("31.5", "customer: {scores: {interest: 31.5}}"),
    "journey.welcome.step": ("pause", "customer: {journeys: {welcome: {step: pause}}}"),
    "journey.welcome.since": (
        "2026-11-20T10:00:00+08:00",
        "customer: {journeys: {welcome: {step: pause, since: 2026-11-20T10:00:00+08:00}}}",
    ),
}

HEAD: Final = "- name: one\n  now: 2026-11-21T10:00:00+08:00\n"
_WHEN = "\n".join(f"        - {{{field}: {{exists: true}}}}" for field in FIELDS)
POLICY = f"""
settings: {{timezone: Asia/Shanghai}}
calendars: {{festival: {{dates: [2027-02-05..2027-02-12]}}}}
purposes: {{marketing: {{consent: opt_in}}, service: {{consent: not_required}}}}
channels: {{push: {{}}, email: {{}}}}
placements: {{outbound: {{channels: [push, email]}}, home: {{channels: [push]}}}}
messages:
  news:
    purpose: marketing
    category: topics
    channels: [push, email]
    value: 1
    when:
      any:
{_WHEN}
states:
  warm: {{when: {{score.interest: {{gte: 20}}, context.device: {{ne: web}}}}}}
  often: {{when: {{contacts.push.count_7d: {{gte: 3}}, time.weekday: {{in: [sat, sun]}}, customer.app: {{vgte: 2.0.0}}}}}}
  cold: {{}}
events: {{line: {{of: buy, each: items}}}}
scores: {{interest: {{adds: {{visit: 1}}, half_life: 30d}}}}
experiments: {{test: {{seed: b, variants: {{red: 50%, blue: 50%}}}}}}
journeys: {{welcome: {{start: {{event: visit}}, steps: {{pause: {{wait: 30d}}, end: {{end: done}}}}}}}}
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return folder_of(tmp_path, POLICY)


def test_the_examples_here_are_of_every_form_that_a_field_can_have() -> None:
    condition = value_definitions()["condition"]
    forms = [rf"^{re.escape(one)}$" for one in condition["properties"]]
    forms = [one for one in forms if not re.match(r"^\^(all|any|not)\$$", one)]
    forms += condition["patternProperties"]
    assert {field.partition(".")[0] for field in FIELDS} == set(FAMILIES)
    assert [form for form in forms if not any(re.search(form, field) for field in FIELDS)] == []


def test_a_column_of_a_table_gives_any_field_its_value(rules: Path) -> None:
    text = HEAD + "  ask: {placement: outbound, event: {type: buy}}\n  table:\n"
    for field, (value, _) in FIELDS.items():
        text += f"    - {{{field}: {value}, fields.{field}: {value}}}\n"
    rows = [result.problems for result in run(rules, text)]
    assert rows == [[]] * len(FIELDS)


def test_a_scenario_without_a_table_can_spell_it_out(rules: Path) -> None:
    text = ""
    for number, (field, (value, spelt)) in enumerate(FIELDS.items()):
        lines = {"now": "now: 2026-11-21T10:00:00+08:00", "ask": "ask: {placement: outbound}"}
        key = spelt.partition(":")[0]
        lines[key] = re.sub("^ask: {(event|context)", r"ask: {placement: outbound, \1", spelt)
        text += f"- name: scenario {number}\n"
        text += "".join(f"  {line}\n" for line in lines.values())
        text += f"  expect: {{fields: {{{field}: {value}}}}}\n"
    assert [result.problems for result in run(rules, text)] == [[]] * len(FIELDS)


@pytest.mark.parametrize(
    "row",
    [
        "events.buy.since.cart: true, events.cart.count_2h: 1, events.buy.count_2h: 1",
        "events.buy.since.cart: true, events.buy.days_since: 3",
        "events.buy.since.cart: false, events.buy.days_since: 3, events.cart.days_since: 3",
        "events.buy.since.cart: false, events.buy.count: 0",
        "events.buy.since.cart: false, events.buy.count_7d: 0, events.buy.count: 2",
        "events.buy.since.cart: true, events.cart.count_2h: 0",
        "events.buy.since.cart: null",
        "events.buy.since.cart: null, events.buy.count: 2",
        "events.buy.since.cart: true, events.visit.since.buy: true, events.visit.count: 1",
        "events.visit.since.buy: false, events.buy.since.cart: true",
        "events.buy.last_at: 2026-11-21T02:00:00Z, events.buy.count_7d: 2, events.buy.last_item: tea",
        "events.buy.last_at: null",
        "events.message.opened.count_7d.push: 2, events.message.opened.count_7d.email: 1",
        "events.message.opened.count_7d.push: 3, events.message.opened.count_2h.push: 1, "
        "events.message.opened.last_channel: push",
        "events.message.opened.count_7d: 3, events.message.opened.count_7d.push: 2, "
        "events.message.opened.last_channel: email",
        "events.message.opened.count_7d: 4, events.message.opened.count_1d: 1, "
        "events.message.opened.count_7d.push: 2, events.message.opened.count_1d.push: 0",
        "contacts.push.count_7d: 2, contacts.email.count_7d: 1, contacts.marketing.count_7d: 1",
        "contacts.push.count_24h: 1, contacts.push.count_7d: 3, contacts.topics.count_30d: 5",
        "contacts.push.count_24h: 0, contacts.service.count_30d: 2, contacts.marketing.count_30d: 0",
        "time.weekday: sun, time.hour: 0, events.buy.days_since: 2",
        "time.in.festival: true, time.weekday: sun, timezone: America/New_York, time.hour: 23",
        "time.date: 2026-11-01, time.weekday: sun",
        "time.in.festival: false",
        "customer.state: often",
        "customer.state: warm, customer.city: Paris",
    ],
)
def test_columns_about_several_things_are_met_together(rules: Path, row: str) -> None:
    text = f"{HEAD}  ask: {{placement: outbound}}\n  table:\n    - {{{row}, expect: none}}\n"
    assert [result.problems for result in run(rules, text)] == [[]]


@pytest.mark.parametrize(
    ("row", "code", "words"),
    [
        ("events.buy.last_at: 2026-11-21T10:00:01+08:00", "bad-value", "not later than now"),
        ("events.buy.last_at: yesterday", "bad-value", "a time such as"),
        ("events.buy.last_at: 2026-11-20", "bad-value", "a time such as"),
        ("events.buy.since.cart: 3", "bad-value", "true or false"),
        ("events.buy.since.carts: true", "unknown-key", "carts|events.buy.since.cart"),
        ("events.message.opened.count_7d.push: -1", "bad-value", "whole number"),
        ("events.message.opened.count_7d.pusch: 1", "bad-value", '"push"'),
        ("contacts.pusch.count_7d: 1", "unknown-key", '"push"'),
        ("contacts.push.count_7d: many", "bad-value", "whole number"),
        ("contacts.push.count_7d: null", "bad-value", "whole number"),
        (
            "contacts.push.count_7d: 1, customer.contacts: [{message: news, channel: push, at: 2026-11-20T10:00:00Z}]",
            "conflict",
            "customer.contacts",
        ),
        ("time.in.festivall: true", "unknown-key", '"festival"'),
        ("time.hour: 24", "bad-value", "no time with time.hour: 24"),
        ("time.weekday: Sunday", "bad-value", "no time with"),
        ("time.date: 2026-02-30", "bad-value", "no time with"),
        ("time.minute: 3", "unknown-key", "time.hour"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_up_is_said_at_its_place(
    rules: Path, row: str, code: str, words: str
) -> None:
    text = f"{HEAD}  ask: {{placement: outbound}}\n  table:\n    - {{{row}, expect: none}}\n"
    [found] = errors_of(rules, text)
    assert (found.code, found.line) == (code, 5), found.render()
    for word in words.split("|"):
        assert word in found.render()


def test_what_contradicts_itself_fails_with_both_values(rules: Path) -> None:
    row = "events.buy.since.cart: true, events.buy.days_since: 3, events.cart.days_since: 1"
    text = f"{HEAD}  ask: {{placement: outbound}}\n  table:\n    - {{{row}, expect: none}}\n"
    [result] = run(rules, text)
    assert result.problems == ["events.buy.since.cart must be true, is false"]


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["24h", "7d", "30d"]), st.integers(0, 4), min_size=1),
    st.dictionaries(st.sampled_from(["24h", "7d", "30d"]), st.integers(0, 4)),
)
def test_contacts_made_up_for_a_channel_and_a_purpose_are_as_many_as_asked(
    pushed: dict[str, int], marketing: dict[str, int]
) -> None:
    wanted = {f"contacts.push.count_{key}": count for key, count in _rising(pushed).items()}
    wanted |= {f"contacts.marketing.count_{key}": n for key, n in _rising(marketing).items()}
    reading = policy().reading(wanted)
    document, now = Document(customer_id="c", kinds=[]), 40 * DAY
    for one in contacts_for(reading, wanted, from_micros(now)):
        at = to_micros(datetime.fromisoformat(one["at"]))
        kind = ContactKind(one["message"], one["channel"], one["purpose"], one["category"], ())
        document.kinds = [*document.kinds, kind]
        contact = Contact(len(document.kinds) - 1, at, ContactState.CONFIRMED, 0, 0)
        document.contacts = [*document.contacts, contact]
    situation = Situation(document, "home", now, reading.zone)
    for field, count in wanted.items():
        read = reading.fields.reader(field)
        assert read is not None
        assert read(situation) == count


@cache
def policy() -> Policy:
    definition = load_files({"policy.yaml": POLICY}).definition
    assert definition is not None
    return compile_policy(definition)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*FIELDS, "contacts.push.count_24h", "events.cart.count_2h", "timezone"]),
        st.sampled_from([*ODD, "Europe/Paris", "America/Los_Angeles", "2026-11-20", 24, "sun"]),
        max_size=4,
    ),
    st.sampled_from(
        ["2026-11-21T10:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "no time"]
    ),
)
def test_whatever_stands_in_a_cell_it_is_read_or_complained_about(
    row: dict[str, object], now: str
) -> None:
    ask = {"placement": "outbound"}
    scenario = {"name": "n", "now": now, "ask": ask, "expect": {}, "table": [{**row, "name": "x"}]}
    found, diagnostics = scenarios_in("some.yaml", json.dumps([scenario]), policy())
    assert found or diagnostics


def _rising(counts: dict[str, int]) -> dict[str, int]:
    """The counts, each at least that of the windows inside its own."""
    found: dict[str, int] = {}
    for key in sorted(counts, key=parse_duration):
        found[key] = max([counts[key], *found.values()])
    return found
