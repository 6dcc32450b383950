"""A decision whose answer did not reach its caller reserves nothing, and the log says so."""

from __future__ import annotations

import asyncio
import itertools
import random
import tracemalloc
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from decision.core import records as log
from decision.core.errors import StoreUnavailable
from decision.core.identifiers import partition_of
from decision.core.ports import Commit, LogRecord
from decision.core.schema import Decision, DecisionRequest, Event, TriggerEvent
from decision.engine import Engine
from decision.store import MemoryStore, RedisStore
from tests.engine.conftest import Clock
from tests.engine.schedule import Gated, run_order
from tests.store.proxy import Proxy, until

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]
_prefixes = itertools.count()

RULES = """
settings: {timezone: UTC, currency: EUR, exploration: "off"}
purposes: {ads: {consent: opt_out}, care: {consent: not_required}}
channels:
  push: {cost: 0.02, reservation: {expires_after: 1h, then: release}}
  sms: {cost: 0.02, reservation: {expires_after: 1h, then: count}}
placements:
  home: {channels: [push], fallback: hi}
  desk: {channels: [sms]}
messages:
  a: {purpose: ads, category: x, channels: [push, sms], value: 5, budget: {total: 50}, content: {t: a}}
  b: {purpose: ads, category: y, channels: [push, sms], value: 4, content: {t: b}}
  hi: {purpose: care, channels: [push], value: 0, content: {t: "hi {{ context.who }}"}}
caps: {two: {of: {purpose: ads}, at_most: 2, within: 1d}}
budgets: {money: {of: {message: a}, spend: 100}}
"""


class Late:
    """A store whose commits, after `late` is set, happen and never answer."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.late = False
        self.happens = True
        self.happened = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def commit(self, commit: Commit, *, timeout: float | None = None) -> Any:
        late, self.late = self.late, False
        if late and not self.happens:
            await asyncio.Event().wait()
        reply = await self.store.commit(commit, timeout=timeout)
        if late:
            self.happened = True
            await asyncio.Event().wait()
        return reply


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest, clock: Clock, redis_url: str) -> Any:
    if request.param == "memory":
        yield Late(MemoryStore(lambda: clock.now / 1_000_000))
    else:
        made = RedisStore(redis_url, prefix=f"following{next(_prefixes)}:")
        yield Late(made)
        await made.close()


def beside(engine: Engine) -> Engine:
    """Another worker's engine on the same store."""
    other = Engine(engine.runtime.store, engine.runtime.settings, engine.runtime.clock)
    other.use(engine.snapshot)
    return other


async def ask(engine: Engine, **changes: Any) -> Decision:
    asked = {"placement": "home", "customer_id": "c-1", "context": {"who": "Mei"}, **changes}
    return await engine.decide(DecisionRequest(**asked))


async def ask_too_late(engine: Engine, store: Late, **changes: Any) -> Decision:
    """An answer whose decision is written too late for it, and followed to its end."""
    store.late = True
    given = await ask(engine, deadline_ms=100, **changes)
    assert not store.late
    await engine.drain(10)
    return given


async def contacts_of(engine: Engine, customer: str = "c-1") -> list[str]:
    document = (await engine.runtime.store.read(customer)).document
    return [one.state.name for one in map(_named, document.contacts)]


def _named(contact: Any) -> Any:
    from decision.core.document import ContactState

    return contact._replace(state=ContactState(contact.state))


async def logged(engine: Engine, customer: str = "c-1") -> tuple[dict[str, Any], set[str]]:
    """Decisions of a customer by id, and the ids of those that nobody was given."""
    rows = await engine.runtime.store.log_records(partition_of(customer))
    made = [log.decode_decision(row.body) for row in rows if row.kind == "decision"]
    assert len({row.decision_id for row in made}) == len(made)
    marked = [row.id for row in rows if row.kind == "not_given"]
    assert len(set(marked)) == len(marked)
    return {row.decision_id: row for row in made}, set(marked)


async def spent(engine: Engine) -> int:
    """How often `a`'s own budget is taken; the money of many is what that costs."""
    store = engine.runtime.store
    found = (await store.read("", budgets=["a:total", "money/EUR/ever"])).budgets
    assert found["money/EUR/ever"] == found["a:total"] * 20_000
    return found["a:total"]


