"""A decision that a journey asked for says so when it is looked up, with the step's line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from decision.cli.explain import _with_sources_in, show
from decision.core.clock import to_micros
from decision.core.schema import AskedBy, Decision, DecisionRequest, Event, TriggerEvent
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.rulebook.reader import load_files
from decision.store import MemoryStore
from tests.engine.journeys.world import decisions

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
RULES = """\
settings: {timezone: UTC, currency: EUR, exploration: "off"}
purposes: {service: {consent: not_required}}
channels: {push: {}, app: {}}
placements: {outbound: {channels: [push], delivery: gateway}, home: {channels: [app]}}
messages:
  hello: {purpose: service, tags: [hello], channels: [push], value: 1, content: {title: Hello}}
  other: {purpose: service, channels: [push], value: 9, content: {title: Other}}
  inside: {purpose: service, channels: [app], value: 9, content: {title: Inside}}
journeys:
  welcome:
    start: {event: follow}
    steps:
      hello: {ask: outbound, of: {tags: [hello]}}
      all: {ask: outbound}
"""


async def engine_with(rules: str = RULES) -> Engine:
    store = MemoryStore(lambda: to_micros(NOW) / 1_000_000)
    await store.start()
    engine = Engine(store, EngineSettings(delivers=False), lambda: to_micros(NOW))
    definition = load_files({"all.yaml": rules}).definition
    assert definition is not None
    engine.use(await build_snapshot(definition, None, store, NOW, durable=False))
    return engine


async def asked(engine: Engine) -> list[Decision]:
    """What both steps of the journey asked for, looked up."""
    await engine.events.record([Event(type="follow", customer_id="mei")])
    await engine.stepping.run_due()
    ids = [one.decision_id for one in await decisions(engine.runtime.store)]
    found = [await engine.replay.find(one) for one in ids]
    assert all(one is not None for one in found)
    return [one for one in found if one is not None]


async def test_the_journey_the_step_and_its_line_are_named() -> None:
    first, second = await asked(await engine_with())
    assert first.asked_by == AskedBy(journey="welcome", step="hello", source="rules/all.yaml:13")
    assert second.asked_by == AskedBy(journey="welcome", step="all", source="rules/all.yaml:14")
    rows = {one.message: one for one in first.explanation or ()}
    assert (rows["other"].reason, rows["other"].source) == ("not_in_placement", "rules/all.yaml:13")
    assert "asks in step hello for messages of tags hello, not other" in (
        rows["other"].detail or ""
    )
    assert rows["inside"].source == "rules/all.yaml:4"
    assert [one.message for one in first.selections] == ["hello"]
    assert [one.message for one in second.selections] == ["other"]


async def test_what_a_caller_asks_is_asked_by_nobody_whatever_its_context_says() -> None:
    engine = await engine_with()
    context: dict[str, Any] = {"journey": "welcome", "step": "hello"}
    more: dict[str, Any] = {"context": context, "event": TriggerEvent("follow")}
    request = DecisionRequest(placement="outbound", customer_id="mei", request_id="j.1", **more)
    given = await engine.decide(request)
    found = await engine.replay.find(given.decision_id)
    assert found is not None
    assert b"asked_by" not in msgspec.json.encode(found)
    assert b"asked_by" not in msgspec.json.encode(given)


async def test_the_command_tells_who_asked_and_counts_what_was_not_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, _ = await asked(await engine_with())
    (tmp_path / "rules").mkdir()
    show(_with_sources_in(str(tmp_path / "rules"), first))
    told = capsys.readouterr().out
    place = f"{tmp_path}/rules/all.yaml:13"
    assert f"by        journey welcome, step hello  {place}" in told
    assert f"1 candidate that step hello does not ask for is left out ({place})" in told
    assert "1 candidate of other placements is left out" in told
    show(first, show_all=True)
    assert "left out" not in capsys.readouterr().out


async def test_what_runs_keep_of_their_events_is_not_in_the_log_of_each_decision() -> None:
    """A customer in many runs costs a decision's record hardly more; it is explained as before."""
    rules = RULES.replace("start: {event: follow}", "start: {event: follow}\n    key: event.n")
    engine = await engine_with(rules.replace("Hello}", '"Hello {{ event.note }}"}'))
    for number in range(40):
        properties = {"n": str(number), "note": f"x{number}" * 200}
        event = Event(type="follow", customer_id="mei", properties=properties)
        await engine.events.record([event])
    await engine.decide(DecisionRequest(customer_id="mei", placement="home"))
    records = await decisions(engine.runtime.store)
    (own,) = [one for one in records if one.placement == "home"]
    assert len(own.document) < 8_000
    await engine.stepping.run_due()
    last = (await decisions(engine.runtime.store))[-1]
    found = await engine.replay.find(last.decision_id)
    assert found is not None
    assert found.asked_by is not None and found.outcome == last.outcome
