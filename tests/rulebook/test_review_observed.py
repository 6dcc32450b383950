"""Fields that no rule sets and no customer of a sample has get a warning at their place."""

from __future__ import annotations

import msgspec
import pytest

from decision.rulebook.diagnostics import Diagnostic
from decision.rulebook.reader import load_files
from decision.rulebook.review.observed import review_fields
from decision.rulebook.review.observed_types import ObservedFields, Unread
from tests.rulebook.sample import SMALL

KNOWN = ObservedFields(
    sample="the 3 customers of customers.csv",
    customers=3,
    attributes=frozenset({"lifetime_spend", "city", "segment.vip", "address", "address.city"}),
    event_types=frozenset({"purchase", "page_view"}),
    properties={"purchase": frozenset({"amount", "sku"})},
    context=frozenset({"device"}),
)


def found(text: str, known: ObservedFields = KNOWN) -> list[Diagnostic]:
    result = load_files({"a.yaml": SMALL, "b.yaml": text})
    assert result.definition is not None, result.diagnostics
    return review_fields(result.definition, result.places, known)


def rule(when: str) -> str:
    return f"rules:\n  r:\n    when: {when}\n    exclude: {{tags: sale}}\n"


def test_each_kind_of_field_is_compared_with_the_sample() -> None:
    for when, token, hint in [
        ("{customer.lifetime_spent: 1}", "customer.lifetime_spent", '"lifetime_spend"'),
        ("{customer.segment.vipp: true}", "customer.segment.vipp", '"vip"'),
        ("{customer.address.town: x}", "customer.address.town", ""),
        ("{events.purchased.count_7d: 0}", "events.purchased.count_7d", '"purchase"'),
        (
            "{events.purchase.sum_amuont_7d: {gt: 1}}",
            "events.purchase.sum_amuont_7d",
            '"amount"',
        ),
        ("{events.purchase.last_skuu: x}", "events.purchase.last_skuu", '"sku"'),
        ("{event.type: purchas}", "purchas", '"purchase"'),
        ("{event.type: {in: [purchase, pageview]}}", "pageview", '"page_view"'),
        ("{event.amout: 5}", "event.amout", '"amount"'),
        ("{context.devise: ios}", "context.devise", '"device"'),
    ]:
        one = found(rule(when))
        assert [(each.code, each.severity) for each in one] == [("unseen-field", "warning")], when
        assert one[0].source_line[one[0].column - 1 :].startswith(token)
        assert (one[0].file, one[0].line) == ("rules/b.yaml", 3)
        assert hint in one[0].hint
        assert "customers.csv" in one[0].message


def test_fields_in_the_sample_set_by_rules_or_made_by_nextbest_get_no_warning() -> None:
    text = """\
states: {low: {}}
rules:
  a: {when: {customer.lifetime_spend: {gt: 1}}, set: {customer.tier: gold}}
  b:
    when:
      customer.tier: gold
      customer.segment.vip: true
      customer.address.city: x
      customer.state: low
      events.purchase.last_sku: x
      events.message.opened.count_7d: 0
      event.type: {in: [purchase, message.clicked]}
      event.amount: 1
      context.device: ios
      time.hour: 3
    exclude: {tags: sale}
suppressions: {s: {event: message.dismissed, times: 2, within: 7d, pause: 7d}}
"""
    assert found(text) == []


def test_fields_that_the_sample_cannot_show_get_no_warning() -> None:
    text = rule("{customer.x: 1, events.y.count: 0, event.z: 1, context.q: 1}")
    assert found(text, ObservedFields(sample="nothing")) == []
    only = ObservedFields(sample="s", customers=1, event_types=frozenset({"y"}))
    assert [one.hint for one in found(rule("{events.y.last_z: 1}"), only)] == []