@pytest.mark.parametrize("placement", ["home", "desk"])
@pytest.mark.parametrize("limit", [1, 2])
@pytest.mark.parametrize("request_id", [None, "r-1"])
async def test_a_commit_that_comes_too_late_is_taken_back_and_marked(
    make_engine: Make, store: Late, placement: str, limit: int, request_id: str | None
) -> None:
    engine = await make_engine(RULES, store)
    asked: dict[str, Any] = {"placement": placement, "limit": limit, "request_id": request_id}
    event = TriggerEvent(type="visit", id="e-1")
    given = await ask_too_late(engine, store, event=event, **asked)
    assert given.degraded == ["store", "deadline"]
    assert await contacts_of(engine) == ["RELEASED"] * limit
    assert await spent(engine) == 0
    made, marked = await logged(engine)
    [ungiven] = marked
    assert made.keys() == {ungiven, given.decision_id}
    assert len(made[ungiven].selections) == limit and made[given.decision_id].selections == []
    found = await engine.replay.find(ungiven)
    assert found is not None and found.degraded == ["model", "not_given"]
    again = await ask(engine, event=event, **asked)
    assert again.outcome == "selected" and again.decision_id not in (ungiven, given.decision_id)
    assert await spent(engine) == 1
    view = await engine.customers.get("c-1")
    assert [one.counts for one in view.contacts].count(True) == limit


async def test_a_commit_that_never_happens_leaves_nothing_but_the_answer_that_was_given(
    make_engine: Make, store: Late
) -> None:
    engine = await make_engine(RULES, store)
    store.happens = False
    given = await ask_too_late(engine, store, request_id="r-1")
    assert await contacts_of(engine) == []
    assert await spent(engine) == 0
    made, marked = await logged(engine)
    assert made.keys() == {given.decision_id} and not marked


async def test_the_answer_that_was_given_is_looked_up_as_it_was_given(
    make_engine: Make, store: Late
) -> None:
    engine = await make_engine(RULES, store)
    given = await ask_too_late(engine, store, explain=True)
    assert given.outcome == "fallback"
    assert given.selections[0].content == {"t": "hi Mei"}
    found = await engine.replay.find(given.decision_id)
    assert found == given


async def test_an_answer_is_looked_up_before_it_is_in_the_log(
    make_engine: Make, clock: Clock
) -> None:
    class ReadOnly(MemoryStore):
        async def commit(self, *_: Any, **__: Any) -> Any:
            raise StoreUnavailable("it takes no writes")

    engine = await make_engine(RULES, ReadOnly(lambda: clock.now / 1_000_000))
    given = await ask(engine, explain=True)
    assert given.degraded == ["store"]
    assert await engine.replay.find(given.decision_id) == given
    await engine.drain(0.05)


async def test_a_dry_run_and_silence_leave_nothing_to_follow(
    make_engine: Make, store: Late
) -> None:
    engine = await make_engine(RULES, store)
    store.late = True
    assert (await ask(engine, dry_run=True, deadline_ms=200)).outcome == "selected"
    store.late = False
    for _ in range(2):
        await ask(engine)
    given = await ask_too_late(engine, store, request_id="r-1")
    made, marked = await logged(engine)
    assert given.decision_id in made and not marked
    again = await ask(engine, request_id="r-1")
    assert again.outcome == "fallback" and again.decision_id in made


async def test_what_another_caller_was_given_stays(make_engine: Make, store: Late) -> None:
    engine = await make_engine(RULES, store)
    other = beside(engine)
    store.late = True
    waiting = asyncio.create_task(ask(engine, request_id="r-1", deadline_ms=5_000))
    await until(lambda: store.happened)
    retried = await ask(other, request_id="r-1")
    while retried.outcome != "selected":
        retried = await ask(other, request_id="r-1")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await engine.drain(10)
    assert await contacts_of(engine) == ["RESERVED_THEN_RELEASE"]
    assert await spent(engine) == 1
    found = await engine.replay.find(retried.decision_id)
    assert found is not None and found.degraded == ["model"]
    assert await ask(other, request_id="r-1") == retried


async def test_a_caller_that_went_away_is_given_nothing(make_engine: Make, store: Late) -> None:
    """As where a batch is cut: there is no other answer, and still nothing stays reserved."""
    engine = await make_engine(RULES, store)
    store.late = True
    waiting = asyncio.create_task(ask(engine, deadline_ms=5_000))
    await until(lambda: store.happened)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await engine.drain(10)
    made, marked = await logged(engine)
    assert made.keys() == marked
    assert (await contacts_of(engine), await spent(engine)) == (["RELEASED"], 0)


@pytest.mark.parametrize("after", ["merge", "erase"])
async def test_a_merge_or_an_erasure_in_between_changes_nothing_of_that(
    make_engine: Make, store: Late, after: str
) -> None:
    engine = await make_engine(RULES, store)
    held = asyncio.Event()
    resolve_all = engine.following._work

    async def later() -> None:
        await held.wait()
        await resolve_all()

    engine.following._work = later
    await engine.events.record([Event(type="visit", customer_id="c-1")])
    await ask(engine, customer_id="c-2")
    store.late = True
    given = await ask(engine, deadline_ms=100, request_id="r-1")
    assert "store" in given.degraded
    if after == "merge":
        await engine.customers.merge("c-2", "c-1")
    else:
        await engine.customers.erase("c-1")
    held.set()
    await engine.drain(10)
    view = await engine.customers.get("c-2")
    assert [one.counts for one in view.contacts].count(True) == 1
    assert await spent(engine) == 1
    if after == "erase":
        assert await logged(engine) == ({}, set())
    else:
        assert (await ask(engine, request_id="r-1")).customer_id == "c-2"


