"""`nextbest train`, from a log in the form in which it is archived."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from decision.scoring.manifest import read_version

SPEC = """\
name: small
features: {customer.country: categorical, message.name: categorical, time.hour: numeric}
rounds: 5
lightgbm: {min_data_in_leaf: 5}
without_goal: {event: purchase, within: 1d}
"""


def write(folder: Path, name: str, rows: list[dict]) -> None:
    table = pa.Table.from_pylist(rows)
    ds.write_dataset(
        table,
        folder / name,
        format="parquet",
        partitioning=ds.partitioning(pa.schema([("date", pa.string())]), flavor="hive"),
        existing_data_behavior="overwrite_or_ignore",
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """400 decisions over ten days: Chinese customers buy, others hardly ever."""
    rng = random.Random(3)
    start = datetime(2026, 11, 1, tzinfo=UTC)
    decisions, outcomes, events = [], [], []
    for number in range(400):
        at = start + timedelta(hours=number // 2)
        country = rng.choice(["CN", "DE"])
        message = rng.choice(["news", "coupon", None])
        date = at.date().isoformat()
        decisions.append(
            {
                "decision_id": f"d-{number}",
                "decided_at": at,
                "customer_id": f"c-{number}",
                "message": message,
                "channel": message and "email",
                "features": {
                    "customer.country": country,
                    "message.name": message,
                    "time.hour": at.hour if number % 3 else None,
                },
                "date": date,
            }
        )
        if rng.random() < (0.6 if country == "CN" else 0.1):
            bought = {"customer_id": f"c-{number}", "type": "purchase", "date": date}
            later = at + timedelta(hours=1)
            events.append({**bought, "event_id": f"e-{number}", "at": later})
        if number % 5 == 0 and message:
            shown = {"event_id": f"s-{number}", "decision_id": f"d-{number}", "message": message}
            about = {"customer_id": f"c-{number}", "type": "message.shown", "at": at, "date": date}
            outcomes.append({**shown, **about})
    folder = tmp_path / "log"
    write(folder, "decisions", decisions)
    write(folder, "outcomes", outcomes)
    write(folder, "events", events)
    return folder


@pytest.fixture
def train(run, rules, tmp_path):
    (tmp_path / "small.yaml").write_text(SPEC, "utf-8")
    return lambda *args: run("train", "small.yaml", "--rules", rules, "--models", "models", *args)


def test_a_version_is_published_with_its_figures(train, log, tmp_path):
    result = train("--log", log, "--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    manifest, _ = read_version(tmp_path / answer["folder"])
    assert manifest.version == answer["version"]
    assert 200 < answer["rows"] + answer["held out"] < 300  # a third was silence
    assert 0 < answer["responses"] < answer["rows"]
    assert answer["auc"] > 0.6
    assert {(one.message, one.channel) for one in manifest.evidence} == {
        ("coupon", "email"),
        ("news", "email"),
    }


def test_training_again_finds_the_same_version_and_says_how_to_use_it(train, log, tmp_path):
    first, second = train("--log", log), train("--log", log)
    assert first.stdout == second.stdout
    command = first.stdout.splitlines()[-1]
    assert command.startswith("To put it in force: echo small/")
    place = command.split()[6]
    assert (tmp_path / "models" / place / "manifest.json").is_file()


def test_a_folder_that_is_no_log_is_refused(train, tmp_path):
    result = train("--log", tmp_path / "nowhere")
    assert result.exit_code == 1
    assert "nowhere/decisions is not there" in result.stderr
    write(tmp_path / "other", "decisions", [{"a": 1, "date": "2026-11-01"}])
    result = train("--log", tmp_path / "other")
    assert result.exit_code == 1
    assert "the column decision_id is not there" in result.stderr


def test_a_spec_with_an_error_is_refused_with_its_place(run, rules, log, tmp_path):
    (tmp_path / "bad.yaml").write_text("name: x\nfeatures: {customer.a: wild}\n", "utf-8")
    result = run("train", "bad.yaml", "--log", log, "--rules", rules)
    assert result.exit_code == 1
    assert "bad.yaml:2:" in result.stderr


def test_a_log_from_which_nothing_can_be_learned_is_refused(train, log, tmp_path):
    for file in [*(log / "events").rglob("*.parquet")]:
        file.unlink()
    write(
        log,
        "events",
        [
            {
                "event_id": "x",
                "customer_id": "x",
                "type": "y",
                "at": datetime(2026, 12, 1, tzinfo=UTC),
                "date": "2026-12-01",
            }
        ],
    )
    result = train("--log", log)
    assert result.exit_code == 1
    assert "responses" in result.stderr