def test_goals_reply_windows_and_suppressions_name_events_too() -> None:
    text = """\
channels: {wechat: {reply_window: {opened_by: wechat.mesage, lasts: 48h}}}
messages:
  m: {purpose: marketing, channels: [push], value: 1, goal: {event: buy, within: 7d}}
suppressions: {s: {event: rage_clik, times: 2, within: 7d, pause: 7d}}
"""
    assert [(one.line, one.column) for one in found(text)] == [(1, 47), (3, 69), (4, 27)]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("{{ customer.lifetime_spent | money }}", '"lifetime_spend"'),
        ("{{ events.purchase.last_skuu }}", '"sku"'),
        ("{{ events.purchased.count_7d }}", '"purchase"'),
        ("{{ event.amout }}", '"amount"'),
        ("{{ customer.nick | default('you') }}{{ customer.nick | upper | default('') }}", None),
        ("{% if customer.nick %}{{ customer.nick }}{% endif %}{{ event.x if event.x }}", None),
        ("{{ customer.nick if customer.nick is defined }}", None),
        ("{% for x in context.devise %}{{ x }}{% endfor %}", '"device"'),
        (
            "{{ customer.city }}{{ customer.id }}{{ event.type }}{{ events.purchase.last_sku }}",
            None,
        ),
        ("{{ customer.tier }}", None),
    ],
)
def test_what_texts_print_is_compared_with_the_sample(text: str, hint: str | None) -> None:
    rules = f"""
rules: {{a: {{when: {{customer.lifetime_spend: {{gt: 1}}}}, set: {{customer.tier: gold}}}}}}
messages:
  m: {{purpose: marketing, channels: [push], value: 1, content: {{a: "{text}"}}}}
"""
    warnings = [(one.code, one.line) for one in found(rules)]
    assert warnings == ([] if hint is None else [("unseen-field", 4)])
    assert hint is None or hint in found(rules)[0].hint


def test_each_definition_gets_one_warning_per_field() -> None:
    when = "{any: [{customer.x: 1}, {customer.x: 2}]}"
    text = (
        rule(when)
        + "messages: {m: {purpose: marketing, channels: [push], value: 1, when: {customer.x: 1}}}"
    )
    assert [one.line for one in found(text)] == [3, 5]


def test_a_longer_name_is_not_taken_for_a_shorter_one() -> None:
    one = found(rule("{customer.city_name: 1, customer.city_nam: 2}"))
    assert [(each.line, each.column) for each in one] == [(3, 12), (3, 35)]


def test_a_field_as_an_operand_and_the_attribute_of_a_date_are_looked_up() -> None:
    one = found(rule("{customer.city_name: {lt: {field: customer.city_nam}}}"))
    assert [(each.line, each.column) for each in one] == [(3, 12), (3, 45)]
    one = found(rule("{customer.city_nam.days_since: 3}"))
    assert [(each.line, each.column) for each in one] == [(3, 12)]
    assert 'has the attribute "city_nam"' in one[0].message


