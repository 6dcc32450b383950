"""Every operation of a decision cut before it is sent, after it, and in the middle of its reply."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from functools import partial
from typing import Any

import msgspec
import pytest

from decision.core import records as log
from decision.core.clock import DAY, from_micros
from decision.core.errors import StoreUnavailable
from decision.core.event_effects import is_withheld
from decision.core.identifiers import partition_of
from decision.core.schema import DecisionRequest, Event, TriggerEvent
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.rulebook.reader import load_files
from decision.store import RedisStore
from tests.core.small import NOON
from tests.crash.harness import RULES
from tests.store.proxy import Proxy

pytestmark = pytest.mark.anyio
ACTIONS = ("cut_before", "drop_reply", "cut_mid_reply")


@pytest.fixture(autouse=True)
def believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was said of budgets holds for the whole test, however slow the machine is."""
    monkeypatch.setattr("decision.store.leases.BELIEVED", 3600.0)
    monkeypatch.setattr("decision.store.in_redis.leases.BELIEVED", 3600.0)


async def engine_on(store: RedisStore, then: str = "count") -> Engine:
    # The dearest message is always chosen, and has a budget: taking it is a fault point, too.
    rules = RULES.replace("currency: EUR", 'currency: EUR, exploration: "off"')
    rules = rules.replace("total: 25", "total: 100000").replace("then: count", f"then: {then}")
    rules = rules.replace("push: {res", "push: {cost: 0.01, res")
    rules += "budgets: {money: {of: {category: z}, spend: 100000}}\n"
    definition = load_files({"rules.yaml": rules}).definition
    assert definition is not None
    await store.start()
    engine = Engine(store, EngineSettings(seed="x"), lambda: NOON)
    engine.use(await build_snapshot(definition, None, store, from_micros(NOON), durable=False))
    return engine


async def commands_of(proxy: Proxy, work: Any) -> list[tuple[str, int]]:
    """(name, how manieth) of every command that the work sends."""
    before = proxy.seen.copy()
    await work()
    sent = proxy.seen - before
    return [(name, nth) for name, count in sent.items() for nth in range(1, count + 1)]


def request(customer: str) -> DecisionRequest:
    return DecisionRequest(
        placement="outbound",
        customer_id=customer,
        request_id="r-1",
        event=TriggerEvent(type="visit", id="e-1"),
    )


async def stored(store: RedisStore, customer: str) -> tuple[int, int, int]:
    """(contacts, selections in the log, events in the log) of a customer."""
    rows = await store.log_records(partition_of(customer))
    made = [log.decode_decision(row.body) for row in rows if row.kind == "decision"]
    happened = [log.decode_event(row.body) for row in rows if row.kind == "event"]
    return (
        len((await store.read(customer)).document.contacts),
        sum(len(row.selections) for row in made if row.customer_id == customer),
        sum(row.customer_id == customer for row in happened),
    )


@pytest.mark.parametrize("then", ["count", "release"])
async def test_a_decision_is_made_once_whatever_operation_fails(
    redis_url: str, prefix: str, redis_store: RedisStore, then: str
) -> None:
    """The caller gets it, or silence that says `store`; asked again, the one that was made."""
    names = (f"c-{number}" for number in itertools.count())
    tried = degraded = 0
    async with Proxy(redis_url) as proxy:
        store = RedisStore(proxy.url, prefix=prefix)
        engine = await engine_on(store, then)
        await engine.decide(request(next(names)))
        points = await commands_of(proxy, lambda: engine.decide(request(next(names))))
        assert {*points} >= {("GET", 1), ("HGET", 1), ("ZMSCORE", 1)}
        assert [one for one in points if one[0] == "EVALSHA"] == [("EVALSHA", 1)]  # the commit
        for (name, nth), action in itertools.product(points, ACTIONS):
            customer = next(names)
            getattr(proxy, action)(name, nth)
            decision = await engine.decide(request(customer))
            contacts, selections, events = await stored(redis_store, customer)
            where = f"{action} {name} {nth}: {decision}"
            assert contacts == selections <= 1, where
            assert events == selections, where
            if decision.outcome == "selected":
                assert contacts == 1, where
            else:
                assert "store" in decision.degraded, where
                degraded += 1
            again = await engine.decide(request(customer))
            assert again.outcome == "selected", where
            if decision.outcome == "selected":
                assert again == decision, where
            assert await stored(redis_store, customer) == (1, 1, 1), where
            tried += 1
        await engine.drain(10)
        spent = await units(redis_store)
        await redis_store.expire_budgets(NOON + 4 * DAY)
        ended = await units(redis_store)
        await store.close()
    assert spent == tried + 2  # one a contact
    assert ended == (0 if then == "release" else spent)  # nothing stays taken that ends
    print(f"\n{spent} of the budget spent on {tried + 2} contacts")
    print(f"\n{tried} fault points, {degraded} answered with silence")
    assert tried >= 12


