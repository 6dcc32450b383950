"""What an operator should look at stands in one list."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from decision.engine import Engine
from decision.engine.budget_views import BudgetView
from decision.rulebook.checking import RulesRefused
from decision.server.keys.file import KeysFile
from decision.server.metrics import Metrics
from decision.server.notices import notices, running_out
from decision.server.settings import ServerSettings
from decision.server.supply import PolicySupply
from decision.server.upkeep import Upkeep
from decision.store import MemoryStore

NOW = datetime(2026, 11, 16, 12, tzinfo=UTC)


def budget(spent: float, **changes: Any) -> BudgetView:
    base: dict[str, Any] = {
        "name": "sms",
        "of": "budgets",
        "unit": "CNY",
        "spent": spent,
        "limit": 100.0,
        "freed": 100.0,
        "per": "month",
        "since": datetime(2026, 11, 1, tzinfo=UTC),
        "until": datetime(2026, 12, 1, tzinfo=UTC),
    }
    return BudgetView(**{**base, **changes})


def test_a_budget_that_will_be_spent_before_its_period_ends_says_when() -> None:
    (found,) = running_out([budget(62)], NOW)
    assert found.severity == "note"
    assert "about 2026-11-26 00:00 UTC at the present rate: 62 of 100 CNY" in found.text


@pytest.mark.parametrize(
    "one",
    [
        budget(51),  # half of it in half of the month
        budget(0),
        budget(99, per=None, since=None, until=None),  # for all time: there is no rate
        budget(20, since=NOW - timedelta(hours=1)),  # too early to say
    ],
)
def test_a_budget_that_lasts_is_no_news(one: BudgetView) -> None:
    assert running_out([one], NOW) == []


def test_a_budget_that_is_spent_says_until_when() -> None:
    (found,) = running_out([budget(100)], NOW)
    assert (found.severity, found.subject) == ("warning", "budgets")
    assert "spent until 2026-12-01 00:00 UTC" in found.text


@pytest.mark.anyio
async def test_refused_rules_come_first_and_a_quiet_server_has_nothing(rules: Path) -> None:
    settings, metrics = ServerSettings(rules=str(rules), models=None), Metrics()
    engine = Engine(MemoryStore())
    keys = KeysFile(None, lambda keys: None, metrics)
    upkeep = Upkeep(PolicySupply(engine, settings, metrics), settings, keys, metrics)
    async with upkeep.lifespan():
        assert await notices(upkeep) == []
        (rules / "policy.yaml").write_text("messages: 3")
        with pytest.raises(RulesRefused):
            await upkeep.supply.reload()
        first, *_ = await notices(upkeep)
        assert (first.severity, first.subject) == ("error", "rules")
        assert "newer rules are refused since" in first.text
