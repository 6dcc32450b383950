"""Work beside the event loop: settings come back, and what decides meanwhile is right."""

from __future__ import annotations

import asyncio
import gc
from datetime import UTC, datetime

import pytest

from benchmarks.reload import policy
from decision.core.business_rules import PlainMatcher
from decision.core.values import MISSING, Value
from decision.engine import build_snapshot
from decision.engine.worker import run_in_worker
from decision.rulebook.reader import load_files
from decision.store import MemoryStore


@pytest.mark.anyio
async def test_the_process_is_as_before_when_the_last_work_has_ended() -> None:
    def fails() -> None:
        assert not gc.isenabled()
        raise ValueError("no")

    works = [run_in_worker(fails), run_in_worker(lambda: gc.isenabled()), run_in_worker(fails)]
    found = await asyncio.gather(*works, return_exceptions=True)
    assert [type(each) for each in found] == [ValueError, bool, ValueError]
    assert gc.isenabled()


@pytest.mark.anyio
async def test_the_rule_engine_answers_rightly_while_other_rulesets_are_made_and_freed() -> None:
    definition = load_files(policy(60, 120, 0)).definition
    assert definition is not None
    now = datetime.now(UTC)
    store = MemoryStore()
    snapshot = await build_snapshot(definition, None, store, now, try_first=False)
    compiled = snapshot.policy
    plain = PlainMatcher(compiled.rules, compiled.rule_strata, compiled.fields.slot)
    done = False

    async def rebuild() -> None:
        nonlocal done
        for _ in range(6):
            await build_snapshot(definition, None, store, now, try_first=False, in_thread=True)
        done = True

    task = asyncio.create_task(rebuild())
    asked = 0
    while not done:
        values: list[Value] = [MISSING] * len(compiled.fields.fields)
        values[compiled.fields.slot("event.type")] = f"e{asked % 25}"
        for n in range(40):
            values[compiled.fields.slot(f"customer.score_{n}")] = (asked * 7 + n) % 101
        assert snapshot.matcher.match(0, values) == plain.match(0, values)
        asked += 1
        await asyncio.sleep(0)
    await task
    assert asked > 6
    assert getattr(snapshot.matcher, "failures", 0) == 0