@pytest.mark.parametrize("then", ["count", "release"])
@pytest.mark.parametrize("loss", ["late", "lost"])
@pytest.mark.parametrize("request_id", [None, "r-1"])
async def test_an_answer_without_the_decision_leaves_nothing_reserved_whatever_operation_is_late(
    redis_url: str,
    prefix: str,
    redis_store: RedisStore,
    then: str,
    loss: str,
    request_id: str | None,
) -> None:
    """A reply that comes after the deadline, or is lost while Redis cannot be reached again."""
    names = (f"c-{number}" for number in itertools.count())
    async with Proxy(redis_url) as proxy:
        store = RedisStore(proxy.url, prefix=prefix)
        engine = await engine_on(store, then)

        def asked(customer: str, deadline: int | None = None) -> DecisionRequest:
            changes = {"deadline_ms": deadline, "request_id": request_id}
            return msgspec.structs.replace(request(customer), **changes)

        await engine.decide(asked(next(names)))
        points = await commands_of(proxy, lambda: engine.decide(asked(next(names))))
        held = 2
        for name, nth in points:
            customer, where = next(names), f"{loss} {name} {nth}"
            gate = asyncio.Event()
            if loss == "late":
                gate = proxy.hold(name, nth)
            else:
                proxy.drop_reply(name, nth)
                proxy.on_fault = proxy.refuse
            decision = await engine.decide(asked(customer, 150))
            proxy.on_fault = None
            proxy.forget()  # where the deadline passed before it
            assert "store" in decision.degraded, where
            assert ("deadline" in decision.degraded) >= (loss == "late"), where
            if loss == "late":
                gate.set()
            else:
                await proxy.listen()
            await engine.drain(10)
            document = (await redis_store.read(customer)).document
            assert all(map(is_withheld, document.contacts)), where
            assert await redis_store.find_record(decision.decision_id) is not None, where
            assert await units(redis_store) == held, where
            again = await engine.decide(asked(customer))
            assert again.outcome == "selected" and again.degraded == ["model"], where
            held += 1
            assert await units(redis_store) == held, where
        await store.close()
    assert len(points) >= 3


async def units(store: RedisStore) -> int:
    """How often the budget of `d` is taken; its money is what that costs."""
    found = await store.budget_counts(("d:total", "money/EUR/ever"))
    assert found["money/EUR/ever"].taken == found["d:total"].taken * 10_000
    return found["d:total"].taken


async def test_an_event_is_recorded_once_whatever_operation_fails(
    redis_url: str, prefix: str, redis_store: RedisStore
) -> None:
    names = (f"v-{number}" for number in itertools.count())
    async with Proxy(redis_url) as proxy:
        store = RedisStore(proxy.url, prefix=prefix)
        engine = await engine_on(store)

        async def tell(customer: str) -> Any:
            return await engine.events.record([Event(type="visit", id="e-1", customer_id=customer)])

        await tell(next(names))
        points = await commands_of(proxy, lambda: tell(next(names)))
        for (name, nth), action in itertools.product(points, ACTIONS):
            customer = next(names)
            getattr(proxy, action)(name, nth)
            try:
                await tell(customer)
            except Exception as error:
                assert type(error).__name__ == "StoreUnavailable"
            await tell(customer)
            assert (await stored(redis_store, customer))[2] == 1, (action, name)
        await store.close()


@pytest.mark.parametrize("then", ["count", "release"])
async def test_a_budget_counts_what_contacts_hold_whatever_operation_of_an_event_fails(
    redis_url: str, prefix: str, redis_store: RedisStore, then: str
) -> None:
    """Events sent again after a failure give back, or count, exactly one unit each."""
    names = (f"b-{number}" for number in itertools.count())
    async with Proxy(redis_url) as proxy:
        store = RedisStore(proxy.url, prefix=prefix)
        engine = await engine_on(store, then)
        held = 0

        async def made(customer: str) -> str:
            return (await engine.decide(request(customer))).decision_id

        async def tell(customer: str, decision_id: str, kind: str) -> Any:
            event = Event(type=kind, id=kind, customer_id=customer, decision_id=decision_id)
            return await engine.events.record([event])

        for kind in ("message.failed", "message.sent"):
            customer = next(names)
            decision_id = await made(customer)
            points = await commands_of(proxy, partial(tell, customer, decision_id, kind))
            # The customer, the event's id, the commit, the budget; what may be taken of at all (2).
            assert len(points) == 6
            held += kind == "message.sent"
            for (name, nth), action in itertools.product(points, ACTIONS):
                customer = next(names)
                decision_id = await made(customer)
                getattr(proxy, action)(name, nth)
                with contextlib.suppress(StoreUnavailable):
                    await tell(customer, decision_id, kind)
                await tell(customer, decision_id, kind)
                await tell(customer, decision_id, kind)
                held += kind == "message.sent"
                # What is only reserved ends; what is confirmed must not.
                await redis_store.expire_budgets(NOON + 4 * DAY)
                spent = await units(redis_store)
                assert spent == held, (kind, action, name, nth)
        await store.close()


async def test_one_dropped_reply_of_the_commit_leaves_one_contact_and_one_record(
    redis_url: str, prefix: str, redis_store: RedisStore
) -> None:
    async with Proxy(redis_url) as proxy:
        store = RedisStore(proxy.url, prefix=prefix)
        engine = await engine_on(store)
        for number in range(20):
            customer = f"d-{number}"
            proxy.drop_reply("EVALSHA")
            asked = DecisionRequest(placement="outbound", customer_id=customer)
            decision = await engine.decide(asked)
            contacts, selections, _ = await stored(redis_store, customer)
            assert contacts == selections <= 1
            if "store" not in decision.degraded:
                assert (decision.outcome, contacts) == ("selected", 1)
        await store.close()
