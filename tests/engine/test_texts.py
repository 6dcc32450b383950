"""Text is never cut behind the author's back: what is too long falls, and the draw stays exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from decision.core import records as log
from decision.core.clock import HOUR
from decision.core.identifiers import partition_of
from decision.core.schema import CustomerUpdate, DecisionRequest, TriggerEvent
from decision.engine import Engine
from decision.engine.answering import answer_without_store
from decision.engine.planning import DecisionQuery
from tests.engine.conftest import Clock

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]

RULES = """
settings: {timezone: UTC, currency: EUR, exploration: 2}
purposes:
  marketing: {consent: opt_out}
  service: {consent: not_required}
channels:
  sms: {max_length: {body: 30}}
  email: {}
placements:
  outbound: {channels: [sms, email]}
  inbox: {channels: [sms], fallback: hello}
messages:
  tea:
    purpose: marketing
    channels: [sms, email]
    placements: [outbound]
    value: 5
    content: {body: "{{ customer.name }}: {{ context.item }} today. Stop: T"}
  news: {purpose: marketing, channels: [sms], value: 4, placements: [outbound], content: {body: News}}
  short:
    purpose: marketing
    channels: [sms]
    placements: [outbound]
    value: 3
    content: {body: "{{ customer.name | shorten(10) }}, hello. Stop: T"}
  hello: {purpose: service, channels: [sms], placements: [inbox], content: {body: "Hello {{ customer.name }}"}}
rules:
  renamed: {when: {event.type: renamed}, set: {customer.name: Bo}}
