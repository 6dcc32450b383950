"""Corners where identity, time and concurrency meet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from decision.core import records as log
from decision.core.clock import DAY, MINUTE, SECOND, from_micros
from decision.core.errors import StoreUnavailable
from decision.core.identifiers import partition_of
from decision.core.ports import Commit, Conflict
from decision.core.schema import Alias, CustomerUpdate, DecisionRequest, Event, TriggerEvent
from decision.engine import InputError, NotFound
from decision.store.memory_store import MemoryStore
from tests.engine.conftest import RULES, Clock
from tests.engine.test_engine import ask, tell
from tests.store.build import take

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]
OPT_OUT = RULES.replace("opt_in", "opt_out")


async def test_an_event_id_stays_known_through_a_merge(make_engine: Make) -> None:
    engine = await make_engine()
    await tell(engine, "app_open", "anon", id="e-1")
    await engine.customers.update("c-1", CustomerUpdate(attributes={"a": 1}))
    await engine.customers.merge("c-1", "anon")
    for name in ("anon", "c-1"):
        answer = await tell(engine, "app_open", name, id="e-1")
        assert (answer.accepted, answer.duplicates) == (0, 1)
        await ask(engine, name, event=TriggerEvent(type="app_open", id="e-1"))
    assert (await engine.customers.get("c-1")).events["app_open"].count == 1


async def test_a_request_id_stays_answered_through_a_merge(make_engine: Make) -> None:
    engine = await make_engine(OPT_OUT)
    await engine.customers.update("anon", CustomerUpdate(aliases={"cookie": "k"}))
    request = DecisionRequest(placement="outbound", alias=Alias("cookie", "k"), request_id="r")
    first = await engine.decide(request)
    await engine.customers.update("c-1", CustomerUpdate(attributes={"a": 1}))
    await engine.customers.merge("c-1", "anon")
    assert await engine.decide(request) == first
    assert (await ask(engine, "anon", request_id="r")) == first
    assert len((await engine.customers.get("c-1")).contacts) == 1


async def test_whoever_was_known_by_an_alias_alone_keeps_contacts_and_denials(
    make_engine: Make,
) -> None:
    engine = await make_engine(OPT_OUT)
    alias = Alias("email", "a@x")
    for _ in range(2):
        found = await engine.decide(DecisionRequest(placement="outbound", alias=alias))
        assert found.outcome == "selected"
    await engine.customers.update("c-1", CustomerUpdate(aliases={"email": "a@x"}))
    after = await engine.decide(DecisionRequest(placement="outbound", alias=alias))
    assert (after.customer_id, after.reason) == ("c-1", "capped")

    other = Alias("email", "b@x")
    await engine.events.record([Event(type="message.unsubscribed", alias=other)])
    await engine.customers.update("c-2", CustomerUpdate(aliases={"email": "b@x"}))
    assert (await ask(engine, "c-2")).reason == "no_consent"


async def test_a_customer_without_anything_left_is_merged_and_erased_like_any_other(
    make_engine: Make,
) -> None:
    engine = await make_engine()
    await engine.customers.set_consents("anon", {"marketing": {"push": None}})
    await engine.customers.update("blank", CustomerUpdate(attributes={"a": None}))
    for other in ("anon", "blank"):
        assert other in (await engine.customers.merge("c-1", other)).merged
    assert await engine.customers.erase("c-1") == ["c-1", "anon", "blank"]
    assert (await ask(engine, "anon")).customer_id == "anon"


async def test_long_aliases_that_begin_alike_are_different_people(make_engine: Make) -> None:
    engine = await make_engine(OPT_OUT)
    ids = set()
    for end in "ab":
        alias = Alias("cookie", "x" * 255 + end)
        found = await engine.decide(DecisionRequest(placement="outbound", alias=alias))
        ids.add(found.customer_id)
    assert len(ids) == 2


async def test_an_update_that_fails_lets_its_aliases_go(make_engine: Make) -> None:
    engine = await make_engine()
    with pytest.raises(InputError):
        await engine.customers.update(
            "c-1", CustomerUpdate(attributes={"a": "x" * 70_000}, aliases={"email": "a@x"})
        )
    await engine.customers.update("c-2", CustomerUpdate(aliases={"email": "a@x"}))
    assert await engine.runtime.store.resolve_alias("email", "a@x") == "c-2"


async def test_an_unsubscribe_about_a_decision_that_was_not_logged_counts(
    make_engine: Make,
) -> None:
    engine = await make_engine(OPT_OUT)
    made = engine.runtime.new_id("c-1")
    for kind in ("message.unsubscribed", "message.complained"):
        answer = await tell(engine, kind, decision_id=made)
        assert answer.accepted == 1
    assert (await ask(engine)).reason == "no_consent"


async def test_unsubscribing_from_every_purpose_overrides_each(make_engine: Make) -> None:
    engine = await make_engine()
    await engine.customers.set_consents("c-1", {"marketing": {"email": "granted"}})
    await tell(engine, "message.unsubscribed", properties={"purpose": "*", "channel": "email"})
    assert (await ask(engine)).reason == "no_consent"


REPLY = OPT_OUT.replace(
    "  email: {reservation: {expires_after: 3d, then: count}}",
    "  email: {reply_window: [{opened_by: wechat.message, lasts: 48h, allows: 1}]}",
).replace("channels: [push, email]\n    value: 10", "channels: [email]\n    value: 10")
REPLY = REPLY.replace(", fallback: receipt", "")


async def test_a_reply_slightly_ahead_of_the_clock_opens_no_more_than_its_quota(
    make_engine: Make, clock: Clock
) -> None:
    engine = await make_engine(REPLY)
    await tell(engine, "wechat.message", at=from_micros(clock.now + 4 * MINUTE))
    outcomes = []
    for _ in range(4):
        outcomes.append((await ask(engine)).outcome)
        clock.now += SECOND
    assert outcomes == ["selected", "none", "none", "none"]


async def test_a_dry_run_decides_as_if_its_event_had_been_sent(make_engine: Make) -> None:
    engine = await make_engine(REPLY)
    event = TriggerEvent(type="wechat.message", id="m-1")
    dry = await ask(engine, event=event, dry_run=True)
    assert dry.outcome == "selected"
    with pytest.raises(NotFound):
        await engine.customers.get("c-1")
    assert (await ask(engine, event=event)).outcome == "selected"


async def test_contacts_are_kept_as_long_as_a_condition_counts_them(
    make_engine: Make, clock: Clock
) -> None:
    rules = OPT_OUT.replace(
        "    value: 5\n", "    value: 5\n    when: {contacts.email.count_60d: {gte: 1}}\n"
    )
    engine = await make_engine(rules)
    assert (await ask(engine)).selections[0].message == "offer"
    clock.now += 35 * DAY
    for _ in range(3):
        await ask(engine)
        clock.now += SECOND
    counted = await ask(engine, explain=True, dry_run=True)
    reasons = {row.message: row.reason for row in counted.explanation}
    assert reasons["news"] != "not_eligible"


class Conflicting(MemoryStore):
    """Lets somebody else write before each of the next commits."""

    conflicts = 0

    async def commit(self, commit: Commit, *, timeout: float | None = None) -> Any:
        if self.conflicts and commit.write:
            self.conflicts -= 1
            latest = await self.read(commit.customer_id, request_id=commit.request_id)
            return Conflict(latest=latest)
        return await super().commit(commit, timeout=timeout)


async def test_a_spent_budget_is_remembered_through_conflicts(make_engine: Make) -> None:
    store = Conflicting()
    rules = OPT_OUT.replace("total: 5", "total: 1").replace('exploration: "off"', "exploration: 0")
    engine = await make_engine(rules, store)
    await take(store, {"offer:total": 1}, "somebody")
    for number in range(30):
        store.conflicts = 1
        decision = await ask(engine, f"c-{number}")
        assert decision.selections[0].message == "news"
        assert decision.selections[0].selection_probability == 1.0


async def test_too_many_conflicts_are_silence_that_agrees_with_its_explanation(
    make_engine: Make,
) -> None:
    store = Conflicting()
    engine = await make_engine(OPT_OUT, store)
    store.conflicts = 10_000
    decision = await ask(engine, explain=True)
    assert (decision.outcome, decision.reason) == ("none", "capped")
    assert "contention" in decision.degraded
    found = {row.reason for row in decision.explanation if row.message != "receipt"}
    assert found == {"capped"}
    assert (await engine.replay.find(decision.decision_id)).explanation == decision.explanation
    lost = await ask(engine, event=TriggerEvent(type="app_open", id="e-1"))
    assert "store" in lost.degraded


async def test_an_erased_customer_does_not_come_back_into_the_log(make_engine: Make) -> None:
    class Erasing(MemoryStore):
        engine: Any = None

        async def commit(self, commit: Commit, *, timeout: float | None = None) -> Any:
            if self.engine is not None:
                engine, self.engine = self.engine, None
                await engine.customers.erase("c-1")
            return await super().commit(commit, timeout=timeout)

    store = Erasing()
    engine = await make_engine(RULES, store)
    await engine.customers.update("c-1", CustomerUpdate(attributes={"phone": "555-1234"}))
    store.engine = engine
    assert (await ask(engine)).outcome == "none"
    for row in await store.log_records(partition_of("c-1")):
        assert b"555-1234" not in row.body
        if row.kind == "decision":
            assert log.decode_decision(row.body).document == b""


async def test_a_deadline_gives_budgets_back(make_engine: Make) -> None:
    class Slow(MemoryStore):
        async def commit(self, commit: Commit, *, timeout: float | None = None) -> Any:
            found = await super().commit(commit, timeout=timeout)
            await asyncio.sleep(0.2)
            return found

    store = Slow()
    engine = await make_engine(OPT_OUT, store)
    decision = await ask(engine, deadline_ms=20)
    assert "deadline" in decision.degraded
    await until_nothing_is_spent(store)


async def until_nothing_is_spent(store: Any) -> None:
    for _ in range(100):
        if (await store.read("", budgets=("offer:total",))).budgets["offer:total"] == 0:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the budget is not given back")


async def test_a_deadline_before_a_conflict_is_known_takes_nothing_of_a_budget(
    make_engine: Make,
) -> None:
    class Slow(Conflicting):
        async def commit(self, commit: Commit, *, timeout: float | None = None) -> Any:
            found = await super().commit(commit, timeout=timeout)
            await asyncio.sleep(0.05)
            return found

    store = Slow()
    store.conflicts = 1
    engine = await make_engine(OPT_OUT, store)
    assert "deadline" in (await ask(engine, deadline_ms=20)).degraded
    assert (await store.read("", budgets=("offer:total",))).budgets["offer:total"] == 0
    await until_nothing_is_spent(store)


async def test_the_observer_hears_of_the_events_written_before_one_that_failed(
    make_engine: Make,
) -> None:
    class Failing(MemoryStore):
        async def commit(self, commit: Commit, *, timeout: float | None = None) -> Any:
            if commit.customer_id == "c-2":
                raise StoreUnavailable("down")
            return await super().commit(commit, timeout=timeout)

    class Hears:
        def __init__(self) -> None:
            self.heard: list[tuple[str, str]] = []

        def recorded(self, event_type: str, result: str) -> None:
            self.heard.append((event_type, result))

    engine = await make_engine(OPT_OUT, Failing())
    engine.runtime.observer = hears = Hears()
    with pytest.raises(StoreUnavailable):
        await engine.events.record(
            [
                Event(type="odd", customer_id="c-1", decision_id="none such"),
                Event(type="visit", customer_id="c-1"),
                Event(type="visit", customer_id="c-2"),
            ]
        )
    assert hears.heard == [("odd", "rejected"), ("visit", "accepted")]
