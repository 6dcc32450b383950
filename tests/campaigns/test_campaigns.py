"""Campaigns as marketers ask for them: each folder beside this file is one, with its scenarios."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from decision.core.policy_builder import compile_policy
from decision.rulebook.reader import load_folder
from decision.scenarios import read_scenarios, run_scenarios
from decision.scenarios.coverage import Coverage

HERE = Path(__file__).parent
CAMPAIGNS = sorted(path.name for path in HERE.iterdir() if path.name[:2].isdigit())


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_a_campaign_has_no_warning_and_its_scenarios_pass_and_touch_all_of_it(name: str) -> None:
    loaded = load_folder(HERE / name)
    assert [one.render() for one in loaded.diagnostics] == []
    assert loaded.definition is not None
    scenarios, diagnostics = read_scenarios(HERE / name, compile_policy(loaded.definition))
    assert [one.render() for one in diagnostics] == []
    assert len(scenarios) >= 3
    coverage = Coverage(loaded.definition)
    results = asyncio.run(run_scenarios(loaded.definition, scenarios, watcher=coverage))
    assert [result.render() for result in results if not result.passed] == []
    # Small campaigns need not be removed for every reason that there is.
    unseen = [one for one in coverage.report().unseen if one.kind != "reason"]
    assert [f"{one.source}: {one.kind} {one.name}, never {one.never}" for one in unseen] == []


def test_the_page_of_campaigns_names_every_one() -> None:
    listed = (HERE.parents[1] / "docs" / "campaigns.md").read_text("utf-8")
    assert [name for name in CAMPAIGNS if f"campaigns/{name}/rules.yaml" not in listed] == []
