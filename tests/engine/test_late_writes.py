"""What was given or read before an erasure, and is written late, does not come back by it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest

from decision.core.errors import InputError, NotFound, StoreUnavailable
from decision.core.identifiers import PARTITIONS
from decision.core.ports import LogRecord, Removed
from decision.core.schema import Alias, CustomerUpdate, Decision, DecisionRequest, Event
from decision.engine import Engine, following
from decision.engine.transaction import commit_of
from decision.store import MemoryStore, RedisStore, keys
from decision.store.uptime import uptime
from tests.engine.conftest import Clock
from tests.engine.schedule import Gated, next_choices, run_order

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]
_prefixes = itertools.count()
MEI = Alias("email", "mei@mail.cn")


class Away:
    """A store that one server cannot reach while `away`; others can. `lost` loses one reply."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.away = False
        self.lost = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.store, name)
        if name not in ("read", "commit", "resolve_alias", "history"):
            return found

        async def operate(*args: Any, **options: Any) -> Any:
            if self.away:
                raise StoreUnavailable("away")
            reply = await found(*args, **options)
            if name == "commit" and self.lost:
                self.away, self.lost = True, False
                raise StoreUnavailable("the reply was lost", uncertain=True)
            return reply

        return operate


@pytest.fixture(params=["memory", "redis"])
def kind_of_store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def fresh(kind_of_store: str, clock: Clock, redis_url: str) -> Callable[[], Any]:
    """Makes stores, each empty."""

    def make() -> Any:
        if kind_of_store == "memory":
            return MemoryStore(lambda: clock.now / 1_000_000)
        return RedisStore(redis_url, prefix=f"late{next(_prefixes)}:")

    return make


@pytest.fixture
async def store(fresh: Callable[[], Any]) -> AsyncIterator[Any]:
    made = fresh()
    yield made
    await made.close()


async def two(make_engine: Make, store: Any) -> tuple[Away, Engine, Engine]:
    """One server that loses the store at times, and another."""
    away = Away(store)
    here = await make_engine(store=away)
    there = Engine(store, here.runtime.settings, here.runtime.clock)
    there.use(here.snapshot)
    return away, here, there


async def answer(engine: Engine, named: str | Alias = "c-1") -> Decision:
    who = {"alias": named} if isinstance(named, Alias) else {"customer_id": named}
    return await engine.decide(DecisionRequest(placement="inbox", **who))


async def answer_without_store(away: Away, engine: Engine, named: str | Alias = "c-1") -> str:
    away.away = True
    given = await answer(engine, named)
    assert given.degraded == ["store"]
    return given.decision_id


async def decisions(store: Any) -> set[str]:
    """The ids of all decisions in the log."""
    pages = await store.read_logs(dict.fromkeys(range(PARTITIONS), ""))
    rows = [one.record for one in itertools.chain(*pages.values())]
    made = [row.id for row in rows if row.kind == "decision"]
    assert len(set(made)) == len(made)
    return set(made)


async def met(engine: Engine, named: str | Alias = "c-1") -> None:
    who = {"alias": named} if isinstance(named, Alias) else {"customer_id": named}
    await engine.events.record([Event(type="visit", **who)])


async def ids_of(engine: Engine, kind: str) -> tuple[str | Alias, str]:
    """Whom an answer is for, and who is erased then."""
    if kind == "unknown":
        return "c-1", "c-1"
    if kind == "alias alone":
        await met(engine, MEI)
        return MEI, "email:mei@mail.cn"
    await engine.customers.update("c-1", CustomerUpdate(attributes={"a": 1}))
    if kind == "merged":
        await met(engine, "anon")
        await engine.customers.merge("c-1", "anon")
        return "anon", "c-1"
    if kind == "alias":
        await engine.customers.update("c-1", CustomerUpdate(aliases={"email": MEI.value}))
        return MEI, "c-1"
    return "c-1", "c-1"


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("kind", ["unknown", "known", "merged", "alias", "alias alone"])
async def test_an_answer_given_without_the_store_before_an_erasure_is_not_logged_after_it(
    make_engine: Make, store: Any, kind: str, again: bool
) -> None:
    """By whichever of the customer's ids; also where the customer is met again meanwhile."""
    away, here, there = await two(make_engine, store)
    named, erased = await ids_of(there, kind)
    before = await answer_without_store(away, here, named)
    await there.customers.erase(erased)
    if again:
        await met(there, named)
    away.away = False
    await here.drain(10)
    assert await decisions(store) == set()
    after = await answer_without_store(away, here, named)
    away.away = False
    await here.drain(10)
    assert await decisions(store) == {after} != {before}


async def test_what_a_server_had_seen_before_an_erasure_makes_no_difference(
    make_engine: Make, store: Any
) -> None:
    """An answer is given without the store after it was read, and before it was written to."""
    away, here, there = await two(make_engine, store)
    await ids_of(there, "known")
    commit, store.commit = store.commit, _unavailable
    given = await answer(here)
    assert given.degraded == ["store"]
    store.commit, away.away = commit, True
    await there.customers.erase("c-1")
    await met(there)
    away.away = False
    await here.drain(10)
    assert await decisions(store) == set()


async def _unavailable(*_: Any, **__: Any) -> Any:
    raise StoreUnavailable("away")


