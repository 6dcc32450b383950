"""Texts print ids, events, variants and times of their own decision, now and weeks later."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, timedelta
from typing import Any

import msgspec
import pytest

from decision.core.clock import HOUR, from_micros
from decision.core.definition import Channel
from decision.core.document import Document
from decision.core.fields import Situation
from decision.core.ports import Conflict
from decision.core.schema import CustomerUpdate, DecisionRequest, Event, TriggerEvent
from decision.core.texts import Contents, Texts
from decision.core.values import MISSING
from decision.engine import Engine
from decision.engine.answering import answer_without_store
from decision.engine.planning import DecisionQuery
from decision.rulebook.content import ChannelContent
from decision.rulebook.template_syntax import LONGEST_TEXT
from tests.core.small import NOON
from tests.engine.conftest import Clock

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]

TEXT = (
    "{{ customer.id }}/{{ decision.id }}/{{ events.tea-line.last_sku | default('none') }}/"
    "{{ events.tea-line.count_7d }}/{{ experiment.copy-test }}/{{ time.hour }}"
)
RULES = f"""
settings: {{timezone: Asia/Shanghai, currency: CNY}}
purposes: {{service: {{consent: not_required}}}}
channels: {{push: {{max_length: {{title: 100}}}}, email: {{}}}}
placements:
  home: {{channels: [push]}}
  inbox: {{channels: [email], fallback: hello}}
messages:
  offer:
    purpose: service
    channels: [push]
    value: 5
    content: {{title: "{TEXT}"}}
  hello: {{purpose: service, channels: [email], placements: [inbox], content: {{title: "{TEXT}"}}}}
experiments:
  copy-test: {{seed: copy-1, variants: {{only: 100%}}}}
"""


async def ask(engine: Engine, **changes: Any) -> Any:
    request = {"placement": "home", "customer_id": "c-1", **changes}
    return await engine.decide(DecisionRequest(**request))


def title(decision: Any) -> str:
    found: str = decision.selections[0].content["title"]
    return found


async def buy(engine: Engine, sku: str, customer: str = "c-1") -> None:
    event = Event(id=sku, customer_id=customer, type="tea-line", properties={"sku": sku, "x": 1})
    assert (await engine.events.record([event])).accepted == 1


async def test_a_text_prints_the_ids_of_the_decision_that_is_given_and_what_happened_before(
    make_engine: Make, clock: Clock
) -> None:
    engine = await make_engine(RULES)
    first = await ask(engine)
    assert title(first) == f"c-1/{first.decision_id}/none/0/only/20"
    await buy(engine, "s-1")
    second = await ask(engine)
    assert title(second) == f"c-1/{second.decision_id}/s-1/1/only/20"
    assert second.decision_id != first.decision_id
    clock.now += 30 * 24 * HOUR
    await buy(engine, "s-2")
    for decision in (first, second):
        assert title(await engine.replay.find(decision.decision_id)) == title(decision)


async def test_a_text_prints_when_something_last_happened_as_a_date_of_the_customers_calendar(
    make_engine: Make, clock: Clock
) -> None:
    text = "{{ events.tea-line.last_at | date('yyyy-MM-dd HH:mm') | default('never') }}"
    engine = await make_engine(RULES.replace(TEXT, text))
    assert title(await ask(engine)) == "never"
    clock.now = NOON + 12 * HOUR - 1  # it is the next day in Shanghai and in Tokyo only
    await buy(engine, "s-1")
    clock.now += 5 * 24 * HOUR
    local = from_micros(NOON + 12 * HOUR - 1)
    for zone, hours in (("Asia/Tokyo", 9), ("America/New_York", -5), (None, 8)):
        await engine.customers.update("c-1", CustomerUpdate(timezone=zone))
        decision = await ask(engine)
        assert title(decision) == f"{local + timedelta(hours=hours):%Y-%m-%d %H:%M}"
        assert title(await engine.replay.find(decision.decision_id)) == title(decision)


async def test_what_only_a_text_reads_is_kept_of_events_and_says_who_was_exposed(
    make_engine: Make,
) -> None:
    engine = await make_engine(RULES)
    policy = engine.snapshot.policy
    assert policy.measures()["tea-line"].last == ("sku",)
    assert "events.tea-line.last_sku" not in policy.fields.names()
    decision = await ask(engine)
    record = await engine.replay.record(decision.decision_id)
    assert record is not None
    assert record.experiments == {"copy-test": "only"}


async def test_contacts_that_only_a_text_counts_are_kept_as_long_as_it_counts_them(
    make_engine: Make,
) -> None:
    text = "{{ contacts.push.count_90d }}"
    engine = await make_engine(RULES.replace(TEXT, text))
    assert engine.snapshot.history_needed == 90 * 24 * HOUR
    assert [title(await ask(engine)) for _ in range(3)] == ["0", "1", "2"]


@pytest.mark.parametrize("overtaken", [1, 3])
async def test_the_id_in_a_text_is_that_of_the_decision_committed_however_often_it_was_overtaken(
    make_engine: Make, overtaken: int
) -> None:
    engine = await make_engine(RULES)
    store, left = engine.runtime.store, [overtaken]
    commit = store.commit

    async def contended(wanted: Any, **options: Any) -> Any:
        if left[0]:
            left[0] -= 1
            await engine.customers.update("c-1", CustomerUpdate(attributes={"n": left[0]}))
            return Conflict(latest=await store.read("c-1"))
        return await commit(wanted, **options)

    store.commit = contended
    decision = await ask(engine, request_id="r-1")
    store.commit = commit
    assert not left[0]
    assert f"/{decision.decision_id}/" in title(decision)
    again = await ask(engine, request_id="r-1")
    assert (again.decision_id, title(again)) == (decision.decision_id, title(decision))
    found = await engine.replay.find(decision.decision_id)
    assert title(found) == title(decision)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("{{ customer.birthday.anniversary_in }}", "2"),
        ("{{ customer.birthday | date('long') }}", "28 February 1990"),
        ("{{ customer.no-date.days_until | default('-') }}", "-"),
        ("{{ score.interest | number(1) }}", "4.0"),
        ("{{ events.tea.count }}: {{ events.tea.last_name }}", "1: Longjing"),
        ("{% for x in event.items %}{{ x.name }} {% endfor %}", "Longjing cup "),
    ],
)
async def test_measures_scores_and_derived_events_are_printed_although_no_condition_names_them(
    make_engine: Make, clock: Clock, text: str, printed: str
) -> None:
    rules = (
        RULES.replace(TEXT, text)
        + """