TYPED = ObservedFields(
    sample="the 3 customers of customers.csv",
    customers=3,
    attributes=frozenset({"spend", "vip", "tags", "mixed"}),
    properties={"buy": frozenset({"amount"}), "look": frozenset({"amount"})},
    context=frozenset({"app"}),
    types={
        "customer.spend": frozenset({"text"}),
        "customer.vip": frozenset({"text"}),
        "customer.tags": frozenset({"a list"}),
        "customer.mixed": frozenset({"text", "a number"}),
        "events.buy.amount": frozenset({"text"}),
        "events.look.amount": frozenset({"text"}),
        "context.app": frozenset({"true or false"}),
    },
)


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ("{customer.spend: {gte: 10}}", "never"),
        ("{customer.spend: {in: [1, 2]}}", "never"),
        ("{customer.spend: {ne: 10}}", "always"),
        ("{customer.spend: {not_in: [1, 2]}}", "always"),
        ("{customer.vip: true}", "never"),
        ("{customer.tags: tea}", "never"),
        ("{customer.tags: {matches: tea}}", "never"),
        ("{customer.mixed: true}", "never"),
        ("{event.amount: {gt: 5}}", "never"),
        ("{events.buy.last_amount: {gt: 5}}", "never"),
        ("{events.buy.sum_amount_7d: {gt: 5}}", "added up"),
        ('{context.app: "true"}', "never"),
        ("{customer.tags: {eq: {field: context.app}}}", "never"),
        ("{customer.spend: {ne: {field: context.app}}}", "always"),
        ("{context.app: {lt: {field: customer.mixed}}}", "never"),
        ('{context.app: {vgte: "2.0"}}', "never"),
        ('{customer.tags: {vne: "2.0"}}', "always"),
        ("{customer.tags.days_since: {gt: 5}}", "no value"),
        ("{customer.spend: {eq: {field: customer.vip}}}", ""),
        ("{customer.spend: {in: {field: customer.tags}}}", ""),
        ('{customer.mixed: {vgte: "2.0"}}', ""),
        ("{customer.vip.days_since: {gt: 5}}", ""),
        ("{customer.mixed.years_since: {gt: 5}}", ""),
        ("{customer.spend: {in: [1, x]}}", ""),
        ("{customer.spend: {gte: a}}", ""),
        ("{customer.spend: {contains: a}}", ""),
        ("{customer.spend: {exists: true}}", ""),
        ("{customer.tags: {contains: tea}}", ""),
        ("{customer.mixed: {gt: 5}}", ""),
        ("{context.app: true}", ""),
    ],
)
def test_a_comparison_with_a_type_that_no_value_has_is_said_and_no_other(
    when: str, words: str
) -> None:
    told = [one.message for one in found(rule(when), TYPED) if one.code == "unseen-type"]
    assert len(told) == bool(words)
    assert all(words in one for one in told)


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("{customer.income: {gte: 600}}", "where it is text, gte never holds"),
        ("{customer.income: {ne: 600}}", 'write {not_in: [600, "600"]}'),
        ("{customer.income: {in: [1, 2]}}", 'write {in: [1, 2, "1", "2"]}'),
        ("{customer.member: true}", 'write {in: [true, "true"]}'),
        ("{customer.income: {lt: {field: customer.age}}}", "where it is text, lt never holds"),
        ("{customer.age: {gte: 18}}", ""),
        ("{customer.income: {exists: true}}", ""),
        ('{customer.income: {in: [600, "600"]}}', ""),
        ('{any: [{customer.income: {gte: 600}}, {customer.income: {matches: "^[6-9]"}}]}', ""),
        ("{customer.likes: {contains: tea}}", ""),
    ],
)
def test_a_comparison_with_only_some_of_the_types_of_a_field_is_said(when: str, said: str) -> None:
    types = {
        "customer.income": frozenset({"a number", "text"}),
        "customer.member": frozenset({"true or false", "text"}),
        "customer.likes": frozenset({"a list", "text"}),
        "customer.age": frozenset({"a number"}),
    }
    names = frozenset(name.removeprefix("customer.") for name in types)
    known = msgspec.structs.replace(KNOWN, attributes=names, types=types)
    one = found(rule(when), known)
    assert [each.code for each in one] == (["mixed-types"] if said else [])
    assert all(said in f"{each.message}; {each.hint}" for each in one), one


def test_derived_events_are_known_and_what_they_are_made_of_is_compared() -> None:
    text = """\
events:
  line: {of: purchase, each: items, when: {event.colour: red}}
  tea: {of: line, when: {event.category: tea}}
  friend: {of: sign_upp, for: event.inviter}
scores:
  interest: {adds: {page_view: 1, tea: 2, serch: 1}, half_life: 30d}
rules:
  r:
    when: {events.tea.sum_price_7d: {gt: 1}, events.line.last_shop: x, score.interest: {gte: 2}}
    exclude: {tags: sale}
"""
    warned = [(one.line, one.message) for one in found(text)]
    assert [line for line, _ in warned] == [4, 6]
    assert '"sign_upp"' in warned[0][1] and '"serch"' in warned[1][1]
    assert found(rule("{events.lines.count_7d: 1}"))[0].code == "unseen-field"