@pytest.mark.parametrize("erased", [False, True])
async def test_a_record_whose_reply_was_lost_is_not_written_again(
    make_engine: Make, store: Any, erased: bool
) -> None:
    """Neither beside the first one, nor after an erasure has removed that."""
    if isinstance(store, MemoryStore) and not erased:
        pytest.skip("a store in memory loses no reply")
    away, here, there = await two(make_engine, store)
    given = await answer_without_store(away, here)
    away.away, away.lost = False, True
    while away.lost:
        await asyncio.sleep(0.001)
    assert await decisions(store) == {given}
    if erased:
        await there.customers.erase("c-1")
    away.away = False
    await here.drain(10)
    assert await decisions(store) == (set() if erased else {given})


async def test_the_server_that_erases_forgets_what_waits(
    make_engine: Make, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    away, here, _ = await two(make_engine, store)
    held, work = asyncio.Event(), here.following._work

    async def later() -> None:
        await held.wait()
        await work()

    monkeypatch.setattr(here.following, "_work", later)
    given = await answer_without_store(away, here)
    other = await answer_without_store(away, here, "c-2")
    assert here.runtime.unlogged.keys() == {given, other}
    away.away = False
    await here.customers.erase("c-1")
    assert here.runtime.unlogged.keys() == {other}
    held.set()
    await here.drain(10)
    assert await decisions(store) == {other}


async def test_an_erasure_is_remembered_longer_than_anything_waits(
    make_engine: Make, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the process stood still meanwhile: what is too old is not tried."""
    assert keys.ERASURE_LASTS > 1.5 * following.LONGEST * 1000
    away, here, _ = await two(make_engine, store)
    await answer_without_store(away, here)
    monkeypatch.setattr(following, "uptime", lambda: uptime() + following.LONGEST)
    away.away = False
    await here.drain(10)
    assert await decisions(store) == set()


@pytest.mark.parametrize("kind_of_store", ["redis"], indirect=True)
async def test_nothing_that_remembers_an_erasure_has_the_id(make_engine: Make, store: Any) -> None:
    """And it ends."""
    engine = await make_engine(store=store)
    await engine.customers.erase("zebra-1")
    pattern = f"{store.keys.prefix}*"
    found = await store.connection.call(("KEYS", pattern), 5.0)
    [key] = [one for one in found if b":x:" in one]
    assert not [one for one in found if b"zebra" in one]
    assert 0 < await store.connection.call(("PTTL", key), 5.0) <= keys.ERASURE_LASTS


class Stepwise(Gated):
    """Says when an id is erased, and stops before an erasure looks through the log as well."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.said: list[str] = []

    async def erase(self, customer_id: str, record: LogRecord, *more: Any) -> Removed:
        await self._turn()
        self.said.append(customer_id)
        removed: Removed = await self.store.erase(customer_id, record, *more)
        self.said.append(f"{customer_id} is erased")
        return removed

    async def forget(self, *args: Any) -> int:
        await self._turn()
        forgotten: int = await self.store.forget(*args)
        return forgotten


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("kind", ["unknown", "known", "merged", "alias"])
async def test_an_answer_is_logged_if_it_was_given_after_the_erasure_in_every_order(
    make_engine: Make, fresh: Callable[[], Any], kind: str, again: bool
) -> None:
    """With Redis, steps also overlap; what was given meanwhile may be logged or not."""
    choices: list[int] | None = []
    outcomes: set[bool] = set()
    while choices is not None:
        gated = Stepwise(store := fresh())
        away, here, there = await two(make_engine, gated)
        named, erased = await ids_of(there, kind)
        own = named if isinstance(named, str) else "email:mei@mail.cn"
        earlier = await decisions(store)

        async def late(
            gated: Stepwise = gated, away: Away = away, here: Engine = here, named: Any = named
        ) -> str:
            await gated._turn()
            given = await answer_without_store(away, here, named)
            gated.said.append("given")
            away.away = False
            await here.drain(10)
            return given

        async def erase(there: Engine = there, erased: str = erased, named: Any = named) -> None:
            await there.customers.erase(erased)
            if again:
                await met(there, named)

        (given, _), options = await run_order(gated, [late, erase], choices)
        when = gated.said.index("given")
        before, after = when < gated.said.index(own), when > gated.said.index(f"{own} is erased")
        logged = await decisions(store) - earlier
        if before or after:
            assert logged == ({given} if after else set()), (choices, gated.said)
            outcomes.add(after)
        await store.close()
        choices = next_choices(choices, options)
    if isinstance(fresh(), MemoryStore):
        assert outcomes == {False, True}


@pytest.mark.parametrize("erased", ["c-1", "anon"])
async def test_a_merge_under_way_does_not_bring_back_who_was_erased(
    make_engine: Make, clock: Clock, erased: str
) -> None:
    """Whichever stops at any step, and goes on after any number of the other's steps."""
    for first, number in itertools.product(range(16), range(1, 24)):
        choices = [0] * first + [1] * number + [0] * 100
        gated = Stepwise(MemoryStore(lambda: clock.now / 1_000_000))
        engine = await make_engine(store=gated)
        for name in ("c-1", "anon"):
            await engine.customers.update(name, CustomerUpdate(attributes={name: "secret"}))
        moving = (await gated.store.read("anon")).document
        moving.moved_to = "c-1"
        mark = commit_of(await gated.store.read("anon"), "mark", ("contacts",))
        mark.document = moving
        await gated.store.commit(mark)

        async def merge(engine: Engine = engine) -> None:
            with suppress(InputError, NotFound):
                await engine.customers.merge("c-1", "anon")

        async def erase(engine: Engine = engine) -> None:
            await engine.customers.erase(erased)

        await run_order(gated, [merge, erase], choices)
        left: dict[str, Any] = {}
        for name in ("c-1", "anon"):
            left |= (await gated.store.read(name)).document.attributes
        assert erased not in left, (first, number)
