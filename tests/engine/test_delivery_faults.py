"""Whatever fails, and in whatever order: no delivery is lost, none is both released and sent, and
none is sent twice unless an answer was lost and the setting says to send it again."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest

from decision.core.delivery import ListedDelivery
from decision.core.document import ContactState
from decision.core.errors import NotFound, StoreUnavailable
from decision.core.identifiers import decision_tag
from decision.core.schema import DecisionRequest, Event
from decision.engine import Engine
from decision.engine.names import names_of
from decision.store import MemoryStore, RedisStore
from tests.engine.conftest import Clock
from tests.engine.outbox_world import CUSTOMERS, PARTITIONS, Dying, Sender, World
from tests.engine.schedule import GATED, Gated, next_choices, run_order
from tests.engine.test_delivering import RULES
from tests.engine.test_following import Late

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]
_prefixes = itertools.count()
OUTBOX = {
    "claim_deliveries",
    "begin_delivery",
    "postpone_delivery",
    "hold_delivery",
    "note_provider_id",
} | {"discard_delivery"}


@pytest.fixture(params=["memory", "redis"])
async def fresh(
    request: pytest.FixtureRequest, clock: Clock, redis_url: str
) -> AsyncIterator[Callable[[], Any]]:
    """Makes empty stores of one kind."""
    made: list[Any] = []

    def make() -> Any:
        if request.param == "memory":
            made.append(MemoryStore())
        else:
            made.append(RedisStore(redis_url, prefix=f"faults{next(_prefixes)}:"))
        return made[-1]

    yield make
    for one in made:
        await one.close()


async def on(engine: Engine, store: Any) -> Engine:
    """An engine with the same policy on an empty store: much faster than reading it again."""
    policy = engine.snapshot.policy
    await store.start()
    store.allow_names(names_of(policy))
    kinds = await store.register_kinds([each.kind for each in policy.candidates])
    assert kinds == engine.snapshot.kinds
    return beside(engine, store)


def beside(engine: Engine, store: Any) -> Engine:
    """The engine of another process."""
    other = Engine(store, engine.runtime.settings, engine.runtime.clock)
    other.use(engine.snapshot)
    return other


async def state(store: Any) -> tuple[dict[str, ContactState], dict[str, ListedDelivery]]:
    """What became of every contact, and what is in the outbox, by delivery id."""
    contacts: dict[str, ContactState] = {}
    listed = {row.delivery.id: row for one in CUSTOMERS for row in await store.deliveries_of(one)}
    logged = [
        row.id
        for partition in PARTITIONS
        for row in await store.log_records(partition)
        if row.kind == "decision"
    ]
    tags = {decision_tag(decision_id): decision_id for decision_id in logged}
    for customer in CUSTOMERS:
        document = (await store.read(customer)).document
        for contact in document.contacts:
            name = f"{tags[contact.tag]}.{document.kinds[contact.kind].message}"
            contacts[name] = ContactState(contact.state)
    return contacts, listed


async def check(store: Any, world: World, on_unknown: str, about: object) -> None:
    """The promises, at the end of all work."""
    contacts, listed = await state(store)
    for name, found in contacts.items():
        where = f"{about}: {name} {found.name} {listed.get(name)} {world.got}"
        row = listed.get(name)
        if found == ContactState.CONFIRMED:
            assert world.got[name] >= 1 and row is None, where
        elif found == ContactState.RELEASED:
            assert world.got[name] == 0, where
            assert row is None or row.status.state == "failed", where
        else:
            assert row is not None and row.status.state == "unknown", where
    for name, times in world.got.items():
        assert times == 1 or (on_unknown == "again" and name in world.again), (about, name, times)
        assert name in contacts, (about, name)
    for row in listed.values():
        assert row.status.state in ("failed", "unknown"), (about, row)


async def ask(engine: Engine, customer: str = "anna", **more: Any) -> Any:
    request = DecisionRequest(placement="outbound", customer_id=customer, **more)
    return await engine.decide(request)


@pytest.mark.parametrize("on_unknown", ["hold", "again"])
@pytest.mark.parametrize(
    "answers", [(), ("rejected",), ("retry", "rejected"), ("lost",), ("denied",)]
)
@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize(("after", "dies"), [(False, True), (True, True), (True, False)])
async def test_whichever_operation_fails_every_promise_is_kept(
    make_engine: Make,
    monkeypatch: pytest.MonkeyPatch,
    fresh: Callable[[], Any],
    on_unknown: str,
    answers: tuple[str, ...],
    merged: bool,
    after: bool,
    dies: bool,
) -> None:
    monkeypatch.setattr("decision.engine.delivering._MARKED_LASTS", 0)
    first = await make_engine(RULES)
    for fails_at in itertools.count(1):
        store = fresh()
        engine = await on(first, store)
        await ask(engine, "anon", limit=2)
        if merged:
            await engine.events.record([Event(type="visit", customer_id="anna")])
            await engine.customers.merge("anna", "anon")
        if answers == ("denied",):
            await engine.customers.set_consents("anon", {"ads": {"*": "denied"}})
        world = World(*answers)
        dying = Dying(store, fails_at, after=after, dies=dies)
        with suppress(StoreUnavailable):
            await Sender(beside(engine, dying), world, on_unknown=on_unknown).run()
        await Sender(engine, world, on_unknown=on_unknown).run()
        await check(store, world, on_unknown, (fails_at, dying.operations))
        contacts, _ = await state(store)
        assert len(contacts) == 2
        if dying.operations < fails_at:
            break
    assert fails_at > 6


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize("request_id", [None, "r-1"])
async def test_a_decision_whose_operation_fails_is_sent_whole_or_not_at_all(
    make_engine: Make, fresh: Callable[[], Any], after: bool, dies: bool, request_id: str | None
) -> None:
    """What its caller was given is delivered; what nobody was given is withdrawn, or delivered."""
    first = await make_engine(RULES)
    for fails_at in itertools.count(1):
        store = fresh()
        engine = await on(first, store)
        await engine.events.record([Event(type="visit", customer_id="anna")])
        world = World()
        dying = Dying(store, fails_at, after=after, dies=dies)
        there = beside(engine, dying)
        given = await ask(there, limit=2, request_id=request_id)
        if not dies:
            await there.drain(10)
        await Sender(engine, world).run()
        await check(store, world, "hold", (fails_at, given))
        if given.outcome == "selected":
            sent = {f"{given.decision_id}.{one.message}" for one in given.selections}
            assert sent == {*world.got}, fails_at
        elif not dies:
            assert not world.got, fails_at
        await there.drain(0)
        if dying.operations < fails_at:
            break
    assert fails_at > 2


async def every_order(
    works: Callable[[Gated, Engine, World], list[Callable[[], Any]]],
    check: Callable[[Any, World, list[int], list[Any]], Any],
    prepare: Callable[[], Any],
    limit: int,
) -> int:
    """Runs the works in all orders of their steps, or in a fixed spread of them."""
    choices: list[int] | None = []
    chooser = random.Random(5)
    ran = 0
    while choices is not None and ran < limit:
        store, engine = await prepare()
        gated, world = Gated(store), World()
        results, options = await run_order(gated, works(gated, engine, world), choices)
        await check(store, world, choices, results)
        ran += 1
        choices = next_choices(choices, options)
        if ran > limit // 2:
            choices = [chooser.randrange(3) for _ in range(60)]
    return ran


@pytest.fixture(params=[120, pytest.param(3000, marks=pytest.mark.soak)])
def orders(request: pytest.FixtureRequest) -> int:
    """How many orders are tried at most."""
    return int(request.param)


@pytest.fixture
def gate_outbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.engine.schedule.GATED", GATED | OUTBOX)


def preparing(first: Engine) -> Callable[[], Any]:
    async def prepare() -> tuple[Any, Engine]:
        store = MemoryStore()
        engine = await on(first, store)
        await engine.events.record([Event(type="visit", customer_id="anna")])
        await ask(engine, "anon")
        return store, engine

    return prepare


async def finish(store: Any, engine: Engine, world: World) -> None:
    await Sender(beside(engine, store), world).run()


@pytest.mark.usefixtures("gate_outbox")
@pytest.mark.parametrize("lease_ms", [0, 60_000])
async def test_two_senders_send_each_delivery_once_in_every_order(
    make_engine: Make, lease_ms: int, orders: int
) -> None:
    """Also where each one's lease ends while it is at work."""

    def works(gated: Gated, engine: Engine, world: World) -> list[Callable[[], Any]]:
        own = [Sender(beside(engine, gated), world, lease_ms=lease_ms) for _ in range(2)]
        return [own[0].run, own[1].run]

    async def look(store: Any, world: World, choices: list[int], results: list[Any]) -> None:
        await check(store, world, "hold", choices)

    ran = await every_order(works, look, preparing(await make_engine(RULES)), orders)
    assert ran > 10


