"""When an event was last, whether it came after another, on which channel; contacts of a purpose."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.core import event_effects
from decision.core.clock import DAY, MINUTE, SECOND, time_text, to_micros
from decision.core.condition_words import clause_in_words
from decision.core.conditions import Clause, Condition, FieldOperand, holds
from decision.core.definition import PolicyDefinition, Score
from decision.core.document import ContactState, Document, EventHistory
from decision.core.event_effects import Occurrence
from decision.core.explanation import explain
from decision.core.fields import Situation, UnknownField, parse_field
from decision.core.identifiers import decision_tag
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from decision.core.values import MISSING
from tests.core.small import NOON, ask, at, contact, customer, definition

CLICK = "message.clicked"
FIELDS = [
    "events.purchase.last_at",
    "events.cart.last_at",
    "events.purchase.since.cart",
    "events.message.clicked.since.message.sent",
    "events.message.clicked.last_channel",
    "events.message.clicked.count_7d.push",
    "events.message.clicked.count_7d.email",
    "contacts.push.count_7d",
    "contacts.marketing.count_7d",
    "contacts.sale.count_7d",
]


def policy_of(when: Condition | None = None) -> Policy:
    here = definition()
    if when is not None:
        first = msgspec.structs.replace(here.messages[0], when=when)
        here = msgspec.structs.replace(here, messages=(first, *here.messages[1:]))
    return compile_policy(here, reads=FIELDS)


def values(policy: Policy, document: Document, now: int = NOON) -> dict[str, Any]:
    read = policy.fields.read(Situation(document, "outbound", now, policy.zone))
    return dict(zip(policy.fields.names(), read, strict=True))


def record(policy: Policy, document: Document, kind: str, at: int, **more: Any) -> None:
    occurrence = Occurrence(id=f"{kind}-{at}", type=kind, at=at, **more)
    event_effects.apply(document, occurrence, policy, policy.measures(), max(at, NOON))


DECISION = "01JD4XS9GPZ0000000000000AB"


def test_the_server_knows_the_channel_of_a_click_from_its_decision() -> None:
    """Whatever the event itself says; without a known contact, what it says is believed."""
    policy = policy_of()
    tagged = contact(0, NOON - DAY, ContactState.CONFIRMED)._replace(tag=decision_tag(DECISION))
    document = customer(contacts=[tagged], events={})
    said = {"channel": "email", "channel.email": 5, "contact_channel": "email"}
    record(policy, document, CLICK, NOON - 2, decision_id=DECISION, properties=said)
    found = values(policy, document)
    assert found["events.message.clicked.last_channel"] == "push"
    assert found["events.message.clicked.count_7d.push"] == 1
    assert found["events.message.clicked.count_7d.email"] == 0
    record(policy, document, CLICK, NOON - 1, properties={"channel": "email"})
    assert values(policy, document)["events.message.clicked.last_channel"] == "email"
    record(policy, document, CLICK, NOON)
    found = values(policy, document)
    assert found["events.message.clicked.last_channel"] is MISSING
    assert found["events.message.clicked.count_7d.push"] == 1
    assert found["events.message.clicked.count_7d.email"] == 1
    assert values(policy, document, NOON + 8 * DAY)["events.message.clicked.count_7d.email"] == 0


@given(
    st.lists(
        st.tuples(st.sampled_from(["purchase", "cart"]), st.integers(0, 3 * SECOND)), max_size=6
    )
)
def test_whether_something_came_after_the_last_of_another_is_exact_to_the_microsecond(
    sent: list[tuple[str, int]],
) -> None:
    """In whatever order they arrive; at the same time is not after."""
    policy, document = policy_of(), customer(events={})
    for kind, before in sent:
        record(policy, document, kind, NOON - before)
    found = values(policy, document)
    purchases = [NOON - before for kind, before in sent if kind == "purchase"]
    carts = [NOON - before for kind, before in sent if kind == "cart"]
    since = found["events.purchase.since.cart"]
    if not carts:
        assert since is not True
        assert since is not False
    else:
        assert since is (bool(purchases) and max(purchases) > max(carts))
        assert found["events.cart.last_at"] == time_text(max(carts))


def test_an_event_of_the_future_was_when_it_arrived() -> None:
    policy, document = policy_of(), customer(events={})
    occurrence = Occurrence(id="x", type="purchase", at=NOON + DAY)
    event_effects.apply(document, occurrence, policy, policy.measures(), NOON)
    assert values(policy, document)["events.purchase.last_at"] == time_text(NOON)


@given(st.permutations([("cart", 0), ("purchase", 60 * SECOND), ("cart", -SECOND)]))
def test_events_of_a_clock_that_is_ahead_keep_their_order(sent: list[tuple[str, int]]) -> None:
    """Of one type and of two, in whatever order they are given; they count at once."""
    later = Clause("events.purchase.last_at", "gt", FieldOperand("events.cart.last_at"))
    policy = compile_policy(
        definition(), reads=[*FIELDS, "events.cart.last_n", "events.cart.count_2h"]
    )
    document = customer(events={})
    for kind, after in sent:
        when = NOON + 2 * MINUTE + after
        happened = Occurrence(id=f"{after}", type=kind, at=when, properties={"n": after})
        event_effects.apply(document, happened, policy, policy.measures(), NOON)
    found = values(policy, document)
    assert found["events.purchase.since.cart"] is True
    assert holds(later, found["events.purchase.last_at"], found["events.cart.last_at"])
    assert (found["events.cart.last_n"], found["events.cart.count_2h"]) == (0, 2)
    # By a clock that is right, a second after.
    record(policy, document, "cart", NOON + SECOND)
    assert values(policy, document, NOON + SECOND)["events.purchase.since.cart"] is False


def test_a_score_is_never_above_what_events_of_the_future_have_added() -> None:
    score = Score(name="s", adds={"cart": 1}, half_life=10 * MINUTE)
    policy = compile_policy(msgspec.structs.replace(definition(), scores=(score,)))
    document = customer(events={})
    happened = Occurrence(id="1", type="cart", at=NOON + 5 * MINUTE)
    event_effects.apply(document, happened, policy, {}, NOON)
    assert policy.scores.value(document, "s", NOON) == 1.0


@given(st.datetimes(), st.datetimes())
def test_texts_of_times_are_ordered_as_the_times(one: Any, other: Any) -> None:
    from datetime import UTC

    first, second = (to_micros(each.replace(tzinfo=UTC)) for each in (one, other))
    assert (time_text(first) < time_text(second)) is (first < second)
    assert len(time_text(first)) == 27


def test_an_explanation_shows_times_on_the_customers_clock() -> None:
    before = Clause("events.cart.last_at", "gt", FieldOperand("events.purchase.last_at"))
    policy = policy_of(before)
    events = {
        "cart": EventHistory(total=1, last_at=at("2026-11-21T01:00:00Z")),
        "purchase": EventHistory(total=1, last_at=at("2026-11-21T02:00:00.5Z")),
    }
    verdict = ask(policy, customer(timezone="Asia/Shanghai", events=events))
    assert explain(policy, verdict)[0].detail == (
        "events.cart.last_at is 2026-11-21 09:00:00+08:00, must be after "
        "events.purchase.last_at, which is 2026-11-21 10:00:00.500000+08:00"
    )
    literal = Clause("events.cart.last_at", "gte", time_text(at("2026-11-21T02:00:00Z")))
    policy = policy_of(literal)
    verdict = ask(policy, customer(timezone="Asia/Shanghai", events=events))
    assert explain(policy, verdict)[0].detail == (
        "events.cart.last_at is 2026-11-21 09:00:00+08:00, "
        "must be at or after 2026-11-21 10:00:00+08:00"
    )


@pytest.mark.parametrize(
    ("zone", "moment"),
    [
        ("Pacific/Kiritimati", "9999-12-31T23:59:59Z"),
        ("America/New_York", "0001-01-01T00:00:00Z"),
    ],
)
def test_a_time_that_a_clock_cannot_show_is_explained_in_utc(zone: str, moment: str) -> None:
    wanted = time_text(at(moment))
    told = clause_in_words(
        Clause("events.cart.last_at", "lt", wanted), MISSING, zone=ZoneInfo(zone)
    )
    assert told.endswith(f"must be before {moment[:10]} {moment[11:19]}+00:00")


def test_contacts_are_counted_by_channel_else_purpose_else_category() -> None:
    policy = policy_of()
    contacts = [
        contact(0, NOON - 8 * DAY, ContactState.CONFIRMED),
        contact(0, NOON - 2 * DAY, ContactState.CONFIRMED),
        contact(1, NOON - DAY, ContactState.RELEASED),
        contact(2, NOON - DAY, ContactState.CONFIRMED),
        contact(3, NOON - MINUTE, ContactState.CONFIRMED),
    ]
    found = values(policy, customer(contacts=contacts))
    assert found["contacts.push.count_7d"] == 1
    assert found["contacts.marketing.count_7d"] == 2
    assert found["contacts.sale.count_7d"] == 1
    assert policy.history_needed() >= 7 * DAY


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("events.a.since.b", ("a", "b")),
        ("events.message.clicked.since.message.sent", ("message.clicked", "message.sent")),
        ("events.shop.cart.since.shop.buy", ("shop.cart", "shop.buy")),
        ("events.a.since.b.count_7d", ("a.since.b", None)),  # the last part is the measure
        ("events.a.since.last_seen", ("a.since", None)),
        ("events.a.last_at", ("a", None)),
        ("events.message.clicked.count_7d.in.app", ("message.clicked", None)),
    ],
)
def test_a_name_is_read_in_one_way(name: str, read: tuple[str, str | None]) -> None:
    field = parse_field(name)
    assert (field.event_type, field.beside) == read


@pytest.mark.parametrize(
    "name", ["events.a.since.b.since.c", "events.a.since", "events.purchase.count_7d.push"]
)
def test_a_name_that_could_be_read_in_two_ways_is_refused(name: str) -> None:
    with pytest.raises(UnknownField):
        parse_field(name)


def test_a_policy_keeps_both_types_of_a_comparison_in_time() -> None:
    measures = compile_policy(PolicyDefinition(version="1"), reads=FIELDS[2:3]).measures()
    assert set(measures) == {"purchase", "cart"}
