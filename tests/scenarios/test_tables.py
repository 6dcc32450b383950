"""Tables of scenarios: a test a row, each cell put where its column says."""

from __future__ import annotations

import json
from datetime import date
from functools import cache
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core import calendar, events
from decision.core.clock import from_micros, to_micros
from decision.core.document import Document, EventHistory
from decision.core.fields import DATE_MEASURES, FieldTable, Situation
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from decision.rulebook.reader import load_files
from decision.scenarios import scenarios_in
from decision.scenarios.arrange import Arrangement, CannotArrange
from decision.scenarios.arrange_time import date_for
from decision.scenarios.columns import Columns, UnknownColumn
from decision.scenarios.schema import PastEvent
from tests.scenarios.conftest import folder_of
from tests.scenarios.test_scenarios import errors_of, run

POLICY = """
settings: {timezone: Asia/Shanghai, currency: CNY}
purposes:
  marketing: {consent: opt_in}
  service: {consent: not_required}
channels: {push: {}, email: {cost: 0.1}}
placements:
  outbound: {channels: [push, email]}
  home: {channels: [push], fallback: hello}
messages:
  coupon:
    purpose: marketing
    channels: [push, email]
    placements: [outbound]
    value: 10
    when: {customer.state: low, events.purchase.days_since: {gte: 30}, customer.country: CN}
    budget: {total: 3}
    content: {title: Coupon, body: "{{ customer.nick | default('you') }} {{ event.item }} {{ context.shop }}"}
  news:
    purpose: service
    channels: [email]
    placements: [outbound]
    value: 5
    when: {events.visit.count_7d: {gte: 3}, context.device: ios, event.type: cart_add}
    content: {title: News}
  hello: {purpose: service, channels: [push], placements: [home], content: {title: Hello}}
states:
  power: {when: {events.open.active_days_28d: {gte: 5}}}
  rich: {when: {customer.spend: {gt: 100}}}
  odd: {when: {not: {customer.odd: 1}, customer.even: {exists: true}}}
  low: {}
scores: {interest: {adds: {webinar: 5}, half_life: 30d}}
events: {line: {of: order, each: items}, bought: {of: line, when: {event.kind: tea}}}
budgets: {all.mail: {of: {channel: email}, spend: 1}}
experiments: {test: {seed: b, variants: {red: 50%, blue: 50%}}}
"""

