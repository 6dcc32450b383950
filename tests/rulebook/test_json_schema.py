"""The schema for editors and the checker agree about rule files."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core.conditions import OPERATORS
from decision.core.event_effects import CONTACT_EVENTS
from decision.rulebook import reader
from decision.rulebook.checker import MappingReader
from decision.rulebook.diagnostics import Diagnostic
from decision.rulebook.json_schema import rules_schema
from decision.rulebook.reader import SECTIONS, load_files
from decision.rulebook.schema_values import key_help
from decision.rulebook.yaml_source import Node, Source, read_yaml
from tests.rulebook import gallery
from tests.rulebook.sample import CONTRACT_FILES, SMALL
from tests.rulebook.test_errors import CASES, marked

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = rules_schema()
VALIDATOR = jsonschema_rs.Draft7Validator(SCHEMA)

EVERYTHING = """\
settings: {timezone: Asia/Shanghai, currency: CNY, week_starts: sunday, language: en-GB, exploration: 50, exploration_floor: 1%, exploration_until: 20,
           starting_probability: 0.05, starting_evidence: 10, request_id_lasts: 2h}
calendars: {double-11: {dates: [2026-11-11, 2027-11-10..2027-11-12]}, one: {dates: 2027-05-01}}
purposes: {marketing: {consent: opt_in}, tips: {consent: opt_out, explore: false}, service: {consent: not_required, tier: 1}}
channels:
  push: {cost: 0.01, quiet_hours: {from: "22:00", to: 08:00, except: service},
         reservation: {expires_after: 3d, then: release}, max_length: {title: 40}}
  wechat: {reply_window: [{opened_by: wechat.message, lasts: 48h, allows: 5}]}
  sms:
    quiet_hours:
      - {from: "21:00", to: "09:00", except: service, unless: {time.in.double-11: true}}
      - {from: "00:00", to: "24:00", on: [sat, sun], in: double-11}
      - {from: "20:00", to: "21:00", on: fri}
  chat: {reply_window: {opened_by: message.opened, lasts: 48h}}
placements:
  outbound: {channels: [push, wechat], fallback: hello, threshold: -1, delivery: gateway}
  app: {channels: chat}
messages:
  hello: {purpose: service, channels: [push, wechat, chat], value: 1}
  coupon:
    purpose: marketing
    category: retention
    tags: [sale]
    channels: push
    placements: outbound
    value: 12.5
    active: {from: 2026-11-01, until: 2026-12-01T00:00:00+08:00}
    when:
      customer.state: {in: [low, high], ne: high}
      customer.tier: gold
      events.buy.last_at: {gte: 2026-11-01, lt: {field: events.cart.last_at}, ne: 2026-11-01T10:00:00+08:00}
      events.buy.since.cart: true
      events.message.clicked.since.message.sent: {exists: true}
      events.message.clicked.count_7d.push: {gte: 1}
      contacts.marketing.count_7d: {lt: 9}
      customer.points: {gte: 10, lt: 1000}
      customer.tags: {contains: a, exists: true}
      customer.email: {matches: "@example"}
      customer.app: {vgt: "1", vgte: 1.4.2-beta, vlt: v9.0.0, vlte: "8+b7", vne: 2-1, veq: {field: context.app}}
      customer.birthday.anniversary_in: {lte: 7, in: [0, 1]}
      customer.renewal.days_until: {gte: 0, lt: {field: customer.segment.days_since}}
      customer.seen: {gt: {field: events.purchase.last_day}, in: {field: context.days}}
      event.type: {ne: message.opened}
      event.amount: {in: [1, 2.5, x, true]}
      context.device: {not_in: [ios]}
      placement: outbound
      experiment.copy: short
      time.hour: {gte: 9, in: [9, 10, 11]}
      time.weekday: {in: [mon, tue]}
      time.date: {gte: 2026-11-01}
      contacts.push.count_7d: {lte: 3}
      events.purchase.count_7d: 0
      events.page.view.sum_amount_30d: {gt: 5.5}
      events.purchase.last_shop: north
      events.tea-line.count_30d: {lt: 9}
      score.interest: {gte: 20}
      journey.welcome.step: {in: [hello, pause]}
      journey.welcome.since: {gte: 2026-11-01}
      any: [{customer.a: 1}, {not: {customer.b: {exists: false}}}]
      all: [{}]
    budget: {total: 10, per_day: 2}
    coupon: spring-10
    goal: {event: purchase, within: 7d}
    content: {title: "Hi {{ customer.name }}", n: 1, none: null, more: [{a: b}], push: {title: x}}
