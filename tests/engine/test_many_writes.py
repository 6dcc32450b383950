"""Many writes for one customer at the same time: all are written, each once, and none waits for ever."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core.clock import from_micros
from decision.core.errors import StoreUnavailable
from decision.core.schema import CustomerUpdate, DecisionRequest, Event, TriggerEvent
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.engine import turns as engine_turns
from decision.engine.events import PastEvent
from decision.engine.loading import CustomerRow, Loading
from decision.rulebook.reader import load_files
from decision.store import MemoryStore
from tests.core.small import NOON
from tests.engine.conftest import Clock
from tests.engine.test_for_others import INVITING, count, inviting, known, sign_up

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]
Work = Callable[[], Coroutine[Any, Any, Any]]


class Yielding:
    """A store whose operations let others go on before and after, as those of a server do."""

    def __init__(self, store: Any, random: Random | None = None) -> None:
        self.store = store
        self._random = random

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.store, name)
        if name not in ("read", "commit"):
            return found

        async def operate(*args: Any, **options: Any) -> Any:
            await self._others()
            result = await found(*args, **options)
            await self._others()
            return result

        return operate

    async def _others(self) -> None:
        for _ in range(1 if self._random is None else self._random.randrange(4)):
            await asyncio.sleep(0)


def idle(engine: Engine) -> bool:
    """Whether nobody has a turn or waits for one."""
    runtime = engine.runtime
    return not (runtime.turns.queues or runtime.merges.queues)


def visit(number: int, who: str = "anna") -> Event:
    return Event(type="app_open", customer_id=who, id=f"v-{number}")


async def decide(engine: Engine, number: int) -> Any:
    event = TriggerEvent(type="app_open", id=f"d-{number}")
    request = DecisionRequest(placement="inbox", customer_id="anna", event=event)
    return await engine.decide(request)


def beside(engine: Engine) -> Engine:
    """The same in another process."""
    other = Engine(engine.runtime.store, engine.runtime.settings, engine.runtime.clock)
    other.use(engine.snapshot)
    return other


@pytest.fixture
def yielding(store: Any) -> Any:
    """Each of the stores; the one in memory lets others go on as well."""
    return Yielding(store) if isinstance(store, MemoryStore) else store


@pytest.mark.parametrize("processes", [1, 3])
async def test_all_that_is_written_for_one_customer_at_once_is_written_once(
    make_engine: Make, yielding: Any, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events, decisions, rows, updates, and events of others that name them."""
    monkeypatch.setattr(engine_turns, "LONGEST_WAIT", 60)
    engine = await inviting(make_engine, "anna", store=yielding, attempts=1_000)
    engines = [engine, *(beside(engine) for _ in range(processes - 1))]
    works: list[Coroutine[Any, Any, Any]] = []
    for number in range(30):
        engine = engines[number % processes]
        past = PastEvent(type="app_open", at=from_micros(NOON), id=f"l-{number}")
        row = CustomerRow(customer_id="anna", events=[past])
        update = CustomerUpdate(attributes={f"a-{number}": number})
        works += [
            engine.events.record([visit(number)]),
            engine.events.record([sign_up(f"guest-{number}", "anna", f"s-{number}")]),
            engine.events.record([sign_up("anna", "anna", f"own-{number}")]),
            decide(engine, number),
            Loading(engine.runtime).put(row),
            engine.customers.update("anna", update),
        ]
    results = await asyncio.gather(*works)
    assert all(answer.accepted == 1 for answer in results[0::6])
    assert all({*answer.degraded} <= {"model"} for answer in results[3::6])
    view = await engines[0].customers.get("anna")
    assert view.events["app_open"].count == 90
    assert view.events["invitation"].count == 60
    assert len([name for name in view.attributes if name.startswith("a-")]) == 30
    assert all(map(idle, engines))


@given(
    named=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), max_size=24),
    merges=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), max_size=2),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=60)