@pytest.mark.usefixtures("gate_outbox")
@pytest.mark.parametrize("act", ["merge", "erase", "deny", "report"])
async def test_what_happens_to_the_customer_meanwhile_loses_and_doubles_nothing(
    make_engine: Make, act: str, orders: int
) -> None:
    engines: list[Engine] = []

    def works(gated: Gated, engine: Engine, world: World) -> list[Callable[[], Any]]:
        other = beside(engine, gated)
        engines.append(engine)

        async def do() -> None:
            match act:
                case "merge":
                    await other.customers.merge("anna", "anon")
                case "erase":
                    with suppress(NotFound):
                        await other.customers.erase("anon")
                case "deny":
                    await other.customers.set_consents("anon", {"ads": {"*": "denied"}})
                case "report":
                    (row,) = (await engine.runtime.store.deliveries()).rows or (None,)
                    if row is not None:
                        about = row.delivery.decision_id
                        event = Event(
                            type="message.failed", customer_id="anon", decision_id=about, id="e"
                        )
                        await other.events.record([event])

        return [Sender(beside(engine, gated), world, lease_ms=60_000).run, do]

    ended: set[int] = set()

    async def look(store: Any, world: World, choices: list[int], results: list[Any]) -> None:
        await finish(store, engines[-1], world)
        contacts, listed = await state(store)
        ended.add(len(world.got))
        if act == "erase":
            assert not listed and not contacts, choices
            assert sum(world.got.values()) <= 1, choices
            assert await store.find_provider_id("hook", "p-1") is None, choices
        elif act == "report":
            assert not listed, choices  # somebody else told of it, whatever we did
        else:
            await check(store, world, "hold", choices)

    await every_order(works, look, preparing(await make_engine(RULES)), orders)
    if act in ("erase", "deny"):
        assert ended == {0, 1}


