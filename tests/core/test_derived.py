"""Derived events: what an event counts as besides itself, from the event alone."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.core.clock import DAY
from decision.core.derived import MOST_ENTRIES, MOST_OTHERS, MOST_STEPS, Derivations
from decision.core.document import Document
from decision.core.errors import InputError
from decision.core.event_effects import Occurrence, apply, for_others
from decision.core.fields import Situation
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from decision.core.values import MISSING
from decision.rulebook.reader import load_files

NOW = 1_795_000_000_000_000

EVENTS = """
events:
  line: {of: purchase, each: items}
  tea-line: {of: line, when: {event.category: tea}}
  large: {of: purchase, when: {event.value: {gte: 100}}}
  invitation: {of: sign-up, for: event.inviter_id}
  gift: {of: purchase, each: cart.gifts, for: event.value}
  dear-gift: {of: gift, when: {event.value: {matches: "^b"}}}
scores:
  tea: {adds: {tea-line: {property: price}}, half_life: 30d}
"""


def policy(text: str = EVENTS, *reads: str) -> Policy:
    found = load_files({"a.yaml": text})
    assert not found.errors, found.errors
    assert found.definition is not None
    return compile_policy(found.definition, reads=reads)


def occurrence(kind: str = "purchase", **properties: Any) -> Occurrence:
    return Occurrence(id="e-1", type=kind, at=NOW, properties=properties)


def applied(rules: Policy, *events: Occurrence) -> Document:
    document = Document(customer_id="anna")
    for event in events:
        apply(document, event, rules, rules.measures(), NOW)
    return document


FIELDS = (
    "events.line.count",
    "events.tea-line.count_7d",
    "events.tea-line.sum_price_7d",
    "events.tea-line.last_shop",
    "events.tea-line.active_days_28d",
    "events.large.count",
    "events.invitation.count",
    "events.gift.count",
)


def test_a_basket_counts_line_by_line_with_what_the_lines_and_the_basket_say() -> None:
    rules = policy(EVENTS, *FIELDS)
    basket = [{"category": "tea", "price": 3}, {"category": "cup"}, {"category": "tea", "price": 4}]
    document = applied(rules, occurrence(items=basket, shop="north"))
    found = document.events
    assert (found["line"].total, found["tea-line"].total) == (3, 2)
    assert found["tea-line"].last == {"shop": "north"}
    assert found["tea-line"].buckets == [[NOW // 1_000_000, 2, 7]]
    assert rules.scores.value(document, "tea", NOW + 30 * DAY) == 3.5


@pytest.mark.parametrize(
    ("items", "lines"),
    [(None, 0), ("tea", 0), ({"a": 1}, 0), ([], 0), ([None, [1], "x", 7, True, {}], 4)],
)
def test_entries_that_are_no_objects_are_its_value_and_nothing_and_lists_do_not_count(
    items: Any, lines: int
) -> None:
    found = list(policy().derivations.of("purchase", {"items": items}))
    assert len(found) == lines
    if lines:
        assert [one.properties.get("value") for one in found] == ["x", 7, True, None]


def test_the_value_of_an_event_is_one_of_its_properties() -> None:
    rules = policy(EVENTS, "events.large.count")
    with_value = Occurrence(id="1", type="purchase", at=NOW, value=100.0)
    assert applied(rules, with_value).events["large"].total == 1
    assert "large" not in applied(rules, occurrence(value="100")).events


def test_what_counts_for_others_does_not_count_for_the_sender() -> None:
    rules = policy(EVENTS, *FIELDS)
    sign_up, order = occurrence("sign-up", inviter_id="ben"), occurrence(cart={"gifts": ["b", "c"]})
    document = applied(rules, sign_up, order)
    assert document.events == {}
    assert [(who, one.type) for who, one in for_others(sign_up, rules, "anna")] == [
        ("ben", "invitation")
    ]
    gifts = [(who, one.type) for who, one in for_others(order, rules, "anna")]
    assert gifts == [("b", "gift"), ("b", "dear-gift"), ("c", "gift")]
    assert len({one.id for _, one in for_others(order, rules, "anna")}) == 3
    again = [one.id for _, one in for_others(order, rules, "anna")]
    assert again == [one.id for _, one in for_others(order, rules, "anna")]


@pytest.mark.parametrize("inviter", [None, "", 7.5, True, ["ben"], {"id": "ben"}, "x" * 257])
def test_a_property_that_names_nobody_counts_for_nobody(inviter: Any) -> None:
    assert list(for_others(occurrence("sign-up", inviter_id=inviter), policy(), "anna")) == []


def test_a_customer_named_by_a_whole_number_is_named_by_its_digits() -> None:
    assert [
        who for who, _ in for_others(occurrence("sign-up", inviter_id=42), policy(), "anna")
    ] == ["42"]


@pytest.mark.parametrize(
    ("kind", "properties", "path", "words"),
    [
        ("tea-line", {}, "type", 'send "purchase"'),
        ("invitation", {}, "type", 'send "sign-up"'),
        ("purchase", {"items": [{}] * (MOST_ENTRIES + 1)}, "properties.items", "1,001 entries"),
        (
            "purchase",
            {"cart": {"gifts": [f"c-{n}" for n in range(MOST_OTHERS + 1)]}},
            "properties",
            "101 other customers",
        ),
        (
            "purchase",
            {"items": [{"category": "tea"}] * MOST_ENTRIES, "value": 100},
            "properties",
            "more than 2,000 derived events",
        ),
    ],
)
def test_events_that_cannot_be_counted_are_refused_with_the_reason(
    kind: str, properties: dict[str, Any], path: str, words: str
) -> None:
    with pytest.raises(InputError, match=words) as error:
        policy().derivations.check(kind, properties)
    assert error.value.path == path


def test_the_properties_of_an_event_are_never_copied_for_what_is_derived_from_it() -> None:
    rules = policy()
    wide = {**{f"k{n}": n for n in range(1_000)}, "items": [{"category": "tea"}, 3]}
    found = list(rules.derivations.of("purchase", wide))
    assert [one.type for one in found] == ["line", "tea-line", "line"]
    assert all(one.properties.maps[-1] is wide for one in found)  # type: ignore[attr-defined]


def test_a_chain_of_derived_events_has_an_end_that_the_check_knows() -> None:
    def chain(steps: int) -> str:
        others = (f"  e{n}: {{of: e{n - 1}, when: {{event.a: 1}}}}\n" for n in range(1, steps))
        return "events:\n  e0: {of: p, when: {event.a: 1}}\n" + "".join(others)

    derivations = policy(chain(MOST_STEPS)).derivations
    derivations.check("p", {"a": 1})
    assert len(list(derivations.of("p", {"a": 1}))) == MOST_STEPS
    [error] = load_files({"a.yaml": chain(1_100)}).errors
    assert "more than 100 derived events" in error.message
    assert "of: p" in error.hint


def test_what_is_just_allowed_is_counted_in_full() -> None:
    rules = policy()
    properties = {"items": [{}] * MOST_ENTRIES, "cart": {"gifts": [f"c-{n}" for n in range(100)]}}
    rules.derivations.check("purchase", properties)
    found = [one.type for one in rules.derivations.of("purchase", properties)]
    assert (found.count("line"), found.count("gift")) == (MOST_ENTRIES, MOST_OTHERS)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["category", "price", "shop"]), st.integers(0, 3)),
        max_size=6,
    )
)
def test_derived_is_what_the_definition_says_entry_by_entry(items: list[dict[str, Any]]) -> None:
    rules = policy("events: {cheap: {of: order, each: items, when: {event.price: {lte: 1}}}}")
    found = [one.properties for one in rules.derivations.of("order", {"items": items, "shop": 9})]
    merged = [{"items": items, "shop": 9, **item} for item in items]
    assert found == [one for one in merged if one.get("price", 2) <= 1]


def test_a_derived_event_opens_reply_windows_and_pauses_messages_as_a_sent_one_does() -> None:
    text = """