def test_a_derived_event_that_is_already_sent_is_told() -> None:
    text = "events: {page_view: {of: purchase, each: items}}\n"
    [one] = found(text)
    assert "refused from now on" in one.message
    assert (one.line, one.column) == (1, 10)


def test_what_journeys_name_is_compared_with_the_sample() -> None:
    text = """\
purposes: {marketing: {consent: opt_in}}
channels: {push: {}}
placements: {crm: {channels: [push], delivery: gateway}}
messages: {hello: {purpose: marketing, channels: [push], value: 1}}
moments: {left: {pattern: [{event: cart_ad}, {not: purchase}], within: 2h}}
journeys:
  a: {start: {segment: vips}, goal: {event: purchase}, steps: {hi: {ask: crm}}}
  b: {start: {date: customer.birthdy, at: "09:00"}, stop: {moment: left}, steps: {hi: {ask: crm}}}
  c:
    start: {event: purchas}
    steps:
      wait: {wait: {until: customer.renewl}}
      mark: {set: {customer.segment.new: true}}
      more: {branch: [{when: {customer.segment.new: true}, go: hi}]}
      hi: {ask: crm}
"""
    result = load_files({"a.yaml": text})
    assert result.definition is not None, result.diagnostics
    known = ObservedFields(
        sample="the 2 customers of a.csv",
        customers=2,
        attributes=frozenset({"birthday", "renewal", "segment.vip"}),
        event_types=frozenset({"cart_add", "purchase"}),
    )
    found = review_fields(result.definition, result.places, known)
    assert [(one.line, one.hint) for one in found] == [
        (5, 'did you mean "cart_add"?'),
        (7, 'did you mean "vip"?'),
        (8, 'did you mean "birthday"?'),
        (10, 'did you mean "purchase"?'),
        (12, 'did you mean "renewal"?'),
    ]


def test_what_events_add_up_to_and_dates_of_journeys_are_read_in_the_sample() -> None:
    """The data of a sample, wherever rules read it: not only where a condition stands."""
    text = """\
purposes: {marketing: {consent: opt_in}}
channels: {push: {}}
placements: {crm: {channels: [push], delivery: gateway}}
messages: {hello: {purpose: marketing, channels: [push], value: 1}}
events: {large: {of: buy, when: {event.amount: {gte: 500}}}}
scores: {spending: {adds: {buy: {property: amount}}, half_life: 30d}, typo: {adds: {buy: {property: amont}}, half_life: 30d}}
metrics: {revenue: {event: buy, value: amount}, told: {event: buy, value: value}}
journeys:
  b: {start: {date: customer.birthday, at: "09:00"}, steps: {hi: {ask: crm}, end: {wait: {until: customer.renewal}}}}
"""
    result = load_files({"a.yaml": text})
    assert result.definition is not None, result.diagnostics
    known = ObservedFields(
        sample="the 2 customers of a.csv",
        customers=2,
        attributes=frozenset({"birthday", "renewal"}),
        properties={"buy": frozenset({"amount"})},
        types={"events.buy.amount": frozenset({"text"})},
        unread={"date": {
            "customer.birthday": Unread(2, 2, "24/12/1990"),
            "customer.renewal": Unread(1, 2, "soon"),
        }},
    )  # fmt: skip
    found = review_fields(result.definition, result.places, known)
    assert [(one.line, one.code, one.message.rpartition(", so ")[2]) for one in found] == [
        (5, "unseen-type", "gte 500 never holds"),
        (6, "unseen-type", "nothing can be added up"),
        (6, "unseen-field", 'no event buy of the 2 customers of a.csv has the property "amont"'),
        (7, "unseen-type", "nothing can be added up"),
        (9, "unread-value", "it never starts there"),
        (9, "unread-value", "the run ends (unreadable_date) there"),
    ]
