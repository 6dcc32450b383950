"""`nextbest promote`: a version that passes is put in force, one that fails is refused and says why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.learning.logs import SPEC, Deciding, World, train_model, write_archive


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `log` and `models`."""
    home = tmp_path_factory.mktemp("home")
    world = World(700)
    write_archive(home / "log", world, Deciding(world.definition, 4.0), 1)
    train_model(world, home / "models")
    return home


@pytest.fixture
def models(home: Path, tmp_path: Path) -> Path:
    shutil.copytree(home / "models", tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def version(models: Path) -> str:
    return next(path.name for path in (models / "tea").iterdir() if not path.name.startswith("."))


def gate(models: Path, text: str) -> None:
    (models / "tea.yaml").write_text(SPEC + f"promotion: {{{text}}}\n", "utf-8")


def test_a_version_that_passes_is_in_force(run, home: Path, models: Path, version: str) -> None:
    gate(models, "lift_at_least: -100%, effective_sample_at_least: 1, latency_at_most: 1s")
    result = run("promote", version, "--log", home / "log")
    assert result.exit_code == 0, result.output
    assert "passed" in result.stdout and f"tea/{version} is in force" in result.stdout
    assert (models / "current").read_text("utf-8").strip() == f"tea/{version}"
    again = run("promote", f"tea/{version}", "--log", home / "log", "--json")
    assert json.loads(again.stdout)["outcome"] == "current"
    assert len((models / "history").read_text("utf-8").splitlines()) == 1


def test_a_version_that_fails_is_not_promoted_and_the_table_says_by_how_much(
    run, home: Path, models: Path, version: str
) -> None:
    gate(models, "effective_sample_at_least: 100000, calibration_error_at_most: 100%")
    result = run("promote", version, "--log", home / "log")
    assert result.exit_code == 1 and not (models / "current").exists()
    line = next(line for line in result.stdout.splitlines() if "effective sample" in line)
    assert "100,000" in line and "failed" in line and "too few" in line
    assert "passed" in result.stdout and "is not promoted" in result.stdout
    forced = run("promote", version, "--log", home / "log", "--force", "--reason", "small shop")
    assert forced.exit_code == 0 and (models / "current").exists()
    note = json.loads((models / "promotions.ndjson").read_text("utf-8"))
    assert note["forced"] is True and note["reason"] == "small shop"
    assert [figure["passed"] for figure in note["figures"]] == [False, True]


def test_a_challenger_is_named_and_cleared(run, models: Path, version: str) -> None:
    assert run("promote", version, "--shadow").exit_code == 0
    assert (models / "shadow").read_text("utf-8").strip() == f"tea/{version}"
    assert not (models / "current").exists()
    assert run("promote", "--clear-shadow").exit_code == 0
    assert not (models / "shadow").exists()
    assert "there was no challenger" in run("promote", "--clear-shadow").stdout


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ((), 2, "VERSION"),
        (("{}", "--force"), 2, "go together"),
        (("{}", "--reason", "x"), 2, "go together"),
        (("{}", "--clear-shadow"), 2, "takes no version"),
        (("nothing",), 1, "there is no such version; models has: tea/"),
        (("{}", "--spec", "nowhere.yaml"), 1, "nowhere.yaml"),
    ],
)
def test_wrong_use_is_told(
    run, models: Path, version: str, args: tuple[str, ...], code: int, said: str
) -> None:
    result = run("promote", *(arg.format(version) for arg in args))
    assert result.exit_code == code and said in " ".join(result.output.split()), result.output


def test_the_gate_of_the_spec_that_it_was_trained_by_counts_where_there_is_no_other(
    run, models: Path, version: str
) -> None:
    result = run("promote", "tea")
    assert result.exit_code == 0 and f"tea/{version} is in force" in result.stdout
    assert "the spec has no gate" in result.stderr


def test_without_a_log_the_lift_is_unknown_and_that_is_no_pass(
    run, models: Path, version: str
) -> None:
    gate(models, "lift_at_least: -100%")
    result = run("promote", version)
    assert result.exit_code == 1 and "unknown" in result.stdout and "--log" in result.stdout


def test_a_damaged_version_is_never_put_in_force(run, models: Path, version: str) -> None:
    gate(models, "")
    path = models / "tea" / version / "model.txt"
    path.write_text(path.read_text("utf-8") + "x", "utf-8")
    for args in ((), ("--shadow",), ("--force", "--reason", "now")):
        result = run("promote", version, *args)
        assert result.exit_code == 1 and "SHA-256" in result.stderr
    assert not (models / "current").exists() and not (models / "shadow").exists()
