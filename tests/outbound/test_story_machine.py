"""The soak of timers, in memory: two runners at once with clocks of their own, a store whose clock
jumps as well, and whose operations are lost. By id, every run goes its way once, and none is lost.

For longer: `make soak ARGS=tests/outbound/test_story_machine.py`.
"""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Callable
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from decision.core.clock import HOUR, MINUTE, SECOND
from decision.core.errors import StoreUnavailable
from decision.core.schema import Event
from decision.engine import Engine, EngineSettings
from decision.engine.names import names_of
from decision.engine.snapshot import Snapshot
from decision.outbound.holding import pause, resume
from decision.outbound.runner import Runner
from decision.rulebook.reader import load_files
from decision.store import MemoryStore
from tests.core.small import NOON
from tests.crash.timers.checking import check
from tests.crash.timers.story import EARLY, KINDS, event, kind_of, rules, start_of
from tests.engine.outbox_world import Dying
from tests.outbound.world import use

WAIT = 300
JUMPS = (0, 0, -HOUR, -MINUTE, 5 * MINUTE)
FAILS: dict[str, Any] = {"fails_at": st.integers(0, 40), "after": st.booleans()}
"""Which operation of the store fails first, 0 for none, and whether it is done all the same."""


class Slow:
    """A store that lets others go first, as chance has it, and takes longer than a lease at times."""

    def __init__(self, store: Any, seed: int, late: Callable[[], None]) -> None:
        self._store, self._chance, self._late = store, random.Random(seed), late

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def operate(*args: Any, **options: Any) -> Any:
            for _ in range(self._chance.choice((0, 0, 1, 3, 40))):
                await asyncio.sleep(0)
            if self._chance.random() < 0.1:
                self._late()
            return await found(*args, **options)

        return operate


class Story(RuleBasedStateMachine):
    """One store, a server, two runners, and the soak's customers."""

    snapshots: ClassVar[list[Snapshot]] = []
    """Of the rules, and of the rules edited."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now, self.edited = NOON, False
        self.ahead = {"store": 0, "server": 0, "ahead": 5 * MINUTE, "jumping": 0}
        """What clocks show beyond the time that it is."""
        self.store = MemoryStore(lambda: self.at("store") / SECOND)
        if not Story.snapshots:
            Story.snapshots = [self.wait(self.snapshot(text)) for text in (False, True)]
        for one in Story.snapshots:
            self.store.allow_names(names_of(one.policy))
        kinds = [each.kind for each in Story.snapshots[0].policy.candidates]
        assert self.wait(self.store.register_kinds(kinds)) == Story.snapshots[0].kinds
        self.started, self.early = 0, list[dict[str, Any]]()

    def wait(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def be_late(self) -> None:
        self.now += 16 * SECOND

    def at(self, name: str) -> int:
        return self.now + self.ahead[name]

    async def snapshot(self, edited: bool) -> Snapshot:
        await self.store.start()
        made = Engine(self.store, EngineSettings(), lambda: self.now)
        policy = load_files({"rules.yaml": rules(WAIT, edited=edited)}).definition
        await use(made, policy)
        return made.snapshot

    def process(
        self, name: str, fails_at: int = 0, after: bool = False, seed: int | None = None
    ) -> Engine:
        """A process that dies at an operation of the store; with a `seed`, a slow one."""
        store: Any = self.store if seed is None else Slow(self.store, seed, self.be_late)
        store = Dying(store, fails_at, after=after, dies=True)
        made = Engine(store, EngineSettings(), lambda: self.at(name))
        made.use(Story.snapshots[self.edited])
        return made

    def tell(self, events: list[dict[str, Any]], fails_at: int, after: bool) -> None:
        """A server that dies is followed by another one, which is sent the same again."""
        made = [msgspec.convert(one, Event) for one in events]
        try:
            answer = self.wait(self.process("server", fails_at, after).events.record(made))
        except StoreUnavailable:
            answer = self.wait(self.process("server").events.record(made))
        assert not answer.rejected, answer.rejected

    @rule(number=st.integers(1, 2 * len(KINDS)), **FAILS)
    def start(self, number: int, fails_at: int, after: bool) -> None:
        numbers = range(self.started, self.started + number)
        self.started += number
        self.tell([start_of(one) for one in numbers], fails_at, after)
        kinds = [(one, kind_of(one)) for one in numbers]
        self.early += [event(one, EARLY[kind]) for one, kind in kinds if kind in EARLY]

    @rule(number=st.integers(1, 5), last=st.booleans(), **FAILS)
    def come_early(self, number: int, last: bool, fails_at: int, after: bool) -> None:
        place = slice(-number, None) if last else slice(number)
        if some := self.early[place]:
            del self.early[place]
            self.tell(some, fails_at, after)

    @rule(seed=st.integers(0, 999), **FAILS)
    def run(self, seed: int, fails_at: int, after: bool) -> None:
        """Both runners do what is due, at the same time; one of them dies."""
        dies = self.process("ahead", fails_at, after, seed)
        self.wait(self.step_all([dies, self.process("jumping", seed=~seed)]))

    async def step_all(self, engines: list[Engine]) -> None:
        runners = [Runner(one) for one in engines]
        found = await asyncio.gather(*(one.step_due() for one in runners), return_exceptions=True)
        defects = [one for one in found if isinstance(one, BaseException)]
        assert all(isinstance(one, StoreUnavailable) for one in defects), defects
        for one in runners:
            await asyncio.gather(*one._rounds.working, return_exceptions=True)

    @rule(seconds=st.sampled_from([1, 16, 61, 299, 1200]))
    def pass_(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @rule(name=st.sampled_from(["store", "jumping"]), jump=st.sampled_from(JUMPS))
    def set_clock(self, name: str, jump: int) -> None:
        self.ahead[name] = jump

    @rule()
    def edit(self) -> None:
        self.edited = True

    @rule(held=st.booleans())
    def hold(self, held: bool) -> None:
        self.wait(pause(self.store, "calm", self.now) if held else resume(self.store, "calm"))

    def timers(self) -> int:
        counts = self.wait(self.store.count_wakes())
        return int(counts.near + counts.far)

    def teardown(self) -> None:
        """Clocks are set right, nothing fails, and everybody comes to the end."""
        try:
            self.ahead = dict.fromkeys(self.ahead, 0)
            self.wait(resume(self.store, "calm"))
            self.tell(self.early, 0, False)
            for _ in range(100):  # some timers come for nothing
                if not self.timers():
                    break
                self.wait(self.step_all([self.process("jumping")]))
                self.now += 3 * MINUTE
            found = self.wait(check(self.store, self.started))
            assert sum(found["ends"].values()) == self.started
            assert not self.timers()
        finally:
            self.loop.close()


TestStory = Story.TestCase
TestStory.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)


@pytest.mark.soak
class TestStoryForLong(Story.TestCase):  # type: ignore[misc, valid-type]
    settings = settings(max_examples=300, stateful_step_count=60, deadline=None)
