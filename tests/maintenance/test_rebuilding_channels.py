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