@pytest.mark.usefixtures("gate_outbox")
@pytest.mark.parametrize("request_id", [None, "r-1"])
@pytest.mark.parametrize("limit", [1, 2])
async def test_a_decision_that_nobody_was_given_is_withdrawn_or_sent_in_every_order(
    make_engine: Make, request_id: str | None, limit: int, orders: int
) -> None:
    engines: list[Engine] = []

    request = DecisionRequest(
        placement="outbound", customer_id="anna", request_id=request_id, limit=limit
    )
    made: list[Any] = []

    first = await make_engine(RULES)

    async def prepare() -> tuple[Any, Engine]:
        store = MemoryStore()
        engine = await on(first, store)
        made[:] = [engine.ungiven(request, await engine.decide_with_verdict(request))]
        engines[:] = [engine]
        return store, engine

    def works(gated: Gated, engine: Engine, world: World) -> list[Callable[[], Any]]:
        other = beside(engine, gated)

        async def follow() -> None:
            other.withdraw(made[0])
            await other.drain(10)

        return [follow, Sender(beside(engine, gated), world, lease_ms=60_000).run]

    ended: set[int] = set()

    async def look(store: Any, world: World, choices: list[int], results: list[Any]) -> None:
        await finish(store, engines[-1], world)
        await check(store, world, "hold", choices)
        spent = (await store.read("", budgets=["a:total"])).budgets["a:total"]
        contacts, _ = await state(store)
        live = [one for name, one in contacts.items() if name.endswith(".a") and one < 3]
        assert spent == len(live), choices
        ended.add(len(world.got))

    await every_order(works, look, prepare, orders)
    assert ended >= {0, limit}


async def test_a_withdrawn_decision_is_logged_as_not_given_and_not_sent(
    make_engine: Make, fresh: Callable[[], Any]
) -> None:
    late = Late(fresh())
    engine = await make_engine(RULES, store=late)
    late.late = True
    given = await ask(engine, deadline_ms=30, request_id="r")
    assert "store" in given.degraded
    while not late.happened:
        await asyncio.sleep(0)
    await engine.drain(10)
    world = World()
    await Sender(engine, world).run()
    assert not world.got
    again = await ask(engine, request_id="r")
    assert again.outcome == "selected"
    await Sender(engine, world).run()
    assert [*world.got] == [f"{again.decision_id}.a"]
