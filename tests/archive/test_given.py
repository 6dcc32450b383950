"""What nobody was given, and what was given without the store, as readers of the archive see it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from decision.archive.archiver import Archiver
from decision.archive.folder import ArchiveFolder
from decision.archive.lookup import look_up
from decision.archive.replays import read_replays
from decision.core.clock import DAY, from_micros
from decision.core.definition import Goal
from decision.core.errors import FileError
from decision.core.schema import DecisionRequest, Event
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.engine.runtime import wall_clock
from decision.evaluation.log import open_log
from decision.evaluation.retention import retention
from decision.learning.spec import parse_spec
from decision.learning.training_table import examples_of_log
from decision.rulebook.reader import load_files
from decision.scenarios.recording import find_archived, find_logged
from decision.server.archived import ArchivedDecisions
from decision.store import MemoryStore
from tests.engine.test_following import RULES, Late

pytestmark = pytest.mark.anyio
SPEC = "name: a\nfeatures: {time.hour: numeric}\nvalidation: 0\ntarget: {event: buy, within: 1d}\n"


class Clock:
    def __init__(self) -> None:
        self.now = wall_clock()

    def __call__(self) -> int:
        return self.now


async def write(out: Path) -> tuple[Engine, dict[str, str]]:
    """One decision that was given, one that was not, and what was given instead."""
    clock = Clock()
    store = Late(MemoryStore(lambda: clock.now / 1_000_000))
    definition = load_files({"rules.yaml": RULES}).definition
    assert definition is not None
    engine = Engine(store, EngineSettings(), clock)
    engine.use(await build_snapshot(definition, None, store, from_micros(clock.now)))

    async def ask(customer: str, **more: Any) -> str:
        request = DecisionRequest(placement="home", customer_id=customer, **more)
        return (await engine.decide(request)).decision_id

    given = await ask("c-1")
    store.late = True
    instead = await ask("c-2", deadline_ms=20)
    await engine.drain(10)
    found = {"given": given, "instead": instead}
    for partition in range(256):
        for row in await store.log_records(partition):
            if row.kind == "not_given":
                found["not given"] = row.id
    clock.now += 60_000_000
    bought = [Event(type="buy", customer_id=f"c-{number}", id="e") for number in (1, 2)]
    await engine.events.record(bought)
    clock.now += 2 * DAY
    await engine.events.record([Event(type="visit", customer_id="c-3", id="e")])
    folder = ArchiveFolder(out)
    with folder.claimed():
        archiver = Archiver(folder, store, clock=clock, keep=0)
        await archiver.open()
        await archiver.run()
    return engine, found


@pytest.fixture
async def archived(tmp_path: Path) -> tuple[Path, Engine, dict[str, str]]:
    return (tmp_path, *await write(tmp_path))


Archived = tuple[Path, Engine, dict[str, str]]


async def test_both_are_looked_up_and_say_what_they_are(archived: Archived) -> None:
    out, engine, ids = archived
    decisions = ArchivedDecisions(str(out), engine.replay)
    ungiven = await decisions.find(ids["not given"])
    instead = await decisions.find(ids["instead"])
    given = await decisions.find(ids["given"])
    assert given is not None and given.degraded == ["model"]
    assert ungiven is not None and ungiven.degraded == ["model", "not_given"]
    assert [one.content for one in ungiven.selections] == [{"t": "a"}]
    assert instead is not None and instead.degraded == ["store", "deadline"]
    assert (instead.outcome, instead.explanation) == ("fallback", [])


async def test_a_model_learns_from_neither(archived: Archived) -> None:
    out, _, _ = archived
    goals = {"a": Goal(event="buy", within=DAY)}
    with examples_of_log(out, parse_spec("a.yaml", SPEC), goals) as examples:
        assert len(examples) == 1
        left_out = examples.left_out
    assert left_out["released and never seen"] == 1
    assert left_out["in which nothing was selected"] == 1


async def test_neither_is_judged_nor_decided_again(archived: Archived) -> None:
    out, _, ids = archived
    assert [one.decision_id for one in read_replays(out)] == [ids["given"]]
    with open_log(out, parse_spec("a.yaml", SPEC).responses) as log:
        assert [row[0].decision_id for row in log.read()] == [ids["given"]]
        assert (log.counted.decisions, log.counted.not_given, log.counted.judged) == (3, 2, 1)
        assert log.counted.no_replay == 0


async def test_retention_starts_with_what_a_policy_decided(archived: Archived) -> None:
    """Nobody knows the arm of a customer to whom an answer was given without the store."""
    out, _, _ = archived
    assert retention(out, weeks=1).treated == 2


async def test_what_was_given_without_the_store_is_no_scenario(archived: Archived) -> None:
    out, engine, ids = archived
    with pytest.raises(FileError, match="given without the store"):
        find_archived(out, ids["instead"])
    logged, _ = find_archived(out, ids["not given"])
    assert logged.given == ("a/push",)
    assert look_up(out, ids["given"]) is not None
    with pytest.raises(FileError, match="given without the store"):
        store: Any = Late(MemoryStore())
        again = Engine(store, engine.runtime.settings, engine.runtime.clock)
        again.use(engine.snapshot)
        store.late, store.happens = True, False
        request = DecisionRequest(placement="home", customer_id="c", deadline_ms=20)
        made = await again.decide(request)
        await again.drain(10)
        await find_logged(store, made.decision_id)
