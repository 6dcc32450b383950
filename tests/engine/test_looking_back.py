"""A look-back changes nothing: no store, no cap, no decision, and it holds nobody up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core.clock import DAY, from_micros
from decision.core.document import Document
from decision.core.records import DecisionRecord
from decision.core.schema import Decision, DecisionRequest
from decision.engine import Engine, EngineSettings, build_snapshot, replay
from decision.engine.own_log import OwnLog
from decision.rulebook.reader import load_files
from decision.store import MemoryStore
from tests.core.small import NOON
from tests.engine.conftest import RULES, reload

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]
GRANTED: dict[str, Any] = {"marketing": {"*": "granted"}}
LOOKS = {"find_record", "get_blob", "unpack"}
FILES = {"rules.yaml": RULES}


def other(number: int) -> str:
    """The rules with another version."""
    return f"{RULES}# {number}\n"


async def ask(engine: Engine, customer: str = "c-1", now: int | None = None) -> Decision:
    return await engine.decide(DecisionRequest(placement="outbound", customer_id=customer), now=now)


async def decided_under(engine: Engine, versions: int) -> list[str]:
    """Decisions of that many versions of a policy, none of which stays in force."""
    found = []
    for number in range(versions):
        await reload(engine, other(number))
        found.append((await ask(engine, f"c-{number}")).decision_id)
    await reload(engine, RULES)
    return found


class Turns:
    """Counts the turns of the event loop, and what is noted in each."""

    def __init__(self) -> None:
        self.noted = [0]

    def note(self, text: str = "") -> str:
        self.noted[-1] += 1
        return text

    async def count(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.noted.append(0)


@asynccontextmanager
async def turns_counted() -> AsyncIterator[Turns]:
    """The turns of the event loop, as long as it is entered."""
    turns = Turns()
    counting = asyncio.create_task(turns.count())
    await asyncio.sleep(0)  # it waits for its first turn
    try:
        yield turns
    finally:
        counting.cancel()


class Watched:
    """A store that notes what is called."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.called: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.called.add(name)
        return getattr(self.store, name)


