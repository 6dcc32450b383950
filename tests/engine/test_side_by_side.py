"""Decisions that are ready at the same time take their steps together, and decide as if alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from decision.core import records
from decision.core.identifiers import partition_of
from decision.core.schema import CustomerUpdate, DecisionRequest
from decision.core.steps import Steps, finish
from decision.engine.side_by_side import AT_ONCE, SideBySide
from decision.store import MemoryStore
from tests.engine.conftest import RULES, Clock
from tests.engine.test_many_writes import Yielding

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]
CUSTOMERS = 12
OWN = {"decision_id", "document", "latency_us"}
"""What is a decision's own, however it was decided; a document has the random versions of a store."""


def work(name: str, seen: list[str], steps: int = 3) -> Steps[str]:
    for number in range(steps):
        seen.append(f"{name}{number}")
        yield
    if name == "bad":
        raise ValueError(name)
    return name


async def test_each_step_is_taken_for_all_before_the_next() -> None:
    seen: list[str] = []
    together = SideBySide()
    with together, together:
        runs = [together.run(work(name, seen, steps)) for name, steps in (("a", 1), ("b", 2))]
        assert await asyncio.gather(*runs) == ["a", "b"]
    assert seen == ["a0", "b0", "b1"]


async def test_of_more_than_go_together_the_rest_comes_after_what_else_waits() -> None:
    seen: list[str] = []
    together = SideBySide()
    with together, together:
        runs = [
            asyncio.ensure_future(together.run(work(f"{number}-", seen, 1)))
            for number in range(2 * AT_ONCE + 1)
        ]
        await asyncio.sleep(0)  # all are ready
        counts = []
        while len(seen) < len(runs):
            await asyncio.sleep(0)
            counts.append(len(seen))
        assert counts == [AT_ONCE, 2 * AT_ONCE, 2 * AT_ONCE + 1]
        assert await asyncio.gather(*runs) == [f"{number}-" for number in range(len(runs))]


async def test_who_has_no_other_beside_is_alone() -> None:
    together = SideBySide()
    assert not together.alone
    with together:
        assert together.alone
        with together:
            assert not together.alone
        assert together.alone


async def test_what_one_raises_is_raised_to_its_caller_alone() -> None:
    together = SideBySide()
    with together, together:
        runs = [together.run(work(name, [])) for name in ("a", "bad", "c")]
        found = await asyncio.gather(*runs, return_exceptions=True)
    assert [str(one) for one in found] == ["a", "bad", "c"]
    assert isinstance(found[1], ValueError)


async def test_who_is_cancelled_takes_no_step_any_more() -> None:
    seen: list[str] = []
    together = SideBySide()
    with together, together:
        late = asyncio.ensure_future(together.run(work("late", seen)))
        other = asyncio.ensure_future(together.run(work("other", seen)))
        asyncio.get_running_loop().call_soon(late.cancel)
        await asyncio.sleep(0)
        late.cancel()
        assert await other == "other"
    assert late.cancelled()
    assert not [one for one in seen if one.startswith("late")]


def test_what_an_event_loop_left_as_it_ended_is_not_waited_for_on_the_next_one() -> None:
    together = SideBySide()

    async def ask(count: int, turns: int) -> list[asyncio.Future[str]]:
        with together, together:
            runs = [asyncio.ensure_future(together.run(work("a", []))) for _ in range(count)]
            for _ in range(turns):
                await asyncio.sleep(0)
        return runs

    asyncio.run(ask(100 * AT_ONCE, 1))  # more than a loop still runs as it ends
    assert [one.result() for one in asyncio.run(ask(2, 5))] == ["a", "a"]


def test_work_in_steps_can_be_done_at_once() -> None:
    seen: list[str] = []
    assert finish(work("a", seen)) == "a"
    with pytest.raises(ValueError, match="bad"):
        finish(work("bad", seen))
    assert seen == [f"{name}{number}" for name in ("a", "bad") for number in range(3)]


async def test_decisions_side_by_side_are_the_same_to_the_last_bit_as_one_by_one(
    make_engine: Make, clock: Clock
) -> None:
    """What is answered, and what is logged."""
    rules = RULES.replace('exploration: "off"', "exploration: 5").replace("budget: {total: 5}", "")

    async def decided(together: bool) -> list[Any]:
        memory = MemoryStore(lambda: clock.now / 1_000_000)
        engine = await make_engine(rules, Yielding(memory), seed="7")
        names = [f"c-{number}" for number in range(CUSTOMERS)]
        for number, name in enumerate(names):
            attributes = {"first_name": name, "spend": 300 * (number % 6)}
            await engine.customers.update(name, CustomerUpdate(attributes=attributes))
            await engine.customers.set_consents(name, {"marketing": {"*": "granted"}})
        asked = [
            engine.decide(DecisionRequest(placement="outbound", customer_id=name, limit=2))
            for name in names
        ]
        answers = await asyncio.gather(*asked) if together else [await one for one in asked]
        rows = [row for name in names for row in await memory.log_records(partition_of(name))]
        logged = {row.id: row.body for row in rows if row.kind == "decision"}
        return [
            [common(one), common(records.decode_decision(logged[one.decision_id]))]
            for one in answers
        ]

    def common(told: Any) -> dict[str, Any]:
        found = msgspec.to_builtins(told)
        return {name: value for name, value in found.items() if name not in OWN}

    one_by_one = await decided(together=False)
    assert len({answer["selections"][0]["channel"] for answer, _ in one_by_one}) > 1
    assert await decided(together=True) == one_by_one