HEAD = """- name: table
  now: 2026-11-21T10:00:00+08:00
"""
BASE = """  customer: {consents: {marketing: {"*": granted}}}
  ask: {placement: outbound}
  table:
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return folder_of(tmp_path, POLICY)


def rows(*lines: str) -> str:
    return HEAD + BASE + "".join(f"    - {{{line}}}\n" for line in lines)


def test_each_row_is_a_test_named_by_its_values_at_its_own_line(rules: Path) -> None:
    results = run(
        rules,
        rows(
            "customer.country: CN, events.purchase.days_since: 30, expect: coupon/push",
            "customer.country: CN, events.purchase.days_since: 29, expect: none",
            "customer.country: FR, events.purchase.days_since: 40, expect: coupon",
        ),
    )
    assert [result.passed for result in results] == [True, True, False]
    assert results[0].name == "table [customer.country: CN, events.purchase.days_since: 30]"
    assert [result.source for result in results] == [
        f"rules/tests/some.yaml:{n}" for n in (6, 7, 8)
    ]
    assert results[2].problems == ["message must be coupon, is nothing"]


@pytest.mark.parametrize(
    "row",
    [
        "customer.state: power, fields.events.open.active_days_28d: 5, expect: none",
        "customer.state: rich, fields.customer.spend: 101, expect: none",
        "customer.state: low, expect: none",
        "consents.marketing: denied, customer.country: CN, events.purchase.days_since: 30, reason: no_consent",
        "customer.consents.marketing.push: denied, customer.country: CN, events.purchase.days_since: 30, expect: coupon/email",
        "event: cart_add, context.device: ios, events.visit.count_7d: 3, expect: news/email",
        "ask.event.type: cart_add, ask.context.device: ios, events.visit.count_7d: 3, message: news, channel: email",
        "placement: home, expect: fallback",
        "ask: {placement: home}, expect: hello/push",
        "spent.coupon.total: 3, customer.country: CN, events.purchase.days_since: 30, reason: budget_spent",
        "spent.all.mail: 1, channels: [email], customer.country: CN, events.purchase.days_since: 30, reason: budget_spent",
        "experiment.test: blue, fields.experiment.test: blue",
        "timezone: Europe/Paris, now: 2026-11-21T05:30:00Z, fields.time.hour: 6",
        "probabilities.coupon/email: 0.9, customer.country: CN, events.purchase.days_since: 30, expect: coupon/email",
        "probabilities: {coupon: 0}, customer.country: CN, events.purchase.days_since: 30, reason: below_threshold",
        "customer: {attributes: {country: CN}, consents: {marketing: {push: granted}}}, events.purchase.days_since: 30, expect: coupon/push",
        "reachable: [email], customer.country: CN, events.purchase.days_since: 31, expect: coupon/email",
        "channels: [email], customer.country: CN, events.purchase.days_since: 31, not: [coupon/push], content.title: Coupon",
        "customer.country: null, events.purchase.days_since: null, reasons.coupon: not_eligible",
        "events.purchase.count: 2, events.purchase.days_since: 3, fields.events.purchase.count_7d: 1",
        "name: given, expect: {outcome: none, reason: not_eligible}",
        "customer.nick: Mei, event.type: visit, event.item: tea, context.shop: n, customer.country: CN, events.purchase.days_since: 30, content.body: Mei tea n, message: coupon",
        "customer.nick: null, customer.language: zh, customer.country: CN, events.purchase.days_since: 30, content.body: 'you  ', message: coupon",
        "events.webinar.count_48h: 2, events.order.count_7d: 1, events.line.count_7d: 3, fields.events.webinar.count: 2",
    ],
)  # fmt: skip
def test_columns_address_every_path_in_short_and_long(rules: Path, row: str) -> None:
    line = row if "expect:" in row or "message:" in row else row + ", expect.outcome: null"
    [result] = run(rules, rows(line))
    assert result.problems == []


def test_rows_that_differ_in_the_type_of_a_value_alone_differ_in_their_names(rules: Path) -> None:
    cells = ("4.5", '"4.5"', "true", '"true"', "null", '"null"', '"-1e"')
    results = run(rules, rows(*(f"context.device: {cell}, expect: none" for cell in cells)))
    assert [one.name for one in results] == [
        f"table [context.device: {cell}]" for cell in (*cells[:-1], "-1e")
    ]


@pytest.mark.parametrize(
    ("row", "code", "words"),
    [
        ("customer.contry: CN, expect: none", "unknown-key", 'customer.contry|"customer.country"'),
        ("expct: none", "unknown-key", '"expect"'),
        ("chanels: [push], expect: none", "unknown-key", '"channels"'),
        ("events.purchas.days_since: 3, expect: none", "unknown-key", "purchas|events.purchase.days_since"),
        ("events.purchase.count_99d: 3, expect: none", "unknown-key", "90d"),
        ("consents.marketting.push: granted, expect: none", "unknown-name", '"marketing"'),
        ("spent.coupon.totl: 3, expect: none", "unknown-key", "spent.coupon.total"),
        ("steps.1.expect: none", "unknown-key", "no step 1"),
        ("time.minute: 3, expect: none", "unknown-key", "time.hour"),
        ("expect: cupon", "unknown-name", '"coupon"'),
        ("expect: coupon/pusch", "unknown-name", '"push"'),
        ("expect: none, expect.outcome: none", "conflict", '"expect" and "expect.outcome"'),
        ("customer: {}, customer.country: CN, expect: none", "conflict", "same thing"),
        ("channels: [push], ask.channels: [push], expect: none", "conflict", "same thing"),
        ("customer.events: [{type: purchase, at: 2026-11-01T00:00:00Z}], events.purchase.count: 2, expect: none",
         "conflict", "customer.events"),
        ("customer.state: lo, expect: none", "unknown-name", '"low"'),
        ("customer.state: odd, expect: none", "unknown-name", "can be made up"),
        ("events.purchase.days_since: -1, expect: none", "bad-value", "whole number"),
        ("events.visit.count_7d: null, expect: none", "bad-value", "never missing"),
        ("now: yesterday, expect: none", "wrong-type", "now"),
        ("placement: homme, expect: none", "unknown-name", '"home"'),
        ("reason: caped, expect: none", "unknown-name", '"capped"'),
        ("limit: 0, expect: none", "wrong-type", "limit"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_cell_is_said_at_its_place(
    rules: Path, row: str, code: str, words: str
) -> None:
    [found] = errors_of(rules, rows(row))
    assert found.code == code, found.render()
    assert found.line == 6
    for word in words.split("|"):
        assert word in found.render()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("  table: []\n", "is empty"),
        ("  table:\n", "is empty"),
        ("  table: {expect: none}\n", "must be a list"),
        ("  table: [none]\n", "a row is a mapping"),
        ("  table: [{expect: none}, {expect: coupon}]\n", "a table"),
    ],
)
def test_tables_that_are_none_are_refused(rules: Path, table: str, words: str) -> None:
    found = errors_of(rules, HEAD + "  ask: {placement: outbound}\n" + table)
    if words == "a table":  # two rows without inputs are told apart by nothing
        assert [one.code for one in found] == ["duplicate-name"]
    else:
        assert [words in one.message for one in found] == [True]


def test_two_rows_that_say_the_same_are_one_too_many(rules: Path) -> None:
    [found] = errors_of(rules, rows("timezone: UTC, expect: none", "timezone: UTC, expect: none"))
    assert (found.code, found.line) == ("duplicate-name", 7)
    assert "line 6" in found.message


def test_what_is_wrong_above_the_table_is_said_once(rules: Path) -> None:
    text = rows("timezone: UTC, expect: none", "timezone: Asia/Tokyo, expect: none")
    [found] = errors_of(rules, text.replace("placement: outbound", "placement: outbuond"))
    assert (found.code, found.line) == ("unknown-name", 4)


def test_a_row_without_expectations_is_incomplete(rules: Path) -> None:
    [found] = errors_of(rules, rows("timezone: UTC"))
    assert (found.code, found.line) == ("missing-key", 6)


def test_rows_of_a_scenario_with_steps_name_the_step(rules: Path) -> None:
    text = (
        HEAD
        + """  customer: {consents: {marketing: {"*": granted}}}
  steps:
    - {ask: {placement: home}, expect: {outcome: fallback}}
    - {ask: {placement: outbound}, expect: {outcome: none}}
  table:
    - {customer.country: FR, steps.2.expect: none}
    - {customer.country: CN, events.purchase.days_since: 30, steps.2.expect: coupon/push}
    - {steps.2.now: 2026-11-22T10:00:00+08:00, steps.1.ask.channels: [push], steps.2.reason: not_eligible}
