"""What a machine did is in the archive, and nobody who reads it counts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from decision.core.clock import from_micros
from decision.core.schema import CustomerUpdate, DecisionRequest, Event
from decision.store import MemoryStore
from tests.archive.test_archive import archive, rows
from tests.maintenance.test_rebuilding import NOW, engine_on, histories, rebuild, use

pytestmark = pytest.mark.anyio
BEFORE = """
settings: {timezone: UTC}
purposes: {news: {consent: not_required}}
channels: {push: {}}
placements: {home: {channels: [push]}}
messages:
  hello: {purpose: news, channels: [push], value: 1, content: {title: Hello}}
"""
AFTER = (
    BEFORE
    + """\
events:
  keen-click: {of: message.clicked}
  thanks: {of: message.clicked, for: event.friend}
scores:
  keen: {adds: {message.clicked: 1, keen-click: 2}, half_life: 30d}
rules:
  one: {when: {events.message.clicked.count_7d: 1, score.keen: {gte: 1}}, exclude: {messages: [hello]}}
  two: {when: {events.keen-click.count_7d: 1, events.thanks.count_7d: 1}, exclude: {messages: [hello]}}
"""
)


@pytest.mark.parametrize("machine", [True, False])
@pytest.mark.parametrize("archived", [True, False])
async def test_rebuilt_measures_are_those_of_people(
    tmp_path: Path, machine: bool, archived: bool
) -> None:
    store = MemoryStore()
    engine = await engine_on(store, BEFORE)
    for name in ("anna", "bob"):
        await engine.customers.update(name, CustomerUpdate(attributes={"a": 1}))
    answer = await engine.decide(DecisionRequest(placement="home", customer_id="anna"))
    if not archived:
        await archive(store, tmp_path)
    clicked = Event(
        id="e1",
        customer_id="anna",
        type="message.clicked",
        at=from_micros(NOW),
        decision_id=answer.decision_id,
        properties={"machine": machine, "friend": "bob"},
    )
    assert (await engine.events.record([clicked])).accepted == 1
    if archived:
        await archive(store, tmp_path)
        [kept] = rows(tmp_path, "events")
        assert ('"machine":true' in kept["properties"]) == machine
        assert len(rows(tmp_path, "outcomes")) == (not machine)
    await use(engine, AFTER)
    await rebuild(engine, tmp_path)
    own, other = await histories(store, "anna"), await histories(store, "bob")
    assert ("message.clicked" in own, "keen-click" in own) == (not machine, not machine)
    assert ("thanks" in other) == (not machine)
    document = (await store.read("anna")).document
    assert bool(document.scores) == (not machine)


def event(kind: str, machine: Any, **more: Any) -> dict[str, Any]:
    import json

    properties = json.dumps({} if machine is None else {"machine": machine})
    return {"event_id": "e", "customer_id": "c-1", "type": kind, "properties": properties, **more}


@pytest.mark.parametrize(
    ("kind", "machine", "counts"),
    [
        ("message.clicked", True, False),
        ("message.clicked", False, True),
        ("message.clicked", None, True),
        ("message.clicked", "true", True),
        ("message.complained", True, True),
        ("purchase", True, True),
    ],
)
def test_queries_count_what_people_did(kind: str, machine: Any, counts: bool) -> None:
    """As `by_machine` says of the same event."""
    import json

    from decision.archive.machines import BY_PEOPLE
    from decision.archive.query import open_database
    from decision.core.machines import by_machine

    row = event(kind, machine)
    with open_database() as database:
        database.execute("CREATE TABLE events (type VARCHAR, properties VARCHAR)")
        database.execute("INSERT INTO events VALUES ($type, $properties)", _picked(row))
        database.execute("INSERT INTO events VALUES ($type, NULL)", {"type": kind})
        found = database.value(f"SELECT count(*) FROM events WHERE {BY_PEOPLE}")
    assert (found == 2) == counts == (not by_machine(kind, json.loads(row["properties"])))


def _picked(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("type", "properties")}


def test_curves_and_segments_are_those_of_people(tmp_path: Path) -> None:
    from datetime import UTC, datetime, timedelta

    from decision.analytics.segments import segments
    from decision.core.clock import to_micros
    from decision.evaluation.retention import retention
    from tests.learning.logs import write_rows

    start = datetime(2026, 9, 1, tzinfo=UTC)
    found = []
    for machine in (True, False):
        folder = tmp_path / str(machine)
        decision = {"decision_id": "d", "decided_at": start, "customer_id": "c-1"}
        write_rows(folder, "decisions", [{**decision, "holdout": False}], "decided_at")
        opened = [
            event("message.opened", mark, event_id=str(day), at=at, received_at=at)
            for day, mark in ((1, machine), (20, False))
            for at in [start + timedelta(days=day)]
        ]
        write_rows(folder, "events", opened, "at")
        curve = retention(folder, event="message.opened", weeks=1)
        until = to_micros(start + timedelta(days=21))
        rfm = segments(folder, until=until, event="message.opened", activity=None)
        assert curve.weeks[0].treated is not None
        found.append((curve.weeks[0].treated.share, list(rfm.behaviour.days)))
    assert [share for share, _ in found] == [0.0, 1.0]
    assert found[0][1] != found[1][1]
