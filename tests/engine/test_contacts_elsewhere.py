"""Contacts that other tools made count against caps like our own, once, and are settled like them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from decision.core import contacts_elsewhere
from decision.core.clock import DAY, MINUTE, from_micros
from decision.core.document import ContactState, Document
from decision.core.errors import InputError
from decision.core.event_effects import CONTACT_EVENTS
from decision.core.schema import DecisionRequest, Event, TriggerEvent
from decision.engine import Engine
from decision.engine.events import PastEvent
from decision.engine.loading import CustomerRow, Loading, PastContact
from tests.core.small import NOON

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]
TOLD = {"message": "autumn", "channel": "sms", "purpose": "marketing"}
RULES = """
settings: {timezone: UTC, exploration: "off"}
purposes: {marketing: {consent: not_required}, service: {consent: not_required}}
channels:
  push: {reservation: {expires_after: 1h, then: release}}
  sms: {reservation: {expires_after: 1h, then: release}}
placements: {outbound: {channels: [push]}}
messages:
  offer: {purpose: marketing, category: sale, tags: [coupon], channels: [push], value: 1,
          content: {title: Hi}}
  both: {purpose: service, channels: [push, sms], value: 0, when: {customer.x: 1},
         content: {title: Hi}}
caps: {one: {of: {purpose: marketing}, at_most: 1, within: 1d}}
"""


async def tell(engine: Engine, kind: str, properties: dict[str, Any], **given: Any) -> list[str]:
    """What is wrong with an event of c-1."""
    event = Event(type=kind, customer_id="c-1", properties=properties, **given)
    return [row.detail for row in (await engine.events.record([event])).rejected]


async def document_of(engine: Engine, customer_id: str = "c-1") -> Document:
    """What is stored."""
    return (await engine.runtime.store.read(customer_id)).document


async def outcome(engine: Engine, customer_id: str = "c-1") -> str:
    """What a decision comes to."""
    asked = DecisionRequest(placement="outbound", customer_id=customer_id)
    return (await engine.decide(asked)).outcome


@pytest.mark.parametrize(
    "kind", ["message.sent", "message.delivered", "message.shown", "message.clicked"]
)
async def test_a_contact_of_another_tool_counts_against_the_caps(
    make_engine: Make, store: Any, kind: str
) -> None:
    engine = await make_engine(RULES, store)
    assert await tell(engine, kind, TOLD, id="e-1") == []
    assert await outcome(engine) == "none"
    document = await document_of(engine)
    [contact] = document.contacts
    assert document.kinds[contact.kind] == ("autumn", "sms", "marketing", "", ())
    assert (contact.at, contact.state) == (NOON, ContactState.CONFIRMED)


async def test_a_message_of_the_policy_brings_what_it_is_now(make_engine: Make) -> None:
    engine = await make_engine(RULES)
    assert await tell(engine, "message.sent", {}, message="offer") == []
    document = await document_of(engine)
    assert document.kinds[document.contacts[0].kind] == (
        *("offer", "push", "marketing", "sale"),
        ("coupon",),
    )


@pytest.mark.parametrize(
    ("properties", "message", "place", "hint"),
    [
        ({**TOLD, "channel": "smss"}, None, "properties.channel", 'did you mean "sms"'),
        ({**TOLD, "purpose": "marketin"}, None, "properties.purpose", 'did you mean "marketing"'),
        ({"channel": "sms"}, "ofer", "properties.purpose", 'did you mean "offer"'),
        ({"purpose": "marketing"}, "autumn", "properties.channel", "is missing"),
        ({}, "both", "properties.channel", "push, sms"),
        ({**TOLD, "tags": "a"}, None, "properties.tags", "must be a list"),
        ({**TOLD, "category": 7}, None, "properties.category", "must be a text"),
        ({**TOLD, "contact": 7}, None, "properties.contact", "must be a text"),
    ],
)
async def test_what_cannot_be_a_contact_is_rejected_with_the_fix(
    make_engine: Make, properties: dict[str, Any], message: str | None, place: str, hint: str
) -> None:
    engine = await make_engine(RULES)
    [problem] = await tell(engine, "message.sent", properties, message=message)
    assert problem.startswith(place) and hint in problem
    assert not (await document_of(engine)).exists


async def test_an_event_counts_once_also_after_its_id_is_forgotten(
    make_engine: Make, clock: Any
) -> None:
    engine = await make_engine(RULES, event_ids_last=1)
    for _ in range(2):
        await tell(engine, "message.sent", TOLD, id="e-1", at=from_micros(NOON))
        clock.now += MINUTE
    assert len((await document_of(engine)).contacts) == 1


REPORTS = [
    ("message.sent", {**TOLD, "contact": "s-1"}, 0),
    ("message.delivered", {**TOLD, "contact": "s-1"}, 1),
    ("message.bounced", {**TOLD, "contact": "s-1", "permanent": True}, 2),
]


@pytest.mark.parametrize("order", [*itertools.permutations(range(3))])
async def test_reports_with_one_reference_are_about_one_contact_in_any_order(
    make_engine: Make, order: tuple[int, ...]
) -> None:
    engine = await make_engine(RULES)
    for index in order:
        kind, properties, minutes = REPORTS[index]
        at = from_micros(NOON - 10 * MINUTE + minutes * MINUTE)
        assert await tell(engine, kind, properties, id=f"e-{index}", at=at) == []
    document = await document_of(engine)
    [contact] = document.contacts
    assert (contact.at, contact.state, contact.mark) == (
        *(NOON - 10 * MINUTE, ContactState.RELEASED),
        120,
    )
    assert document.unreachable == ["sms"]
    assert await outcome(engine) == "selected"


async def test_a_later_report_names_the_event_that_told_of_the_contact(make_engine: Make) -> None:
    engine = await make_engine(RULES)
    await tell(engine, "message.sent", TOLD, id="e-1")
    await tell(engine, "message.complained", {"contact": "e-1"}, id="e-2")
    denied = (await document_of(engine)).consents
    assert all([*channels] == ["sms"] for channels in denied.values()) and denied
    await tell(
        engine, "message.failed", {"contact": "e-1"}, id="e-3", at=from_micros(NOON + MINUTE)
    )
    assert (await document_of(engine)).contacts[0].state == ContactState.RELEASED


async def test_what_only_looks_back_makes_no_contact(make_engine: Make) -> None:
    engine = await make_engine(RULES)
    await tell(engine, "message.failed", TOLD)
    await tell(engine, "message.unsubscribed", TOLD)
    await tell(engine, "message.opened", {"channel": "sms"})
    assert (await document_of(engine)).contacts == []


async def test_merging_and_erasing_treat_it_as_any_contact(make_engine: Make, store: Any) -> None:
    engine = await make_engine(RULES, store)
    for customer in ("c-1", "c-2"):
        event = Event(type="message.sent", customer_id=customer, id="e-1", properties=TOLD)
        await engine.events.record([event])
    await engine.customers.merge("c-1", "c-2")
    assert len((await document_of(engine)).contacts) == 1
    assert await outcome(engine, "c-2") == "none"
    await engine.customers.erase("c-1")
    assert await outcome(engine) == "selected"


async def test_kinds_of_messages_that_the_policy_does_not_have_are_bounded(
    make_engine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contacts_elsewhere, "KINDS_KEPT", 8)
    engine = await make_engine(RULES)
    for number in range(20):
        told = {**TOLD, "message": f"campaign {number}", "tags": [f"t{number}"]}
        assert await tell(engine, "message.sent", told) == []
    document = await document_of(engine)
    assert len(document.contacts) == 20 and len(document.kinds) <= 9


async def test_past_contacts_are_loaded_once_and_count(make_engine: Make, store: Any) -> None:
    engine = await make_engine(RULES, store)
    contact = PastContact(
        at=from_micros(NOON - DAY // 2), message="autumn", channel="sms", purpose="marketing"
    )
    row = CustomerRow(customer_id="c-1", contacts=[contact])
    loading = Loading(engine.runtime)
    assert [(await loading.put(row)).events for _ in range(2)] == [1, 0]
    assert await outcome(engine) == "none"


HARD = {"contact": "send-881", "permanent": True}


async def bounce(engine: Engine, door: str, properties: dict[str, Any]) -> None:
    """Tells of a bounce by one of the ways in."""
    if door == "events":
        [*wrong] = await tell(engine, "message.bounced", properties, id="b-1")
        if wrong:
            raise InputError("properties.channel", wrong[0])
    elif door == "load":
        event = PastEvent(
            type="message.bounced", at=from_micros(NOON), id="b", properties=properties
        )
        await Loading(engine.runtime).put(CustomerRow(customer_id="c-1", events=[event]))
    else:
        told = TriggerEvent(type="message.bounced", id=door or None, properties=properties)
        asked = DecisionRequest(placement="outbound", customer_id="c-1", event=told)
        assert (await engine.decide(asked)).outcome == "none"


@pytest.mark.parametrize("door", ["events", "load", "own-event", ""])
async def test_a_hard_bounce_finds_its_channel_by_the_reference_of_its_contact(
    make_engine: Make, door: str
) -> None:
    engine = await make_engine(RULES.replace("channels: [push]}}\nm", "channels: [push, sms]}}\nm"))
    assert await tell(engine, "message.sent", TOLD, id="send-881") == []
    await bounce(engine, door, HARD)
    if door:  # without an id it informs this decision alone
        assert (await document_of(engine)).unreachable == ["sms"]


@pytest.mark.parametrize("door", ["events", "load", "own-event", ""])
@pytest.mark.parametrize("properties", [{**HARD, "contact": "send-9"}, {"permanent": True}])
async def test_a_hard_bounce_of_an_unknown_contact_needs_the_channel(
    make_engine: Make, door: str, properties: dict[str, Any]
) -> None:
    engine = await make_engine(RULES)
    assert await tell(engine, "message.sent", TOLD, id="send-881") == []
    with pytest.raises(InputError, match="is missing, and no contact is known") as refused:
        await bounce(engine, door, properties)
    assert refused.value.path.endswith("properties.channel")
    assert (await document_of(engine)).unreachable == []


@pytest.mark.parametrize("kind", sorted(CONTACT_EVENTS))
async def test_a_reference_alone_is_enough_for_every_event_about_a_contact(
    make_engine: Make, kind: str
) -> None:
    engine = await make_engine(RULES)
    assert await tell(engine, "message.sent", TOLD, id="send-881") == []
    assert await tell(engine, kind, {"contact": "send-881"}, id="later") == []
    assert len((await document_of(engine)).contacts) == 1
