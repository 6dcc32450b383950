"""The bound on bytes in flight: never passed but by one alone, and always given back."""

from __future__ import annotations

import asyncio

import pytest

from decision.decoding import MOST_VALUES
from decision.server.byte_budget import ByteBudget, Share, weight

pytestmark = pytest.mark.anyio


def test_what_is_larger_than_the_budget_comes_in_alone_and_only_alone() -> None:
    budget = ByteBudget(100)
    large, small = Share(budget), Share(budget)
    assert all(large.grow(size) for size in (50, 500, 5000))
    assert not small.grow(1)
    large.give()
    assert small.grow(1)
    assert not large.grow(100)
    small.give()
    assert budget.taken == 0


def test_values_weigh_more_than_their_bytes_and_text_weighs_no_more_than_a_budget() -> None:
    assert weight(b"[" + b"1," * 100 + b"1]") > 100 * 200
    assert weight(b"," * 1_000_000) < 1_000_000 + 300 * MOST_VALUES


async def test_who_waits_has_turns_in_order_and_leaves_nothing_taken_when_cancelled() -> None:
    budget = ByteBudget(10)
    await budget.wait(10)
    done: list[int] = []

    async def one(number: int) -> None:
        await budget.wait(6)
        done.append(number)

    tasks = [asyncio.create_task(one(number)) for number in range(4)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    budget.give(10)  # the second has its turn, and is cancelled before it takes it
    tasks[1].cancel()
    await asyncio.gather(*tasks[:3], return_exceptions=True)
    assert done == [2]
    assert budget.taken == 6
    budget.give(6)
    await tasks[3]
    assert done == [2, 3]
    budget.give(6)
    assert budget.taken == 0