caps:
  weekly: {of: {channel: push, purpose: [marketing], category: retention, tags: sale, message: coupon},
           at_most: 2, within: 7d, per: category}
  daily: {of: {}, at_most: 1, within: calendar day}
  own: {of: {}, when: {customer.tier: gold}, at_most: {field: customer.weekly_limit, default: 0}, within: calendar week}
  once: {of: {}, per: message, at_most: {field: events.purchase.count_30d}, within: ever}
budgets:
  money: {of: {channel: push, purpose: marketing, category: retention, tags: sale, message: coupon}, spend: 100.5, per: calendar month, pace: even}
  number: {of: {purpose: marketing}, at_most: 500, per: calendar week}
coupons: {spring-10: {give_back_after: 14d}, other: {}, more: }
events:
  tea-line: {of: purchase, each: items, when: {event.category: tea, any: [{event.price: {gt: 0}}], event.type: purchase,
             all: [{}], not: {event.gift: true}}}
  invitation: {of: sign-up, for: event.inviter_id}
scores:
  interest: {adds: {page_view: 1, purchase: {property: amount}}, half_life: 30d}
suppressions:
  twice: {event: message.dismissed, times: 2, within: 30d, pause: 60d, per: message}
states: {high: {when: {events.app_open.active_days_28d: {gte: 8}}}, low: {}}
rules:
  tier: {set: {customer.tier: gold, customer.list: [a, 1, true]}}
  no: {when: {customer.tier: gold}, exclude: {messages: "coup*", channel: push}}
  only: {allow_only: {purpose: [service]}}
  more: {boost: {tags: [sale]}, by: 1.5}
experiments:
  holdout: {share: 2%, seed: hold, keeps: [service]}
  copy: {seed: copy, variants: {long: 50%, short: 0.5}}
  other: {seed: copy, variants: {a: 60, b: 40}}
metrics: {revenue: {event: purchase, value: amount, within: 7d, better: less}, buyers: {event: purchase, measure: share}}
funnels: {buy: {steps: [page_view, cart_add, page_view], within: 7d, order: any}}
moments:
  abandoned: {pattern: [{event: cart_add, when: {event.value: {gt: 10}}, times: {at_least: 1, at_most: 5}}, {not: purchase}], within: 2h}
  thrice: {pattern: [{moment: abandoned, times: 3}, {not: {event: purchase, when: {event.shop: north}}}, {event: visit}], within: 7d}
  calm: {pattern: [{event: visit}, {not: {moment: abandoned}}], within: 1d}
journeys:
  welcome:
    start: {event: wechat.follow, when: {event.source: qr}}
    when: {customer.tier: {ne: gold}}
    key: event.cart_id
    again: never
    goal: {event: purchase, when: {event.amount: {gt: 1}}}
    stop: {when: {customer.open_complaint: true}}
    skip_after: never
    limits: {starts: 20 per s, running: 10000}
    moved: {old: pause, older: done}
    steps:
      hello: {ask: outbound, of: {tags: [sale]}, hold: 1d}
      pause: {wait: 2h}
      morning: {wait: {until: "09:00", on: [mon, fri], in: double-11}}
      date: {wait: {until: customer.renewal, at: "09:00", before: 3d}}
      later: {wait: {until: event.departure, after: 3d}}
      bought: {wait_for: {event: purchase, when: {event.amount: {gt: 1}}, within: 22h}, then: which, else: nudge}
      left: {wait_for: {moment: abandoned, within: 22h}, go: which}
      nudge: {ask: outbound, go: which}
      which: {branch: [{when: {customer.tier: gold}, go: vip}, {go: test}]}
      test: {split: {seed: s-1, variants: {a: 50%, b: 50%}}, go: {a: vip, b: done}}
      vip: {set: {customer.segment.vip: true}}
      done: {end: finished}
  cart: {start: {moment: abandoned}, again: always, stop: {event: message.opened}, goal: {moment: thrice}, steps: {ask: {ask: outbound}}}
  member: {start: {segment: vip}, again: 30d, skip_after: 2h, goal: {when: {customer.tier: gold}}, steps: {ask: {ask: outbound}}}
  birthday: {start: {date: customer.birthday, at: "09:00", before: 7d}, steps: {ask: {ask: outbound}}}
  day-after: {start: {date: customer.birthday, at: "09:00", after: 30d}, steps: {ask: {ask: outbound}}}
  weekly: {start: {schedule: "0 9 * * mon", audience: {when: {events.purchase.days_since: {gte: 90}}}}, steps: {ask: {ask: outbound}}}
