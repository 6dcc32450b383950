"""Runs that ask for everybody in an audience, and that may be stopped anywhere."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from decision.audiences.asking import pacing
from decision.audiences.asking import run as asking
from decision.audiences.asking.job import perform
from decision.audiences.asking.run import Share
from decision.audiences.asking.state import Asks
from decision.audiences.job import Prepared, prepare
from decision.audiences.state import RunSettings, RunState
from decision.core.clock import HOUR, from_micros
from decision.core.errors import InputError, StoreUnavailable
from decision.core.identifiers import PARTITIONS
from decision.core.records import decode_decision
from decision.core.schema import DecisionRequest, Event
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.rulebook.reader import load_files
from decision.store import MemoryStore
from tests.audiences.world import Stopped, gold, poor, rows_in
from tests.core.small import NOON

RULES = load_files(
    {
        "all.yaml": """
purposes: {ads: {consent: opt_in}}
channels: {email: {}}
placements: {inbox: {channels: [email]}}
messages:
  hello:
    purpose: ads
    category: a
    channels: [email]
    value: 1
    budget: {total: 5}
    content: {title: Hello}
rules:
  gold: {when: {customer.spend: {gte: 100}}, set: {customer.tier: gold}}
  rich: {when: {customer.spend: {gte: 500}}, boost: {messages: [hello]}, by: 3}
"""
    }
)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> int:
        return self.now


class World:
    """A store with an engine, and runs over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.store = MemoryStore(lambda: self.clock.now / 1_000_000)
        self.engine = Engine(self.store, EngineSettings(seed="s"), self.clock)

    async def open(self) -> World:
        definition = RULES.definition
        assert definition is not None
        now = from_micros(self.clock.now)
        self.engine.use(await build_snapshot(definition, None, self.store, now))
        return self

    def asked(self, **more: Any) -> RunSettings:
        given = {"run": "r", "placement": "inbox", "out": str(self.folder / "out.ndjson"), **more}
        return RunSettings(
            at=NOON, policy="", when="gold.yaml", condition="customer.tier: gold", **given
        )

    async def run(self, asked: RunSettings | None = None, **more: Any) -> RunState:
        asked = asked or self.asked()
        prepared: Prepared = prepare(asked, RULES, None)
        path = self.folder / f"{asked.run}{asked.share.replace('/', 'of')}.sqlite"
        with RunState.open(path) if path.exists() else RunState.create(path, asked) as state:
            await perform(self.engine, prepared, state, overwrite=True, sleep=no_pause, **more)
        return state

    async def decided(self) -> Counter[str]:
        """Customer → how many decisions the log has."""
        return Counter([one.customer_id for one in await self.records()])

    async def records(self) -> list[Any]:
        found = []
        for partition in range(PARTITIONS):
            log = await self.store.log_records(partition)
            found += [decode_decision(one.body) for one in log if one.kind == "decision"]
        return sorted(found, key=lambda one: one.decision_id)


async def no_pause(seconds: float) -> None:
    await asyncio.sleep(0)


def run(work: Any) -> Any:
    return asyncio.run(work)


def test_everybody_who_matches_is_decided_for_once_and_the_file_has_what_was_chosen(
    tmp_path: Path,
) -> None:
    async def work() -> None:
        world = await World(tmp_path).open()
        for number in range(4):
            await gold(world.store, f"c{number}")
            await poor(world.store, f"p{number}")
        await gold(world.store, "silent", agrees=False)
        state = await world.run()
        assert state.progress.finished and state.progress.matched == 5
        assert state.progress.outcomes == {"selected": 4, "none no_consent": 1}
        assert await world.decided() == dict.fromkeys(["c0", "c1", "c2", "c3", "silent"], 1)
        rows = rows_in(tmp_path / "out.ndjson")
        assert sorted(row["customer_id"] for row in rows) == ["c0", "c1", "c2", "c3"]
        assert {row["selections"][0]["content"]["title"] for row in rows} == {"Hello"}
        assert {record.question.context["run"] for record in await world.records()} == {"r"}

    run(work())


