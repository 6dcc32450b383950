"""Turns: in order, one at a time, and nobody waits for one that nobody has."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.core.errors import StoreUnavailable
from decision.engine import turns as engine_turns
from decision.engine.turns import Turns

pytestmark = pytest.mark.anyio
Step = tuple[Literal["ask", "end", "fail", "cancel", "late", "let"], int]
STEPS = st.tuples(
    st.sampled_from(["ask", "ask", "end", "fail", "cancel", "late", "let"]), st.integers(0, 9)
)


class Writer:
    """Somebody who asks for a turn, and has it until told to end."""

    def __init__(self, turns: Turns, customer: str, log: list[str]) -> None:
        self.end = asyncio.Event()
        self.fails = False
        self.has = False
        self.task = asyncio.create_task(self._write(turns, customer, log))

    async def _write(self, turns: Turns, customer: str, log: list[str]) -> None:
        async with turns.of(customer):
            assert turns.held
            assert customer not in log, "two have a turn at a time"
            log.append(customer)
            self.has = True
            try:
                await self.end.wait()
                if self.fails:
                    raise RuntimeError
            finally:
                self.has = False
                log.remove(customer)


async def settled() -> None:
    """Lets everybody go on who can."""
    for _ in range(6):
        await asyncio.sleep(0)


async def story(steps: list[Step]) -> None:
    turns, log = Turns(), list[str]()
    writers: list[Writer] = []
    for kind, number in steps:
        open_ = [one for one in writers if not one.task.done()]
        if kind == "ask":
            writers.append(Writer(turns, "ab"[number % 2], log))
        elif kind == "let":
            await asyncio.sleep(0)
        elif open_:
            one = open_[number % len(open_)]
            if kind == "cancel":
                one.task.cancel()
            elif kind == "late":  # the time is up for one who waits, in whatever state that is
                one.task.cancel("its time is up")
            else:
                one.fails = kind == "fail"
                one.end.set()
    await settled()
    waiting = [one for one in writers if not one.task.done()]
    # Wherever somebody waits, somebody has a turn: no wake-up is lost.
    assert bool(waiting) == bool(log)
    for customer in set(turns.queues):
        assert customer in log, "all wait, and nobody has a turn"
    while waiting := [one for one in writers if not one.task.done()]:
        having = [one for one in waiting if one.has]
        assert having, "all wait, and nobody has a turn"
        for one in having:
            one.end.set()
        await settled()
    assert not turns.queues and not turns._owners
    for one in writers:
        with suppress(RuntimeError, asyncio.CancelledError):
            await one.task


@given(st.lists(STEPS, max_size=40))
def test_no_wake_up_is_lost_however_those_who_wait_end(steps: list[Step]) -> None:
    """Some end, some fail, some are cancelled, while they wait, have it, or are about to."""
    asyncio.run(story(steps))


async def test_those_whose_time_is_up_leave_the_order_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns, order = Turns(), list[int]()

    async def write(number: int) -> None:
        async with turns.of("anna"):
            order.append(number)

    async with turns.of("anna"):
        monkeypatch.setattr(engine_turns, "LONGEST_WAIT", 0.001)
        early = [asyncio.create_task(write(number)) for number in range(5)]
        found = await asyncio.gather(*early, return_exceptions=True)
        assert all(isinstance(one, StoreUnavailable) for one in found)
        monkeypatch.setattr(engine_turns, "LONGEST_WAIT", 60.0)
        rest = [asyncio.create_task(write(number)) for number in range(5, 50)]
        await settled()
        for one in rest[::3]:
            one.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    assert order == [number for number in range(5, 50) if (number - 5) % 3]
    assert not turns.queues