"""
"""Every key, every kind of field and every operator."""

SYNTACTIC = {"unknown-key", "missing-key", "unknown-operator", "wrong-type"}
"""Codes of errors that a schema can see, and so must find as well."""


def plain(text: str) -> Any:
    source = read_yaml("a.yaml", text)
    assert source.diagnostics == [], source.diagnostics
    return source.root.plain() if source.root is not None else None


def nodes(source: Source, value: Any) -> Node:
    """The nodes of plain data, as reading its YAML would make them; places aside."""
    if isinstance(value, dict):
        value = {key: nodes(source, one) for key, one in value.items()}
        for one in value.values():
            one.key_line = one.key_column = 1
    elif isinstance(value, list):
        value = [nodes(source, one) for one in value]
    return Node(source, value, 1, 1)


def check(data: Any) -> list[Diagnostic]:
    """The errors of a file with this content."""
    source = Source("rules/a.yaml")
    source.root = nodes(source, data)
    with patch.object(reader, "read_yaml", lambda name, data: source):
        return load_files({"a.yaml": b""}).errors


def test_nodes_made_of_data_are_judged_like_the_file() -> None:
    data = copy.deepcopy(DATA)
    data["messages"]["coupon"]["value"] = "x"
    data["rules"]["no"]["when"] = {"nonsense": 1}
    found = [(one.code, one.message) for one in check(data)]
    read = load_files({"a.yaml": json.dumps(data, ensure_ascii=False)}).errors
    assert sorted(found) == sorted((one.code, one.message) for one in read)
    assert len(found) == 2


def test_every_key_and_operator_is_in_the_example_of_everything() -> None:
    data = plain(EVERYTHING)
    assert check(data) == []
    asked = asked_keys(data)
    assert asked["file"] == set(key_help()["file"]) == {"settings", *SECTIONS}
    text = json.dumps(data)
    for what in (
        "settings", "channel", "message", "cap", "shared_budget", "suppression", "rule", "experiment"
    ):  # fmt: skip
        for key in key_help()[what]:
            assert f'"{key}"' in text, (what, key)
    for operator in OPERATORS:
        assert f'"{operator}"' in text or operator == "eq"


def asked_keys(data: Any) -> dict[str, set[str]]:
    """What → the keys that the checker asks for, told by the words it uses for them."""
    found: dict[str, set[str]] = {"file": set(data)}
    original = MappingReader.__exit__

    def remember(entry: MappingReader, *error: Any) -> None:
        what = entry.what.partition(" of ")[0].partition(' "')[0]
        if entry.what.startswith("budget of message"):
            what = "message_budget"  # the other one is one of `budgets:`
        if entry.what.startswith("goal of journey"):
            what = "stop"  # the other one is a message's
        found.setdefault(what, set()).update(entry._asked)
        original(entry, *error)

    MappingReader.__exit__ = remember  # type: ignore[method-assign]
    try:
        check(data)
    finally:
        MappingReader.__exit__ = original  # type: ignore[method-assign]
    return found


def test_the_schema_has_exactly_the_keys_that_the_checker_asks_for() -> None:
    asked = asked_keys(plain(EVERYTHING))
    named = {"exclude": "selector", "allow_only": "selector", "boost": "selector", "of": "filter"}
    named |= {
        "coupon pool": "coupon_pool",
        "derived event": "derived_event",
        "purchase in adds": "amount",
        "an element": "element",
        "stop": "trigger",
    }
    definitions = {
        **SCHEMA["definitions"],
        "file": SCHEMA,
        "settings": SCHEMA["properties"]["settings"],
        **{
            named: SCHEMA["definitions"]["message"]["properties"][key]
            for named, key in (("active", "active"), ("message_budget", "budget"), ("goal", "goal"))
        },
        "at_most": SCHEMA["definitions"]["cap"]["properties"]["at_most"],
        "amount": SCHEMA["definitions"]["score"]["properties"]["adds"]["additionalProperties"],
    }
    step, journey = SCHEMA["definitions"]["step"]["properties"], SCHEMA["definitions"]["journey"]
    definitions |= {
        "a way": step["branch"]["items"],
        "wait": {
            "properties": step["wait"]["anyOf"][1]["properties"]
            | step["wait"]["anyOf"][2]["properties"]
        },
        "wait_for": step["wait_for"],
        "split": step["split"],
        "audience": SCHEMA["definitions"]["start"]["properties"]["audience"],
        "limits": journey["properties"]["limits"],
        "times": SCHEMA["definitions"]["element"]["properties"]["times"],
        "not": SCHEMA["definitions"]["element"]["properties"]["not"]["anyOf"][1],
    }
    for what, keys in asked.items():
        known = definitions[named.get(what, what)]["properties"]
        assert set(known) == keys, what


def test_every_key_has_its_help_and_no_help_is_of_another_key() -> None:
    used: set[str] = set()

    def walk(schema: Any) -> None:
        if isinstance(schema, dict):
            for key, one in schema.get("properties", {}).items():
                assert one.get("description"), key
            if isinstance(schema.get("description"), str):
                used.add(schema["description"])
                marked = "`" in schema["description"]
                assert (schema.get("markdownDescription") == schema["description"]) is marked
            for one in schema.values():
                walk(one)
        elif isinstance(schema, list):
            for one in schema:
                walk(one)

    walk(SCHEMA)
    assert {text for table in key_help().values() for text in table.values()} <= used


def test_the_schema_is_itself_a_schema_and_every_reference_leads_somewhere() -> None:
    assert jsonschema_rs.meta.is_valid(SCHEMA)
    referred = set()

    def walk(schema: Any) -> None:
        if isinstance(schema, dict):
            if "$ref" in schema:
                referred.add(schema["$ref"].removeprefix("#/definitions/"))
            for one in schema.values():
                walk(one)
        elif isinstance(schema, list):
            for one in schema:
                walk(one)

    walk(SCHEMA)
    assert referred == set(SCHEMA["definitions"])


SOUND = [
    *sorted((ROOT / "rules").glob("*.yaml")),
    *sorted((ROOT / "rules" / "messages").glob("*.yaml")),
    *sorted((ROOT / "benchmarks").glob("*/rules/*.yaml")),
]


@pytest.mark.parametrize("path", SOUND, ids=lambda path: path.name)
def test_every_valid_file_passes(path: Path) -> None:
    VALIDATOR.validate(plain(path.read_text("utf-8")))


@pytest.mark.parametrize("text", [*CONTRACT_FILES.values(), SMALL, EVERYTHING, "", "messages:\n"])
def test_every_valid_text_passes(text: str) -> None:
    VALIDATOR.validate(plain(text))


GOLDEN = [
    path for folder in gallery.folders() for path in sorted(folder.glob("*.yaml")) if path.is_file()
]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_schema_refuses_exactly_the_gallery_files_with_a_wrong_form(path: Path) -> None:
    """Files with warnings alone pass; files with errors that a schema can see do not."""
    source = read_yaml(path.name, path.read_bytes())
    if source.diagnostics or source.root is None:
        return  # it is not YAML: no schema is asked
    found = [one for one in gallery.check(path.parent) if one.file == f"rules/{path.name}"]
    errors = [one for one in found if one.severity == "error"]
    accepted = VALIDATOR.is_valid(source.root.plain())
    assert accepted or errors
    assert not (accepted and list(seen_by(errors)))


def seen_by(found: list[Diagnostic]) -> Iterator[Diagnostic]:
    """The errors that the schema must see, too."""
    for one in found:
        enum = one.code == "bad-value" and ' cannot be "' in one.message and "one of" in one.hint
        if one.code in SYNTACTIC or enum:
            yield one


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[1])
def test_the_schema_sees_an_error_of_the_checker_or_leaves_it_to_the_checker(
    case: tuple[str, str, str],
) -> None:
    code, text, _ = case
    source = read_yaml("a.yaml", marked(text)[0])
    if source.diagnostics or source.root is None:
        return  # it is not YAML: no schema is asked
    data = source.root.plain()
    if code in SYNTACTIC:
        assert not VALIDATOR.is_valid(data)
    if not VALIDATOR.is_valid(data):
        assert code != "no-effect"


# ---------------------------------------------------------------- mutations

DATA = plain(EVERYTHING)
ODD = [
    None, True, False, 0, 1, -1, 2.5, 1.0, 24, 101, "", " ", "x", "off", "7d", "0d", "1w", "120%", "50%", "0050%", "100%",
    "100.0%", "22:00", "24:00", "9:00", "calendar day", "calendar year", "2026-11-01", "2026-11-01 10:00:00Z", "2026-02-30",
    "2026-11-01T10:00:00", "push", "marketing", "monday", "mon", "message", "message.open", "message.opened", "opt_in",
    "count", "CNY", "yuan", [], {}, [1], ["push"], ["push", "push"], [[]], [None], [{}], {"a": 1}, {"in": []}, {"in": [1]},
    {"in": ["x"]}, {"eq": [1]}, {"eq": "x"}, {"gte": "x"}, {"gte": 1}, {"exists": True}, {"exists": 1}, {"matches": "x"},
    {"contains": 1}, {"contains": "x"}, {"equals": 1}, {"of": {}}, {"event": "x", "within": "7d"}, {"customer.a": 1},
    {"field": "customer.b"}, {"eq": {"field": "customer.b"}}, {"gt": {"field": "time.hour"}}, {"lt": {"field": "nothing"}},
    {"in": {"field": "time.weekday"}}, {"in": [{"field": "customer.b"}]}, {"vgte": "2.0"}, {"vgte": 2.0}, {"vlt": {"field": "customer.b"}},
    {"matches": {"field": "customer.b"}}, {"eq": {"field": "customer.b", "default": 1}}, {"eq": {"field": 1}},
    {"from": "22:00", "to": "08:00"}, {"a": 100}, {"a": "100%"}, {"customer.a": None},
]  # fmt: skip
KEYS = [
    "all", "any", "not", "eq", "customer.x", "customer.", "customer.state", "events.x.count", "events.x.cuont", "events.x.count_7d",
    "events.x.count_0d", "events.x.active_days_7d", "events.message.open.count", "contacts.push.count_7d", "contacts.push",
    "time.hour", "time.minute", "placement", "placement.x", "experiment.copy", "event.type", "event.x", "context.x", "nonsense",
    "purpose", "message", "messages", "by", "share", "variants", "keeps", "per", "cost", "when", "a/b", "你好", "value", "gt",
    "x" * 129,
]  # fmt: skip


def paths(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = (
        data.items()
        if isinstance(data, dict)
        else enumerate(data)
        if isinstance(data, list)
        else ()
    )
    for key, value in items:
        yield from paths(value, (*path, key))


PATHS = list(paths(DATA))


def mutate(data: Any, path: tuple[Any, ...], kind: str, odd: Any, key: str) -> None:
    """Changes one place of the data; nothing where the change makes no sense there."""
    holder = data
    for part in path[:-1]:
        holder = holder[part]
    match kind:
        case "replace":
            holder[path[-1]] = copy.deepcopy(odd)
        case "delete":
            del holder[path[-1]]
        case "rename" if isinstance(holder, dict):
            value = holder.pop(path[-1])
            holder[key] = value
        case "add" if isinstance(holder[path[-1]], dict):
            holder[path[-1]][key] = copy.deepcopy(odd)
        case "add" if isinstance(holder[path[-1]], list):
            holder[path[-1]].append(copy.deepcopy(odd))


def verdicts(data: Any) -> None:
    """Holds the two verdicts about a changed file against one another."""
    found = check(data)
    accepted = VALIDATOR.is_valid(data)
    if not accepted:
        reason = next(VALIDATOR.iter_errors(data))
        assert found, f"a false alarm in the editor: {reason.message} at {reason.instance_path}"
    else:
        missed = list(seen_by(found))
        assert not missed, f"the schema misses {missed[0].render()}"


KINDS = ["delete", "rename", "add", "replace"]


@pytest.mark.parametrize("kind", KINDS)
def test_each_place_changed_in_one_of_the_ways_gets_the_same_verdict(kind: str) -> None:
    """Each place in one of the kinds, with a value that goes through the list."""
    changed_in_turn(kind, KINDS.index(kind), len(KINDS))


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_each_place_changed_in_one_way_gets_the_same_verdict(kind: str) -> None:
    changed_in_turn(kind, 0, 1)


def changed_in_turn(kind: str, first: int, step: int) -> None:
    for number in range(first, len(PATHS), step):
        data = copy.deepcopy(DATA)
        mutate(data, PATHS[number], kind, ODD[number % len(ODD)], KEYS[number % len(KEYS)])
        verdicts(data)


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(PATHS),
    st.sampled_from(["replace", "replace", "add", "rename", "delete"]),
    st.sampled_from(ODD),
    st.sampled_from(KEYS),
)
def test_schema_and_checker_agree_after_any_change(
    path: tuple[Any, ...], kind: str, odd: Any, key: str
) -> None:
    data = copy.deepcopy(DATA)
    mutate(data, path, kind, odd, key)
    verdicts(data)


def test_a_message_event_must_exist() -> None:
    data = plain("suppressions: {s: {event: message.open, times: 1, within: 7d, pause: 7d}}")
    assert not VALIDATOR.is_valid(data)
    for event in (*CONTACT_EVENTS, "message", "messages.open", "purchase"):
        data["suppressions"]["s"]["event"] = event
        assert VALIDATOR.is_valid(data)
