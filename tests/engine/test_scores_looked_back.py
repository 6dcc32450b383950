"""Scores in rules, explanations and look-backs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from decision.core.clock import DAY, from_micros
from decision.core.schema import DecisionRequest, Event
from decision.engine import build_snapshot
from decision.rulebook.reader import load_files
from tests.core.small import NOON
from tests.engine.conftest import RULES, Clock

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]

WARM = RULES.replace(
    "    category: content\n", "    category: content\n    when: {score.interest: {gte: 15}}\n"
).replace("opt_in", "not_required") + (
    """
  cold: {when: {score.interest: {lt: 18}}, exclude: {messages: [offer]}}
scores:
  interest: {adds: {visit: 1, order: {property: total}}, half_life: 30d}
"""
)


@pytest.mark.parametrize("durable", [False, True])
async def test_a_decision_on_a_score_is_explained_the_same_weeks_and_policies_later(
    make_engine: Make, clock: Clock, durable: bool
) -> None:
    engine = await make_engine(WARM)
    definition = load_files({"rules.yaml": WARM}).definition
    assert definition is not None
    store, at = engine.runtime.store, from_micros(NOON)
    engine.use(await build_snapshot(definition, None, store, at, durable=durable, try_first=False))
    order = Event(type="order", customer_id="c-1", properties={"total": 20.0})
    await engine.events.record([order])
    clock.now += 10 * DAY
    request = DecisionRequest(placement="outbound", customer_id="c-1", explain=True)
    decision = await engine.decide(request)
    assert [one.message for one in decision.selections] == ["news"]
    told = {row.message: row.detail for row in decision.explanation}
    assert told["offer"] == "rule cold holds: score.interest is 15.87"

    clock.now += 60 * DAY
    changed = load_files({"rules.yaml": WARM.replace("visit: 1", "visit: 2")}).definition
    assert changed is not None
    engine.use(await build_snapshot(changed, None, store, at, durable=False))
    later = await engine.decide(request)
    told_later = {row.message: row.detail for row in later.explanation}
    assert told_later["news"] == "score.interest is 0.00, must be at least 15"
    looked_up = await engine.replay.find(decision.decision_id)
    assert looked_up.explanation == decision.explanation