"""
    )
    assert [result.problems for result in run(rules, text)] == [[], [], []]
    [found] = errors_of(rules, text.replace("steps.2.expect: none", "expect: none"))
    assert found.code == "unknown-key"
    assert "steps.1.expect" in found.hint


def test_made_up_events_that_contradict_fail_the_row(rules: Path) -> None:
    [result] = run(
        rules, rows("events.purchase.days_since: 9, events.purchase.count_7d: 1, expect: none")
    )
    assert result.problems
    assert all(problem.startswith("events.purchase.") for problem in result.problems)


COLUMNS = [
    "customer.state",
    "events.purchase.days_since",
    "events.visit.count_7d",
    "events.open.active_days_28d",
    "events.purchase.last_kind",
    "customer.events",
    "customer",
    "ask",
    "expect",
    "expect.fields",
    "now",
    "steps.1.expect",
    "steps.1",
    "steps.",
    "events.",
    "customer.",
    "ask.event",
    "event",
    "consents.marketing",
    "consents.marketing.push",
    "spent.coupon.total",
    "reasons.",
    "content.title",
    "name",
    "timezone",
    "probabilities",
    "customer.country",
    "expect.not_before",
    "customer.attributes.a.b",
    "table",
    "experiment.test",
    "customer.contacts",
    "limit",
]
ODD = [None, True, 0, 1, -1, 2.5, "", "x", "none", "low", [], {}, [1], [None], [{}], {"a": [1]}, 10**9,
       "2026-10-13T10:00:00+08:00", "0001-01-01T00:00:00Z", {"placement": "outbound"}]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.sampled_from(COLUMNS), st.sampled_from(ODD), max_size=4),
    st.dictionaries(
        st.sampled_from(["name", "now", "customer", "ask", "expect", "steps", "spent", "table"]),
        st.sampled_from(ODD),
        max_size=2,
    ),
)
def test_whatever_a_table_holds_it_is_read_or_complained_about(
    row: dict[str, object], odd: dict[str, object]
) -> None:
    whole = {"name": "n", "now": "2026-11-21T10:00:00Z", "ask": {"placement": "outbound"}}
    text = json.dumps([{**whole, "expect": {}, "table": [row], **odd}])
    found, diagnostics = scenarios_in("some.yaml", text, policy())
    assert found or diagnostics


@cache
def policy() -> Policy:
    definition = load_files({"policy.yaml": POLICY}).definition
    assert definition is not None
    return compile_policy(definition)


MEASURES = {
    "days_since": st.integers(0, 89),
    "count_2h": st.integers(0, 4),
    "count_7d": st.integers(0, 9),
    "count": st.integers(0, 12),
    "active_days_28d": st.integers(0, 28),
    "sum_amount_30d": st.integers(1, 900),
    "last_kind": st.sampled_from(["tea", "cups"]),
}


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(list(MEASURES)).flatmap(lambda name: st.tuples(st.just(name), MEASURES[name])),
    st.sampled_from(["Asia/Shanghai", "Europe/Paris", "America/St_Johns", "Asia/Kolkata"]),
    st.integers(1_700_000_000, 1_800_000_000),
)
def test_events_made_up_for_one_measure_give_it_in_every_zone(
    wanted: tuple[str, object], zone_name: str, second: int
) -> None:
    name, value = wanted
    zone = calendar.zone(zone_name)
    now = from_micros(second * 1_000_000)
    made = Arrangement("buy", {name: value}, now, zone).written()
    assert measured(made, name, second, zone_name) == value


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20), st.integers(0, 5), st.integers(1_700_000_000, 1_800_000_000))
def test_events_made_up_for_several_measures_give_them_all(
    since: int, more: int, second: int
) -> None:
    wanted = {"days_since": since, "count_30d": 1 + more, "count": 3 + more, "last_kind": "tea"}
    now = from_micros(second * 1_000_000)
    found = Arrangement("buy", wanted, now, calendar.zone("UTC")).written()
    for name, value in wanted.items():
        assert measured(found, name, second, "UTC") == value


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.tuples(st.just("anniversary_in"), st.integers(0, 364)),
        st.tuples(st.sampled_from(["days_until", "days_since"]), st.integers(-20_000, 20_000)),
        st.tuples(st.just("years_since"), st.integers(-50, 500)),
    ),
    st.dates(date(1970, 1, 1), date(2090, 1, 1)) | st.just(date(2028, 2, 29)),
)
def test_a_date_made_up_for_a_measure_gives_it(wanted: tuple[str, int], today: date) -> None:
    measure, value = wanted
    try:
        day = date.fromisoformat(date_for(measure, value, today))
    except CannotArrange:  # from 29 February it is 364 days to the 28th, which comes round first
        assert measure == "anniversary_in"
        assert value > 363
    else:
        assert DATE_MEASURES[measure](day, today) == value


def test_cells_of_measures_of_dates_make_the_date_and_say_what_cannot_be(rules: Path) -> None:
    policy = POLICY.replace(
        "customer.spend: {gt: 100}", "customer.renewal.days_until: {gte: 0, lt: 9}"
    )
    (rules / "policy.yaml").write_text(policy, encoding="utf-8")
    base = HEAD + BASE.replace("{consents", "{attributes: {renewal: 2020-01-01}, consents")
    cells = (
        "customer.renewal.days_until: 8, fields.customer.state: rich",
        "customer.renewal.days_until: -1, fields.customer.state: low",
        "customer.renewal.days_until: null, fields.customer.state: low",
        "customer.renewal: 2026-11-21T00:00:00+08:00, fields.customer.state: rich",
        "customer.state: rich, fields.customer.renewal.days_until: 0",
    )
    results = run(rules, base + "".join(f"    - {{{one}}}\n" for one in cells))
    assert [one.problems for one in results] == [[]] * len(cells)
    for cell, code in (
        ("customer.renewal.days_until: soon, expect: none", "bad-value"),
        ("customer.renewal.days_until: true, expect: none", "bad-value"),
        ("customer.renewal.days_until: 99999999, expect: none", "bad-value"),
        ("customer.renewal.days_until: 3, customer.renewal: 2026-01-01, expect: none", "conflict"),
        ("customer.renewal.days_since: 3, expect: none", "unknown-key"),
    ):
        (found,) = errors_of(rules, base + f"    - {{{cell}}}\n")
        assert found.code == code


def test_a_cell_that_would_go_into_a_value_is_refused(rules: Path) -> None:
    base = HEAD + BASE.replace("{consents", "{attributes: {address: Rome}, consents")
    row = "    - {customer.attributes.address.city: Rome, expect: none}\n"
    (found,) = errors_of(rules, base + row)
    assert (found.code, found.place) == ("conflict", "rules/tests/some.yaml:6:8")


def measured(past: list, measure: str, second: int, zone_name: str) -> object:
    """What a field reads after these events were recorded as the server does."""
    zone = calendar.zone(zone_name)
    table = FieldTable([f"events.buy.{measure}"])
    kept = table.measures()["buy"]
    document = Document(customer_id="c")
    history = document.events["buy"] = EventHistory(last={}, buckets=[], days=[])
    for one in msgspec.convert(past, list[PastEvent]):
        for at in one.moments():
            events.record(history, kept, to_micros(at), one.properties, to_micros(at), zone)
    if not history.total:
        del document.events["buy"]
    [value] = table.read(Situation(document, "home", second * 1_000_000, zone))
    return value


@pytest.mark.parametrize("column", ["customer.attributes.vip", "attributes.vip"])
def test_a_column_says_what_changes_of_the_customer_in_a_step(tmp_path: Path, column: str) -> None:
    """Below `customer` of that step: an attribute, the time zone, a consent, what can be reached."""
    policy = """
