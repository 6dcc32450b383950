"""`nextbest evaluate`: a policy judged by an archive, as a user sees it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from decision.scoring.versions import point_to
from tests.learning.logs import RULES, Deciding, World, train_model, write_archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = World(700)
    return write_archive(tmp_path_factory.mktemp("log"), world, Deciding(world.definition, 4.0), 1)


@pytest.fixture
def evaluate(run, archive):
    return lambda *args: run("evaluate", "--log", archive, "--bootstrap", 50, *args)


def test_people_get_tables_and_what_to_doubt(evaluate) -> None:
    result = evaluate("--exploration", "off", "--arms", "--by", "state")
    assert result.exit_code == 0, result.output
    assert "700 decisions for 700 customers" in result.stdout
    for word in ("as logged", "SNIPS", "SWITCH-DR", "SNDR  <", "random eligible", "the whole"):
        assert word in result.stdout
    for word in ("(silence)", "By customer.state", "quiet", "Weights: mean", "Note: the history"):
        assert word in result.stdout


def test_a_version_is_compared_with_the_one_in_force(run, evaluate, tmp_path: Path) -> None:
    """In tables, in JSON and in the picture; `current` is that of the candidate's placement."""
    world = World(400)
    folders = [train_model(world, tmp_path / "models", seed) for seed in (3, 4)]
    none = evaluate("--model", folders[1], "--models", "models", "--against", "current")
    assert none.exit_code == 1 and "none is in force" in none.stderr
    point_to(tmp_path / "models", folders[0])
    asked = ("--model", folders[1], "--models", "models", "--against", "current")
    shown = evaluate(*asked, "--report", "seen.svg")
    assert shown.exit_code == 0, shown.output
    name = f"tea/{folders[0].name}"
    assert name in shown.stdout and "policy − it" in shown.stdout
    assert "always " in shown.stdout and "Note: the model has learned from" in shown.stdout
    assert "the policy less others" in (tmp_path / "seen.svg").read_text("utf-8")
    first = json.loads(evaluate(*asked, "--json").stdout)["comparisons"][0]
    assert (first["kind"], first["name"]) == ("version", name)
    low, high = first["lift"]["value"]["difference_interval"]
    assert low <= first["lift"]["value"]["difference"] <= high
    gone = evaluate("--models", "models", "--against", "tea/000000000000")
    assert gone.exit_code == 1 and "there is no such version" in gone.stderr


def test_machines_get_everything(evaluate) -> None:
    result = evaluate("--prior", "--json", "--by", "customer.country")
    report = json.loads(result.stdout)
    assert report["log"]["judged"] == 700 and report["best"] == "sndr"
    found = report["policies"][-1]["metrics"]["value"]["dr"]
    assert found["lift"]["relative_interval"][0] < found["lift"]["relative_interval"][1]
    assert found["estimate"]["bootstrap_interval"] is not None
    assert {row["field"] for row in report["segments"]} == {"customer.country"}


def test_what_exploration_costs_is_shown_beside_what_it_brings(evaluate) -> None:
    args = ("--exploration-loss", "30%")
    shown = evaluate(*args).stdout
    assert "Exploration (loss" in shown and "greedy" in shown and "as it is" in shown
    found = json.loads(evaluate(*args, "--json").stdout)["exploration"]
    assert found["said"] in shown and found["most"] == 0.3
    assert [row["gamma"] for row in found["grid"]][-2:] == [5000, None]
    assert json.loads(evaluate("--json").stdout)["exploration"] is None


def test_new_rules_are_judged_by_old_decisions(evaluate, tmp_path: Path) -> None:
    home = tmp_path / "new"
    home.mkdir()
    (home / "all.yaml").write_text(RULES.replace("value: 6", "value: 1"), "utf-8")
    args = ("--rules", "new", "--exploration", "off", "--no-reward-model", "--json")
    rows = json.loads(evaluate(*args).stdout)["messages"]
    assert next(row for row in rows if row["message"] == "cups")["target_share"] == 0


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_a_picture_is_drawn_where_asked(evaluate, tmp_path: Path, ending: str) -> None:
    result = evaluate("--no-reward-model", "--report", f"seen.{ending}")
    assert result.exit_code == 0 and (tmp_path / f"seen.{ending}").stat().st_size > 1000