events: {tea: {of: purchase, each: items, when: {event.kind: tea}}}
scores: {interest: {adds: {purchase: 4}, half_life: 30d}}
"""
    )
    engine = await make_engine(rules)
    today = from_micros(clock.now).date()
    attributes = {"birthday": f"1990-{today + timedelta(days=2):%m-%d}", "language": "en-GB"}
    if "long" in text:
        attributes["birthday"] = "1990-02-28"
    await engine.customers.update("c-1", CustomerUpdate(attributes=attributes))
    items = [{"name": "Longjing", "kind": "tea"}, {"name": "cup", "kind": "ware"}]
    event = TriggerEvent("purchase", id="p-1", properties={"items": items})
    decision = await ask(engine, event=event)
    assert title(decision) == printed
    clock.now += 24 * HOUR
    assert title(await engine.replay.find(decision.decision_id)) == printed


async def test_a_dry_run_prints_the_id_that_it_answers_with(make_engine: Make) -> None:
    engine = await make_engine(RULES)
    decision = await ask(engine, dry_run=True)
    assert f"/{decision.decision_id}/" in title(decision)


async def test_without_the_store_nothing_is_said_of_what_is_not_known(make_engine: Make) -> None:
    engine = await make_engine(RULES)
    await buy(engine, "s-1")
    query = DecisionQuery(
        DecisionRequest(placement="inbox", customer_id="c-1"),
        engine.snapshot,
        engine.runtime.settings,
        engine.runtime.clock(),
    )
    decision = answer_without_store(query, "c-1", "01D", ["store"])
    assert title(decision) == "c-1/01D/none///20"


LONG = RULES.replace(TEXT, "{{ customer.long }}")


async def test_a_text_that_is_longer_than_any_may_be_falls_before_anything_is_given(
    make_engine: Make,
) -> None:
    other = "  other: {purpose: service, channels: [push], value: 1, content: {title: short}}\n"
    rules = LONG.replace("{title: 100}", "{body: 100}").replace("  hello:", f"{other}  hello:")
    engine = await make_engine(rules, seed="s")
    update = CustomerUpdate(attributes={"long": "a" * (LONGEST_TEXT + 1)})
    await engine.customers.update("c-1", update)
    event = TriggerEvent("x", id="e-1")
    decision = await ask(engine, explain=True, event=event)
    assert title(decision) == "short"
    fell = {row.message: row for row in decision.explanation}["offer"]
    assert (fell.reason, fell.detail) == ("too_long", "a text has more than 10,000 characters")
    found = await engine.replay.find(decision.decision_id)
    assert found.explanation == decision.explanation
    assert (await ask(engine, dry_run=True)).selections[0].message == "other"
    fits = CustomerUpdate(attributes={"long": "a" * LONGEST_TEXT})
    await engine.customers.update("c-1", fits)
    assert len(title(await ask(engine))) == LONGEST_TEXT


async def test_a_fallback_that_is_longer_than_any_may_be_is_not_given(make_engine: Make) -> None:
    engine = await make_engine(LONG)
    update = CustomerUpdate(attributes={"long": "a" * (LONGEST_TEXT + 1)})
    await engine.customers.update("c-1", update)
    decision = await ask(engine, placement="inbox")
    assert (decision.outcome, decision.selections) == ("none", [])
    found = await engine.replay.find(decision.decision_id)
    assert (found.outcome, found.selections) == ("none", [])


async def test_a_loop_over_a_million_items_costs_the_message_and_nothing_else(
    make_engine: Make,
) -> None:
    loop = "{% for x in context.rows %}{{ x }}{% endfor %}"
    engine = await make_engine(RULES.replace(TEXT, loop))
    many = await ask(engine, context={"rows": [1] * 1_000_000})
    assert (many.outcome, many.reason) == ("none", "too_long")
    assert title(await ask(engine, context={"rows": [1, 2, 3]})) == "123"


async def test_a_coupon_s_code_is_printed_once_it_is_given(make_engine: Make) -> None:
    engine = await make_engine(RULES)
    policy = engine.snapshot.policy
    message = policy.pairs[0][0]
    text = "{{ coupon.code | default('none') }}/{{ customer.id }}"
    content = ChannelContent(
        msgspec.structs.replace(message, content={"title": text}), Channel(name="push")
    )
    contents = Contents((content,), 0)
    situation = Situation(Document(customer_id="c"), "home", NOON, UTC)
    texts = Texts(contents, policy, situation, [], [MISSING] * len(policy.fields.fields), None)
    assert texts.content(0) == {"title": "none/c"}
    texts.give(0, "SPRING-10")
    assert texts.content(0) == {"title": "SPRING-10/c"}