class Compiling:
    """Notes the threads that read policies; they wait while `go_on` is not set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.threads: list[int] = []
        self.go_on = threading.Event()
        self.go_on.set()

        def noting(files: Any, **more: Any) -> Any:
            self.threads.append(threading.get_ident())
            assert self.go_on.wait(60)
            return load_files(files, **more)

        monkeypatch.setattr(replay, "load_files", noting)


@pytest.fixture
def compiling(monkeypatch: pytest.MonkeyPatch) -> Compiling:
    return Compiling(monkeypatch)


async def test_a_look_back_writes_nothing(make_engine: Make) -> None:
    """Whatever policy made the decision, and whether the store or an archive has it."""
    engine = await make_engine()
    names = [*await decided_under(engine, 2), (await ask(engine)).decision_id]
    found = [await engine.replay.record(name) for name in names]
    seen = [engine.runtime.store.unpack(one.customer_id, one.document) for one in found]
    engine.runtime.store = watched = Watched(engine.runtime.store)
    for name in names:
        assert (await engine.replay.find(name)).explanation
    empty = Engine(MemoryStore())
    empty.runtime.store = watched
    for number, (record, document) in enumerate(zip(found, seen, strict=True)):
        files = {"rules.yaml": other(number)} if number < 2 else FILES
        assert (await empty.replay.explained(record, document, files)).explanation
    assert watched.called <= LOOKS


async def test_an_explanation_is_made_some_rows_at_a_time(make_engine: Make) -> None:
    """However many candidates there are, others have their turn after twenty."""
    messages = "".join(
        f"  m{number}: {{purpose: marketing, channels: [push, email], value: 1, content: {{t: a}}}}\n"
        for number in range(40)
    )
    engine = await make_engine(RULES.replace("messages:\n", f"messages:\n{messages}"))
    name = (await ask(engine)).decision_id
    async with turns_counted() as turns:
        found = await engine.replay.look(name, turns.note)
    assert found is not None and found.decision.explanation is not None
    assert sum(turns.noted) == len(found.decision.explanation) >= 80
    assert max(turns.noted) <= 20


async def test_the_log_of_a_customer_is_read_some_records_at_a_time(make_engine: Make) -> None:
    """Nor does a store that answers at once keep others from their turn."""
    engine = await make_engine()
    made = [(await ask(engine)).decision_id for _ in range(70)]
    async with turns_counted() as turns:
        found = []
        async for _, record in OwnLog(engine.runtime, ["c-1"]).records():
            turns.note()
            found.append(record.id)
    assert found == made
    assert max(turns.noted) <= 20


async def test_a_look_back_without_explanation_gives_the_same_but_for_that(
    make_engine: Make,
) -> None:
    engine = await make_engine()
    for placement in ("outbound", "inbox"):
        request = DecisionRequest(placement=placement, customer_id="c-1")
        name = (await engine.decide(request)).decision_id
        whole = await engine.replay.find(name)
        assert whole is not None and whole.explanation
        bare = msgspec.structs.replace(whole, explanation=None)
        assert await engine.replay.find(name, explain=False) == bare


async def test_an_earlier_policy_is_compiled_beside_the_event_loop(
    make_engine: Make, compiling: Compiling
) -> None:
    """Decisions are made while a policy is being compiled, which happens in another thread."""
    engine = await make_engine()
    [name] = await decided_under(engine, 1)
    compiling.go_on.clear()
    look_up = asyncio.create_task(engine.replay.find(name))
    while not compiling.threads:
        await asyncio.sleep(0)
    assert (await ask(engine, "c-9")).outcome == "none"
    assert not look_up.done()
    compiling.go_on.set()
    assert (await look_up).explanation
    assert threading.get_ident() not in compiling.threads


async def test_look_backs_that_wait_for_one_policy_compile_it_once(
    make_engine: Make, compiling: Compiling
) -> None:
    """Also where the one that was first gives up."""
    engine = await make_engine()
    [name] = await decided_under(engine, 1)
    compiling.go_on.clear()
    tasks = [asyncio.create_task(engine.replay.find(name)) for _ in range(8)]
    while not compiling.threads:
        await asyncio.sleep(0)
    tasks[0].cancel()
    compiling.go_on.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert all(isinstance(one, Decision) and one.explanation for one in found[1:])
    assert (await engine.replay.find(name)).explanation
    assert len(compiling.threads) == 1


async def test_eight_earlier_policies_stay_compiled_those_used_last(
    make_engine: Make, compiling: Compiling
) -> None:
    engine = await make_engine()
    names = await decided_under(engine, 9)
    for name in (*names[:8], names[0], names[8], names[0]):
        await engine.replay.find(name)
    assert len(compiling.threads) == 9
    await engine.replay.find(names[1])
    assert len(compiling.threads) == 10


async def test_a_policy_that_can_no_longer_be_read_leaves_the_decision_as_it_was_logged(
    make_engine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await make_engine()
    [name] = await decided_under(engine, 1)
    monkeypatch.setattr(replay, "load_files", lambda *_, **__: load_files({"rules.yaml": "?"}))
    found = await engine.replay.find(name)
    assert (found.decision_id, found.explanation) == (name, None)


class _Refusing:
    """A rule engine that must not be asked."""

    failures = 0

    def match(self, stratum: int, values: Any) -> int:
        raise AssertionError("a look-back asked the rule engine")


async def test_the_rule_engine_in_force_is_not_asked_by_look_backs(make_engine: Make) -> None:
    import msgspec

    engine = await make_engine()
    decision = await ask(engine)
    engine.use(msgspec.structs.replace(engine.snapshot, matcher=_Refusing()))
    assert (await engine.replay.find(decision.decision_id)).explanation


async def elsewhere() -> list[tuple[DecisionRecord, Document]]:
    """Decisions under the same policy from a store that numbers kinds of contacts backwards."""
    store = MemoryStore(lambda: NOON / 1_000_000)
    definition = load_files(FILES).definition
    assert definition is not None
    kinds = (await build_snapshot(definition, None, store, from_micros(NOON))).policy.candidates
    store = MemoryStore(lambda: NOON / 1_000_000)
    await store.register_kinds([one.kind for one in reversed(kinds)])
    engine = Engine(store, EngineSettings(), lambda: NOON)
    await reload(engine, RULES)
    await engine.customers.set_consents("c-1", GRANTED)
    found = []
    for placement in ("inbox", "outbound", "outbound", "outbound", "inbox"):
        request = DecisionRequest(placement=placement, customer_id="c-1")
        record = await engine.replay.record((await engine.decide(request)).decision_id)
        assert record is not None
        found.append((record, store.unpack("c-1", record.document)))
    return found


steps = st.lists(
    st.one_of(
        st.tuples(st.just("decide"), st.integers(0, 2)),
        st.tuples(st.just("wait"), st.integers(1, 8)),
        st.tuples(st.just("archived"), st.integers(0, 4)),
        st.tuples(st.just("logged"), st.integers(0, 20)),
    ),
    min_size=2,
    max_size=20,
)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_any_sequence_of_look_backs_between_decisions_changes_no_decision(
    sequence: list[tuple[str, int]],
) -> None:
    """What an engine decides is the same with look-backs in between and without."""

    async def decisions(look_back: bool) -> list[Any]:
        now = NOON
        engine = Engine(MemoryStore(lambda: now / 1_000_000), EngineSettings(), lambda: now)
        await reload(engine, RULES)
        for number in range(3):
            await engine.customers.set_consents(f"c-{number}", GRANTED)
        past = await elsewhere() if look_back else []
        made: list[Decision] = []
        for what, number in sequence:
            if what == "decide":
                made.append(await ask(engine, f"c-{number}", now))
            elif what == "wait":
                now += number * DAY // 4
            elif what == "archived" and look_back:
                record, document = past[number]
                assert (await engine.replay.explained(record, document, FILES)).explanation
            elif what == "logged" and look_back and made:
                name = made[number % len(made)].decision_id
                found = await engine.replay.find(name)
                assert found is not None and found.explanation
        return [
            (one.outcome, [row.message for row in one.selections], one.reason, one.not_before)
            for one in made
        ]

    assert asyncio.run(decisions(True)) == asyncio.run(decisions(False))
