"""`nextbest train`, from a log in the form in which it is archived."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from decision.core.clock import DAY, HOUR
from decision.scoring.manifest import read_version
from tests.learning.written import decision, write_log

START = 1_790_000_000_000_000
SPEC = """\
name: small
features: {customer.country: categorical, message.name: categorical, time.hour: numeric}
rounds: 5
lightgbm: {min_data_in_leaf: 5}
without_goal: {event: purchase, within: 1d}
calibration: auto
exploration: {from: 30, to: 1000, over: 10000}
"""


def a_log(folder: Path, rows: int = 600, buys: float = 0.6, days_after: int = 2) -> Path:
    """Decisions over some days: Chinese customers buy, others hardly ever."""
    rng = random.Random(3)
    decisions, outcomes, events = [], [], []
    for number in range(rows):
        at = START + number * HOUR // 2
        country = rng.choice(["CN", "DE"])
        message = rng.choice(["news", "coupon", None])
        features = {"customer.country": country, "message.name": message, "time.hour": number % 24}
        more: dict[str, Any] = {"customer_id": f"c-{number}"}
        if message:
            more |= {"channel": "email", "features": features}
        decisions.append(decision(f"d-{number}", at, message, **more))
        about = {"customer_id": f"c-{number}", "received_at": at + HOUR}
        if rng.random() < (buys if country == "CN" else buys / 6):
            bought = {"event_id": f"e-{number}", "type": "purchase", "at": at + HOUR}
            events.append({**about, **bought})
        if number % 5 == 0 and message:
            shown = {"event_id": f"s-{number}", "decision_id": f"d-{number}", "message": message}
            outcomes.append({**about, **shown, "type": "message.shown", "at": at + 1})
    last = START + rows * HOUR // 2 + days_after * DAY
    events.append(
        {"event_id": "x", "customer_id": "x", "type": "y", "at": last, "received_at": last}
    )
    return write_log(folder, decisions, outcomes, events)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return a_log(tmp_path / "log")


@pytest.fixture
def train(run, rules, tmp_path):
    (tmp_path / "small.yaml").write_text(SPEC, "utf-8")
    return lambda *args: run(
        "train", "small.yaml", "--rules", rules, "--models", "models", "--no-report", *args
    )


def test_a_version_is_published_with_its_figures(train, log, tmp_path):
    result = train("--log", log, "--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    manifest, _ = read_version(tmp_path / answer["folder"])
    assert manifest.version == answer["version"]
    silent = answer["left out"]["in which nothing was selected"]
    assert answer["rows"] + answer["held out"] + silent == 600
    assert 0 < answer["responses"] < answer["rows"]
    assert answer["auc"] > 0.6
    assert answer["parity"] <= 1e-9
    assert 30 < answer["exploration"] < 1000
    assert {(one.message, one.channel) for one in manifest.evidence} == {
        ("coupon", "email"),
        ("news", "email"),
    }
    assert "rows to learn from" in result.stderr


@pytest.mark.parametrize(
    ("scope", "named"), [("placement: outbond", "outbound"), ("purpose: markting", "marketing")]
)
def test_a_scope_that_the_rules_do_not_have_is_refused_with_the_nearest(
    train, log, tmp_path, scope, named
):
    (tmp_path / "small.yaml").write_text(SPEC + f"scope: {{{scope}}}\n", "utf-8")
    result = train("--log", log)
    assert result.exit_code == 1 and f'did you mean "{named}"?' in result.stderr


@pytest.mark.slow
def test_the_same_command_gives_the_same_bytes(run, rules, log, tmp_path):
    """All but when it was made, and the digests of the manifest that says so."""
    (tmp_path / "small.yaml").write_text(SPEC, "utf-8")
    found = []
    for models in ("one", "other"):
        asked = ("train", "small.yaml", "--rules", rules, "--models", models, "--log", log)
        result = run(*asked)
        assert result.exit_code == 0, result.stderr
        version = next((tmp_path / models / "small").iterdir())
        files = {path.relative_to(version): path for path in version.rglob("*") if path.is_file()}
        manifest = json.loads((version / "manifest.json").read_text("utf-8"))
        made = manifest.pop("created_at")[:16].replace("T", " ")
        manifest.pop("digest")
        page = files.pop(Path("report/index.html")).read_text("utf-8").replace(made, "")
        del files[Path("manifest.json")]
        for record in version.glob("compiled/*.json"):
            del files[record.relative_to(version)]  # with which manifest the trees were tried
        data = {str(name): path.read_bytes() for name, path in files.items()}
        found.append((version.name, manifest, page, data))
    assert found[0] == found[1]
    assert {"model.txt", "profile.json", "report/shap.svg"} <= found[0][3].keys()


def test_training_again_finds_the_same_version_and_says_how_to_use_it(train, log, tmp_path):
    first, second = train("--log", log), train("--log", log)
    assert first.stdout == second.stdout
    command = first.stdout.splitlines()[-1]
    assert command.startswith("To put it in force: nextbest promote small/")
    assert (tmp_path / "models" / command.split()[-1] / "manifest.json").is_file()
    assert "left out:" in first.stdout


def test_a_folder_that_is_no_log_is_refused(train, tmp_path):
    result = train("--log", tmp_path / "nowhere")
    assert result.exit_code == 1
    assert "nowhere/decisions has no Parquet files" in result.stderr


def test_a_missing_column_and_a_damaged_file_are_named(train, log):
    path = min((log / "outcomes").rglob("*.parquet"))
    sound = pq.read_table(path)
    pq.write_table(sound.drop_columns("decision_id"), path)
    result = train("--log", log)
    assert result.exit_code == 1
    assert f"{path}: the column decision_id is missing" in result.stderr.replace("\n", "")
    pq.write_table(sound, path)
    path.write_bytes(path.read_bytes()[:-100])
    result = train("--log", log)
    assert result.exit_code == 1
    assert "cannot be read as Parquet" in result.stderr


def test_a_spec_with_an_error_is_refused_with_its_place(run, rules, log, tmp_path):
    (tmp_path / "bad.yaml").write_text("name: x\nfeatures: {customer.a: wild}\n", "utf-8")
    result = run("train", "bad.yaml", "--log", log, "--rules", rules)
    assert result.exit_code == 1
    assert "bad.yaml:2:" in result.stderr
    result = run("train", "gone.yaml", "--log", log, "--rules", rules)
    assert result.exit_code == 1 and "gone.yaml: cannot be read" in result.stderr


def test_a_log_from_which_nothing_can_be_learned_is_refused(train, tmp_path):
    result = train("--log", a_log(tmp_path / "none", 60, buys=0))
    assert result.exit_code == 1
    assert "0 of the" in result.stderr and "are responses" in result.stderr
    result = train("--log", a_log(tmp_path / "young", 20, days_after=0))
    assert result.exit_code == 1
    assert "archive and train again" in result.stderr


def test_until_says_how_far_the_log_goes(train, tmp_path):
    young = a_log(tmp_path / "young", 300, days_after=0)
    late = train("--log", young, "--until", "2026-12-01T00:00:00Z", "--json")
    soon = train("--log", young, "--json")
    assert late.exit_code == soon.exit_code == 0
    assert json.loads(late.stdout)["rows"] > json.loads(soon.stdout)["rows"]
    assert train("--log", young, "--until", "yesterday").exit_code == 2


def test_a_cluster_that_is_not_there_is_said_so(train, log):
    result = train("--log", log, "--dask", "tcp://127.0.0.1:9")
    assert result.exit_code == 1
    assert "-m pip install 'dask[" in result.stderr or "127.0.0.1:9" in result.stderr


def test_what_the_training_lost_is_told_cautions_first(train, run, rules, log, tmp_path):
    """On the terminal, as JSON, and once more when the version is promoted."""
    spec = SPEC.replace("time.hour: numeric", "time.hour: numeric, customer.age: numeric")
    (tmp_path / "small.yaml").write_text(spec, "utf-8")
    told = train("--log", log).stdout
    caution = "Caution: 'customer.age' has no value in any of"
    assert caution in told and "Caution: the figures are of" in told
    assert told.index("Caution:") < told.index("Note:")
    notes = json.loads(train("--log", log, "--json").stdout)["notes"]
    assert [one["caution"] for one in notes] == sorted(
        (one["caution"] for one in notes), reverse=True
    )
    assert {"no_value", "few_judged"} <= {one["note"]["kind"] for one in notes}
    version = next((tmp_path / "models" / "small").iterdir()).name
    promoted = run("promote", version, "--models", "models", "--shadow").stdout
    assert caution in promoted and "Note:" not in promoted