settings: {timezone: UTC, currency: CNY}
purposes: {marketing: {consent: opt_in}}
channels: {push: {}}
placements: {home: {channels: [push]}}
messages:
  offer: {purpose: marketing, channels: [push], value: 5, when: {customer.vip: true}}
"""
    scenarios = f"""
- name: steps
  now: 2026-11-21T10:00:00Z
  customer: {{consents: {{marketing: {{push: granted}}}}}}
  steps:
    - {{}}
    - {{ask: {{placement: home}}, expect: {{outcome: none}}}}
  table:
    - {{steps.1.{column}: true, steps.2.expect: offer}}
    - {{steps.1.{column}: false, steps.2.expect: none}}
    - {{steps.1.{column}: true, steps.1.customer.consents.marketing.push: denied, steps.2.expect: none}}
    - {{steps.1.{column}: true, steps.1.consents.marketing: denied, steps.2.expect: none}}
    - {{steps.1.{column}: true, steps.1.timezone: Asia/Tokyo, steps.2.expect: offer}}
    - {{steps.1.{column}: true, steps.1.customer.reachable: [], steps.2.expect: none}}
"""
    results = run(folder_of(tmp_path, policy), scenarios)
    assert [one.problems for one in results] == [[]] * 6


@pytest.mark.parametrize(
    "column", ["customer.contacts", "customer.scores.interest", "customer.unreachable"]
)
def test_a_column_for_what_a_step_cannot_change_is_refused(column: str) -> None:
    columns = Columns(compile_policy(load_files({"rules.yaml": POLICY}).definition))  # type: ignore[arg-type]
    with pytest.raises(UnknownColumn):
        columns.find(f"steps.1.{column}", 1)
