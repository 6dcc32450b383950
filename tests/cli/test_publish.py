"""`nextbest publish` and `rollback`, on a real Redis and on a models folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from decision.scoring.versions import current_version, point_to
from decision.store import EmbeddedRedis
from tests.cli.conftest import RULES, Run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    with EmbeddedRedis(tmp_path / "redis") as url:
        yield url


@pytest.fixture
def published(run: Run, rules: Path, redis: str) -> list[str]:
    """Three published versions, oldest first."""
    found = []
    for number in range(3):
        (rules / "all.yaml").write_text(f"{RULES}\n# {number}\n", "utf-8")
        given = ("--by", f"w{number}", "-m", f"change {number}", "--json")
        result = run("publish", rules, "--redis-url", redis, *given)
        assert result.exit_code == 0, result.output
        found.append(json.loads(result.stdout)["version"])
    return found


def in_force(run: Run, redis: str) -> dict[str, str]:
    entries = json.loads(run("rollback", "--list", "--json", "--redis-url", redis).stdout)
    last: dict[str, str] = entries[-1]
    return last


def test_a_publication_is_listed_with_who_when_and_why(
    run: Run, redis: str, published: list[str]
) -> None:
    entries = json.loads(run("rollback", "--list", "--json", "--redis-url", redis).stdout)
    assert [entry["version"] for entry in entries] == published
    assert entries[1]["by"] == "w1"
    assert entries[1]["message"] == "change 1"
    assert entries[1]["at"].endswith("Z")
    text = run("rollback", "--list", "--redis-url", redis).stdout
    assert [line.split()[-1] for line in text.splitlines()] == ["0", "1", "2"]
    assert text.splitlines()[-1].startswith("*")


def test_publishing_what_is_in_force_changes_nothing(
    run: Run, rules: Path, redis: str, published: list[str]
) -> None:
    result = run("publish", rules, "--redis-url", redis)
    assert result.exit_code == 0
    assert "nothing has changed" in result.stdout
    entries = json.loads(run("rollback", "--list", "--json", "--redis-url", redis).stdout)
    assert len(entries) == 3


def test_a_folder_with_errors_prints_them_all_and_changes_nothing(
    run: Run, rules: Path, redis: str, published: list[str]
) -> None:
    (rules / "all.yaml").write_text(RULES.replace("at_most: 2", "at_most: 0"), "utf-8")
    (rules / "more.yaml").write_text("mesages: {}\n", "utf-8")
    result = run("publish", rules, "--redis-url", redis)
    assert result.exit_code == 1
    assert "rules/all.yaml:" in result.output
    assert 'did you mean "messages"' in result.output
    assert in_force(run, redis)["version"] == published[-1]


def test_rollback_goes_one_step_back_and_twice_two(
    run: Run, redis: str, published: list[str]
) -> None:
    for step in (1, 0):
        result = run("rollback", "--redis-url", redis, "-m", "too many mails")
        assert result.exit_code == 0, result.output
        assert published[step] in result.stdout
        assert in_force(run, redis)["version"] == published[step]
        assert in_force(run, redis)["kind"] == "rollback"
    result = run("rollback", "--redis-url", redis)
    assert result.exit_code == 1
    assert "first that was published" in result.output
    result = run("rollback", published[2][:6], "--redis-url", redis)
    assert result.exit_code == 0
    assert in_force(run, redis)["version"] == published[2]
    result = run("rollback", published[2], "--redis-url", redis)
    assert result.exit_code == 1
    assert "is the one in force" in result.output


def test_a_version_that_never_was_is_refused_with_the_nearest(
    run: Run, redis: str, published: list[str]
) -> None:
    wrong = "z" + published[0][1:]
    result = run("rollback", wrong, "--redis-url", redis)
    assert result.exit_code == 1
    assert published[0] in result.output
    assert in_force(run, redis)["version"] == published[-1]


def test_with_nothing_published_there_is_nothing_to_return_to(run: Run, redis: str) -> None:
    result = run("rollback", "--redis-url", redis)
    assert result.exit_code == 1
    assert "nothing is published yet" in result.output
    assert "Nothing is published" in run("rollback", "--list", "--redis-url", redis).stdout


def test_a_redis_that_is_away_is_said_in_a_sentence(run: Run, rules: Path) -> None:
    result = run("publish", rules, "--redis-url", "redis://127.0.0.1:1")
    assert result.exit_code == 1
    assert "127.0.0.1" in result.output


@pytest.mark.slow
def test_publications_of_two_processes_at_once_are_both_kept(rules: Path, redis: str) -> None:
    folders = []
    for number in range(2):
        folder = Path(shutil.copytree(rules, rules.with_name(f"rules{number}")))
        (folder / "all.yaml").write_text(f"{RULES}\n# {number}\n", "utf-8")
        folders.append(folder)
    command = [sys.executable, "-m", "decision.cli", "publish", "--json", "--redis-url", redis]
    both = [
        subprocess.Popen([*command, str(folder)], cwd=ROOT, stdout=subprocess.PIPE)
        for folder in folders
    ]
    versions = {json.loads(each.communicate(timeout=120)[0])["version"] for each in both}
    assert [each.returncode for each in both] == [0, 0]
    command = [sys.executable, "-m", "decision.cli", "rollback", "--list", "--json"]
    listed = subprocess.run(
        [*command, "--redis-url", redis], cwd=ROOT, capture_output=True, check=True, timeout=60
    )
    assert {entry["version"] for entry in json.loads(listed.stdout)} == versions


# Models.


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A models folder whose pointer went from a to b to c."""
    folder = tmp_path / "models"
    for name in "abc":
        (folder / "tea" / name).mkdir(parents=True)
        (folder / "tea" / name / "manifest.json").write_text("{}")
        point_to(folder, folder / "tea" / name)
    return folder


