"""The engine on the memory store: reserve, confirm, repeat, erase, merge, explain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from decision.core import records as log
from decision.core.clock import DAY, HOUR, MINUTE, from_micros
from decision.core.identifiers import partition_of
from decision.core.schema import (
    Alias,
    CustomerUpdate,
    DecisionRequest,
    Event,
    TriggerEvent,
)
from decision.engine import Engine, InputError, NotFound
from tests.engine.conftest import Clock
from tests.store.build import take

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]
GRANTED = {"marketing": {"*": "granted"}}


async def ask(engine: Engine, customer: str = "c-1", **changes: Any) -> Any:
    return await engine.decide(
        DecisionRequest(**{"placement": "outbound", "customer_id": customer, **changes})
    )


async def decisions(engine: Engine, customer: str = "c-1") -> list[Any]:
    rows = await engine.runtime.store.log_records(partition_of(customer))
    found = [log.decode_decision(row.body) for row in rows if row.kind == "decision"]
    return [row for row in found if row.customer_id == customer]


async def tell(engine: Engine, kind: str, customer: str = "c-1", **changes: Any) -> Any:
    return await engine.events.record([Event(type=kind, customer_id=customer, **changes)])


async def test_a_stranger_without_consent_gets_nothing_and_it_is_logged(
    make_engine: Make,
) -> None:
    engine = await make_engine()
    decision = await ask(engine)
    assert (decision.outcome, decision.reason) == ("none", "no_consent")
    assert [row.decision_id for row in await decisions(engine)] == [decision.decision_id]
    with pytest.raises(NotFound):
        await engine.customers.get("c-1")


async def test_a_selection_reserves_and_the_caps_hold(make_engine: Make) -> None:
    engine = await make_engine()
    await engine.customers.set_consents("c-1", GRANTED)
    first, second, third = [await ask(engine) for _ in range(3)]
    assert [first.selections[0].message, second.selections[0].message] == ["offer", "news"]
    assert first.selections[0].content == {"title": "给 朋友"}
    assert first.selections[0].selection_probability == 1.0
    assert (third.outcome, third.reason) == ("none", "capped")
    view = await engine.customers.get("c-1")
    assert [(c.message, c.channel, c.state) for c in view.contacts] == [
        ("offer", "email", "reserved"),
        ("news", "email", "reserved"),
    ]
    assert len(await decisions(engine)) == 3


async def test_the_fallback_is_given_and_never_counted(make_engine: Make) -> None:
    engine = await make_engine()
    for _ in range(5):
        decision = await ask(engine, placement="inbox")
        assert (decision.outcome, decision.selections[0].message) == ("fallback", "receipt")
        assert decision.reason == "below_threshold"
    with pytest.raises(NotFound):
        await engine.customers.get("c-1")


async def test_a_request_id_gives_the_same_answer_and_counts_once(make_engine: Make) -> None:
    engine = await make_engine()
    await engine.customers.set_consents("c-1", GRANTED)
    first = await ask(engine, request_id="r-1")
    again = await ask(engine, request_id="r-1", explain=True)
    assert msgspec.structs.replace(again, explanation=None) == first
    assert {row.reason for row in again.explanation} >= {None, "not_in_placement"}
    assert len((await engine.customers.get("c-1")).contacts) == 1
    other = await ask(engine, "c-2", request_id="r-1")
    assert other.decision_id != first.decision_id


async def test_a_dry_run_computes_and_explains_but_leaves_no_trace(make_engine: Make) -> None:
    engine = await make_engine()
    await engine.customers.set_consents("c-1", GRANTED)
    dry = await ask(
        engine,
        dry_run=True,
        explain=True,
        request_id="r-1",
        event=TriggerEvent("app_open", id="e1"),
    )
    assert dry.outcome == "selected"
    assert dry.selections[0].reserved_until is None
    assert dry.explanation
    view = await engine.customers.get("c-1")
    assert view.contacts == []
    assert view.events == {}
    assert await decisions(engine) == []
    assert (await ask(engine, request_id="r-1")).decision_id != dry.decision_id


async def test_an_event_of_the_request_is_recorded_once_and_decided_on(make_engine: Make) -> None:
    engine = await make_engine()
    event = TriggerEvent(type="app_open", id="e-1")
    await ask(engine, event=event)
    await ask(engine, event=event)
    answer = await tell(engine, "app_open", id="e-1")
    assert (answer.accepted, answer.duplicates) == (0, 1)
    assert (await engine.customers.get("c-1")).events["app_open"].count == 1
    await tell(engine, "app_open", id="e-2")
    await tell(engine, "app_open", id="e-3")
    assert (await engine.customers.get("c-1")).state == "power"
    rows = await engine.runtime.store.log_records(partition_of("c-1"))
    assert sum(row.kind == "event" for row in rows) == 3


async def test_events_confirm_and_release_the_contact(make_engine: Make, clock: Clock) -> None:
    engine = await make_engine()
    await engine.customers.set_consents("c-1", {"marketing": {"push": "granted"}})
    decision = await ask(engine)
    assert decision.selections[0].channel == "push"

    async def state() -> tuple[str, bool]:
        row = (await engine.customers.get("c-1")).contacts[0]
        return row.state, row.counts

    assert await state() == ("reserved", True)
    clock.now += 2 * HOUR
    assert await state() == ("expired", False)
    await tell(engine, "message.failed", decision_id=decision.decision_id)
    assert await state() == ("released", False)
    await tell(engine, "message.clicked", decision_id=decision.decision_id)
    assert await state() == ("confirmed", True)
    clock.now += 2 * HOUR
    await tell(engine, "message.failed", decision_id=decision.decision_id)
    assert await state() == ("confirmed", True)


async def test_sent_and_failed_settle_by_their_time_in_any_order(
    make_engine: Make, clock: Clock
) -> None:
    for order in (("message.sent", "message.failed"), ("message.failed", "message.sent")):
        engine = await make_engine()
        await engine.customers.set_consents("c-1", GRANTED)
        decision = await ask(engine)
        at = {"message.sent": clock.now, "message.failed": clock.now + MINUTE}
        clock.now += HOUR
        for kind in order:
            await tell(engine, kind, decision_id=decision.decision_id, at=from_micros(at[kind]))
        assert (await engine.customers.get("c-1")).contacts[0].state == "released"


async def test_unsubscribe_complaint_and_bounce_hold_for_the_very_next_decision(
    make_engine: Make,
) -> None:
    for kind, properties, reason in [
        ("message.unsubscribed", {}, "no_consent"),
        ("message.complained", {}, "no_consent"),
        ("message.bounced", {"permanent": True}, "unreachable"),
        ("message.unsubscribed", {"purpose": "marketing", "channel": "email"}, "no_consent"),
    ]:
        engine = await make_engine()
        await engine.customers.set_consents("c-1", {"marketing": {"email": "granted"}})
        decision = await ask(engine)
        await tell(engine, kind, decision_id=decision.decision_id, properties=properties)
        after = await ask(engine, explain=True)
        found = {f"{row.message}/{row.channel}": row.reason for row in after.explanation}
        assert found["news/email"] == reason, kind
    trail = (await engine.customers.get("c-1")).consent_trail
    assert [(line.state, line.source) for line in trail] == [
        ("granted", "api"),
        ("denied", "message.unsubscribed"),
    ]


async def test_an_unsubscribe_that_names_no_channel_takes_back_every_grant(
    make_engine: Make,
) -> None:
    engine = await make_engine()
    await engine.customers.set_consents("c-1", {"marketing": {"email": "granted", "*": "granted"}})
    await tell(engine, "message.unsubscribed")
    assert (await ask(engine)).reason == "no_consent"


async def test_two_dismissals_suppress_the_message(make_engine: Make, clock: Clock) -> None:
    engine = await make_engine()
    await engine.customers.set_consents("c-1", GRANTED)
    for _ in range(2):
        decision = await ask(engine)
        assert decision.selections[0].message == "offer"
        await tell(engine, "message.dismissed", decision_id=decision.decision_id)
        clock.now += 8 * DAY
    decision = await ask(engine, explain=True)
    assert decision.selections[0].message == "news"
    assert decision.explanation[0].reason == "suppressed"


async def test_a_budget_is_never_exceeded_by_racing_customers(make_engine: Make) -> None:
    engine = await make_engine()
    names = [f"c-{number}" for number in range(40)]
    for name in names:
        await engine.customers.set_consents(name, GRANTED)
    found = await asyncio.gather(*[ask(engine, name) for name in names])
    chosen = [decision.selections[0].message for decision in found]
    assert chosen.count("offer") == 5
    assert chosen.count("news") == 35


async def test_racing_decisions_for_one_customer_never_exceed_a_cap(make_engine: Make) -> None:
    engine = await make_engine()
    await engine.customers.set_consents("c-1", GRANTED)
    found = await asyncio.gather(*[ask(engine) for _ in range(50)])
    assert sum(decision.outcome == "selected" for decision in found) == 2
    assert len((await engine.customers.get("c-1")).contacts) == 2
    assert len(await decisions(engine)) == 50


async def test_a_logged_decision_is_explained_as_it_was_even_under_a_new_policy(
    make_engine: Make,
) -> None:
    engine = await make_engine()
    await engine.customers.update("c-1", CustomerUpdate(attributes={"spend": 2000}))
    await engine.customers.set_consents("c-1", GRANTED)
    decision = await ask(engine, explain=True)
    await engine.customers.update("c-1", CustomerUpdate(attributes={"spend": 1}))
    from decision.engine import build_snapshot
    from decision.rulebook.reader import load_files
    from tests.engine.conftest import RULES

    other = load_files({"rules.yaml": RULES.replace("news", "letter")}).definition
    engine.use(
        await build_snapshot(
            other, None, engine.runtime.store, decision.decided_at, try_first=False
        )
    )
    found = await engine.replay.find(decision.decision_id)
    assert found == decision
    assert found.policy_version == decision.policy_version
    assert await engine.replay.find("01KAJNW7E02400000000000C1S") is None
    with pytest.raises(InputError):
        await engine.replay.find("nonsense")


async def test_merging_unites_contacts_keeps_denials_and_leaves_an_alias(
    make_engine: Make,
) -> None:
    engine = await make_engine()
    customers = engine.customers
    await customers.update(
        "c-1", CustomerUpdate(attributes={"a": 1, "b": 1}, aliases={"email": "a@x"})
    )
    await customers.set_consents("c-1", GRANTED)
    await customers.set_consents("anon", GRANTED)
    await ask(engine)
    await ask(engine, "anon")
    await customers.update("anon", CustomerUpdate(attributes={"b": 2}, aliases={"cookie": "k"}))
    await customers.set_consents("anon", {"marketing": {"push": "denied"}})
    merged = await customers.merge("c-1", "anon")
    assert len(merged.contacts) == 2
    assert merged.consents["marketing"]["push"].state == "denied"
    assert merged.aliases == {"email": ["a@x"], "cookie": ["k"]}
    assert merged.merged == ["anon"]
    assert (await ask(engine, "anon")).customer_id == "c-1"
    assert (await ask(engine, "anon")).reason == "capped"
    by_cookie = await engine.decide(
        DecisionRequest(placement="outbound", alias=Alias("cookie", "k"))
    )
    assert by_cookie.customer_id == "c-1"
    again = await customers.merge("c-1", "anon")
    assert len(again.contacts) == 2
    backwards = await customers.merge("anon", "c-1")
    assert backwards == again


async def test_merges_racing_in_opposite_directions_end_as_one_customer(
    make_engine: Make,
) -> None:
    for _ in range(20):
        engine = await make_engine()
        for name in ("a", "b", "c"):
            await engine.customers.set_consents(name, GRANTED)
            await ask(engine, name)
        await asyncio.gather(
            engine.customers.merge("a", "b"),
            engine.customers.merge("b", "c"),
            engine.customers.merge("c", "a"),
            ask(engine, "b"),
            return_exceptions=True,
        )
        views = [await engine.customers.get(name) for name in ("a", "b", "c")]
        assert len({view.customer_id for view in views}) == 1
        assert len(views[0].contacts) >= 3
        assert (await ask(engine, "a")).outcome == "none"


async def test_erasing_leaves_nothing_and_starts_afresh(make_engine: Make) -> None:
    engine = await make_engine()
    customers = engine.customers
    await customers.update("c-1", CustomerUpdate(aliases={"email": "a@x"}))
    await customers.set_consents("c-1", GRANTED)
    first = await ask(engine, request_id="r-1")
    assert await customers.erase("c-1")
    with pytest.raises(NotFound):
        await customers.get("c-1")
    assert await engine.runtime.store.resolve_alias("email", "a@x") is None
    assert await engine.replay.find(first.decision_id) is None
    assert not await customers.erase("c-1")
    again = await ask(engine, request_id="r-1")
    assert (again.outcome, again.reason) == ("none", "no_consent")


async def test_bad_input_is_refused_with_its_path(make_engine: Make, clock: Clock) -> None:
    engine = await make_engine()
    with pytest.raises(InputError, match=r'placement: "inbx" is not a placement.*"inbox"'):
        await ask(engine, placement="inbx")
    with pytest.raises(InputError, match=r"channels\[0\]"):
        await ask(engine, channels=["pushh"])
    with pytest.raises(InputError, match="exactly one of customer_id and alias"):
        await engine.decide(DecisionRequest(placement="outbound"))
    with pytest.raises(InputError, match="timezone"):
        await engine.customers.update("c-1", CustomerUpdate(timezone="Mars/Base"))
    with pytest.raises(InputError, match="control characters"):
        await ask(engine, "a\nb")
    future = from_micros(clock.now + 6 * MINUTE)
    with pytest.raises(InputError, match=r"event\.at: .*future"):
        await ask(engine, event=TriggerEvent(type="x", at=future))
    answer = await engine.events.record(
        [
            Event(type="a", customer_id="c-1", at=future),
            Event(type="a"),
            Event(type="message.sent", customer_id="c-1", decision_id="nope"),
            Event(type="ok", customer_id="c-1"),
        ]
    )
    assert answer.accepted == 1
    assert [row.index for row in answer.rejected] == [0, 1, 2]


async def test_an_event_about_a_decision_that_never_was_is_refused(make_engine: Make) -> None:
    engine = await make_engine()
    made = engine.runtime.new_id("c-1")
    answer = await tell(engine, "message.sent", decision_id=made)
    assert answer.rejected[0].detail == f"decision_id: there is no decision {made}"
    other = engine.runtime.new_id("c-2")
    answer = await tell(engine, "message.sent", decision_id=other)
    assert "not a decision for customer 'c-1'" in answer.rejected[0].detail


async def test_a_late_delivery_report_does_not_bring_an_erased_customer_back(
    make_engine: Make,
) -> None:
    engine = await make_engine(records_kept=0)
    await engine.customers.set_consents("c-1", GRANTED)
    decision = await ask(engine)
    await engine.customers.erase("c-1")
    answer = await tell(engine, "message.opened", decision_id=decision.decision_id)
    assert answer.accepted == 1
    with pytest.raises(NotFound):
        await engine.customers.get("c-1")
    await tell(engine, "message.unsubscribed", decision_id=decision.decision_id)
    assert (await ask(engine)).reason == "no_consent"


async def test_a_longer_window_and_a_lower_budget_are_cautioned_about(
    make_engine: Make,
) -> None:
    from decision.engine.snapshot import build_snapshot
    from decision.rulebook.reader import load_files
    from tests.engine.conftest import RULES

    engine = await make_engine()
    store = engine.runtime.store
    for number in range(5):
        await engine.customers.set_consents(f"c-{number}", GRANTED)
        assert (await ask(engine, f"c-{number}")).selections[0].message == "offer"

    async def cautions(rules: str) -> tuple[str, ...]:
        definition = load_files({"rules.yaml": rules}).definition
        assert definition is not None
        return (
            await build_snapshot(
                definition,
                None,
                store,
                from_micros(engine.runtime.clock()),
                durable=False,
                contacts_kept=30 * DAY,
            )
        ).cautions

    assert await cautions(RULES) == ()
    longer = RULES.replace("at_most: 2, within: 7d", "at_most: 2, within: 60d")
    (caution,) = await cautions(longer)
    assert "cap two-a-week counts 60d, but contacts were kept for 30d only" in caution
    assert await cautions(longer) == ()
    (caution,) = await cautions(RULES.replace("total: 5", "total: 3"))
    assert "the budget offer:total is 3, but 5 are spent already" in caution
    shared = RULES + "budgets: {all: {of: {purpose: marketing}, at_most: 9, per: calendar day}}\n"
    limits = {"all/times/day:2026-11-21/offer/1": 9}
    for number in range(9):
        await take(store, limits, f"t-{number}")
    assert await cautions(shared) == ()
    (caution,) = await cautions(shared.replace("at_most: 9", "at_most: 8"))
    assert "the budget all is 8, but 9 are spent already" in caution