def test_of_parts_that_go_in_step_none_takes_what_is_scarce_from_more_valuable_customers_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever begins first, and however late the other: those of whom most is expected are two in
    each part, and all of them get a unit of the budget. Without, the first part takes all five."""
    monkeypatch.setattr(asking, "_STEP", 2)
    numbers = [number for number in range(60) if Share(1, 2).has(f"c{number}")]
    others = [number for number in range(60) if number not in numbers]
    rich = {f"c{number}" for number in (*numbers[-2:], *others[-2:])}

    async def work(folder: Path, in_step: bool) -> set[str]:
        world = await World(folder).open()
        for number in range(60):
            name = f"c{number}"
            await gold(world.store, name, **({"spend": 900} if name in rich else {}))

        def part(share: str) -> asyncio.Task[RunState]:
            out = str(folder / f"{share[0]}.ndjson")
            return asyncio.create_task(
                world.run(world.asked(share=share, out=out), in_step=in_step)
            )

        first = part("1/2")
        while not first.done() and not (in_step and len(await world.decided()) == 2):
            await asyncio.sleep(0)
        await asyncio.gather(first, part("2/2"))
        assert await world.decided() == {f"c{number}": 1 for number in range(60)}
        return {one.customer_id for one in await world.records() if one.selections}

    for name, in_step in (("in step", True), ("alone", False)):
        (tmp_path / name).mkdir()
        taken = run(work(tmp_path / name, in_step))
        assert len(taken) == 5 and (rich <= taken) is in_step


def test_a_part_goes_on_without_another_that_never_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_STEP", 2)
    monkeypatch.setattr(pacing, "PATIENCE", 0.05)

    async def work() -> None:
        world = await World(tmp_path).open()
        for number in range(20):
            await gold(world.store, f"c{number}")
        state = await world.run(world.asked(share="1/2"), in_step=True)
        assert state.progress.finished and state.progress.matched > 4

    run(work())


def test_a_scarce_budget_goes_to_those_of_whom_most_is_expected(tmp_path: Path) -> None:
    async def work() -> None:
        world = await World(tmp_path).open()
        for number in range(12):
            await gold(world.store, f"c{number}", **({"spend": 900} if number % 3 == 0 else {}))
        state = await world.run()
        assert state.progress.outcomes == {"selected": 5, "none budget_spent": 7}
        given = [row["customer_id"] for row in rows_in(tmp_path / "out.ndjson")]
        assert set(given[:4]) == {"c0", "c3", "c6", "c9"} and len(given) == 5

    run(work())


def test_shares_are_all_customers_and_none_is_in_two(tmp_path: Path) -> None:
    async def work() -> None:
        world = await World(tmp_path).open()
        names = [f"c{number}" for number in range(40)]
        for name in names:
            await gold(world.store, name)
        for number in (1, 2, 3):
            await world.run(
                world.asked(share=f"{number}/3", out=str(tmp_path / f"{number}.ndjson"))
            )
        assert await world.decided() == dict.fromkeys(names, 1)

    run(work())
    for text in ("0/2", "3/2", "2", "a/b", "1/257"):
        with pytest.raises(ValueError, match="part"):
            Share.read(text)


class Restless:
    """Ends the process, or loses the store's answer, at any step of a run."""

    def __init__(self, world: World, seed: int) -> None:
        self.random = random.Random(seed)
        self.world = world
        self.decide = world.engine.decide_or_fail
        world.engine.decide_or_fail = self.decide_and_die  # type: ignore[method-assign]

    def perhaps(self) -> None:
        if self.random.random() < 0.05:
            raise Stopped

    async def decide_and_die(self, request: DecisionRequest) -> Any:
        if self.random.random() < 0.1:
            raise StoreUnavailable("lost", uncertain=True)
        self.perhaps()
        found = await self.decide(request)
        if self.random.random() < 0.1:
            raise StoreUnavailable("lost", uncertain=True)
        self.perhaps()
        return found


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_wherever_a_run_dies_nobody_is_decided_for_twice_and_nobody_left_out(
    tmp_path: Path, seed: int, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`late`: it goes on when the store has forgotten its answers, and only the log knows."""

    async def work() -> None:
        world = await World(tmp_path).open()
        names = [f"c{number}" for number in range(60)]
        for name in names:
            await gold(world.store, name)
        # So that every log has something of before: it was not trimmed since.
        came = [Event(type="visit", customer_id=name, id="e") for name in names]
        await world.engine.events.record(came)
        world.clock.now += HOUR
        restless = Restless(world, seed)
        note = Asks.note

        def noted(asks: Asks, came: Any) -> None:
            restless.perhaps()
            note(asks, came)

        monkeypatch.setattr(Asks, "note", noted)
        ends = 0
        while True:
            try:
                state = await world.run()
            except Stopped:
                ends += 1
                world.clock.now += 3 * HOUR if late else HOUR // 60
                continue
            break
        assert ends
        assert sum(state.progress.outcomes.values()) == len(names)
        assert await world.decided() == dict.fromkeys(names, 1)
        chosen = {one.customer_id for one in await world.records() if one.selections}
        rows = [row["customer_id"] for row in rows_in(tmp_path / "out.ndjson")]
        assert len(rows) == len(set(rows)) and set(rows) == chosen

    run(work())


@pytest.mark.parametrize("first", ["ann", "anna"])
def test_who_was_merged_or_erased_meanwhile_is_asked_for_once_or_not(
    tmp_path: Path, first: str
) -> None:
    async def work() -> None:
        world = await World(tmp_path).open()
        for name in ("ann", "anna", "bob", "cem"):
            await gold(world.store, name, spend=900 if name == first else 100)
        found = Asks.left

        def after_ranking(asks: Asks, limit: int) -> Any:
            return found(asks, 1)  # one after another

        decide = world.engine.decide_or_fail

        async def then_merge(request: DecisionRequest) -> Any:
            decided = await decide(request)
            if request.customer_id == first:
                await world.engine.customers.merge("ann", "anna")
                await world.engine.customers.erase("bob")
            return decided

        world.engine.decide_or_fail = then_merge  # type: ignore[method-assign]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Asks, "left", after_ranking)
            state = await world.run()
        assert state.progress.outcomes == {"selected": 2, "already": 1, "left": 1}
        decided = await world.decided()
        assert decided["ann"] + decided["anna"] == decided["cem"] == 1
        rows = [row["decision_id"] for row in rows_in(tmp_path / "out.ndjson")]
        assert len(rows) == len(set(rows)) == 2

    run(work())


def test_what_cannot_be_asked_is_refused_with_what_to_do(tmp_path: Path) -> None:
    async def work() -> None:
        world = await World(tmp_path).open()
        for asked, said in (
            (world.asked(run="a", placement="inbx"), "inbox"),
            (world.asked(run="b", channels=("mail",)), "email"),
            (world.asked(run="c", out=None), "delivery: gateway"),
        ):
            with pytest.raises(InputError, match=said):
                await world.run(asked)

    run(work())


def test_a_customer_with_an_event_of_their_own_is_an_ordinary_one(tmp_path: Path) -> None:
    async def work() -> None:
        world = await World(tmp_path).open()
        await gold(world.store, "ann")
        await world.engine.events.record([Event(type="buy", customer_id="ann", id="e")])
        await world.run()
        again = await world.run()  # it is finished, and is asked for anew: a new run in its file
        assert again.progress.finished
        assert (await world.decided())["ann"] == 1

    run(work())
