"""The page about scenario tests keeps step with the code."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from decision.cli.test import test as command
from decision.core.policy_builder import compile_policy
from decision.rulebook.reader import load_folder
from decision.scenarios import run_scenarios, scenarios_in
from decision.scenarios.coverage import Coverage
from decision.scenarios.schema import Expect, Scenario

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "scenario-tests.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_example_passes_with_the_rules_of_the_sample(text: str) -> None:
    definition = load_folder(ROOT / "rules").definition
    assert definition is not None
    scenarios, diagnostics = scenarios_in("page", text, compile_policy(definition))
    assert [one.render() for one in diagnostics] == []
    assert scenarios
    results = asyncio.run(run_scenarios(definition, scenarios, durable=False))
    assert [result.render() for result in results if not result.passed] == []


def test_every_key_and_option_is_told() -> None:
    for form in (Scenario, Expect):
        for key in form.__struct_encode_fields__:
            assert f"`{key}`" in PAGE, key
    options = {name for option in command.params for name in option.opts if name[:2] == "--"}
    for name in options - {"--redis-url", "--key-prefix", "--only", "--trace"}:
        assert name in PAGE, name


def test_every_kind_of_thing_that_coverage_counts_is_told() -> None:
    definition = load_folder(ROOT / "rules").definition
    assert definition is not None
    table = PAGE[PAGE.index("| thing |") : PAGE.index("*Reached*")]
    other_words = {"experiment": "control group"}
    for kind in {sight.kind for sight in Coverage(definition).sights}:
        assert other_words.get(kind, kind) in table, kind
