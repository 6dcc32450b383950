"""Events that would do nothing are refused, or the answer says so; whichever way they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from decision.core.clock import from_micros
from decision.core.errors import InputError
from decision.core.policy_builder import compile_policy
from decision.core.schema import Alias, CustomerUpdate, DecisionRequest, Event, TriggerEvent
from decision.engine import Engine
from decision.engine.events import PastEvent
from decision.engine.loading import CustomerRow, Loading
from decision.rulebook.reader import load_files
from decision.scenarios import scenarios_in
from tests.core.small import NOON
from tests.engine.conftest import RULES

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]
POLICY = (
    RULES.replace("  low: {}", "  host: {when: {events.cart_add.count_7d: {gte: 1}}}\n  low: {}")
    + """
coupons: {spring: {}}
events:
  line: {of: purchase, each: items}
  invitation: {of: sign-up, for: event.inviters}
"""
)

WRONG = [
    ("message.open", {}, "type", '"message.opened"'),
    ("message.Opened", {}, "type", '"message.opened"'),
    ("Message.Opened", {}, "type", '"message.opened"'),
    ("message.", {}, "type", "message.sent"),
    ("cart_add ", {}, "type", 'send "cart_add"'),
    ("\u3000cart_add", {}, "type", 'send "cart_add"'),
    ("\ufeffcart_add", {}, "type", 'send "cart_add"'),
    (" ", {}, "type", "say what happened"),
    ("purchase", {"items": {"sku": 1}}, "properties.items", "must be a list"),
    ("purchase", {"items": '[{"sku": 1}]'}, "properties.items", "must be a list"),
    (
        "message.bounced",
        {"Permanent": True, "channel": "email"},
        "properties.Permanent",
        '"permanent"',
    ),
    ("message.bounced", {"permanent ": True}, "properties.permanent ", '"permanent"'),
    ("message.clicked", {"Machine": True}, "properties.Machine", '"machine"'),
    ("message.unsubscribed", {"Purpose": "news"}, "properties.Purpose", '"purpose"'),
    ("message.complained", {"CHANNEL": "email"}, "properties.CHANNEL", '"channel"'),
    ("message.failed", {"Contact": "s-1", "channel": "email"}, "properties.Contact", '"contact"'),
    ("coupon.redeemed", {}, "properties.code", "is missing"),
    ("coupon.redeemed", {"code": 7}, "properties.code", "must be text"),
]


async def ways(engine: Engine, kind: str, properties: dict[str, Any]) -> list[tuple[str, str]]:
    """(path, detail) of the refusal of an event, by each way that it can come."""
    found = []
    told = Event(type=kind, customer_id="c-1", properties=properties)
    answer = await engine.events.record([told])
    found += [tuple(row.detail.split(": ", 1)) for row in answer.rejected]
    asked = TriggerEvent(type=kind, properties=properties)
    past = PastEvent(type=kind, at=from_micros(NOON), properties=properties)
    for begin, call in (
        (
            "event.",
            engine.decide(DecisionRequest(placement="outbound", customer_id="c-1", event=asked)),
        ),
        (
            "events[0].",
            Loading(engine.runtime).put(CustomerRow(customer_id="c-1", events=[past]), now=NOON),
        ),
    ):
        with pytest.raises(InputError) as refused:
            await call
        assert refused.value.path.startswith(begin)
        found.append((refused.value.path.removeprefix(begin), refused.value.detail))
    return found  # type: ignore[return-value]


@pytest.mark.parametrize(("kind", "properties", "path", "detail"), WRONG)
async def test_what_would_have_no_effect_is_refused_by_every_way_with_the_fix(
    make_engine: Make, kind: str, properties: dict[str, Any], path: str, detail: str
) -> None:
    engine = await make_engine(POLICY)
    found = await ways(engine, kind, properties)
    assert [one for one, _ in found] == [path] * 3
    assert all(detail in said for _, said in found)


@pytest.mark.parametrize(("kind", "properties", "path", "detail"), [*WRONG[:6], *WRONG[7:]])
def test_a_scenario_cannot_have_what_the_server_refuses(
    kind: str, properties: dict[str, Any], path: str, detail: str
) -> None:
    definition = load_files({"rules.yaml": POLICY}).definition
    assert definition is not None
    scenario = [
        {
            "name": "x",
            "now": "2026-11-21T10:00:00Z",
            "customer": {
                "events": [{"type": kind, "at": "2026-11-20T10:00:00Z", "properties": properties}]
            },
            "ask": {"placement": "outbound"},
            "expect": {"outcome": "none"},
        }
    ]
    text = msgspec.json.encode(scenario).decode()
    _, problems = scenarios_in("tests/x.yaml", text, compile_policy(definition))
    assert len(problems) == 1
    assert detail in f"{problems[0].message} {problems[0].hint}"


async def test_lists_of_nothing_and_other_names_are_accepted_without_a_word(
    make_engine: Make,
) -> None:
    engine = await make_engine(POLICY)
    told = [
        Event(type=kind, customer_id="c-1", properties=properties)
        for kind, properties in (
            ("purchase", {}),
            ("purchase", {"items": None}),
            ("purchase", {"items": []}),
            ("wechat.message", {}),
            ("messages.open", {}),
            ("sign-up", {"inviters": ""}),
            ("cart_add", {}),
        )
    ]
    answer = await engine.events.record(told)
    assert (answer.accepted, answer.rejected, answer.notices) == (7, [], msgspec.UNSET)


async def test_a_notice_names_the_type_that_was_probably_meant_and_who_counts_for_nobody(
    make_engine: Make,
) -> None:
    """Only where nothing reads the type as it is spelled."""
    engine = await make_engine(POLICY)
    await engine.customers.update("anna", CustomerUpdate(attributes={"a": 1}))
    told = [
        Event(type=kind, customer_id="c-1", properties=properties)
        for kind, properties in (
            ("Cart_Add", {}),
            ("cart-add", {}),
            ("ｃart add", {}),
            ("page_view", {}),
            ("Purchase", {}),
            ("sign-up", {"inviters": ["anna"]}),
            ("sign-up", {"inviters": "anna"}),
        )
    ]
    answer = await engine.events.record(told)
    assert answer.accepted == len(told)
    assert answer.notices is not msgspec.UNSET
    said = {row.index: row.detail for row in answer.notices}
    assert sorted(said) == [0, 1, 2, 4, 5]
    assert said[0] == 'type: no rule reads "Cart_Add"; did you mean "cart_add"?'
    assert said[5].startswith("properties.inviters: invitation (rules/rules.yaml:")
    assert said[5].endswith('it is ["anna"], so nobody')


@pytest.mark.parametrize("name", ["decision_id", "decisionId", "Decision-ID"])
async def test_a_decision_is_named_beside_the_properties_and_an_opt_out_is_obeyed_anyway(
    make_engine: Make, name: str
) -> None:
    engine = await make_engine(POLICY)
    await engine.customers.set_consents("c-1", {"marketing": {"*": "granted"}})
    given = await engine.decide(DecisionRequest(placement="outbound", customer_id="c-1"))
    told = [
        Event(type=kind, customer_id="c-1", properties={name: value})
        for kind, value in (
            ("message.failed", given.decision_id),
            ("message.shown", given.decision_id),
            ("message.clicked", "77 of another tool"),
            ("purchase", given.decision_id),
            ("message.unsubscribed", given.decision_id),
        )
    ]
    answer = await engine.events.record(told)
    assert [row.index for row in answer.rejected] == [0, 1]
    assert all(row.detail.startswith(f"properties.{name}: ") for row in answer.rejected)
    assert all("as decision_id" in row.detail for row in answer.rejected)
    document = (await engine.runtime.store.read("c-1")).document
    assert not document.consents["marketing"]["*"].granted


async def test_what_is_said_of_a_message_that_the_decision_did_not_give_is_refused(
    make_engine: Make,
) -> None:
    engine = await make_engine(POLICY)
    await engine.customers.set_consents("c-1", {"marketing": {"*": "granted"}})
    given = await engine.decide(DecisionRequest(placement="outbound", customer_id="c-1"))
    told = [
        Event(type=kind, customer_id="c-1", decision_id=given.decision_id, message=message)
        for kind, message in (
            ("message.failed", "Offer"),
            ("message.clicked", "news"),
            ("message.unsubscribed", "Offer"),
            ("message.failed", "offer"),
        )
    ]
    answer = await engine.events.record(told)
    assert [row.index for row in answer.rejected] == [0, 1]
    assert answer.rejected[0].detail == (
        f'message: decision {given.decision_id} gave offer, and not Offer; did you mean "offer"?'
    )
    [contact] = (await engine.customers.get("c-1")).contacts
    assert contact.state == "released"


async def test_a_notice_says_of_an_opt_out_that_it_stops_nothing_or_is_of_nobody_known(
    make_engine: Make,
) -> None:
    engine = await make_engine(POLICY)
    await engine.customers.update("c-1", CustomerUpdate(aliases={"email": "ann@shop.example"}))
    told = [
        Event(type=kind, properties=properties, **who)
        for kind, properties, who in (
            ("message.unsubscribed", {"purpose": "service"}, {"customer_id": "c-1"}),
            ("message.unsubscribed", {}, {"alias": Alias("email", "ann@shop.example")}),
            ("message.complained", {}, {"alias": Alias("email", "Ann@shop.example")}),
            ("message.unsubscribed", {"purpose": "marketing"}, {"customer_id": "C-1"}),
            ("message.unsubscribed", {"purpose": "marketing"}, {"customer_id": "C-1"}),
            ("message.bounced", {"channel": "email"}, {"customer_id": "c-2"}),
            ("message.bounced", {"channel": "email", "permanent": True}, {"customer_id": "c-3"}),
            ("cart_add", {}, {"customer_id": "c-4"}),
        )
    ]
    answer = await engine.events.record(told)
    assert answer.accepted == len(told)
    assert answer.notices is not msgspec.UNSET
    said = [(row.index, row.detail.split(": ")[0]) for row in answer.notices]
    assert said == [
        (0, "properties.purpose"),
        (2, "alias"),
        *[(index, "customer_id") for index in (3, 4, 6)],
    ]
    again = await engine.events.record(told[2:4])
    assert again.notices is msgspec.UNSET


async def test_a_notice_says_that_the_value_of_a_conversion_is_beside_its_properties(
    make_engine: Make,
) -> None:
    engine = await make_engine(POLICY)
    told = [
        Event(type="message.converted", customer_id="c-1", properties={"value": 80}),
        Event(type="message.converted", customer_id="c-1", value=80),
        Event(type="message.converted", customer_id="c-1", value=80, properties={"value": "x"}),
        Event(type="purchase", customer_id="c-1", properties={"value": 80}),
    ]
    answer = await engine.events.record(told)
    assert answer.accepted == len(told)
    assert answer.notices is not msgspec.UNSET
    assert [row.index for row in answer.notices] == [0]
    assert answer.notices[0].detail.startswith("properties.value: ")


async def test_only_an_event_with_an_id_is_counted_and_already_in_the_decision_that_brings_it(
    make_engine: Make,
) -> None:
    engine = await make_engine(POLICY)

    async def state(event_id: str | None) -> str:
        event = TriggerEvent(type="cart_add", id=event_id)
        request = DecisionRequest(placement="outbound", customer_id=f"c-{event_id}", event=event)
        verdict = (await engine.decide_with_verdict(request)).verdict
        assert verdict is not None
        return verdict.values[engine.snapshot.policy.fields.slot("customer.state")]

    assert await state(None) == "low"
    assert await state("e-1") == "host"
