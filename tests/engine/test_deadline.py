"""A time limit on work: against asyncio's own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from decision.engine import deadline
from decision.engine.deadline import Within

pytestmark = pytest.mark.anyio

Limit = Callable[[float, Coroutine[Any, Any, Any]], Awaitable[Any]]
SHORT, LONG = 0.01, 30.0


async def of_asyncio(seconds: float, work: Coroutine[Any, Any, Any]) -> Any:
    async with asyncio.timeout(seconds):
        return await work


async def within(seconds: float, work: Coroutine[Any, Any, Any]) -> Any:
    with Within(seconds):
        return await work


async def quick() -> str:
    await asyncio.sleep(0)
    return "done"


async def for_ever() -> None:
    await asyncio.Event().wait()


async def fails() -> None:
    raise ValueError("of its own")


async def fails_when_cancelled() -> None:
    try:
        await for_ever()
    finally:
        raise ValueError("of its own")


async def returns_when_cancelled() -> str:
    try:
        await for_ever()
    except asyncio.CancelledError:
        return "done all the same"
    return ""


async def limited(limit: Limit) -> None:
    await limit(SHORT, for_ever())


async def cancels_its_caller() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await for_ever()


async def cancels_its_caller_when_cancelled() -> None:
    try:
        await for_ever()
    finally:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()


WORKS: dict[str, Callable[[Limit], Awaitable[Any]]] = {
    "in time": lambda limit: limit(LONG, quick()),
    "late": lambda limit: limit(SHORT, for_ever()),
    "no time": lambda limit: limit(0, for_ever()),
    "fails": lambda limit: limit(LONG, fails()),
    "fails when late": lambda limit: limit(SHORT, fails_when_cancelled()),
    "ends when late": lambda limit: limit(SHORT, returns_when_cancelled()),
    "the inner of two is late": lambda limit: limit(LONG, limited(limit)),
    "the outer of two is late": lambda limit: limit(SHORT, limit_of_long(limit)),
    "cancelled": lambda limit: limit(LONG, cancels_its_caller()),
    "cancelled when late": lambda limit: limit(SHORT, cancels_its_caller_when_cancelled()),
}


async def limit_of_long(limit: Limit) -> None:
    await limit(LONG, for_ever())


async def outcome_of(run: Callable[[Limit], Awaitable[Any]], limit: Limit) -> tuple[Any, int]:
    """What comes of it, and how many cancellations its task is left with."""

    async def one() -> tuple[Any, int]:
        task = asyncio.current_task()
        assert task is not None
        found: Any
        try:
            found = await run(limit)
        except BaseException as error:
            found = repr(error)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)  # a cancellation that it has not met yet
        return found, task.cancelling()

    return await asyncio.create_task(one())


@pytest.mark.parametrize("name", WORKS)
async def test_it_ends_work_as_asyncio_does(name: str) -> None:
    run = WORKS[name]
    assert await outcome_of(run, within) == await outcome_of(run, of_asyncio)


async def test_it_leaves_no_timer_behind() -> None:
    await within(SHORT, quick())
    await asyncio.sleep(2 * SHORT)  # it would be cancelled here


@pytest.mark.parametrize("seconds", [0.0204, 0.02, 0.0201])
def test_a_timer_that_comes_too_early_is_set_once_more(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of uvloop do, which count milliseconds."""
    looks = []
    look = deadline._Limits._look

    def counted(limits: deadline._Limits) -> None:
        looks.append(limits)
        look(limits)

    monkeypatch.setattr(deadline._Limits, "_look", counted)

    async def run_out() -> None:
        with pytest.raises(TimeoutError):
            await within(seconds, for_ever())

    for _ in range(5):
        uvloop.run(run_out())
    assert len(looks) <= 2 * 5