async def test_an_event_about_a_decision_that_nobody_was_given_does_not_bring_it_back(
    make_engine: Make, store: Late
) -> None:
    """Except one that shows that the customer saw it."""
    engine = await make_engine(RULES, store)
    await ask_too_late(engine, store)
    [ungiven] = (await logged(engine))[1]
    for kind, state in (("message.sent", "RELEASED"), ("message.opened", "CONFIRMED")):
        event = Event(type=kind, customer_id="c-1", decision_id=ungiven)
        await engine.events.record([event])
        assert await contacts_of(engine) == [state]


async def test_a_kept_answer_that_has_been_given_often_stays_for_good(
    make_engine: Make, store: Late
) -> None:
    engine = await make_engine(RULES, store)
    first = await ask(engine, request_id="r-1")
    for _ in range(40):
        assert await ask(engine, request_id="r-1") == first
    kept = engine.runtime.store
    named = ("c-1", "r-1", first.decision_id)
    assert not await kept.disclaim_answer(*named, first.decision_id)
    assert await ask(engine, request_id="r-1") == first


async def test_claims_are_about_one_answer(make_engine: Make, store: Late) -> None:
    """An answer stays while anybody claims it, and a later one is not touched by old claims."""
    engine = await make_engine(RULES, store)
    kept = engine.runtime.store
    first = await ask(engine, request_id="r-1")
    named = ("c-1", "r-1", first.decision_id)
    assert await kept.claim_answer(*named, "x")
    assert not await kept.disclaim_answer(*named, first.decision_id)
    assert not await kept.disclaim_answer(*named, "never claimed")
    for _ in range(2):
        assert await kept.disclaim_answer(*named, "x")
    assert not await kept.claim_answer(*named, "y")
    second = await ask(engine, request_id="r-1")
    assert second.decision_id != first.decision_id
    assert await kept.disclaim_answer(*named, "x")
    assert await ask(engine, request_id="r-1") == second