async def test_customers_who_name_each_other_and_are_merged_meanwhile_wait_for_no_circle(
    named: list[tuple[str, str]], merges: list[tuple[str, str]], seed: int
) -> None:
    """Whoever names whom, in whatever order: everything ends, and everything counts once."""
    clock = Clock()
    store = Yielding(MemoryStore(lambda: clock.now / 1_000_000), Random(seed))
    engine = Engine(store, EngineSettings(), clock)
    definition = load_files({"rules.yaml": INVITING}).definition
    assert definition is not None
    at = from_micros(clock.now)
    engine.use(await build_snapshot(definition, None, engine.runtime.store, at, try_first=False))
    await known(*"abc")(engine)

    async def merge(one: str, other: str) -> None:
        try:
            await engine.customers.merge(one, other)
        except ValueError:
            assert merges  # into itself, or merged elsewhere before

    works = [
        engine.events.record([sign_up(who, whom, f"e-{number}")])
        for number, (who, whom) in enumerate(named)
    ]
    async with asyncio.timeout(20):
        answers = await asyncio.gather(*works, *(merge(*pair) for pair in merges))
    assert all(answer.accepted == 1 for answer in answers[: len(named)])
    found = Counter({who: await count(engine, who) for who in "abc"})
    if merges:
        assert found.total() == len(named)
    else:
        assert +found == Counter(whom for _, whom in named)
    assert idle(engine)


async def test_who_goes_while_they_wait_keeps_nobody_waiting(
    make_engine: Make, yielding: Any
) -> None:
    engine = await inviting(make_engine, "anna", store=yielding)
    tasks = [asyncio.create_task(engine.events.record([visit(number)])) for number in range(40)]
    while not engine.runtime.turns.queues:
        await asyncio.sleep(0)
    for task in tasks[10::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    told = [one for one in results if not isinstance(one, BaseException)]
    assert len(told) >= 25
    assert all(answer.accepted == 1 for answer in told)
    again = [await engine.events.record([visit(number)]) for number in range(40)]
    assert (await engine.customers.get("anna")).events["app_open"].count == 40
    assert sum(answer.duplicates for answer in again) >= len(told)
    assert idle(engine)


async def test_who_waits_too_long_is_told_so_and_nothing_of_it_is_written(
    make_engine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await inviting(make_engine, "anna")
    monkeypatch.setattr(engine_turns, "LONGEST_WAIT", 0.01)
    async with engine.runtime.turns.of("anna"):
        with pytest.raises(StoreUnavailable, match="too many writes at once") as caught:
            await engine.events.record([visit(1)])
    assert (caught.value.code, caught.value.uncertain) == ("contention", False)
    assert "app_open" not in (await engine.customers.get("anna")).events
    assert (await engine.events.record([visit(1)])).accepted == 1


async def test_a_decision_waits_for_its_turn_no_longer_than_its_deadline(make_engine: Make) -> None:
    engine = await inviting(make_engine, "anna")
    request = DecisionRequest(placement="inbox", customer_id="anna", deadline_ms=20)
    async with engine.runtime.turns.of("anna"):
        decision = await engine.decide(request)
    assert [*decision.degraded] == ["store", "deadline"]
    await engine.drain(5)
    assert idle(engine)


async def test_a_write_that_fails_in_its_turn_fails_alone(make_engine: Make) -> None:
    store = Yielding(MemoryStore())
    engine = await inviting(make_engine, "anna", store=store)
    found, broken = store.store.commit, [7, 9, 12]
    calls = iter(range(1000))

    async def commit(*args: Any, **options: Any) -> Any:
        if next(calls) in broken:
            raise StoreUnavailable("cut")
        return await found(*args, **options)

    store.store.commit = commit
    works = [engine.events.record([visit(number)]) for number in range(20)]
    results = await asyncio.gather(*works, return_exceptions=True)
    assert sum(isinstance(one, StoreUnavailable) for one in results) == len(broken)
    assert (await engine.customers.get("anna")).events["app_open"].count == 17
    assert idle(engine)