"""
LONG = "Wolfeschlegelsteinhausen"


async def ask(engine: Engine, name: str | None = LONG, **changes: Any) -> Any:
    if name is not None:
        update = CustomerUpdate(attributes={"name": name})
        await engine.customers.update("c-1", update)
    request = {"placement": "outbound", "customer_id": "c-1", "context": {"item": "tea"}, **changes}
    return await engine.decide(DecisionRequest(**request))


def reasons(decision: Any) -> dict[str, str | None]:
    return {f"{row.message}/{row.channel}": row.reason for row in decision.explanation}


async def test_a_text_that_is_too_long_falls_and_the_draw_is_made_among_the_others(
    make_engine: Make,
) -> None:
    engine = await make_engine(RULES, seed="s")
    long = await ask(engine, explain=True, dry_run=True)
    rows = {f"{row.message}/{row.channel}": row for row in long.explanation}
    fell = rows["tea/sms"]
    assert (fell.reason, fell.response_probability) == ("too_long", None)
    assert fell.detail == "body has 44 characters, may have 30"
    assert fell.source == "rules/rules.yaml:18"
    left = [row.selection_probability for row in rows.values() if row.selection_probability]
    assert len(left) == 3
    assert sum(left) == pytest.approx(1)
    only = await ask(engine, "Bo", explain=True, dry_run=True)
    assert reasons(only)["tea/sms"] != "too_long"


async def test_the_texts_given_are_whole_and_fit(make_engine: Make) -> None:
    for number in range(20):
        engine = await make_engine(RULES, seed=f"s{number}")
        decision = await ask(engine, LONG[: number + 3], limit=3)
        for one in decision.selections:
            assert one.content["body"].endswith("Stop: T") or one.message == "news"
            assert one.channel == "email" or len(one.content["body"]) <= 30


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"context": {"item": "a pot of green tea"}}, "too_long"),
        ({"context": {}}, None),
        ({"event": TriggerEvent("renamed"), "name": LONG}, None),
        ({"name": LONG}, "too_long"),
    ],
)
async def test_a_text_is_as_long_as_what_this_decision_prints(
    make_engine: Make, changes: dict[str, Any], expected: str | None
) -> None:
    engine = await make_engine(RULES.replace("exploration: 2", 'exploration: "off"'))
    asked = {"name": "Ann", "channels": ["sms"], "explain": True, **changes}
    assert reasons(await ask(engine, **asked))["tea/sms"] == expected


SMS_ONLY = (
    RULES.replace("channels: [sms, email]\n    placements", "channels: [sms]\n    placements")
    .replace("body: News", 'body: "News of {{ customer.name }}"')
    .replace(" | shorten(10)", "")
)


async def test_where_all_texts_are_too_long_nothing_is_given_and_that_is_the_reason(
    make_engine: Make,
) -> None:
    decision = await ask(await make_engine(SMS_ONLY), explain=True)
    assert (decision.outcome, decision.reason, decision.not_before) == ("none", "too_long", None)
    assert reasons(decision)["news/sms"] == "too_long"


async def test_waiting_does_not_shorten_a_text(make_engine: Make) -> None:
    caps = "caps: {one: {of: {purpose: marketing}, at_most: 1, within: 1d}}\n"
    engine = await make_engine(SMS_ONLY + caps)
    assert (await ask(engine, "Ann")).outcome == "selected"
    waiting = await ask(engine, "Ann")
    assert waiting.reason == "capped"
    assert waiting.not_before is not None
    longer = await ask(engine)
    assert (longer.reason, longer.not_before) == ("capped", None)


async def test_a_decision_looked_up_says_what_it_said(make_engine: Make, clock: Clock) -> None:
    engine = await make_engine(RULES, seed="s")
    decision = await ask(engine, explain=True)
    clock.now += HOUR
    found = await engine.replay.find(decision.decision_id)
    assert found.explanation == decision.explanation
    assert [one.content for one in found.selections] == [one.content for one in decision.selections]


async def test_a_decision_logged_before_texts_could_be_too_long_keeps_its_choice(
    make_engine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await make_engine(RULES.replace("exploration: 2", 'exploration: "off"'))
    decision = await ask(engine, "Ann", channels=["sms"])
    assert decision.selections[0].message == "tea"
    store = engine.runtime.store
    [old] = [
        log.decode_decision(one.body)
        for one in await store.log_records(partition_of("c-1"))
        if one.kind == "decision"
    ]
    document = store.unpack("c-1", old.document)
    document.attributes["name"] = LONG  # then, it was cut
    found = await engine.replay.explained(old, document)
    assert [one.message for one in found.selections] == ["tea"]
    assert reasons(found)["tea/sms"] is None


async def test_a_fallback_that_is_too_long_is_not_given(make_engine: Make) -> None:
    engine = await make_engine(RULES)
    decision = await ask(engine, "Ann", placement="inbox")
    assert decision.outcome == "fallback"
    assert decision.selections[0].content == {"body": "Hello Ann"}
    decision = await ask(engine, "Ann" * 10, placement="inbox")
    assert (decision.outcome, decision.selections) == ("none", [])
    found = await engine.replay.find(decision.decision_id)
    assert (found.outcome, found.selections) == ("none", [])
    query = DecisionQuery(
        DecisionRequest(placement="inbox", customer_id="c-1"),
        engine.snapshot,
        engine.runtime.settings,
        engine.runtime.clock(),
    )
    [given] = answer_without_store(query, "c-1", decision.decision_id, ["store"]).selections
    assert given.content == {"body": "Hello "}


async def test_only_texts_that_can_be_too_long_are_rendered_ahead_and_each_once(
    make_engine: Make,
) -> None:
    engine = await make_engine(RULES.replace("exploration: 2", 'exploration: "off"'))
    rendered: list[str] = []
    contents = engine.snapshot.contents
    for place, content in enumerate(contents.candidates):
        name = engine.snapshot.policy.candidates[place]

        def render(names: Any, real: Any = content.render, name: Any = name) -> Any:
            rendered.append(f"{name.message}/{name.channel}")
            return real(names)

        content.render = render
    decision = await ask(engine, "Ann")
    assert [one.message for one in decision.selections] == ["tea"]
    assert sorted(rendered) == ["tea/sms"]
    rendered.clear()
    await ask(engine, channels=[])
    assert rendered == []
