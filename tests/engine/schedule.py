"""Runs concurrent coroutines in every order of their store operations, without sleeping.

A `Gated` store stops each operation before it begins until the scheduler lets it go on, and each
is atomic; `next_choices` walks the tree of all choices. What runs is as if each were in a process
of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

from decision.engine.turns import Turns

_number: ContextVar[int | None] = ContextVar("number", default=None)
"""Which of the works an operation belongs to; tasks that a work starts belong to it as well."""
GATED = frozenset(
    {"read", "commit", "claim_answer", "disclaim_answer", "set_alias", "erase"}
    | {"return_budgets", "settle_budgets", "expire_budgets"}
    | {"take_codes", "return_codes", "settle_code", "expire_codes", "redeem_code"}
    | {"stage_codes", "coupon_pools", "pools_with", "drop_codes", "open_codes"}
)


class Gated:
    """A store whose operations wait for their turn."""

    def __init__(self, store: Any, gated: Collection[str] | None = None) -> None:
        self.store = store
        self.gated = GATED if gated is None else gated
        self.waiting: list[tuple[int, asyncio.Future[None]]] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.store, name)
        if name not in self.gated:
            return found

        async def operate(*args: Any, **options: Any) -> Any:
            await self._turn()
            return await found(*args, **options)

        return operate

    async def _turn(self) -> None:
        number = _number.get()
        if number is None:
            return
        waits = (number, asyncio.get_running_loop().create_future())
        self.waiting.append(waits)
        try:
            await waits[1]
        finally:
            if waits in self.waiting:
                self.waiting.remove(waits)


class Alone(Turns):
    """Turns of writes that are each in a process of their own: nobody waits for anybody."""

    @asynccontextmanager
    async def of(self, customer_id: str) -> AsyncIterator[bool]:
        yield False


async def run_order(
    gated: Gated, works: Sequence[Callable[[], Awaitable[Any]]], choices: list[int]
) -> tuple[list[Any], list[int]]:
    """Runs the works, at each step letting go on the choice-th of those that wait.

    What a work does after its end is part of the order as well.
    Returns the results, and how many could be chosen from at each step.
    """
    options: list[int] = []

    async def numbered(number: int, work: Callable[[], Awaitable[Any]]) -> Any:
        _number.set(number)
        return await work()

    tasks = [asyncio.ensure_future(numbered(*one)) for one in enumerate(works)]
    while True:
        for _ in range(200):
            await asyncio.sleep(0)
            waiting = {number for number, _ in gated.waiting}
            if waiting and all(
                task.done() or number in waiting for number, task in enumerate(tasks)
            ):
                break
        ready = [waits for waits in gated.waiting if not waits[1].done()]
        ready.sort(key=lambda waits: waits[0])
        if not ready:
            if all(task.done() for task in tasks):
                break
            continue
        step = len(options)
        choice = min(choices[step], len(ready) - 1) if step < len(choices) else 0
        options.append(len(ready))
        gated.waiting.remove(ready[choice])
        ready[choice][1].set_result(None)
    return [task.result() for task in tasks], options


def next_choices(choices: list[int], options: list[int]) -> list[int] | None:
    """The choices of the next order in the walk over all; None after the last."""
    taken = choices + [0] * (len(options) - len(choices))
    for step in range(len(options) - 1, -1, -1):
        if taken[step] + 1 < options[step]:
            return [*taken[:step], taken[step] + 1]
    return None