def test_the_report_of_retention_is_that_of_evaluate_with_days_and_break_downs(
    run, archive
) -> None:
    asked = ("--log", archive, "--event", "purchase", "--weeks", 1, "--json")
    found = json.loads(run("report", "holdout-retention", *asked).stdout)
    before = json.loads(run("evaluate", "--retention", *asked).stdout)
    assert {**before, "timezone": found["timezone"]} == found
    by = run(
        "report", "holdout-retention", *asked[:-1], "--by", "placement", "--from", "2000-01-01"
    )
    assert "by placement" in by.stdout and "outbound" in by.stdout
    until = json.loads(run("report", "holdout-retention", *asked, "--until", "2000-01-01").stdout)
    assert (until["treated"], until["holdout"], until["last"]) == (0, 0, "2000-01-01")
    refused = run("report", "holdout-retention", *asked, "--timezone", "Mars")
    assert refused.exit_code == 2 and "Mars is not a time zone" in refused.output


def test_retention_is_a_table_by_arm(run, archive, tmp_path: Path) -> None:
    result = run("evaluate", "--log", archive, "--retention", "--event", "purchase", "--weeks", 1)
    assert result.exit_code == 0 and "holdout" in result.stdout and "purchase" in result.stdout
    curves = json.loads(
        run("evaluate", "--log", archive, "--retention", "--report", "r.svg", "--json").stdout
    )
    assert curves["holdout"] > 0 and len(curves["weeks"]) == 8 and (tmp_path / "r.svg").exists()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--exploration", "much"), "neither a number of 0 or more nor off"),
        (("--exploration", "-1"), "neither a number of 0 or more nor off"),
        (("--exploration-loss", "0%"), "no share above 0 % and below 100 %"),
        (("--exploration-loss", "two"), "no share above 0 % and below 100 %"),
        (("--by", "costumer.state"), "did you mean customer"),
        (("--since", "2026-11-21"), "not a time with an offset"),
        (("--report", "seen.html"), "must end in .svg or .png"),
        (("--prior", "--model", "x"), "cannot be combined"),
        (("--confidence", "95"), "confidence"),
    ],
)
def test_wrong_usage_says_how_to_fix_it(evaluate, args: tuple[str, ...], said: str) -> None:
    result = evaluate(*args)
    assert result.exit_code == 2 and said in " ".join(result.stderr.split()), result.output


def test_a_log_or_model_that_is_none_is_refused(run, archive, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = run("evaluate", "--log", "empty")
    assert result.exit_code == 1 and "nextbest archive" in result.stderr
    result = run("evaluate", "--log", archive, "--model", "empty")
    assert result.exit_code == 1 and "there is no such version" in result.stderr
    result = run("evaluate", "--log", archive, "--models", "empty")
    assert result.exit_code == 1 and "--prior" in result.stderr
    result = run("evaluate", "--log", archive, "--silence-counts")
    assert result.exit_code == 1 and "one target for all messages" in result.stderr


def test_rows_without_probabilities_are_left_out_and_counted(run, archive, tmp_path: Path) -> None:
    shutil.copytree(archive, tmp_path / "log")
    path = sorted((tmp_path / "log" / "decisions").glob("date=*/*.parquet"))[0]
    table = pq.ParquetFile(path).read()
    place = table.schema.get_field_index("selection_probability")
    gone = pa.nulls(len(table), pa.float64())
    pq.write_table(table.set_column(place, "selection_probability", gone), path)
    result = run("evaluate", "--log", "log")
    assert result.exit_code == 0 and "without a selection probability in (0, 1]" in result.stdout
    said = " ".join(result.stdout.split())
    assert "such as 01J000" in said and "have no selection probability" in said