async def test_what_waits_is_bounded_counted_and_said(
    make_engine: Make, store: Late, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    from decision.engine import following

    monkeypatch.setattr(following, "MOST_DECISIONS", 0)
    monkeypatch.setattr(following, "MOST_BYTES", 0)
    engine = await make_engine(RULES, store)
    seen: list[str] = []

    class Observer:
        def decided(self, *_: Any) -> None: ...
        def recorded(self, *_: Any) -> None: ...
        def followed(self, result: str) -> None:
            seen.append(result)

    engine.observe(Observer())
    await ask_too_late(engine, store)
    assert seen == ["dropped", "dropped"]
    assert len([row for row in caplog.records if "too much waits" in row.message]) == 1


async def test_what_waits_takes_no_more_memory_than_its_bound(
    make_engine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records are counted as what they take, also what holds them until the store is back."""
    from decision.engine import following

    monkeypatch.setattr(following, "MOST_BYTES", 1 << 20)
    engine = await make_engine(RULES)
    dropped: list[str] = []
    monkeypatch.setattr(following.Following, "_tell", lambda _, result: dropped.append(result))
    waiting = following.Following(engine.runtime)
    tracemalloc.start()
    for number in itertools.takewhile(lambda _: not dropped, itertools.count()):
        record = LogRecord(kind="decision", id=f"{number:026}", body=b"%0300d" % number)
        waiting.log(record, f"customer-{number}", None)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    await waiting.drain(0)
    assert number > 500
    assert taken <= following.MOST_BYTES


class Turns:
    """A store whose replies take three turns of the event loop, as those of Redis do."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def history(self, name: str) -> list[bytes]:
        await turns(3)
        return await self.store.history(name)

    async def commit(self, commit: Commit) -> Any:
        await turns(3)
        return await self.store.commit(commit)


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def wait_in(engine: Engine, number: int) -> None:
    """One more record of an answer that was given without the store waits."""
    record = LogRecord(kind="decision", id=f"{number:026}", body=b"x")
    engine.following.log(record, f"customer-{number}", None)


async def test_records_are_written_as_fast_as_they_come_however_busy_the_loop_is(
    make_engine: Make,
) -> None:
    engine = await make_engine(RULES)
    engine.runtime.store = Turns(engine.runtime.store)
    for number in range(600):
        wait_in(engine, number)
        await turns(number % 2)
    assert len(engine.runtime.unlogged) < 100
    await engine.drain(10)
    assert not engine.runtime.unlogged


async def test_many_records_that_wait_need_the_key_and_the_clock_once(
    make_engine: Make, redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RedisStore(redis_url, prefix=prefix)
    engine = await make_engine(RULES, store)
    asked: Counter[str] = Counter()
    call = store.connection.call

    async def counted(command: Any, timeout: float, **more: Any) -> Any:
        asked[f"{command[0]} {command[1] if command[0] == 'LRANGE' else ''}"] += 1
        return await call(command, timeout, **more)

    await engine.customers.erase("somebody")  # the key is made
    monkeypatch.setattr(store.connection, "call", counted)
    for number in range(300):
        wait_in(engine, number)
    await engine.drain(30)
    assert not engine.runtime.unlogged
    assert asked["TIME "] == 1
    assert sum(count for name, count in asked.items() if "pseudonym-keys" in name) == 1
    await store.close()


async def test_at_the_end_what_waits_has_the_loop_to_itself(make_engine: Make) -> None:
    engine = await make_engine(RULES)
    engine.runtime.store = Turns(engine.runtime.store)
    for number in range(2000):
        wait_in(engine, number)
    draining = asyncio.create_task(engine.drain(10))
    await turns(100)
    assert not engine.runtime.unlogged
    await draining


@pytest.mark.parametrize("anyio_backend", ["asyncio", ("asyncio", {"use_uvloop": True})])
@pytest.mark.parametrize("command", ["GET", "EVALSHA"])
async def test_a_deadline_that_passed_is_always_said(
    make_engine: Make, redis_url: str, prefix: str, command: str
) -> None:
    """Whichever timer comes first, and however short the deadline is."""
    async with Proxy(redis_url) as proxy:
        store = RedisStore(proxy.url, prefix=prefix)
        engine = await make_engine(RULES, store)
        for deadline in (*range(1, 12), 20, 50):
            gate = proxy.hold(command)
            given = await ask(engine, customer_id=f"c-{deadline}", deadline_ms=deadline)
            assert given.degraded == ["store", "deadline"], deadline
            gate.set()
            proxy.forget()  # it was too late to be sent at all
            await engine.drain(10)
            await store.ping()  # what was held has come: the connection is not silent any more
        await store.close()


# Every order of steps.


class Slow(Gated):
    """Operations that may be given up: before they happen, or after, while they are answered."""

    def __getattr__(self, name: str) -> Any:
        found = super().__getattr__(name)
        if name not in ("commit", "claim_answer"):
            return found

        async def operate(*args: Any, **options: Any) -> Any:
            reply = await found(*args, **options)
            await self._turn()
            return reply

        return operate


@pytest.mark.parametrize("limit", [400, pytest.param(10_000, marks=pytest.mark.soak, id="many")])
async def test_an_answer_is_given_or_nothing_is_reserved_in_every_order(
    make_engine: Make, clock: Clock, limit: int
) -> None:
    """Two callers with one request id, each of whom may give up at any step."""
    chooser = random.Random(limit)
    orders: list[list[int]] = [[chooser.randrange(4) for _ in range(60)] for _ in range(limit)]
    outcomes: set[tuple[bool, ...]] = set()
    for choices in orders:
        gated = Slow(MemoryStore(lambda: clock.now / 1_000_000))
        engine = await make_engine(RULES, gated)
        engines = [engine, beside(engine)]
        tasks: list[asyncio.Task[Any]] = []

        def caller(engine: Engine, tasks: list[asyncio.Task[Any]] = tasks) -> Callable[[], Any]:
            async def call() -> Any:
                task = asyncio.ensure_future(ask(engine, request_id="r-1", deadline_ms=60_000))
                tasks.append(task)
                await asyncio.gather(task, return_exceptions=True)
                return None if task.cancelled() else task.result()

            return call

        def impatient(
            place: int, tasks: list[asyncio.Task[Any]] = tasks, gated: Slow = gated
        ) -> Callable[[], Any]:
            async def give_up() -> None:
                await gated._turn()
                await gated._turn()
                if place < len(tasks):
                    tasks[place].cancel()

            return give_up

        works = [caller(engines[0]), caller(engines[1]), impatient(0), impatient(1)]
        results, _ = await run_order(gated, works, choices)
        await asyncio.gather(*(engine.drain(10) for engine in engines))
        given = {found.decision_id for found in results[:2] if found is not None}
        document = (await gated.store.read("c-1")).document
        live = [one for one in document.contacts if one.state < 2]
        made, marked = await logged(engines[0])
        assert len(given) <= 1, choices
        assert len(live) == len(given) == await spent(engines[0]), choices
        assert given == made.keys() - marked, choices
        outcomes.add(tuple(found is not None for found in results[:2]))
    assert len(outcomes) == 4
