"""Channels of `message.*` events rebuilt from the archive are those that the server knew."""

from __future__ import annotations

from pathlib import Path

import pytest

from decision.core.schema import CustomerUpdate, DecisionRequest, Event
from decision.store import MemoryStore
from tests.archive.test_archive import archive
from tests.maintenance.test_rebuilding import engine_on, histories, rebuild, use

pytestmark = pytest.mark.anyio

BEFORE = """\
purposes: {ads: {consent: not_required}}
channels: {push: {}, email: {cost: 0.1}}
placements: {home: {channels: [push, email]}}
messages:
  hello: {purpose: ads, channels: [push, email], value: 5}
"""
AFTER = BEFORE + (
    "  other: {purpose: ads, channels: [push], value: 1, when: "
    "{events.message.clicked.count_7d.push: 1, events.message.clicked.last_channel: push}}\n"
)


@pytest.mark.parametrize("said", [{}, {"channel": "email"}, {"channel": "push"}])
@pytest.mark.parametrize("archived", [True, False])
async def test_a_click_counts_on_the_channel_of_its_contact_when_measures_are_rebuilt(
    tmp_path: Path, said: dict[str, str], archived: bool
) -> None:
    """Whatever channel the event itself names, and whether it is still in the log."""
    store = MemoryStore()
    engine = await engine_on(store, BEFORE)
    await engine.customers.update("anna", CustomerUpdate(attributes={"a": 1}))
    request = DecisionRequest(placement="home", customer_id="anna", channels=["push"])
    answer = await engine.decide(request)
    if not archived:
        await archive(store, tmp_path)
    clicked = Event(
        id="e1",
        customer_id="anna",
        type="message.clicked",
        decision_id=answer.decision_id,
        properties=said,
    )
    assert (await engine.events.record([clicked])).accepted == 1
    if archived:
        await archive(store, tmp_path)
    await use(engine, AFTER)
    assert "message.clicked" not in await histories(store, "anna")
    assert (await rebuild(engine, tmp_path)).incomplete == 0
    history = (await histories(store, "anna"))["message.clicked"]
    assert history.last == {"channel": "push"}
    assert history.sums == ["channel.push"]
    assert [bucket[1:] for bucket in history.buckets] == [[1, 1]]


DERIVED = (
    BEFORE
    + """\
events:
  push-click: {of: message.clicked, when: {event.contact_channel: push}}
  thanks: {of: message.clicked, for: event.friend, when: {event.contact_channel: push}}
scores:
  keen: {adds: {push-click: 1, message.clicked: {property: contact_channel}}, half_life: 30d}
rules:
  one: {when: {events.push-click.count_7d: {gte: 1}}, exclude: {messages: [hello]}}
  two: {when: {events.thanks.count_7d: {gte: 1}}, exclude: {messages: [hello]}}
  three: {when: {events.message.clicked.last_contact_channel: x}, exclude: {messages: [hello]}}
  four: {when: {score.keen: {gte: 1}}, exclude: {messages: [hello]}}
"""
)


@pytest.mark.parametrize("said", [{}, {"channel": "push"}, {"contact_channel": 3}])
@pytest.mark.parametrize("known", [True, False])
async def test_what_is_derived_of_a_click_knows_the_channel_of_its_contact_live_and_rebuilt(
    tmp_path: Path, said: dict[str, object], known: bool
) -> None:
    """Whatever the sender says of it, also for somebody else and in scores."""
    store = MemoryStore()
    engine = await engine_on(store, DERIVED)
    for name in ("anna", "ben"):
        await engine.customers.update(name, CustomerUpdate(attributes={"a": 1}))
    request = DecisionRequest(placement="home", customer_id="anna", channels=["push"])
    answer = await engine.decide(request)
    clicked = Event(
        id="e1",
        customer_id="anna",
        type="message.clicked",
        decision_id=answer.decision_id if known else None,
        properties={**said, "friend": "ben"},
    )
    assert (await engine.events.record([clicked])).accepted == 1
    live = [(await store.read(name)).document for name in ("anna", "ben")]
    assert ("push-click" in live[0].events) is known
    assert ("thanks" in live[1].events) is known
    assert live[0].events["message.clicked"].last == ({"contact_channel": "push"} if known else {})
    assert ("keen" in live[0].scores) is known
    await archive(store, tmp_path)
    assert (await rebuild(engine, tmp_path)).changed == 0
    assert [(await store.read(name)).document for name in ("anna", "ben")] == live