def test_a_model_is_rolled_back_one_step_and_twice_two(run: Run, models: Path) -> None:
    for expected in "ba":
        result = run("rollback", "--models", models)
        assert result.exit_code == 0, result.output
        assert current_version(models) == models / "tea" / expected
    assert run("rollback", "--models", models).exit_code == 1
    assert run("rollback", "c", "--models", models).exit_code == 0
    assert current_version(models) == models / "tea" / "c"
    listed = json.loads(run("rollback", "--models", models, "--list", "--json").stdout)
    assert [(each["version"], each["rollback"]) for each in listed] == [
        ("tea/a", False),
        ("tea/b", False),
        ("tea/c", False),
        ("tea/b", True),
        ("tea/a", True),
        ("tea/c", True),
    ]


def test_a_model_that_is_not_there_is_refused_with_the_nearest(run: Run, models: Path) -> None:
    result = run("rollback", "tea/x", "--models", models)
    assert result.exit_code == 1
    assert "tea/a" in result.output
    assert current_version(models) == models / "tea" / "c"
    shutil.rmtree(models / "tea" / "b")
    assert run("rollback", "--models", models).exit_code == 0
    assert current_version(models) == models / "tea" / "a"


def test_a_folder_of_models_that_is_not_there_is_named(run: Run, tmp_path: Path) -> None:
    result = run("rollback", "--models", tmp_path / "none")
    assert result.exit_code == 1
    assert "none is not a folder of models" in result.output


def test_scenario_tests_are_published_with_the_rules_and_alone(
    run: Run, rules: Path, redis: str, published: list[str]
) -> None:
    before = in_force(run, redis)
    tests = rules / "tests" / "all.yaml"
    tests.write_text(tests.read_text() + "# more\n")
    result = run("publish", rules, "--redis-url", redis)
    assert f"Policy {published[-1]} is published" in result.stdout
    after = in_force(run, redis)
    assert after["version"] == before["version"] and after["tests"] != before["tests"]
    assert "nothing has changed" in run("publish", rules, "--redis-url", redis).stdout
    result = run("rollback", "--redis-url", redis)  # to the policy before, not to other tests
    assert published[-2] in result.stdout