purposes: {tips: {consent: not_required}}
channels: {chat: {reply_window: {opened_by: wish, lasts: 48h}}}
placements: {home: {channels: [chat]}}
messages: {hello: {purpose: tips, channels: [chat], value: 1}}
suppressions: {enough: {event: no-more, times: 1, within: 7d, pause: 7d}}
events:
  wish: {of: chat.message, when: {event.text: {contains: offer}}}
  no-more: {of: chat.message, when: {event.text: {contains: stop}}}
"""
    rules = policy(text)
    document = applied(rules, occurrence("chat.message", text="an offer, please"))
    assert document.events["wish"].total == 1 and document.signals == []
    document = applied(rules, occurrence("chat.message", text="stop"))
    assert document.events == {} and [one.type for one in document.signals] == ["no-more"]


def test_a_policy_without_derived_events_asks_for_nothing() -> None:
    assert not Derivations().concerns("purchase")
    Derivations().check("purchase", {"items": [1] * 5000})


def test_a_model_can_read_scores_and_derived_events_that_no_rule_names() -> None:
    rules = policy(EVENTS, "score.tea", "events.tea-line.count_7d")
    document = applied(rules, occurrence(items=[{"category": "tea", "price": 3}]))
    values = rules.read(Situation(document, "home", NOW, UTC))
    assert [
        values[rules.fields.slot(name)] for name in ("score.tea", "events.tea-line.count_7d")
    ] == [3.0, 1]
    more = rules.reading(["score.none"])
    assert (
        more.read(Situation(document, "home", NOW, UTC))[more.fields.slot("score.none")] is MISSING
    )
    assert more.read(Situation(document, "home", NOW, UTC))[more.fields.slot("score.tea")] == 3.0
