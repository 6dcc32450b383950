"""`nextbest report candidates`, `win-loss` and `sensitivity`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from decision.core.schema import DecisionRequest
from decision.engine import Engine, build_snapshot
from decision.rulebook.reader import load_files
from decision.store import RedisStore
from tests.analytics.candidates.made import FILES, archive
from tests.analytics.candidates.test_sources import one

pytest.importorskip("pyarrow")
Invoke = Callable[..., Result]
COMMANDS = ("candidates", "win-loss", "sensitivity")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_report_is_a_table_or_json_with_the_same_figures(
    tmp_path: Path, run: Invoke, command: str
) -> None:
    archive(tmp_path, [one(1), one(2), one(3, chosen=False)])
    asked = ("report", command, "--log", str(tmp_path), "--timezone", "Europe/Berlin")
    found: dict[str, Any] = json.loads(run(*asked, "--json").stdout)
    assert found["about"]["decisions"] == 3
    assert found["about"]["silence"] == {"capped": 1}
    shown = run(*asked).stdout
    assert "3 decisions (the beginning to the end, Europe/Berlin; the archive)" in shown
    assert "left with no candidate: capped 1" in shown
    rows = {
        "candidates": "all             3             1       2       2   100.0%",
        "win-loss": "a           2    2     0   100.0%      2        1.0",
        "sensitivity": "value                       0   0.0%",
    }
    assert any(line.split() == rows[command].split() for line in shown.splitlines()), shown


def test_rivals_and_what_happens_to_one_message_are_shown_with_it(
    tmp_path: Path, run: Invoke
) -> None:
    archive(tmp_path, [one(1)])
    shown = run("report", "win-loss", "b", "--log", str(tmp_path)).stdout
    assert "lost to" in shown and "won against" in shown
    shown = run("report", "sensitivity", "--message", "a", "--log", str(tmp_path)).stdout
    assert "a loses" in shown


def test_what_cannot_be_reported_is_said_in_a_sentence(tmp_path: Path, run: Invoke) -> None:
    archive(tmp_path, [one(1)])
    log = ("--log", str(tmp_path))
    said = {
        ("candidates", "--message", "aa", *log): 'did you mean "a"?',
        ("candidates", "--variant", "x", *log): "a variant needs its experiment",
        ("candidates", "--newest", "5", *log): "leave --log out",
        ("win-loss", "--timezone", "Mars", *log): "Mars is not a time zone",
        ("sensitivity", "--log", str(tmp_path / "no")): "does not exist",
        ("candidates",): "there is no store in",
    }
    for asked, words in said.items():
        result = run("report", *asked)
        assert result.exit_code in (1, 2)
        assert words in " ".join(result.stderr.split()), result.stderr


def test_without_an_archive_the_newest_decisions_of_the_log_are_reported(
    redis_url: str, prefix: str, run: Invoke
) -> None:
    async def decide() -> None:
        store = RedisStore(redis_url, prefix=prefix)
        await store.start()
        try:
            engine = Engine(store)
            definition = load_files(FILES).definition
            assert definition is not None
            engine.use(await build_snapshot(definition, None, store, datetime.now(UTC)))
            for number in range(4):
                await engine.decide(DecisionRequest(placement="desk", customer_id=f"c{number}"))
        finally:
            await store.close()

    asyncio.run(decide())
    store = ("--redis-url", redis_url, "--key-prefix", prefix)
    shown = run("report", "candidates", "--newest", "3", *store).stdout
    assert "3 decisions (the beginning to the end, UTC; the store's log, the newest 3)" in shown
    found = json.loads(run("report", "candidates", "--json", *store).stdout)
    assert (found["about"]["decisions"], found["about"]["limit"]) == (4, None)
